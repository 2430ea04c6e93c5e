"""Virtual time: between two looks of a test lies as much work as the test let happen, whatever the machine does."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from tests.until import eventually
from tests.virtual_time import SINCE_START, VirtualTime

BEGINS = datetime(2028, 2, 28, 23, 59, 50, tzinfo=UTC)


@pytest.fixture
def virtual_time():
    return VirtualTime(BEGINS)


class Poller:
    """Sleeps and asks, for ever; it asks in a thread, as feeds do."""

    def __init__(self, sleep, seconds=20, ask=lambda: None):
        self.polls = 0
        self._sleep, self._seconds, self._ask = sleep, seconds, ask

    async def run(self):
        while True:
            await self._sleep(self._seconds)
            await asyncio.to_thread(self._ask)
            self.polls += 1

    async def __aenter__(self):
        self._task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def be_slow(poller):
    """What a busy machine does to a test: others get on before it can look."""
    seen = poller.polls
    await eventually(lambda: poller.polls > seen + 2)


async def be_slow_while_all_sleep():
    for _ in range(1_000):
        await asyncio.sleep(0)


def test_time_that_runs_by_itself_miscounts():
    """Why this module is there: the test waits for two sleeps, and finds more polls than lie between them."""
    slept = []

    async def sleep(seconds):
        await asyncio.sleep(0)
        slept.append(seconds)

    async def run():
        async with Poller(sleep) as poller:
            await eventually(lambda: len(slept) >= 2)
            await be_slow(poller)
            return poller.polls

    assert asyncio.run(run()) > 2


def test_time_that_is_let_pass_does_not(virtual_time):
    async def run():
        async with Poller(virtual_time.sleep) as poller:
            counts = []
            for _ in range(3):
                await virtual_time.pass_sleeps(2)
                await be_slow_while_all_sleep()
                counts.append(poller.polls)
            return counts

    assert asyncio.run(run()) == [2, 4, 6]
    assert virtual_time.slept == [20] * 6
    assert virtual_time.clock() == SINCE_START + 120
    assert virtual_time.now().isoformat() == "2028-02-29T00:01:50+00:00"


def test_no_time_passes_while_a_call_is_under_way(virtual_time):
    asked, answer = threading.Event(), threading.Event()

    def ask():
        asked.set()
        answer.wait()

    async def run():
        async with Poller(virtual_time.sleep, ask=ask) as poller:
            passing = asyncio.create_task(virtual_time.pass_sleeps())
            await eventually(asked.is_set)
            await be_slow_while_all_sleep()
            assert (passing.done(), virtual_time.clock(), poller.polls) == (False, SINCE_START + 20, 0)
            answer.set()
            await passing
            assert (virtual_time.clock(), poller.polls) == (SINCE_START + 20, 1)

    try:
        asyncio.run(run())
    finally:
        answer.set()


def test_who_wakes_first_is_let_go_first(virtual_time):
    async def run():
        async with Poller(virtual_time.sleep, 20) as often, Poller(virtual_time.sleep, 50) as seldom:
            await virtual_time.standstill(sleepers=2)
            assert virtual_time.left == 20
            await virtual_time.pass_sleeps(3, sleepers=2)
            assert (often.polls, seldom.polls, virtual_time.clock()) == (2, 1, SINCE_START + 50)
            assert virtual_time.left == 10

    asyncio.run(run())


def test_sleeps_pass_until_something_has_happened_and_no_longer(virtual_time):
    async def run():
        async with Poller(virtual_time.sleep) as poller:
            await virtual_time.pass_sleeps_until(lambda: poller.polls == 3)
            await be_slow_while_all_sleep()
            return poller.polls

    assert asyncio.run(run()) == 3


def test_what_follows_in_other_tasks_is_done_when_all_stands_still(virtual_time):
    told = []

    async def pass_on(polls):
        for _ in range(50):
            await asyncio.sleep(0)
        told.append(polls)

    async def run():
        passing_on = []
        async with Poller(virtual_time.sleep) as poller:
            poller._ask = lambda: loop.call_soon_threadsafe(
                lambda: passing_on.append(asyncio.create_task(pass_on(poller.polls)))
            )
            loop = asyncio.get_running_loop()
            await virtual_time.pass_sleeps()
            assert told == [0]

    asyncio.run(run())


def test_who_is_woken_sleeps_no_longer_and_no_time_has_passed(virtual_time):
    async def run():
        woken = asyncio.Event()
        sleeping = asyncio.create_task(virtual_time.sleep(20, woken))
        await virtual_time.standstill()
        woken.set()
        assert await sleeping
        assert virtual_time.clock() == SINCE_START
        passing = asyncio.create_task(virtual_time.sleep(20, asyncio.Event()))
        await virtual_time.pass_sleeps_until(passing.done)
        assert not await passing

    asyncio.run(run())
    assert virtual_time.slept == [20]


def test_who_is_cancelled_does_not_sleep_any_more(virtual_time):
    async def run():
        async with Poller(virtual_time.sleep, 1), Poller(virtual_time.sleep, 50):
            async with Poller(virtual_time.sleep, 20):
                await virtual_time.standstill(sleepers=3)
            assert virtual_time.left == 1
            await virtual_time.standstill(sleepers=2)
            assert len(virtual_time._asleep) == 2

    asyncio.run(run())


def test_a_test_does_not_wait_for_those_who_have_ended(virtual_time):
    async def run():
        async with Poller(virtual_time.sleep, ask=lambda: 1 // 0) as poller:
            with pytest.raises(AssertionError, match="nobody is left"):
                await virtual_time.pass_sleeps(2)
            return poller.polls

    assert asyncio.run(run()) == 0


def test_another_clock_goes_along():
    moves = []
    virtual_time = VirtualTime(BEGINS, moves.append)

    async def run():
        async with Poller(virtual_time.sleep):
            await virtual_time.pass_sleeps(2)
        await virtual_time.jump(5)
        virtual_time.advance(7)

    asyncio.run(run())
    assert moves == [20, 20, 5, 7]
    assert virtual_time.slept == [20, 20, 5]
