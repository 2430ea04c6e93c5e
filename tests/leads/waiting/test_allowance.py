"""What polling may cost: the slower of the wanted pace and the affordable one, and something saved for bad days."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.waiting.allowance import LONGEST_INTERVAL, Allowance

DAY = 86_400
at_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHARES = st.builds(
    Allowance,
    st.floats(10, 10_000),
    st.one_of(st.none(), st.integers(1_000, 10_000_000)),
    st.floats(0.0001, 1),
)


@pytest.mark.parametrize(
    ("cost", "day", "seconds"),
    [(20, None, 640.0), (20, 30_000, 640.0), (20, 150_000, 300.0), (2, None, 300.0), (60, 30_000, 1920.0)],
)
def test_the_slower_wins_in_the_long_run(cost, day, seconds):
    allowance = Allowance(300, day, 0.1)
    owed = 0.0
    waits = []
    for _ in range(200):
        waits.append(allowance.seconds_to_next(cost, owed))
        owed = allowance.owed(owed, waits[-1], cost, cost)
    assert waits[0] == 300
    assert waits[-1] == pytest.approx(seconds)


def test_it_says_which_won_and_why():
    assert "every 640 s in the long run, not every 300 s" in Allowance(300, None, 0.1).why(20)
    assert "30000 API tokens (assumed" in Allowance(300, None, 0.1).why(20)
    assert "every 300 s, as asked for" in Allowance(300, 210_000, 0.1).why(20)
    assert "210000 API tokens (as Pipedrive tells)" in Allowance(300, 210_000, 0.1).why(20)


@at_any_speed
@given(SHARES, st.integers(1, 20_000), st.lists(st.integers(0, 30), max_size=60))
def test_no_day_passes_its_share(allowance, cost, dearer):
    """Whatever the polls find, but for what the last one costs beyond what was saved."""
    now, owed, polls = 0.0, 0.0, []
    for factor in [*dearer, *[1] * 100]:
        now += (wait := allowance.seconds_to_next(cost, owed))
        assert wait >= allowance.poll_interval
        spent = cost * factor // 10 if factor else 0
        owed = allowance.owed(owed, wait, spent, cost)
        polls.append((now, spent))
    dearest = max(spent for _, spent in polls)
    for first, (begin, _) in enumerate(polls):
        in_a_day = sum(spent for when, spent in polls[first:] if when < begin + DAY)
        assert in_a_day <= allowance.tokens * 1.000001 + dearest


@at_any_speed
@given(SHARES, st.integers(1, 20_000))
def test_usual_polls_stay_within_the_share(allowance, cost):
    now, owed, polls = 0.0, 0.0, []
    while len(polls) < 150:
        now += (wait := allowance.seconds_to_next(cost, owed))
        owed = allowance.owed(owed, wait, cost, cost)
        polls.append(now)
    if allowance.tokens >= cost:
        assert max(sum(begin <= when < begin + DAY - 1 for when in polls) for begin in polls[:40]) * cost <= (
            allowance.tokens * 1.000001
        )
    else:
        assert polls[1] - polls[0] >= min(DAY, LONGEST_INTERVAL)


def test_what_was_saved_pays_for_a_dear_poll():
    allowance = Allowance(300, None, 0.1)
    assert allowance.seconds_to_next(20, allowance.owed(0, 300, 250, 20)) == 300
    assert allowance.seconds_to_next(20, allowance.owed(0, 300, 600, 20)) == pytest.approx(10_880)
    assert allowance.seconds_to_next(20, allowance.owed(0, 300, 100_000, 20)) < 1.2 * DAY
