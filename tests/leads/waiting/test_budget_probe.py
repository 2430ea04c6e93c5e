"""When waits look whether the day's budget is back, what they take for an answer, and that they share it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveAuthError
from airflow_provider_pipedrive_leads.client import Account
from airflow_provider_pipedrive_leads.leads.waiting import budget_probe
from airflow_provider_pipedrive_leads.leads.waiting.budget_probe import MAX_ANSWER_AGE, told_by
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import (
    BETWEEN_PROBES,
    LONGEST_WAIT,
    SHORTEST_WAIT,
    SMALLEST_NEED,
    Told,
    is_back,
    next_probe,
)
from tests.until import eventually

TEN = datetime(2026, 3, 1, 10, 7, tzinfo=UTC)
RESET = datetime(2026, 3, 2, 1, 40, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("now", "resets_at", "probe"),
    [
        (TEN, None, "2026-03-01T10:30:30+00:00"),
        (TEN.replace(minute=29, second=59), None, "2026-03-01T10:30:30+00:00"),
        (TEN.replace(minute=30, second=30), None, "2026-03-01T11:00:30+00:00"),
        (TEN, RESET, "2026-03-02T01:40:30+00:00"),
        (RESET, RESET, "2026-03-02T01:40:30+00:00"),
        (RESET + timedelta(seconds=30), RESET, "2026-03-02T02:00:30+00:00"),
        (TEN, TEN, "2026-03-01T10:30:30+00:00"),
        (TEN, TEN - timedelta(days=20), "2026-03-01T10:30:30+00:00"),
        (TEN, TEN + timedelta(days=20), "2026-03-01T10:30:30+00:00"),
        (TEN + LONGEST_WAIT, None, None),
    ],
)
def test_timetable(now, resets_at, probe):
    found = next_probe(now, TEN, resets_at)
    assert (found and found.isoformat()) == probe


def test_no_probe_comes_while_the_worker_is_still_leaving():
    since = TEN.replace(minute=30, second=25)
    assert next_probe(since, since) == since.replace(hour=11, minute=0, second=30)
    reset = since + timedelta(seconds=1)
    assert next_probe(since, since, reset) == reset + timedelta(seconds=30)


@given(MOMENTS, st.timedeltas(timedelta(0), LONGEST_WAIT), st.none() | MOMENTS)
def test_a_budget_that_comes_back_at_any_moment_is_seen_within_half_an_hour(since, after, resets_at):
    """The moment that was told may be wrong: only then, and only until it, nobody looks."""
    back, probe = since + after, next_probe(since, since, resets_at)
    while probe is not None and probe < back:
        assert probe <= since + LONGEST_WAIT
        before, probe = probe, next_probe(probe, since, resets_at)
        assert probe is None or before < probe
    told = resets_at is not None and since < resets_at <= since + LONGEST_WAIT
    if probe is not None and not told:
        assert probe - back <= BETWEEN_PROBES + SHORTEST_WAIT


@given(MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(hours=24)), st.sampled_from([0, 15, 30, 45]))
def test_a_midnight_of_any_zone_is_seen_soon(since, after, minutes):
    midnight = (since + after).replace(minute=minutes, second=0, microsecond=0)
    if midnight <= since:
        return
    probe = next_probe(max(since, midnight), since)
    assert probe is not None
    assert probe - midnight <= (timedelta(minutes=2) if minutes in (0, 30) else timedelta(minutes=17))


@pytest.mark.parametrize(
    ("left", "size", "needed", "reserve", "back"),
    [
        (300, 1_000_000, 5_000, 0, False),
        (5_000, 1_000_000, 5_000, 0, True),
        (5_999, 1_000_000, 5_000, 1_000, False),
        (6_000, 1_000_000, 5_000, 1_000, True),
        (SMALLEST_NEED - 1, 1_000_000, None, 0, False),
        (SMALLEST_NEED, 1_000_000, None, 0, True),
        (29_998, 30_000, 100_000, 0, True),
        (29_998, 30_000, 100_000, 10_000, True),
        (20_000, 30_000, 100_000, 0, False),
        (50, 50, None, 0, True),
        (900, 1_000, 5_000, 2_000, True),
        (5_000, None, 5_000, 0, True),
        (4_999, None, 5_000, 0, False),
    ],
)
def test_what_a_task_needs_has_to_be_there(left, size, needed, reserve, back):
    """At most the day less the reserve, but for what others were quick to take; a reserve above the day is an error."""
    told = Told(passes=True, left=left, size=size)
    assert is_back(told, needed=needed, reserve=reserve, since=TEN, now=TEN + timedelta(hours=1)) is back
    refused = Told(passes=False, left=left, size=size)
    assert not is_back(refused, needed=needed, reserve=reserve, since=TEN, now=TEN + timedelta(hours=1))


@pytest.mark.parametrize(
    ("reserve", "hours", "back"), [(0, 1, True), (1_000, 1, False), (1_000, 13, False), (1_000, 14, True)]
)
def test_a_reserve_that_is_kept_by_counting_is_good_for_a_day(reserve, hours, back):
    """Where nobody tells what is left, each process counts from a whole day: one that begins sooner would spend two."""
    now = TEN + timedelta(hours=hours)
    assert is_back(Told(passes=True), needed=9_000, reserve=reserve, since=TEN, now=now) is back


def account_on(sandbox, **values):
    return Account(read_connection(**{"password": sandbox.token, "extra": sandbox.connection["extra"], **values}))


def asked(sandbox):
    return len([seen for seen in sandbox.control.requests() if seen["path"] == "/v1/users/me"])


def test_a_hundred_share_one_call(sandbox):
    sandbox.control.reset_counters()

    async def run():
        return await asyncio.gather(*(told_by(account_on(sandbox)) for _ in range(100)))

    answers = asyncio.run(run())
    assert asked(sandbox) == 1
    assert len({id(answer) for answer in answers}) == 1
    assert answers[0].passes


def test_an_answer_holds_for_a_minute(sandbox, monkeypatch):
    sandbox.control.reset_counters()
    now = [0.0]
    monkeypatch.setattr(budget_probe, "_clock", lambda: now[0])

    async def run():
        for moment, calls in ((0.0, 1), (MAX_ANSWER_AGE, 1), (MAX_ANSWER_AGE + 1, 2)):
            now[0] = moment
            await told_by(account_on(sandbox))
            assert asked(sandbox) == calls

    asyncio.run(run())


def test_accounts_do_not_share(sandbox):
    async def run():
        found = await asyncio.gather(
            told_by(account_on(sandbox)),
            told_by(account_on(sandbox, password="f" * 40)),
            told_by(account_on(sandbox, password="f" * 40)),
            return_exceptions=True,
        )
        assert [type(each) for each in found] == [Told, PipedriveAuthError, PipedriveAuthError]

    asyncio.run(run())


def test_who_is_cancelled_leaves_the_others_their_answer(sandbox):
    """And the last one who leaves ends the call: who comes then asks anew."""
    sandbox.control.reset_counters()
    sandbox.control.fault("GET", "/v1/users/me", "delay", seconds=3600)

    async def run():
        first, second = (asyncio.create_task(told_by(account_on(sandbox))) for _ in range(2))
        await eventually(lambda: asked_or_asking(sandbox))
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        assert not second.done()
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        assert (await told_by(account_on(sandbox))).passes

    asyncio.run(run())


def asked_or_asking(sandbox):
    return sandbox.control.counters()["in_flight"] > 0


def test_what_the_probe_is_told(sandbox):
    sandbox.control.set_choice("rate_headers", "present")
    told = asyncio.run(told_by(account_on(sandbox)))
    assert (told.passes, told.size) == (True, sandbox.control.overview()["budget"]["limit"])
    assert told.left == sandbox.control.overview()["budget"]["remaining"]


def test_a_refused_probe_brings_the_moment_that_it_was_told(sandbox):
    sandbox.control.set_choice("retry_after", "present")
    sandbox.control.freeze("2026-03-01T10:00:00Z")
    sandbox.control.set_budget(0)
    told = asyncio.run(told_by(account_on(sandbox)))
    assert (told.passes, told.left) == (False, None)
    left = timedelta(seconds=sandbox.control.overview()["budget"]["seconds_to_reset"])
    assert told.resets_at == datetime(2026, 3, 1, 10, tzinfo=UTC) + left
