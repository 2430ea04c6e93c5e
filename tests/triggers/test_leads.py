"""Triggers that wait for leads: their form, their errors, and many of them at once."""

from __future__ import annotations

import asyncio
import gc
import json
import threading

import pytest

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.leads.waiting import feed
from airflow_provider_pipedrive_leads.triggers import leads as module
from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadsTrigger, PipedriveLeadTrigger
from tests.until import eventually
from tests.virtual_time import feeds_live_by, shared_with, threads_of_feeds

QUICK = {"poll_interval": 0.3, "daily_share": 1e6}
LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
SINCE = "2026-01-31T09:30:00Z"


@pytest.fixture(autouse=True)
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    monkeypatch.setattr(module, "FIRST_WAIT", 0.0)


@pytest.fixture(autouse=True)
def virtual_time(sandbox, monkeypatch):
    """The time of triggers, feeds and the sandbox: it stands still until the test lets those who sleep go on."""
    made = shared_with(sandbox)
    monkeypatch.setattr(module, "_clock", made.clock)
    monkeypatch.setattr(module, "_sleep", made.sleep)
    with feeds_live_by(made, monkeypatch):
        yield made


@pytest.fixture
def events(virtual_time):
    """Give a function that runs a trigger to its end, and gives its events."""

    async def collect(trigger):
        return [event.payload async for event in trigger.run()]

    async def run(trigger):
        collecting = asyncio.create_task(collect(trigger))
        await virtual_time.pass_sleeps_until(collecting.done)
        return await collecting

    return lambda trigger: asyncio.run(run(trigger))


@pytest.fixture
def lead(client, person_id):
    return client.add_lead("Before", person_id=person_id)


def test_it_fires_when_the_lead_is_as_expected(events, client, lead):
    trigger = PipedriveLeadTrigger(
        lead_id=lead["id"], expected={"title": "After"}, since=lead["update_time"], changed=lead["update_time"], **QUICK
    )
    client.update_lead(lead["id"], title="After")
    assert events(trigger) == [{"status": "success", "lead_ids": [lead["id"]]}]


def test_it_fires_when_enough_leads_match(events, client, lead, person_id):
    known = {"min_count": 2, "since": lead["update_time"], "matching": [lead["id"]], "person_id": person_id}
    other = client.add_lead("Another", person_id=person_id)["id"]
    client.add_lead("Stranger's", person_id=client.add_person("Stranger")["id"])
    assert events(PipedriveLeadsTrigger(**known, **QUICK)) == [{"status": "success", "lead_ids": [lead["id"], other]}]


def test_it_never_fires_at_once(events, virtual_time, client, lead, monkeypatch):
    monkeypatch.setattr(module, "FIRST_WAIT", 2.0)
    began = virtual_time.clock()
    events(PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "Before"}, since=SINCE, **QUICK))
    assert virtual_time.clock() - began == 2
    assert virtual_time.slept == pytest.approx([0.3, 1.7])


def test_a_lead_that_is_gone_is_told_as_an_error(events, client, lead):
    client.delete_lead(lead["id"])
    (event,) = events(PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "x"}, since=SINCE, **QUICK))
    assert (event["status"], event["error"]) == ("error", "PipedriveNotFoundError")


def test_a_refused_token_is_told_as_an_error(events, sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    (event,) = events(
        PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since=SINCE, pipedrive_conn_id="crm", **QUICK)
    )
    assert (event["status"], event["error"]) == ("error", "PipedriveAuthError")
    assert "f" * 40 not in json.dumps(event)


@pytest.mark.parametrize("since", ["soon", ""])
def test_a_time_that_is_none_is_told_as_an_error(events, since):
    (event,) = events(PipedriveLeadTrigger(lead_id=LEAD, expected="deleted", since=since, **QUICK))
    assert (event["status"], event["error"]) == ("error", "PipedriveValidationError")


def test_a_bad_connection_is_told_as_an_error(events, monkeypatch):
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


def test_cancelling_leaves_neither_thread_nor_poll(virtual_time, lead):
    async def run():
        others, others_threads = asyncio.all_tasks(), threads_of_feeds()
        trigger = PipedriveLeadTrigger(lead_id=lead["id"], expected={"title": "Never"}, since=SINCE, **QUICK)
        running = asyncio.create_task(anext(trigger.run()))
        await virtual_time.pass_sleeps(2)
        assert threads_of_feeds() - others_threads
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not feed._feeds[asyncio.get_running_loop()]
        # Nothing is left that could poll.
        await eventually(lambda: asyncio.all_tasks() == others and threads_of_feeds() <= others_threads)

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


async def all_told(virtual_time, tasks):
    together = asyncio.gather(*tasks)
    await virtual_time.pass_sleeps_until(together.done)
    return [event.payload for event in await together]


def test_who_begins_together_looks_the_connection_up_once(virtual_time, lookups, client, lead):
    async def run():
        for _ in range(2):  # later on it may have been edited
            first, *others = many_beginning()
            await asyncio.sleep(0)
            first.cancel()
            assert all(lead["id"] in payload["lead_ids"] for payload in await all_told(virtual_time, others))

    client.update_lead(lead["id"], title="Changed")
    asyncio.run(run())
    assert lookups == ["pipedrive_default"] * 2


def test_all_who_begin_together_are_told_of_a_bad_connection(lookups, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))

    async def run():
        return await asyncio.gather(*many_beginning("crm"))

    assert {event.payload["error"] for event in asyncio.run(run())} == {"PipedriveConfigError"}
    assert lookups == ["crm"]


class HeldLookup:
    """The next lookup of a connection does not end before it is let go."""

    def __init__(self):
        self.under_way, self.let_go = threading.Event(), threading.Event()
        self._look_up = PipedriveLeadsHook.get_connection

    def __call__(self, conn_id):
        if not self.under_way.is_set():
            self.under_way.set()
            self.let_go.wait()
        return self._look_up(conn_id)


@pytest.fixture
def held_lookup(monkeypatch):
    held = HeldLookup()
    monkeypatch.setattr(PipedriveLeadsHook, "get_connection", lambda _, conn_id: held(conn_id))
    yield held
    held.let_go.set()


def test_a_lookup_that_hangs_holds_up_no_later_one(virtual_time, client, lead, held_lookup, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_SHARED", 0.0)

    async def run():
        stuck = many_beginning()
        await eventually(held_lookup.under_way.is_set)
        await eventually(lambda: not module._lookups[asyncio.get_running_loop()])  # it was shared for long enough
        await all_told(virtual_time, many_beginning())
        assert not any(task.done() for task in stuck)
        held_lookup.let_go.set()
        await all_told(virtual_time, stuck)

    client.update_lead(lead["id"], title="Changed")
    asyncio.run(run())


def test_nobody_hears_of_a_lookup_that_failed_after_all_had_left(held_lookup, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive"}))

    async def run():
        tasks = many_beginning("crm")
        await eventually(held_lookup.under_way.is_set)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lookups = module._lookups[asyncio.get_running_loop()]
        assert lookups
        held_lookup.let_go.set()
        await eventually(lambda: not lookups)
        gc.collect()

    asyncio.run(run())
    assert "never retrieved" not in caplog.text


@pytest.mark.long
@pytest.mark.parametrize("sandbox", ["likely"], indirect=True)
def test_a_thousand_wait_for_the_price_of_one(virtual_time, sandbox, client, person_id):
    """Each wakes with the first poll after its change, and a poll is two calls. How long that takes is benchmarked."""
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

    async def run():
        tasks = []
        for trigger in triggers:
            tasks.append(asyncio.create_task(anext(trigger.run())))
            await asyncio.sleep(0)  # as the triggerer does
        await virtual_time.pass_sleeps()
        waiting = dict(zip(made, tasks, strict=False))
        for lead_id in made:
            client.update_lead(lead_id, title="Changed")
            sandbox.control.reset_counters()
            await virtual_time.pass_sleeps()
            lists, leads = polls(sandbox)
            assert (len(lists), len(leads)) == (1, 1)
            task = waiting.pop(lead_id)
            assert task.done()
            assert (await task).payload["lead_ids"] == [lead_id]
            assert not any(each.done() for each in waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert set(virtual_time.slept) == {interval}


def polls(sandbox):
    """What was read: pages of lists, and leads by id."""
    paths = [call["path"] for call in sandbox.control.requests() if call["method"] == "GET"]
    lists = [path for path in paths if path == "/v1/leads"]
    return lists, [path for path in paths if path not in lists]
