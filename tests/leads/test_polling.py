"""How often to poll: the slower of the wanted pace and the affordable one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.polling import (
    LONGEST_INTERVAL,
    daily_share_value,
    poll_interval_value,
    seconds_between_polls,
)


@pytest.mark.parametrize(
    ("tokens", "day", "seconds"),
    [(20, None, 576.0), (20, 30_000, 576.0), (20, 150_000, 300.0), (2, None, 300.0), (60, 30_000, 1728.0)],
)
def test_the_slower_wins(tokens, day, seconds):
    assert seconds_between_polls(300, tokens, day, 0.1)[0] == seconds


def test_it_says_which_won_and_why():
    assert "every 576 s instead of 300 s" in seconds_between_polls(300, 20, None, 0.1)[1]
    assert "30000 API tokens (assumed" in seconds_between_polls(300, 20, None, 0.1)[1]
    assert "every 300 s, as asked for" in seconds_between_polls(300, 20, 210_000, 0.1)[1]
    assert "210000 API tokens (as Pipedrive tells)" in seconds_between_polls(300, 20, 210_000, 0.1)[1]


@given(
    st.floats(10, 10_000),
    st.integers(1, 20_000),
    st.one_of(st.none(), st.integers(1_000, 10_000_000)),
    st.floats(0.0001, 1),
)
def test_no_day_passes_its_share(interval, tokens, day, share):
    seconds, _ = seconds_between_polls(interval, tokens, day, share)
    assert seconds >= interval
    allowed = (day or 30_000) * share
    assert 86_400 / seconds * tokens <= allowed * 1.000001 or seconds == LONGEST_INTERVAL
    if allowed >= tokens:
        assert math.ceil(86_400 / seconds - 1e-9) * tokens <= allowed * 1.000001


@pytest.mark.parametrize("value", [9.99, "9", 0, -1, "often", True, None, "nan"])
def test_intervals_that_are_refused(value):
    with pytest.raises(PipedriveValidationError, match="poll_interval"):
        poll_interval_value(value)


@pytest.mark.parametrize("value", [0, -0.1, 1.01, "much", None])
def test_shares_that_are_refused(value):
    with pytest.raises(PipedriveValidationError, match="daily_share"):
        daily_share_value(value)


def test_texts_are_read():
    assert (poll_interval_value("10"), daily_share_value("0.25")) == (10.0, 0.25)
