"""What a 429 says: too many calls at once, or a spent day; and for how long, whatever figure stands there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.budget import FORGOTTEN_AFTER, DailyBudget
from airflow_provider_pipedrive_leads.api.errors import (
    MAX_WAIT,
    PipedriveDailyBudgetError,
    PipedriveRateLimitError,
    error_from_reply,
    seconds_to_wait,
)
from airflow_provider_pipedrive_leads.api.retries import SHORTEST_TASK_PAUSE, after_failure
from airflow_provider_pipedrive_leads.leads.waiting.pace import Trouble
from airflow_provider_pipedrive_leads.retry_policy import PipedriveRetryPolicy

CALL = endpoints.GET_LEADS.call()
TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 10:00:00 GMT"
LEFT = "x-daily-ratelimit-token-remaining"
RESET = "x-ratelimit-reset"
EPOCH = int(TEN.timestamp())
HUGE = ("1e12", "1e300", "9" * 400, "inf", "nan", "-1e300")


@pytest.mark.parametrize("seconds", ["2", "299", "301", "3600", "90000", *HUGE])
@pytest.mark.parametrize("date", [DATE, "no date", None])
def test_with_tokens_left_it_is_no_spent_day(seconds, date):
    told = {LEFT: "100000", "retry-after": seconds, **({"date": date} if date else {})}
    error = error_from_reply(CALL, 429, told, b"{}")
    assert type(error) is PipedriveRateLimitError
    assert 0 <= error.retry_after <= MAX_WAIT
    decision = PipedriveRetryPolicy().evaluate(error, 1, 3)
    assert timedelta(seconds=error.retry_after) <= decision.retry_delay <= timedelta(seconds=2 * MAX_WAIT)


def test_a_wait_of_hours_with_tokens_left_is_told_as_it_is():
    assert error_from_reply(CALL, 429, {LEFT: "100000", "retry-after": "3600"}, b"{}").retry_after == 3600


@pytest.mark.parametrize("seconds", HUGE)
def test_a_figure_that_nothing_lasts_for_is_not_believed(seconds):
    error = error_from_reply(CALL, 429, {"retry-after": seconds, RESET: "1", "date": DATE}, b"{}")
    assert (type(error), error.retry_after) == (PipedriveRateLimitError, 1)
    spent = error_from_reply(CALL, 429, {"retry-after": seconds, LEFT: "0", "date": DATE}, b"{}")
    assert (type(spent), spent.resets_at) == (PipedriveDailyBudgetError, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({RESET: str(EPOCH + 5), "date": DATE}, 5),
        ({RESET: str((EPOCH + 5) * 1000), "date": DATE}, 5),
        ({RESET: str(EPOCH - 5), "date": DATE}, 2.0),
        ({RESET: str(EPOCH + 5)}, 2.0),
        ({"retry-after": str(EPOCH + 60), RESET: "1"}, 1),
        ({"retry-after": "Sun, 01 Mar 2026 10:01:00 GMT", "date": DATE}, 60),
        ({"retry-after": "Sun, 01 Mar 2026 10:01:00 -0000", "date": DATE}, 60),
        ({"retry-after": "Sun, 01 Mar 2026 10:01:00 GMT", RESET: "1"}, 1),
        ({"retry-after": "Sun, 01 Mar 2026 09:59:00 GMT", "date": DATE, RESET: "1"}, 1),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -0900", "date": DATE, RESET: "1"}, 1),
    ],
)
def test_a_moment_is_read_by_the_servers_clock(headers, seconds):
    assert seconds_to_wait(headers) == seconds
    assert type(error_from_reply(CALL, 429, headers, b"{}")) is PipedriveRateLimitError


def test_the_day_is_back_when_the_server_says():
    spent = error_from_reply(CALL, 429, {"retry-after": "5400", "date": DATE}, b"{}")
    assert spent.resets_at == TEN + timedelta(minutes=90)
    by_date = {"retry-after": "Sun, 01 Mar 2026 11:30:00 GMT", "date": DATE, LEFT: "3"}
    assert error_from_reply(CALL, 429, by_date, b"{}").resets_at == spent.resets_at
    end_of_time = {"retry-after": "5400", "date": "Fri, 31 Dec 9999 23:59:59 GMT"}
    assert error_from_reply(CALL, 429, end_of_time, b"{}").resets_at is None


HEADER = (
    st.floats().map(str)
    | st.integers().map(str)
    | st.text(max_size=40)
    | st.datetimes().map(format_datetime)
    | st.datetimes(timezones=st.just(UTC)).map(format_datetime)
    | st.none()
)


@given(retry_after=HEADER, reset=HEADER, left=HEADER, date=HEADER, chance=st.floats(0, 1, exclude_max=True))
def test_no_figure_upsets_anyone(retry_after, reset, left, date, chance):
    told = {"retry-after": retry_after, RESET: reset, LEFT: left, "date": date}
    error = error_from_reply(CALL, 429, {name: value for name, value in told.items() if value is not None}, b"{}")
    trouble = Trouble()
    if isinstance(error, PipedriveRateLimitError):
        assert 0 <= error.retry_after <= MAX_WAIT
        trouble.passing(error, TEN)
    else:
        trouble.day_spent(error, TEN)
    assert 0 <= trouble.seconds_left(TEN) <= MAX_WAIT
    decision = after_failure(error, chance=chance)
    assert decision.delay is None or timedelta(0) < timedelta(seconds=decision.delay) <= timedelta(days=3)


@pytest.mark.parametrize("retry_after", [0.0, 1e12, 1e300, float("inf")])
def test_an_error_with_any_wait_leads_to_one_that_can_be_kept(retry_after):
    error = PipedriveRateLimitError("slow down", retry_after=retry_after)
    delay = PipedriveRetryPolicy().evaluate(error, 1, 3).retry_delay
    assert timedelta(seconds=SHORTEST_TASK_PAUSE) <= delay <= timedelta(days=3)
    trouble = Trouble()
    trouble.passing(error, TEN)
    assert trouble.seconds_left(TEN) <= MAX_WAIT


@pytest.mark.parametrize(
    ("left", "told_ago", "may_be_spent"),
    [(None, 0, True), (19, 0, True), (20, 0, False), (100_000, 0, False), (100_000, FORGOTTEN_AFTER + 1, True)],
)
def test_the_day_may_be_spent_unless_told_otherwise_lately(left, told_ago, may_be_spent):
    day = DailyBudget(left=left, told_at=1000.0)
    assert day.may_be_spent(CALL, 1000.0 + told_ago) is may_be_spent
