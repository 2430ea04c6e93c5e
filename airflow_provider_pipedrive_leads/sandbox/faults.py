"""Failures ordered beforehand: which calls fail, how, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fnmatch import fnmatchcase

from airflow_provider_pipedrive_leads.sandbox.bounds import MAX_REAL_SECONDS, MAX_SECONDS, number, text, whole

KINDS = {
    "status": "answer with status= and the vendor's envelope, without doing the work (retry_after= adds that header)",
    "html": "answer with an HTML page and status= (403 by default), without doing the work",
    "close_before": "close the connection without doing the work",
    "close_after": "do the work, then close the connection without a reply",
    "close_and_finish": "close the connection; do the work after= seconds later",
    "cut_body": "do the work, send half of the reply, close the connection",
    "slow_body": "do the work, spread the reply over seconds= of real time",
    "broken_json": "do the work, send a reply that is no valid JSON",
    "no_success": "do the work, answer 200 with success: false and words",
    "no_data": "do the work, answer without data",
    "delay": "wait seconds= of real time, then do the work and reply",
    "hold": "wait until all held calls are let go, then do the work and reply",
}


@dataclass
class Fault:
    """One order: calls of ``method`` to ``path`` (both may hold ``*``) fail ``times`` times in the way ``kind``.

    ``path`` is compared with the whole path as called. ``status``, ``seconds``, ``after`` and ``retry_after`` mean what
    ``KINDS`` says of them. Raises ValueError for an unknown kind, or values out of bounds.
    """

    method: str
    path: str
    kind: str
    times: int = 1
    status: int = 0
    seconds: float = 0.0
    after: float = 0.0
    retry_after: int | None = None

    def __post_init__(self) -> None:
        self.method, self.path = text(self.method, "method"), text(self.path, "path")
        if text(self.kind, "kind") not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}: one of {', '.join(KINDS)}")
        self.times = whole(self.times, "times")
        self.status = whole(self.status or (403 if self.kind == "html" else 500), "status", 200, 599)
        self.seconds = number(self.seconds, "seconds", 0, MAX_REAL_SECONDS)
        self.after = number(self.after, "after", 0, MAX_SECONDS)
        if self.retry_after is not None:
            self.retry_after = whole(self.retry_after, "retry_after")

    def matches(self, method: str, path: str) -> bool:
        """Whether this order is meant for a call."""
        return fnmatchcase(method, self.method.upper()) and fnmatchcase(path, self.path)


class Faults:
    """The orders still open, oldest first."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []

    def order(self, fault: Fault) -> None:
        """Add an order."""
        self._orders.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """The order that a call falls under, used up once."""
        for fault in self._orders:
            if fault.matches(method, path):
                fault.times -= 1
                if fault.times <= 0:
                    self._orders.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Forget all orders."""
        self._orders.clear()


class Held:
    """Calls that wait for a word, not for a time.

    :ivar count: how many wait now.
    """

    def __init__(self) -> None:
        self.count = 0
        self._word = asyncio.Event()

    async def wait(self) -> None:
        """Wait until the calls held now are let go."""
        self.count += 1
        try:
            await self._word.wait()
        finally:
            self.count -= 1

    def let_go(self) -> None:
        """Let all go on; later ones wait for the next word."""
        self._word.set()
        self._word = asyncio.Event()
