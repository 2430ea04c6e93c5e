"""Triggers that wait for leads: their form, their errors, and many of them at once."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.leads.waiting import feed
from airflow_provider_pipedrive_leads.triggers import leads as module
from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadsTrigger, PipedriveLeadTrigger

QUICK = {"poll_interval": 0.3, "daily_share": 1e6}
LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
SINCE = "2026-01-31T09:30:00Z"


@pytest.fixture(autouse=True)
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    monkeypatch.setattr(module, "FIRST_WAIT", 0.0)
    yield
    sandbox.control.clear_faults()


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


@pytest.fixture
def lead(client, person_id):
    return client.add_lead("Before", person_id=person_id)


def test_it_fires_when_the_lead_is_as_expected(client, lead):
    trigger = PipedriveLeadTrigger(
        lead_id=lead["id"], expected={"title": "After"}, since=lead["update_time"], changed=lead["update_time"], **QUICK
    )
    client.update_lead(lead["id"], title="After")
    assert events(trigger) == [{"status": "success", "lead_ids": [lead["id"]]}]


def test_it_fires_when_enough_leads_match(client, lead, person_id):
    known = {"min_count": 2, "since": lead["update_time"], "matching": [lead["id"]], "person_id": person_id}
    other = client.add_lead("Another", person_id=person_id)["id"]
    client.add_lead("Stranger's", person_id=client.add_person("Stranger")["id"])
    assert events(PipedriveLeadsTrigger(**known, **QUICK)) == [{"status": "success", "lead_ids": [lead["id"], other]}]


def test_it_never_fires_at_once(client, lead, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 2.0)
    began = time.monotonic()
    events(PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "Before"}, since=SINCE, **QUICK))
    assert time.monotonic() - began >= 2


def test_a_lead_that_is_gone_is_told_as_an_error(client, lead):
    client.delete_lead(lead["id"])
    (event,) = events(PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "x"}, since=SINCE, **QUICK))
    assert (event["status"], event["error"]) == ("error", "PipedriveNotFoundError")


def test_a_refused_token_is_told_as_an_error(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    (event,) = events(
        PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since=SINCE, pipedrive_conn_id="crm", **QUICK)
    )
    assert (event["status"], event["error"]) == ("error", "PipedriveAuthError")
    assert "f" * 40 not in json.dumps(event)


@pytest.mark.parametrize("since", ["soon", ""])
def test_a_time_that_is_none_is_told_as_an_error(since):
    (event,) = events(PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since=since, **QUICK))
    assert (event["status"], event["error"]) == ("error", "PipedriveValidationError")


def test_a_bad_connection_is_told_as_an_error(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))
    (event,) = events(PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since=SINCE, pipedrive_conn_id="crm"))
    assert (event["status"], event["error"]) == ("error", "PipedriveConfigError")


ONE = {
    "lead_id": LEAD,
    "expected": {"title": "x", "label_ids": [LEAD]},
    "since": SINCE,
    "changed": "2026-01-30T09:30:00.123Z",
    "poll_interval": 60.0,
    "daily_share": 0.2,
    "on_daily_budget": "wait",
    "pipedrive_conn_id": "crm",
}
MANY = {
    "min_count": 3,
    "since": SINCE,
    "matching": [LEAD],
    "owner_id": 1,
    "person_id": 2,
    "organization_id": 3,
    "filter_id": 4,
    "updated_since": SINCE,
    "expected": {"title": "x"},
    "poll_interval": 60.0,
    "daily_share": 0.2,
    "on_daily_budget": "wait",
    "pipedrive_conn_id": "crm",
}


@pytest.mark.parametrize(("trigger", "values"), [(PipedriveLeadTrigger, ONE), (PipedriveLeadsTrigger, MANY)])
def test_it_rebuilds_from_what_it_serializes(trigger, values):
    path, kept = json.loads(json.dumps(trigger(**values).serialize()))
    assert path == f"airflow_provider_pipedrive_leads.triggers.leads.{trigger.__name__}"
    assert kept == values
    assert trigger(**kept).serialize() == trigger(**values).serialize()


def test_cancelling_leaves_neither_thread_nor_poll(sandbox, lead):
    async def run():
        trigger = PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "Never"}, since=SINCE, **QUICK)
        running = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.8)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.3)
        assert not feed._feeds[asyncio.get_running_loop()]
        own = ("pipedrive-feed", "pipedrive-pages")
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(own)]
        sandbox.control.reset_counters()
        await asyncio.sleep(0.7)
        assert sandbox.control.requests() == []

    asyncio.run(run())


@pytest.fixture
def lookups(monkeypatch):
    """The ids of the connections that were looked up."""
    seen = []
    look_up = PipedriveLeadsHook.get_connection

    def counted(_, conn_id):
        seen.append(conn_id)
        return look_up(conn_id)

    monkeypatch.setattr(PipedriveLeadsHook, "get_connection", counted)
    return seen


def many_beginning(conn_id="pipedrive_default"):
    triggers = [PipedriveLeadsTrigger(min_count=1, since=SINCE, pipedrive_conn_id=conn_id, **QUICK) for _ in range(50)]
    return [asyncio.create_task(anext(trigger.run())) for trigger in triggers]


def test_who_begins_together_looks_the_connection_up_once(lookups, client, lead):
    async def run():
        for _ in range(2):  # later on it may have been edited
            first, *others = many_beginning()
            await asyncio.sleep(0)
            first.cancel()
            events = await asyncio.wait_for(asyncio.gather(*others), 10)
            assert all(lead["id"] in event.payload["lead_ids"] for event in events)

    client.update_lead(lead["id"], title="Changed")
    asyncio.run(run())
    assert lookups == ["pipedrive_default"] * 2


def test_all_who_begin_together_are_told_of_a_bad_connection(lookups, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))

    async def run():
        return await asyncio.gather(*many_beginning("crm"))

    assert {event.payload["error"] for event in asyncio.run(run())} == {"PipedriveConfigError"}
    assert lookups == ["crm"]


def test_a_lookup_that_hangs_holds_up_no_later_one(client, lead, monkeypatch):
    go_on, look_up = threading.Event(), PipedriveLeadsHook.get_connection
    waits = iter([True])

    def hangs_at_first(_, conn_id):
        if next(waits, False):
            go_on.wait(20)
        return look_up(conn_id)

    monkeypatch.setattr(PipedriveLeadsHook, "get_connection", hangs_at_first)
    monkeypatch.setattr(module, "LONGEST_SHARED", 0.2)

    async def run():
        stuck = many_beginning()
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in stuck)
        later = many_beginning()
        await asyncio.wait_for(asyncio.gather(*later), 10)
        assert not any(task.done() for task in stuck)
        go_on.set()
        await asyncio.wait_for(asyncio.gather(*stuck), 10)

    client.update_lead(lead["id"], title="Changed")
    try:
        asyncio.run(run())
    finally:
        go_on.set()


def test_nobody_hears_of_a_lookup_that_failed_after_all_had_left(monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))

    async def run():
        tasks = many_beginning("crm")
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.5)
        gc.collect()
        assert not module._lookups[asyncio.get_running_loop()]

    asyncio.run(run())
    assert "never retrieved" not in caplog.text


def seconds_queued():
    """For how long this thread wanted to run and other processes had the machine."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def lists_read(sandbox):
    return sum(call["method"] == "GET" and call["path"] == "/v1/leads" for call in sandbox.control.requests())


@pytest.mark.long
@pytest.mark.parametrize("sandbox", ["likely"], indirect=True)
def test_a_thousand_wait_for_the_price_of_one(sandbox, client, person_id):
    """Each wakes within one interval of its change; the event loop is never held up for 100 ms."""
    interval = 2.0
    made = [client.add_lead(f"One of {number}", person_id=person_id)["id"] for number in range(20)]
    sandbox.control.leads(500, archived=0.0)
    others = [lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"]]
    strangers = [lead_id for lead_id in others if lead_id not in made][:500]
    since = sandbox.control.now()
    client.get_current_user()
    a_day = (client.usage.daily_tokens or 30_000) * 0.9
    tokens_a_poll = 22.5  # a page of changes and a lead, with nothing to spare for more leads
    terms = {"poll_interval": interval, "daily_share": tokens_a_poll * 86_400 / interval / a_day}
    triggers = [
        PipedriveLeadTrigger(lead_id=lead_id, expected={"title": "Changed"}, since=since, **terms)
        for lead_id in made + strangers
    ]
    triggers += [
        PipedriveLeadsTrigger(min_count=1, since=since, expected={"title": f"{number}"}, **terms)
        for number in range(480)
    ]
    assert len(triggers) == 1_000
    held = []

    async def watch():
        while True:
            began, queued = time.monotonic(), seconds_queued()
            await asyncio.sleep(0.01)
            held.append(time.monotonic() - began - 0.01 - (seconds_queued() - queued))

    async def run():
        watching = asyncio.create_task(watch())
        tasks = []
        for trigger in triggers:
            tasks.append(asyncio.create_task(anext(trigger.run())))
            await asyncio.sleep(0)  # as the triggerer does
        await asyncio.sleep(interval)  # all have joined
        await asyncio.to_thread(sandbox.control.reset_counters)
        began = time.monotonic()
        for lead_id in made:
            await asyncio.to_thread(client.update_lead, lead_id, title="Changed")
            before = await asyncio.to_thread(lists_read, sandbox)
            event = await tasks[made.index(lead_id)]
            assert event.payload["lead_ids"] == [lead_id]
            assert await asyncio.to_thread(lists_read, sandbox) - before <= 2  # one may have been under way
            if time.monotonic() - began > 8 * interval:
                break
        intervals = (time.monotonic() - began) / interval
        seen = await asyncio.to_thread(sandbox.control.requests)
        polls = [call for call in seen if call["method"] == "GET"]
        assert len(polls) <= 2 * (intervals + 1)
        assert max(held) < 0.1
        watching.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(watching, *tasks, return_exceptions=True)

    asyncio.run(run())
