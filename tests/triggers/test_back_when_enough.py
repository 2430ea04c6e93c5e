"""The trigger that waits for the next day, in virtual time: when it looks, what is enough for it, and with whom."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_pipedrive_leads.leads.waiting import budget_probe
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import LONGEST_WAIT
from airflow_provider_pipedrive_leads.triggers import daily_budget
from airflow_provider_pipedrive_leads.triggers.daily_budget import PipedriveDailyBudgetTrigger

SUCCESS = {"status": "success"}
BEGAN = datetime(2026, 3, 1, 14, 7, tzinfo=UTC)
"""By the sandbox's clock; hours from midnight in both zones that it plays."""
SIZE = 30_000


@pytest.fixture
def account(sandbox, monkeypatch, no_waiting):
    """A spent day in an account of the smallest size; the trigger's sleep moves the sandbox's clock."""
    sandbox.control.set_choice("rate_headers", "present")
    sandbox.control.freeze(BEGAN.isoformat())
    sandbox.control.set_budget(0)
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    monkeypatch.setattr(daily_budget, "_now", lambda: datetime.fromisoformat(sandbox.control.now()))

    async def sleep(seconds):
        sandbox.control.advance(seconds)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    monkeypatch.setattr(budget_probe, "_clock", lambda: daily_budget._now().timestamp())
    sandbox.control.reset_counters()
    return sandbox


def looks(account):
    """How often it was looked."""
    return len([seen for seen in account.control.requests() if seen["path"] == "/v1/users/me"])


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def waiting(**values):
    return PipedriveDailyBudgetTrigger("pipedrive_default", since=BEGAN.isoformat(), **values)


def test_a_moment_that_the_server_told_is_waited_for(account, monkeypatch):
    resets_at = BEGAN + timedelta(minutes=93)

    async def sleep(seconds):
        account.control.advance(seconds)
        if daily_budget._now() >= resets_at:
            account.control.set_budget(SIZE)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    assert events(waiting(resets_at=resets_at.isoformat())) == [SUCCESS]
    assert looks(account) == 1
    assert daily_budget._now() - resets_at == timedelta(seconds=30)


def test_a_midnight_of_any_zone_is_seen_at_once(account):
    """UTC in one profile, California in the other: nobody told."""
    account.control.set_choice("retry_after", "absent")
    left = timedelta(seconds=account.control.overview()["budget"]["seconds_to_reset"])
    assert events(waiting()) == [SUCCESS]
    assert daily_budget._now() - (BEGAN + left) <= timedelta(seconds=31)


def test_a_refused_look_tells_when_to_look_again(account):
    account.control.set_choice("retry_after", "present")
    left = timedelta(seconds=account.control.overview()["budget"]["seconds_to_reset"])
    assert events(waiting()) == [SUCCESS]
    assert daily_budget._now() - (BEGAN + left) <= timedelta(seconds=31)
    assert looks(account) == 2


def test_a_rest_that_is_not_enough_is_left_alone(account):
    account.control.set_budget(300)
    assert events(waiting(needed=5_000)) == [SUCCESS]
    assert daily_budget._now() - BEGAN > timedelta(hours=9)


def test_what_is_enough_is_taken_the_same_day(account):
    account.control.set_budget(300)
    assert events(waiting(needed=250)) == [SUCCESS]
    assert daily_budget._now() - BEGAN < timedelta(minutes=30)


def test_a_task_that_needs_more_than_a_day_goes_on_with_a_fresh_one(account):
    limit = account.control.overview()["budget"]["limit"]
    assert events(waiting(needed=10 * limit)) == [SUCCESS]


def test_a_wait_that_was_in_vain_says_what_was_missing(account, monkeypatch):
    async def sleep(seconds):
        account.control.advance(seconds)
        account.control.set_budget(300)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    (event,) = events(waiting(needed=5_000))
    assert (event["status"], event["error"]) == ("error", "PipedriveDailyBudgetError")
    assert "5000" in event["message"]
    assert daily_budget._now() - BEGAN <= LONGEST_WAIT


def test_all_waits_of_an_account_share_their_looks(account, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(account.connection))
    account.control.set_budget(SIZE)
    woken: list[float] = []
    all_there = asyncio.Event()

    async def sleep(seconds):
        woken.append(seconds)
        if len(woken) == 50:
            all_there.set()
        await all_there.wait()

    monkeypatch.setattr(daily_budget, "_sleep", sleep)

    async def collect(trigger):
        return [event.payload async for event in trigger.run()]

    async def run():
        names = ("pipedrive_default", "other") * 25
        triggers = [PipedriveDailyBudgetTrigger(name, since=BEGAN.isoformat()) for name in names]
        return await asyncio.gather(*map(collect, triggers))

    assert asyncio.run(run()) == [[SUCCESS]] * 50
    assert looks(account) == 1


def test_one_that_was_stored_before_it_knew_of_needs_goes_on(account):
    """As versions before kept it."""
    stored = {"pipedrive_conn_id": "pipedrive_default", "since": BEGAN.isoformat()}
    trigger = PipedriveDailyBudgetTrigger(**stored)
    assert events(trigger) == [SUCCESS]
    path, values = json.loads(json.dumps(waiting(resets_at=BEGAN.isoformat(), needed=7).serialize()))
    assert path.endswith("triggers.daily_budget.PipedriveDailyBudgetTrigger")
    assert PipedriveDailyBudgetTrigger(**values).serialize()[1] == values
    assert values["needed"] == 7
