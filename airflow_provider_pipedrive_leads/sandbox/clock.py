"""The sandbox's time: real, frozen or moved, and the work that is due later.

Times are seconds since 1970 UTC as floats inside, and ISO strings with milliseconds on the wire.
"""

from __future__ import annotations

import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_pipedrive_leads.sandbox.bounds import MAX_SECONDS, moment, number

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Tells the time; follows the machine's clock until frozen, set or advanced.

    Seconds since 1970 UTC. A frozen clock moves only by :meth:`advance`.
    """

    def __init__(self) -> None:
        self._frozen_at: float | None = None
        self._ahead = 0.0
        self._stamped_ms = 0

    @property
    def frozen(self) -> bool:
        """True while time stands still."""
        return self._frozen_at is not None

    def now(self) -> float:
        """Seconds since 1970 UTC."""
        return time.time() + self._ahead if self._frozen_at is None else self._frozen_at

    def freeze(self, at: float | None = None) -> None:
        """Stop the clock at a time, by default the present one or that of the last stamp, whichever is later.

        Raises ValueError for one that is out of bounds.
        """
        self._frozen_at = max(self.now(), self._stamped_ms / 1000) if at is None else moment(at)
        self._stamped_ms = min(self._stamped_ms, to_ms(self._frozen_at))

    def unfreeze(self) -> None:
        """Let the clock run on from where it stands."""
        if self._frozen_at is not None:
            self._ahead = self._frozen_at - time.time()
            self._frozen_at = None

    def stamp_ms(self, ms: int) -> int:
        """Milliseconds to stamp on a record at the time ``ms``: later than every stamp before it, unless frozen.

        So how fast a machine is never decides whether two records share a time; who wants ties freezes the clock.
        """
        self._stamped_ms = ms if self.frozen else max(ms, self._stamped_ms + 1)
        return self._stamped_ms

    def advance(self, seconds: float) -> None:
        """Move the clock forward by seconds, frozen or not. Raises ValueError if that is out of bounds."""
        seconds = number(seconds, "seconds", 0, MAX_SECONDS)
        moment(self.now() + seconds)
        if self._frozen_at is None:
            self._ahead += seconds
        else:
            self._frozen_at += seconds


class Agenda:
    """Work that is due at a later time, done in order of its due time, each as if at that time.

    Whoever looks at the sandbox first calls :meth:`run_due`, so that late work is never seen to be missing;
    a task of the server calls it too, for work that reaches outside (webhooks).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._acting_at: float | None = None
        self.changed: Callable[[], None] = lambda: None

    def now(self) -> float:
        """The time at which the present work takes place: its due time, or else the clock's."""
        return self._clock.now() if self._acting_at is None else self._acting_at

    def add(self, delay: float, work: Callable[[], None]) -> None:
        """Put work on the agenda, due ``delay`` seconds from now."""
        heapq.heappush(self._heap, (self.now() + delay, next(self._count), work))
        self.changed()

    def seconds_to_next(self) -> float | None:
        """Seconds until the next work is due; None when there is none, or time stands still."""
        if not self._heap:
            return None
        left = self._heap[0][0] - self._clock.now()
        return None if left > 0 and self._clock.frozen else max(0.0, left)

    def run_due(self) -> None:
        """Do all work that is due by now."""
        while self._acting_at is None and self._heap and self._heap[0][0] <= self._clock.now():
            due, _, work = heapq.heappop(self._heap)
            self._acting_at = due
            try:
                work()
            finally:
                self._acting_at = None


def to_ms(seconds: float) -> int:
    """Whole milliseconds since 1970."""
    return round(seconds * 1000)


def iso_ms(ms: int) -> str:
    """Milliseconds since 1970 as ``2026-01-31T10:20:30.123Z``, the form of lead times."""
    return f"{_stamp(ms, 'T')}.{ms % 1000:03d}Z"


def iso_seconds(ms: int) -> str:
    """Milliseconds since 1970 as ``2026-01-31T10:20:30Z``, the form of v2 resources."""
    return _stamp(ms, "T") + "Z"


def plain_seconds(ms: int) -> str:
    """Milliseconds since 1970 as ``2026-01-31 10:20:30``, UTC without saying so: notes, users, fields."""
    return _stamp(ms, " ")


def _stamp(ms: int, separator: str) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat(separator)[: len("2026-01-31T10:20:30")]


def parse_time(text: str) -> float:
    """Seconds since 1970 of an ISO time; a time without zone is UTC. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"not a point in time: {text!r}")  # noqa: TRY004 - as below
    parsed = pendulum.parse(text, tz="UTC")
    if not isinstance(parsed, pendulum.DateTime):
        raise ValueError(f"not a point in time: {text}")  # noqa: TRY004 - the text is at fault, not its type
    return float(parsed.timestamp())
