"""Waiting for a conversion in the triggerer, in virtual time."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta

import pytest

from airflow_provider_pipedrive_leads.leads.writing import conversion
from airflow_provider_pipedrive_leads.leads.writing.conversion import seconds_to_next_question
from airflow_provider_pipedrive_leads.triggers import conversion as module
from airflow_provider_pipedrive_leads.triggers.conversion import FIRST_WAIT, PipedriveConversionTrigger
from demo.ports import reserve_port
from tests.until import eventually, until
from tests.virtual_time import shared_with

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")
STATUS = "/api/v2/leads/*/convert/status/*"
LONGEST_TIMEOUT = 600
"""Seconds: a call that is never answered ends by being broken off, or not before the test is given up."""


@pytest.fixture
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))


@pytest.fixture
def virtual_time(sandbox, monkeypatch):
    """The time of the trigger and of the sandbox, which passes when the trigger sleeps."""
    made = shared_with(sandbox)
    monkeypatch.setattr(module, "_sleep", made.jump)
    monkeypatch.setattr(module, "_now", made.now)
    return made


@pytest.fixture
def slept(virtual_time):
    """The trigger's sleeps."""
    return virtual_time.slept


def in_seconds(virtual_time, seconds):
    return (virtual_time.now() + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def begun(virtual_time, sandbox, client, person_id):
    """A conversion that was begun, as the trigger takes it."""
    sandbox.control.set_delay("conversion", 25)
    lead_id = client.add_lead("Waiting", person_id=person_id)["id"]
    begun = {"source": "lead", "source_id": lead_id, "conversion_id": client.convert_lead_to_deal(lead_id)}
    return {**begun, "deadline": in_seconds(virtual_time, 600)}


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
def test_it_tells_how_pipedrive_ended_it(sandbox, client, person_id, virtual_time, outcome):
    sandbox.control.next_conversion(outcome)
    lead_id = client.add_lead("Ended", person_id=person_id)["id"]
    conversion_id = client.convert_lead_to_deal(lead_id)
    deadline = in_seconds(virtual_time, 600)
    trigger = PipedriveConversionTrigger(
        source="lead", source_id=lead_id, conversion_id=conversion_id, deadline=deadline
    )
    assert events(trigger) == [{"status": "success", "outcome": outcome, "said": outcome}]


def test_a_forgotten_conversion_is_told(sandbox, begun, slept):
    sandbox.control.advance(5 * 86_400)
    (event,) = events(PipedriveConversionTrigger(**begun))
    assert (event["status"], event["outcome"]) == ("success", "forgotten")


def test_a_late_conversion_ends_the_wait(begun, virtual_time, slept):
    late = {**begun, "deadline": in_seconds(virtual_time, 12)}
    (event,) = events(PipedriveConversionTrigger(**late))
    assert (event["status"], event["outcome"]) == ("success", "wait")
    assert slept == [FIRST_WAIT, 2]


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
    down = {"conn_type": "pipedrive", "password": "f" * 40, "extra": {"base_url": f"http://127.0.0.1:{reserve_port()}"}}
    monkeypatch.setenv("AIRFLOW_CONN_DOWN", json.dumps(down))
    (event,) = events(PipedriveConversionTrigger(**begun, pipedrive_conn_id="down", poll_interval=100))
    assert event["outcome"] == "wait"
    assert "cannot be reached" in event["said"]
    assert len(slept) == 6


def test_a_spent_day_is_told_as_an_error(sandbox, begun, slept):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
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


def test_cancelling_breaks_off_the_call_under_way(sandbox, begun, monkeypatch):
    ask, ended = conversion.ask, threading.Event()

    def ask_to_the_end(*given):
        try:
            return ask(*given)
        finally:
            ended.set()

    patient = sandbox.connection
    patient["extra"]["timeout"] = LONGEST_TIMEOUT
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(patient))
    monkeypatch.setattr(conversion, "ask", ask_to_the_end)
    sandbox.control.fault("GET", STATUS, "hold")

    async def run_and_cancel():
        running = asyncio.create_task(anext(PipedriveConversionTrigger(**begun).run()))
        await eventually(sandbox.control.held)
        assert not ended.is_set()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    try:
        asyncio.run(run_and_cancel())
        until(ended.is_set)  # no answer came
    finally:
        sandbox.control.let_go()


def test_it_rebuilds_from_what_it_serializes(begun):
    trigger = PipedriveConversionTrigger(**begun, poll_interval=7.5, pipedrive_conn_id="crm")
    path, values = json.loads(json.dumps(trigger.serialize()))
    assert path == "airflow_provider_pipedrive_leads.triggers.conversion.PipedriveConversionTrigger"
    assert values == {**begun, "poll_interval": 7.5, "pipedrive_conn_id": "crm"}
    assert PipedriveConversionTrigger(**values).serialize() == trigger.serialize()
