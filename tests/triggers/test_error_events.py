"""An error that a trigger met is the same error in the task: what it knows goes with it."""

from __future__ import annotations

import asyncio
import inspect
import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_pipedrive_leads.api import errors
from airflow_provider_pipedrive_leads.api.error_events import FACTS, error_event, error_in
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveRateLimitError,
)
from airflow_provider_pipedrive_leads.api.retries import after_failure
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event
from airflow_provider_pipedrive_leads.triggers import conversion, daily_budget, leads
from airflow_provider_pipedrive_leads.triggers.conversion import PipedriveConversionTrigger
from airflow_provider_pipedrive_leads.triggers.daily_budget import PipedriveDailyBudgetTrigger
from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadsTrigger, PipedriveLeadTrigger

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PipedriveError)]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
VALUES = {
    "status": 403,
    "error": "no",
    "error_info": "why",
    "correlation_id": "abc-1",
    "method": "POST",
    "path": "/v1/leads",
    "in_doubt": True,
    "retry_after": 300.5,
    "banned": True,
    "resets_at": NOON,
    "needed": 4_000,
}


def in_the_task(event):
    """The error that a task raises, after the event went through the database."""
    with pytest.raises(PipedriveError) as raised:
        check_event(json.loads(json.dumps(event)))
    return raised.value


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_every_kind_come_back_as_they_were(kind):
    """A fact that a kind learns later must be known here, too."""
    for facts in ({}, VALUES):
        error = kind("what, where, what to do")
        assert set(vars(error)) <= set(FACTS)
        vars(error).update({name: value for name, value in facts.items() if hasattr(error, name)})
        again = in_the_task(error_event(error))
        assert type(again) is kind
        assert (str(again), vars(again)) == (str(error), vars(error))


def test_a_ban_lasts_as_long_in_the_task_as_in_the_trigger():
    ban = PipedriveRateLimitError("banned", retry_after=300.0, banned=True, status=403)
    again = in_the_task(error_event(ban))
    assert after_failure(again, chance=0.0) == after_failure(ban, chance=0.0)
    assert after_failure(again, chance=0.0).delay == 300


@pytest.mark.parametrize("kind", KINDS)
def test_events_of_earlier_versions_are_read(kind):
    error = in_the_task({"status": "error", "error": kind.__name__, "message": "spent"})
    assert type(error) is kind
    assert vars(error) == vars(kind("spent"))


@pytest.mark.parametrize(
    "name", ["datetime", "Facts", "math", "error_from_reply", "", None, 7, "Exception", "TypedDict"]
)
def test_a_name_that_is_no_kind_of_error_is_not_called(name):
    assert type(in_the_task({"status": "error", "error": name, "message": "odd"})) is PipedriveError


@pytest.mark.parametrize(
    "facts",
    [None, [], "x", {"status": "many"}, {"resets_at": "soon"}, {"retry_after": []}, {"args": [1]}, {"unknown": 1}],
)
def test_facts_that_make_no_sense_are_left_out(facts):
    for kind in (PipedriveRateLimitError, PipedriveDailyBudgetError):
        error = error_in({"status": "error", "error": kind.__name__, "message": "odd", "facts": facts})
        assert (type(error), str(error), vars(error)) == (kind, "odd", vars(kind("odd")))


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


@pytest.fixture
def at_once(monkeypatch):
    """Let triggers neither wait for the worker to leave nor between questions."""

    async def sleep(seconds):
        await asyncio.sleep(0)

    monkeypatch.setattr(leads, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(conversion, "_sleep", sleep)
    monkeypatch.setattr(daily_budget, "_sleep", sleep)


def converting():
    deadline = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # real time: a day is never over in a test
    return PipedriveConversionTrigger(
        source="lead", source_id=LEAD, conversion_id=LEAD, deadline=deadline, pipedrive_conn_id="crm"
    )


QUICK = {"poll_interval": 0.3, "daily_share": 1e6, "pipedrive_conn_id": "crm"}
TRIGGERS = {
    "lead": lambda: PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since="2026-01-31T09:30:00Z", **QUICK),
    "leads": lambda: PipedriveLeadsTrigger(min_count=1, since="2026-01-31T09:30:00Z", **QUICK),
    "conversion": converting,
    "daily budget": lambda: PipedriveDailyBudgetTrigger("crm"),
}


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("name", TRIGGERS)
def test_each_trigger_tells_all_that_it_knows_of_an_error(sandbox, monkeypatch, name):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    (event,) = events(TRIGGERS[name]())
    error = in_the_task(event)
    assert type(error) is PipedriveAuthError
    assert (error.status, error.error, error.method) == (401, "unauthorized access", "GET")
    assert error.path.startswith("/")


@pytest.mark.usefixtures("at_once", "no_waiting")
def test_a_spent_day_keeps_when_it_ends(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(sandbox.connection))
    sandbox.control.freeze("2026-03-01T12:00:00Z")
    for choice, value in {"retry_after": "present", "day_zone": "UTC"}.items():
        sandbox.control.set_choice(choice, value)
    sandbox.control.set_budget(0)
    (event,) = events(converting())
    error = in_the_task(event)
    assert type(error) is PipedriveDailyBudgetError
    assert error.resets_at == NOON + timedelta(hours=12)
    assert error.status == 429
