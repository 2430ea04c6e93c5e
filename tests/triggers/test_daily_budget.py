"""Waiting for the next day's budget, in virtual time."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.exceptions import PipedriveAuthError, PipedriveDailyBudgetError, PipedriveError
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import LONGEST_WAIT, next_probe
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event
from airflow_provider_pipedrive_leads.triggers import daily_budget
from airflow_provider_pipedrive_leads.triggers.daily_budget import PipedriveDailyBudgetTrigger
from demo.ports import reserve_port
from tests.virtual_time import VirtualTime

TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.datetimes(max_value=datetime(9990, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(timedelta(0), timedelta(hours=30)),
)
def test_a_probe_is_never_in_the_past_nor_too_late(since, waited):
    probe = next_probe(since + waited, since)
    if probe is not None:
        assert since + waited < probe <= since + LONGEST_WAIT


@pytest.fixture
def virtual_time(monkeypatch):
    """A time that passes when the trigger sleeps."""
    made = VirtualTime(TEN)
    monkeypatch.setattr(daily_budget, "_now", made.now)
    monkeypatch.setattr(daily_budget, "_sleep", made.jump)
    return made


@pytest.fixture
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def answering(answer):
    async def budget_is_back(_):
        return answer()

    return budget_is_back


@pytest.mark.usefixtures("connection")
def test_it_fires_at_the_first_probe_after_the_budget_is_back(virtual_time, monkeypatch):
    answers = iter([False, False, True])
    monkeypatch.setattr(PipedriveDailyBudgetTrigger, "_budget_is_back", answering(lambda: next(answers)))
    assert events(PipedriveDailyBudgetTrigger("pipedrive_default")) == [{"status": "success"}]
    assert virtual_time.now().isoformat() == "2026-03-01T11:00:30+00:00"


@pytest.mark.usefixtures("connection", "virtual_time")
def test_it_asks_the_real_account(sandbox):
    sandbox.control.reset_counters()
    assert events(PipedriveDailyBudgetTrigger("pipedrive_default")) == [{"status": "success"}]
    assert [seen["path"] for seen in sandbox.control.requests()] == ["/v1/users/me"]


@pytest.mark.usefixtures("connection")
def test_it_gives_up_after_26_hours(virtual_time, monkeypatch):
    monkeypatch.setattr(PipedriveDailyBudgetTrigger, "_budget_is_back", answering(lambda: False))
    (event,) = events(PipedriveDailyBudgetTrigger("pipedrive_default"))
    assert event["error"] == "PipedriveDailyBudgetError"
    assert virtual_time.now() - TEN <= LONGEST_WAIT
    assert len(virtual_time.slept) == 52


@pytest.mark.usefixtures("virtual_time")
def test_an_account_that_refuses_the_token_ends_the_wait(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    (event,) = events(PipedriveDailyBudgetTrigger("crm"))
    assert (event["status"], event["error"]) == ("error", "PipedriveAuthError")
    with pytest.raises(PipedriveAuthError, match="API token"):
        check_event(event)


@pytest.mark.usefixtures("virtual_time", "no_waiting")
def test_a_server_that_is_down_is_asked_later(monkeypatch):
    connection = {
        "conn_type": "pipedrive",
        "password": "f" * 40,
        "extra": {"base_url": f"http://127.0.0.1:{reserve_port()}"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    (event,) = events(PipedriveDailyBudgetTrigger("crm"))
    assert event["error"] == "PipedriveDailyBudgetError"


def test_it_rebuilds_from_what_it_serializes():
    trigger = PipedriveDailyBudgetTrigger("crm")
    path, values = json.loads(json.dumps(trigger.serialize()))
    assert path == "airflow_provider_pipedrive_leads.triggers.daily_budget.PipedriveDailyBudgetTrigger"
    assert PipedriveDailyBudgetTrigger(**values).serialize() == trigger.serialize()


@pytest.mark.parametrize("event", [None, {}, {"status": "odd"}])
def test_an_event_that_cannot_be_understood_is_an_error(event):
    with pytest.raises(PipedriveError, match="cannot be understood"):
        check_event(event)


def test_an_error_event_is_raised_by_its_type():
    with pytest.raises(PipedriveDailyBudgetError, match="spent"):
        check_event({"status": "error", "error": "PipedriveDailyBudgetError", "message": "spent"})
