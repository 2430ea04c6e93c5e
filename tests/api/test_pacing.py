"""The burst window, in virtual time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.pacing import LEAST_ALLOWED, WINDOW_SECONDS, BurstWindow


@given(
    allowed=st.integers(1, 40),
    calls=st.lists(st.tuples(st.floats(0.0, 1.5), st.floats(0.0, 1.0)), min_size=1, max_size=200),
)
def test_the_server_never_sees_more_than_allowed(allowed, calls):
    """Calls one after another, each counted by the server at some moment between its sending and its reply."""
    window, now, seen = BurstWindow(allowed), 0.0, []
    for latency, share in calls:
        while (wait := window.delay(now)) > 0:
            now += wait
        window.take()
        seen.append(now + latency * share)
        now += latency
        window.give_back(now)
    for index, moment in enumerate(seen):
        assert sum(1 for other in seen[index:] if other < moment + WINDOW_SECONDS) <= allowed


def test_a_full_window_waits_for_its_oldest_place():
    window = BurstWindow(2)
    for moment in (0.0, 0.5):
        assert window.delay(moment) == 0
        window.take()
        window.give_back(moment)
    assert window.delay(1.0) == 1.0
    assert window.delay(2.0) == 0


def test_calls_under_way_hold_their_places():
    window = BurstWindow(1)
    window.take()
    assert window.delay(100.0) > 0
    window.give_back(100.0)
    assert window.delay(102.0) == 0


def test_the_servers_limit_replaces_the_assumed_one():
    window = BurstWindow()
    assert window.allowed == LEAST_ALLOWED
    window.learn({"x-ratelimit-limit": "120"}, 0.0)
    assert window.allowed == 120
    window.learn({"x-ratelimit-limit": "soon"}, 0.0)
    assert window.allowed == 120


def test_it_holds_still_when_others_used_the_window_up():
    window = BurstWindow(40)
    window.learn({"x-ratelimit-limit": "40", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}, 10.0)
    assert window.delay(10.0) == 2.0
    assert window.delay(12.0) == 0
