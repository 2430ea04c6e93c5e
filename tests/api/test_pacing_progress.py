"""The burst window never stops for good, whatever replies report, however long calls take, whoever else calls."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.pacing import WINDOW_SECONDS, BurstWindow

LONGEST_LATENCY = 30.0
BETWEEN_LOOKS = 0.25
MOST_LOOKS = 1_000
"""Without a call between them: many more than the longest call takes."""
A_MOMENT = 1e-6
REPORTED = st.none() | st.sampled_from(["", "soon", "-3", "0", "0.4", "1", "5", "20", "nan", "inf", "1e300"])
ENDED_CALLS = st.lists(
    st.tuples(
        st.floats(0, LONGEST_LATENCY),
        st.fixed_dictionaries({"x-ratelimit-limit": REPORTED, "x-ratelimit-remaining": REPORTED}),
        st.booleans(),
        st.floats(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(calls=ENDED_CALLS, limit=st.none() | st.integers(1, 500), at_once=st.integers(1, 6))
@example(
    calls=[(2.5, {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "5"}, False, 0.0)] * 8, limit=None, at_once=1
)
def test_when_nothing_is_under_way_a_call_may_go(calls, limit, at_once):
    """Two seconds after the last reply no place can be taken: then there is one, whatever went before."""
    window, now = BurstWindow(limit=limit), 0.0
    for some in (calls[first : first + at_once] for first in range(0, len(calls), at_once)):
        sent, longest = now, max(latency for latency, *_ in some)
        for _ in some:
            window.take()
        for latency, headers, rejected, _ in some:
            given_headers = {name: value for name, value in headers.items() if value is not None}
            window.give_back(sent, sent + latency, given_headers, rejected=rejected)
        now = sent + longest + some[0][3]
        assert window.delay(sent + longest + WINDOW_SECONDS + A_MOMENT) == 0
        assert min(window.allowed, window.share) >= 1


class Neighbourhood:
    """One process that shares a token with neighbours that take what they want.

    :param latency: gives how long a call takes.
    :param neighbours: calls that they have in each window, as parts of what is allowed.
    """

    def __init__(self, allowed, threads, calls, latency, neighbours):
        self.allowed = allowed
        self.threads = threads
        self.left = calls
        self.latency = latency
        self.neighbours = neighbours
        self.window = BurstWindow()
        self.counted = deque()
        self.agenda, self.order = [], itertools.count()
        self.ended = 0
        self.looks = 0
        for _ in range(threads):
            self._plan(0.0, self._send)

    def _plan(self, moment, step, *values):
        heapq.heappush(self.agenda, (moment, next(self.order), step, values))

    def run(self):
        """Go on until all calls have ended, or the window was asked so often that it will never let one go."""
        while self.agenda and self.looks < MOST_LOOKS * self.threads:
            now, _, step, values = heapq.heappop(self.agenda)
            step(now, *values)
        return self

    def _send(self, now):
        if self.left <= 0:
            return
        self.looks += 1
        wait = self.window.delay(now)
        if wait > 0:
            self._plan(now + max(wait, BETWEEN_LOOKS), self._send)
            return
        self.left -= 1
        self.looks = 0
        self.window.take()
        latency = self.latency()
        self._plan(now + latency / 2, self._arrive, now, now + latency)

    def _arrive(self, now, sent, replied):
        while self.counted and self.counted[0] <= now - WINDOW_SECONDS:
            self.counted.popleft()
        taken = len(self.counted) + int(self.neighbours(now) * self.allowed)
        rejected = taken >= self.allowed
        if not rejected:
            self.counted.append(now)
        remaining = max(0, self.allowed - taken - 1)
        headers = {"x-ratelimit-limit": str(self.allowed), "x-ratelimit-remaining": str(remaining)}
        self._plan(replied, self._reply, sent, headers, rejected)

    def _reply(self, now, sent, headers, rejected):
        self.ended += 1
        self.window.give_back(sent, now, headers, rejected=rejected)
        if rejected:
            self.window.close(now + WINDOW_SECONDS)
        self._plan(now, self._send)


@settings(max_examples=150, deadline=None)
@given(
    allowed=st.sampled_from([20, 40, 100, 480]),
    threads=st.integers(1, 8),
    slow=st.floats(0, LONGEST_LATENCY),
    spread=st.floats(0, LONGEST_LATENCY),
    busy=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@example(allowed=20, threads=1, slow=2.5, spread=0.0, busy=0.7, seed=0)
@example(allowed=20, threads=1, slow=2.3, spread=0.0, busy=0.75, seed=0)
@example(allowed=20, threads=4, slow=2.1, spread=3.9, busy=0.7, seed=1)
def test_slow_calls_beside_neighbours_all_end(allowed, threads, slow, spread, busy, seed):
    """Neighbours come and go at random, about so busy."""
    chance = random.Random(seed)
    place = Neighbourhood(
        allowed,
        threads,
        calls=60,
        latency=lambda: min(slow + chance.random() * spread, LONGEST_LATENCY),
        neighbours=lambda _: min(1.0, max(0.0, busy + chance.uniform(-0.25, 0.25))),
    )
    assert place.run().ended == 60


@pytest.mark.parametrize("latency", [2.1, 2.3, 2.5, 6.0, 29.0])
@pytest.mark.parametrize("remaining", range(4, 8))
def test_a_report_of_little_room_leaves_one_place(latency, remaining):
    """As it was met: calls of more than two seconds, and others that leave five of twenty places."""
    window, now = BurstWindow(), 0.0
    for _ in range(10):
        assert window.delay(now) == 0
        window.take()
        now += latency
        window.give_back(now - latency, now, {"x-ratelimit-limit": "20", "x-ratelimit-remaining": str(remaining)})
        now += WINDOW_SECONDS + A_MOMENT
