"""Time that stands still while anybody acts, for code that sleeps between two rounds of work.

A clock that runs on by itself, as fast as the code sleeps, is as bad as a real one: how many rounds lie between two
looks of a test is decided by the machine. Here a sleep lasts until the test lets it pass. So a test waits until all is
done that can be done, looks, and lets the next round begin.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest

from airflow_provider_pipedrive_leads.leads.waiting import feed
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.until import eventually, until

SINCE_START = 1_000.0


class VirtualTime:
    """A clock that moves when a test lets a sleep pass, and at no other time.

    The code under test reads :meth:`now` and :meth:`clock`, from any thread, and sleeps by :meth:`sleep`; the test, in
    the same event loop, calls the others.

    :param begins: with zone.
    :param go_along: moves another clock by so many seconds, too.
    :ivar slept: seconds of the sleeps that have passed, in order.
    """

    def __init__(self, begins: datetime, go_along: Callable[[float], object] = lambda _: None) -> None:
        self._begins = begins
        self._go_along = go_along
        self._passed = 0.0
        self._asleep: dict[asyncio.Future[None], float] = {}
        self.slept: list[float] = []

    def now(self) -> datetime:
        """The time of day."""
        return self._begins + timedelta(seconds=self._passed)

    def clock(self) -> float:
        """Seconds that only grow."""
        return SINCE_START + self._passed

    async def sleep(self, seconds: float, woken: asyncio.Event | None = None) -> bool:
        """Sleep until the test lets it pass, or until woken; True if woken."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return False
        passed = asyncio.get_running_loop().create_future()
        waking = None if woken is None else asyncio.ensure_future(woken.wait())
        self._asleep[passed] = self.clock() + seconds
        try:
            await asyncio.wait([passed] if waking is None else [passed, waking], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._asleep.pop(passed, None)
            if waking is not None:
                waking.cancel()
        return not passed.done()

    async def jump(self, seconds: float) -> None:
        """Sleep in no time, for code that sleeps while nobody else is there to act."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass that wakes nobody, as on a machine that was switched off."""
        self._passed += seconds
        self._go_along(seconds)

    @property
    def left(self) -> float:
        """Seconds until the first of those who sleep wakes."""
        return max(0.0, min(self._asleep.values()) - self.clock())

    async def standstill(self, sleepers: int = 1) -> None:
        """Wait until so many sleep, and all is done in this event loop that follows from what they did before."""
        await self._standstill(lambda: len(self._asleep) >= sleepers)

    async def pass_sleeps(self, count: int = 1, *, sleepers: int = 1) -> None:
        """Let so many sleeps pass, one after another, and for each of them happen what follows from it."""
        for _ in range(count):
            await self.standstill(sleepers)
            self._wake_first()
        await self.standstill(sleepers)

    async def pass_sleeps_until(self, happened: Callable[[], object], *, sleepers: int = 1) -> None:
        """Let sleeps pass, one after another, until something has happened; no more than it takes."""
        while True:
            await self._standstill(lambda: happened() or len(self._asleep) >= sleepers)
            if happened():
                return
            self._wake_first()

    async def _standstill(self, reached: Callable[[], object]) -> None:
        ready = asyncio.get_running_loop()._ready
        while True:
            await eventually(lambda: reached() or nobody_is_left())
            while ready:
                await asyncio.sleep(0)
            if reached():
                return
            assert not nobody_is_left(), "nobody is left who could sleep"

    def _wake_first(self) -> None:
        first = min(self._asleep, key=lambda each: self._asleep[each])
        self.slept.append(self.left)
        self.advance(self.left)
        del self._asleep[first]
        first.set_result(None)


def nobody_is_left() -> bool:
    """Whether all tasks of this event loop but the one that asks have ended."""
    return asyncio.all_tasks() == {asyncio.current_task()}


def shared_with(sandbox: Sandbox) -> VirtualTime:
    """Make a time that a sandbox goes along with. It begins at noon: far from midnight, when a day begins."""
    noon = datetime.fromisoformat(sandbox.control.now()).replace(hour=12, minute=0, second=0, microsecond=0)
    begins = noon + timedelta(days=1)
    sandbox.control.freeze(begins.isoformat())
    return VirtualTime(begins, sandbox.control.advance)


def threads_of_feeds() -> set[threading.Thread]:
    """Those that are alive."""
    own = ("pipedrive-feed", "pipedrive-pages")
    return {thread for thread in threading.enumerate() if thread.name.startswith(own)}


@contextmanager
def feeds_live_by(virtual_time: VirtualTime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every feed live by a virtual time; in the end, none of their threads is left."""
    others = threads_of_feeds()

    async def pause(hurry: asyncio.Event, seconds: float) -> None:
        await virtual_time.sleep(seconds, hurry)

    monkeypatch.setattr(feed, "_now", virtual_time.now)
    monkeypatch.setattr(feed, "_clock", virtual_time.clock)
    monkeypatch.setattr(feed, "_pause", pause)
    yield
    until(lambda: threads_of_feeds() <= others)
