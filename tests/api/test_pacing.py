"""The burst window, in virtual time: a simulated server counts, simulated processes and threads send."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.pacing import LEAST_ALLOWED, WINDOW_SECONDS, BurstWindow
from tests.unhurried import unhurried

pytestmark = pytest.mark.slow

PLANS = (20, 40, 80, 100, 120, 160, 400, 480)
MOST_REJECTED = 0.03
LEAST_USED = 0.95


@dataclass
class Traffic:
    """Processes of several threads, each sending one call after the other to a server with a rolling window.

    A call reaches the server at a random moment between its sending and its reply; a rejected one is sent again after
    the window, with jitter.
    """

    allowed: int
    processes: int = 1
    threads: int = 1
    calls: int = 200
    reported: bool = True
    seed: int = 0
    slowest: float = 0.1
    route: tuple[float, float] | None = None
    accepted: list[float] = field(default_factory=list)
    rejected: int = 0
    ended: float = 0.0

    def run(self):
        self.chance = random.Random(self.seed)
        self.windows = [BurstWindow() for _ in range(self.processes)]
        self.left = [self.calls] * self.processes
        self.counted = deque()
        self.agenda, self.order = [], itertools.count()
        for process in range(self.processes):
            for _ in range(self.threads):
                self._plan(0.0, self._next_call, process)
        while self.agenda:
            now, _, step, values = heapq.heappop(self.agenda)
            step(now, *values)
        return self

    def used(self):
        """The part of what the window allowed that was used, from the first call to the last."""
        full_windows = 1 + self.accepted[-1] / WINDOW_SECONDS
        return len(self.accepted) / (self.allowed * full_windows)

    def _plan(self, moment, step, *values):
        heapq.heappush(self.agenda, (moment, next(self.order), step, values))

    def _next_call(self, now, process):
        if self.left[process]:
            self.left[process] -= 1
            self._send(now, process, 0)

    def _send(self, now, process, repeats):
        wait = self.windows[process].delay(now)
        if wait > 0:
            self._plan(now + wait + 1e-9, self._send, process, repeats)
            return
        self.windows[process].take()
        there, back = self._ways()
        self._plan(now + there, self._arrive, process, repeats, now, now + there + back)

    def _ways(self):
        """How long a call is under way to the server, and back: at random, or along a route with a little jitter."""
        if self.route is None:
            latency = self.chance.uniform(self.slowest / 5, self.slowest)
            there = latency * self.chance.random()
            return there, latency - there
        return tuple(way + self.chance.random() * self.slowest for way in self.route)

    def _arrive(self, now, process, repeats, sent, replied):
        while self.counted and self.counted[0] <= now - WINDOW_SECONDS:
            self.counted.popleft()
        rejected = len(self.counted) >= self.allowed
        if rejected:
            self.rejected += 1
        else:
            self.counted.append(now)
            self.accepted.append(now)
        report = {
            "x-ratelimit-limit": str(self.allowed),
            "x-ratelimit-remaining": str(self.allowed - len(self.counted)),
        }
        self._plan(replied, self._reply, process, repeats, sent, report if self.reported else {}, rejected)

    def _reply(self, now, process, repeats, sent, headers, rejected):
        self.ended = now
        window = self.windows[process]
        window.give_back(sent, now, headers, rejected=rejected)
        if rejected:
            window.close(now + WINDOW_SECONDS)
            self._plan(now + WINDOW_SECONDS + self.chance.random() * 2**repeats / 2, self._send, process, repeats + 1)
        else:
            self._plan(now, self._next_call, process)


@settings(unhurried, max_examples=60)
@given(
    allowed=st.sampled_from(PLANS),
    threads=st.integers(1, 16),
    seed=st.integers(0, 2**32),
    slowest=st.floats(0.001, 3.0),
    reported=st.booleans(),
)
def test_one_process_never_sends_too_many(allowed, threads, seed, slowest, reported):
    traffic = Traffic(allowed, threads=threads, calls=150, seed=seed, slowest=slowest, reported=reported).run()
    assert traffic.rejected == 0
    assert len(traffic.accepted) == 150


@settings(unhurried, max_examples=60)
@given(
    allowed=st.sampled_from(PLANS),
    threads=st.integers(1, 16),
    seed=st.integers(0, 2**32),
    there=st.floats(0, 0.5),
    back=st.floats(0, 0.5),
    jitter=st.floats(0, 0.2),
    reported=st.booleans(),
)
@example(allowed=20, threads=7, seed=0, there=0.0, back=1e-9, jitter=0.0, reported=False)
@example(allowed=20, threads=11, seed=0, there=0.0, back=1e-9, jitter=0.0, reported=False)
def test_one_process_on_a_steady_route_never_sends_too_many(allowed, threads, seed, there, back, jitter, reported):
    traffic = Traffic(
        allowed, threads=threads, calls=300, seed=seed, slowest=jitter, route=(there, back), reported=reported
    ).run()
    assert traffic.rejected == 0


@pytest.mark.parametrize("there", [0.0, 0.05, 0.1])
def test_a_steady_route_costs_a_window_next_to_nothing(there):
    """Otherwise every window of two seconds would begin a whole latency late: five of them here, 0.1 s each."""
    traffic = Traffic(40, threads=3, calls=204, slowest=0.001, route=(there, 0.1 - there)).run()
    assert traffic.rejected == 0
    assert traffic.accepted[-1] < 5 * WINDOW_SECONDS + 0.35


@pytest.mark.long
@pytest.mark.parametrize("allowed", PLANS)
@pytest.mark.parametrize("threads", [1, 2, 4, 8, 16])
def test_one_process_uses_what_is_allowed(allowed, threads):
    """With latencies up to 100 ms, or lower ones where so few threads could not send five times what is allowed."""
    slowest = min(0.1, threads * WINDOW_SECONDS / (5 * allowed) / 0.6)
    traffic = Traffic(allowed, threads=threads, calls=allowed * 30, slowest=slowest).run()
    assert traffic.rejected == 0
    assert traffic.used() >= LEAST_USED


@pytest.mark.parametrize("allowed", [20, 40, 100, 120])
@pytest.mark.parametrize("threads", [1, 4, 8])
@pytest.mark.parametrize("reported", [True, False], ids=["reported", "blind"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_four_cold_processes_live_side_by_side(allowed, threads, reported, seed):
    traffic = Traffic(allowed, processes=4, threads=threads, calls=250, reported=reported, seed=seed).run()
    assert len(traffic.accepted) == 1000
    assert traffic.rejected <= MOST_REJECTED * (1000 + traffic.rejected)


def test_a_process_that_comes_later_gets_a_share():
    traffic = Traffic(100, processes=2, threads=8, calls=400).run()
    shares = [window.share for window in traffic.windows]
    assert min(shares) > 5


def replied(window, now, **headers):
    window.take()
    window.give_back(now, now, {f"x-ratelimit-{name}": str(value) for name, value in headers.items()})


def test_a_full_window_waits_for_its_oldest_place():
    window = BurstWindow(2, share=2)
    for moment in (0.0, 0.5):
        assert window.delay(moment) == 0
        replied(window, moment)
    assert window.delay(1.0) == 1.0
    assert window.delay(2.0) == 0


def test_calls_under_way_hold_their_places():
    window = BurstWindow(1)
    window.take()
    assert window.delay(100.0) > 0
    window.give_back(99.0, 100.0, {})
    assert window.delay(102.0) == 0


def test_the_first_call_goes_alone_and_then_the_reported_limit_holds():
    window = BurstWindow()
    window.take()
    assert window.delay(0.0) > 0
    window.give_back(0.0, 0.1, {"x-ratelimit-limit": "120", "x-ratelimit-remaining": "119"})
    assert (window.allowed, window.share) == (120, 120)
    replied(window, 0.2, limit="soon", remaining="later")
    assert window.allowed == 120


def test_without_reports_the_smallest_plan_is_assumed():
    window = BurstWindow()
    for moment in range(0, 60, 2):
        replied(window, float(moment))
    assert (window.allowed, window.share) == (LEAST_ALLOWED, LEAST_ALLOWED)


def test_a_given_limit_is_taken_at_once_where_nothing_is_reported():
    window = BurstWindow(limit=120)
    replied(window, 0.0)
    assert (window.allowed, window.share) == (120, 120)


def test_a_given_limit_is_never_exceeded():
    window = BurstWindow(limit=30)
    replied(window, 0.0, limit=120, remaining=119)
    assert (window.allowed, window.share) == (30, 30)
    replied(window, 0.1, limit=20, remaining=18)
    assert (window.allowed, window.share) == (20, 20)


def test_a_given_limit_is_halved_by_a_rejection_and_comes_back_slowly():
    window = BurstWindow(limit=100)
    for moment in range(100):
        replied(window, moment / 100)
    window.take()
    window.give_back(1.0, 1.0, {}, rejected=True)
    assert 45 <= window.share <= 55
    for moment in range(4, 40, 2):
        replied(window, float(moment))
    assert 45 < window.share < 60


def test_others_on_the_same_token_are_seen_and_left_room():
    window = BurstWindow()
    replied(window, 0.0, limit=100, remaining=99)
    replied(window, 0.1, limit=100, remaining=5)
    assert window.share < 5


def test_a_rejection_holds_everything_up():
    window = BurstWindow(20, share=20)
    window.take()
    window.give_back(0.9, 1.0, {}, rejected=True)
    window.close(3.0)
    assert window.delay(1.5) == 1.5
    assert window.delay(3.0) == 0


def test_replies_that_are_told_in_another_order_than_they_came_leave_a_share():
    """Threads tell the window of their replies when they get to it; a share below one call would wait for ever."""
    window = BurstWindow()
    replied(window, 0.0, limit=80, remaining=40)
    window.share = 1.0
    for _ in range(2):
        window.take()
    window.give_back(1.0, 1.25, {"x-ratelimit-limit": "80", "x-ratelimit-remaining": "10"})
    window.give_back(1.0, 1.20, {"x-ratelimit-limit": "80", "x-ratelimit-remaining": "30"})
    assert window.delay(4.0) == 0
