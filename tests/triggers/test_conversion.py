"""Waiting for a conversion in the triggerer, in virtual time."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_pipedrive_leads.leads.writing.conversion import seconds_to_next_question
from airflow_provider_pipedrive_leads.triggers import conversion as module
from airflow_provider_pipedrive_leads.triggers.conversion import FIRST_WAIT, PipedriveConversionTrigger

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")
STATUS = "/api/v2/leads/*/convert/status/*"


@pytest.fixture
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))


@pytest.fixture
def slept(sandbox, monkeypatch):
    """The trigger's sleeps, which let the sandbox's time pass instead."""
    done = []

    async def sleep(seconds):
        done.append(seconds)
        sandbox.control.advance(seconds)

    monkeypatch.setattr(module, "_sleep", sleep)
    monkeypatch.setattr(module, "_now", lambda: datetime.now(UTC) + timedelta(seconds=sum(done)))
    return done


@pytest.fixture
def begun(sandbox, client, person_id):
    """A conversion that was begun, as the trigger takes it."""
    sandbox.control.set_delay("conversion", 25)
    lead_id = client.add_lead("Waiting", person_id=person_id)["id"]
    begun = {"source": "lead", "source_id": lead_id, "conversion_id": client.convert_lead_to_deal(lead_id)}
    yield {**begun, "deadline": (datetime.now(UTC) + timedelta(seconds=600)).isoformat()}
    sandbox.control.set_delay("conversion", 1)


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_it_fires_when_the_deal_is_there(client, begun, slept):
    (event,) = events(PipedriveConversionTrigger(**begun))
    (deal_id,) = [deal["id"] for deal in client.get_deals() if deal["source_lead_id"] == begun["source_id"]]
    assert event == {"status": "success", "outcome": "completed", "target_id": deal_id, "said": "completed"}
    assert slept == [FIRST_WAIT, 5.0, 5.0, 5.0]


def test_it_fires_when_the_lead_is_there(sandbox, client, begun, slept):
    sandbox.control.advance(30)
    deal_id = client.get_lead_conversion_status(begun["source_id"], begun["conversion_id"])["deal_id"]
    conversion_id = client.convert_deal_to_lead(deal_id)
    asked = {**begun, "source": "deal", "source_id": str(deal_id), "conversion_id": conversion_id}
    (event,) = events(PipedriveConversionTrigger(**asked, poll_interval=60))
    assert (event["outcome"], len(event["target_id"])) == ("completed", 36)
    assert slept == [60]


def test_it_never_asks_at_once(sandbox, begun, slept):
    sandbox.control.reset_counters()
    sandbox.control.advance(30)
    events(PipedriveConversionTrigger(**begun, poll_interval=0.1))
    assert slept == [FIRST_WAIT]
    assert len(sandbox.control.requests()) == 1


@pytest.mark.parametrize("outcome", ["failed", "rejected"])
def test_it_tells_how_pipedrive_ended_it(sandbox, client, person_id, slept, outcome):
    sandbox.control.next_conversion(outcome)
    lead_id = client.add_lead("Ended", person_id=person_id)["id"]
    conversion_id = client.convert_lead_to_deal(lead_id)
    deadline = (datetime.now(UTC) + timedelta(seconds=600)).isoformat()
    trigger = PipedriveConversionTrigger(
        source="lead", source_id=lead_id, conversion_id=conversion_id, deadline=deadline
    )
    assert events(trigger) == [{"status": "success", "outcome": outcome, "said": outcome}]


def test_a_forgotten_conversion_is_told(sandbox, begun, slept):
    sandbox.control.advance(5 * 86_400)
    (event,) = events(PipedriveConversionTrigger(**begun))
    assert (event["status"], event["outcome"]) == ("success", "forgotten")


def test_a_late_conversion_ends_the_wait(begun, slept):
    late = {**begun, "deadline": (datetime.now(UTC) + timedelta(seconds=12)).isoformat()}
    (event,) = events(PipedriveConversionTrigger(**late))
    assert (event["status"], event["outcome"]) == ("success", "wait")
    assert sum(slept) == pytest.approx(12, abs=1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("close_before", {"times": 8}),
        ("status", {"status": 503, "times": 8}),
        ("html", {"status": 403}),
        ("status", {"status": 429, "times": 2}),
    ],
    ids=["closed", "503", "ban", "429"],
)
def test_trouble_on_the_way_is_waited_out(sandbox, begun, slept, kind, options):
    sandbox.control.fault("GET", STATUS, kind, **options)
    (event,) = events(PipedriveConversionTrigger(**begun))
    assert (event["status"], event["outcome"]) == ("success", "completed")
    assert max(slept) >= (300 if kind == "html" else 5)  # a ban tells how long it lasts


@pytest.mark.parametrize(
    ("interval", "waited", "again_after", "seconds"),
    [
        (5, 10, 0, 5),
        (5, 600, 0, 60),
        (30, 3_600, 0, 360),
        (30, 604_800, 0, 900),
        (5, 10, 300, 300),
        (1_000, 10, 0, 1_000),
    ],
)
def test_the_longer_it_lasts_the_rarer_are_the_questions(interval, waited, again_after, seconds):
    assert seconds_to_next_question(interval, waited, again_after) == seconds


def test_a_server_that_is_down_is_asked_until_it_is_late(begun, slept, monkeypatch):
    down = {"conn_type": "pipedrive", "password": "f" * 40, "extra": {"base_url": "http://127.0.0.1:9"}}
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down))
    (event,) = events(PipedriveConversionTrigger(**begun, pipedrive_conn_id="down", poll_interval=100))
    assert event["outcome"] == "wait"
    assert "cannot be reached" in event["said"]
    assert len(slept) == 6


def test_a_spent_day_is_told_as_an_error(sandbox, begun, slept):
    sandbox.control.fault("GET", STATUS, "status", status=429, retry_after=4000)
    (event,) = events(PipedriveConversionTrigger(**begun))
    assert (event["status"], event["error"]) == ("error", "PipedriveDailyBudgetError")


def test_a_refused_token_is_told_as_an_error(sandbox, begun, slept, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    (event,) = events(PipedriveConversionTrigger(**begun, pipedrive_conn_id="crm"))
    assert (event["status"], event["error"]) == ("error", "PipedriveAuthError")
    assert "f" * 40 not in json.dumps(event)


def test_a_bad_connection_is_told_as_an_error(begun, slept, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))
    (event,) = events(PipedriveConversionTrigger(**begun, pipedrive_conn_id="crm"))
    assert (event["status"], event["error"]) == ("error", "PipedriveConfigError")


def test_cancelling_leaves_no_thread(sandbox, begun, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 0.0)
    sandbox.control.fault("GET", STATUS, "delay", seconds=20)
    sandbox.control.reset_counters()

    async def run_and_cancel():
        running = asyncio.create_task(anext(PipedriveConversionTrigger(**begun, poll_interval=0.01).run()))
        while not sandbox.control.counters()["in_flight"]:
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    started = time.monotonic()
    asyncio.run(run_and_cancel())  # waits for the threads that it lent
    assert time.monotonic() - started < 5


def test_it_rebuilds_from_what_it_serializes(begun):
    trigger = PipedriveConversionTrigger(**begun, poll_interval=7.5, pipedrive_conn_id="crm")
    path, values = json.loads(json.dumps(trigger.serialize()))
    assert path == "airflow_provider_pipedrive_leads.triggers.conversion.PipedriveConversionTrigger"
    assert values == {**begun, "poll_interval": 7.5, "pipedrive_conn_id": "crm"}
    assert PipedriveConversionTrigger(**values).serialize() == trigger.serialize()
