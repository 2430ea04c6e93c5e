"""Starting DAGs when leads change: Airflow's own shared stream, a real account, and time that the test lets pass."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import tempfile
import threading
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import AssetStateStoreResult, GetAssetStateStoreByName, SetAssetStateStoreByName
from airflow.sdk.execution_time.context import AssetStateStoreAccessors
from airflow.triggers.base import BaseEventTrigger
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.waiting import one_look, pace
from airflow_provider_pipedrive_leads.leads.waiting.changes import Cursor
from airflow_provider_pipedrive_leads.triggers import leads_stream as module
from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger
from airflow_provider_pipedrive_leads.triggers.leads_stream import (
    AFTER_REFUSAL,
    BETWEEN_EVENTS,
    Batch,
    LeadsProducer,
    Stream,
    Watcher,
)
from tests.until import until
from tests.virtual_time import VirtualTime

pytestmark = pytest.mark.usefixtures("connection")
LEADS, ARCHIVED, ME = "/v1/leads", "/v1/leads/archived", "/v1/users/me"
OFTEN = {"poll_interval": 100, "daily_share": 1.0}
BEGINS = datetime(2026, 3, 1, 10, tzinfo=UTC)
LONGEST_TIMEOUT = 600
"""Seconds: a call that is never answered ends by being broken off, or not before the test is given up."""


@pytest.fixture
def connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    monkeypatch.setattr(module, "_streams", {})
    monkeypatch.setattr(one_look, "_now", lambda: datetime.fromisoformat(sandbox.control.now()))
    sandbox.control.advance(2)  # a trigger begins at a whole second: not in one in which something happened


@pytest.fixture
def states(monkeypatch):
    """What the assets' state stores hold, by asset and key."""
    kept = {}

    class Comms:
        async def asend(self, message):
            if isinstance(message, GetAssetStateStoreByName):
                value = kept.get((message.name, message.key))
                return None if value is None else AssetStateStoreResult(value=value)
            assert isinstance(message, SetAssetStateStoreByName)
            kept[message.name, message.key] = json.loads(json.dumps(message.value))
            return None

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Comms(), raising=False)
    return kept


@pytest.fixture
def virtual_time(monkeypatch):
    """The time of the stream: it stands still until the test lets the stream sleep until its next poll."""
    made = VirtualTime(BEGINS)

    async def wait(event, seconds):
        if seconds is None:
            await event.wait()
        elif not await made.sleep(seconds, event):
            raise TimeoutError

    monkeypatch.setattr(module, "_now", made.now)
    monkeypatch.setattr(module, "_clock", made.clock)
    monkeypatch.setattr(module, "_wait", wait)
    return made


async def settle(virtual_time):
    """Wait until the stream sleeps until its next poll, and all is done that follows from the last one."""
    await virtual_time.standstill()
    while virtual_time.left <= BETWEEN_EVENTS:
        await virtual_time.pass_sleeps()


class Triggerer:
    """Runs triggers as Airflow's triggerer does, and stores their events: all, or as many as it is told.

    Used as a context: on leaving, all that it runs is cancelled, as in a restart.
    """

    def __init__(self, virtual_time, *, same_process=False) -> None:
        self._time = virtual_time
        if not same_process:
            module._streams.clear()
        self._streams = SharedStreamManager()
        self._ids = itertools.count(1)
        self._running = {}
        self.stores = math.inf
        self.times = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await self._streams.stop_all()

    def start(self, trigger, *assets):
        """Start a trigger that watches for some assets; give the list to which its payloads go."""
        number = next(self._ids)
        trigger.trigger_id = number
        if assets:
            trigger.asset_state_store = AssetStateStoreAccessors(inlets=[Asset(name) for name in assets])
        told = []
        self._running[number] = asyncio.create_task(self._run(number, trigger, told))
        return told

    async def _run(self, number, trigger, told):
        key = trigger.shared_stream_key()
        stream = self._streams.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                told.append(event.payload)
                stored = self._streams.bind_pending_event(trigger_id=number, key=key)
                assert stored is not None
                self.times.append(self._time.clock())
                if self.stores > 0:
                    self._streams.confirm_persisted([stored])
                self.stores -= 1
        finally:
            await self._streams.unsubscribe(number, key)

    async def stop(self, number):
        self._running[number].cancel()
        await asyncio.gather(self._running.pop(number), return_exceptions=True)

    async def settle(self):
        """Wait until the stream sleeps until its next poll, and all is done that follows from the last one."""
        await settle(self._time)
        for task in self._running.values():
            assert not task.done(), task

    async def poll(self):
        await self.settle()
        await self._time.pass_sleeps()
        await self.settle()


@pytest.fixture
def triggerer(virtual_time):
    return lambda **options: Triggerer(virtual_time, **options)


def ids(told):
    return [lead["id"] for payload in told for lead in payload["leads"]]


def events(told):
    return [lead["event_id"] for payload in told for lead in payload["leads"]]


def seen(sandbox, path):
    return [call for call in sandbox.control.requests() if call["path"] == path and call["method"] == "GET"]


def trigger(**more):
    return PipedriveLeadsChangedTrigger(**{**OFTEN, **more})


def test_it_tells_what_changes_from_now_on(sandbox, client, person_id, triggerer, states):
    label = next(iter(client.get_lead_labels()))

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(fields=["title", "Company size", "labels"]), "leads")
            await airflow.settle()
            lead = await asyncio.to_thread(
                client.add_lead,
                "Fresh",
                person_id=person_id,
                label_ids=[label["id"]],
                **{"Company size": "11-50"},
            )
            await airflow.poll()
            await airflow.poll()
            return told, lead

    told, lead = asyncio.run(scenario())
    assert told == [
        {
            "status": "success",
            "leads": [
                {
                    "id": lead["id"],
                    "kind": "created",
                    "event_id": f"{lead['id']}@{lead['update_time']}",
                    "title": "Fresh",
                    "Company size": "11-50",
                    "labels": [label["name"]],
                }
            ],
            "count": 1,
            "more": 0,
            "watermark": lead["update_time"],
        }
    ]
    assert list(states) == [("leads", key) for _, key in states]


def test_edits_are_told_and_each_takes_what_it_wants(sandbox, client, person_id, triggerer, states):
    old = client.add_lead("Old", person_id=person_id)["id"]
    sandbox.control.advance(2)

    async def scenario():
        async with triggerer() as airflow:
            changed = airflow.start(trigger(), "changed")
            created = airflow.start(trigger(on={"created"}), "created")
            big = airflow.start(trigger(expected={"Company size": "11-50"}), "big")
            others = airflow.start(trigger(person_id=person_id + 1000), "others")
            await airflow.settle()
            new = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await asyncio.to_thread(client.update_lead, old, **{"Company size": "11-50"})
            sandbox.control.reset_counters()
            await airflow.poll()
            calls = len(seen(sandbox, LEADS)), len(seen(sandbox, ARCHIVED))
            return changed, created, big, others, new["id"], calls

    changed, created, big, others, new, calls = asyncio.run(scenario())
    assert [(lead["id"], lead["kind"]) for lead in changed[0]["leads"]] == [(new, "created"), (old, "updated")]
    assert (ids(created), ids(big), others) == ([new], [old], [])
    assert calls == (1, 0)


def test_archived_leads_are_asked_for_only_where_wanted(sandbox, client, person_id, triggerer, states):
    async def scenario():
        async with triggerer() as airflow:
            changed = airflow.start(trigger(), "changed")
            archived = airflow.start(trigger(on={"archived"}), "archived")
            await airflow.settle()
            lead_id = (await asyncio.to_thread(client.add_lead, "Short", person_id=person_id))["id"]
            await airflow.poll()
            await asyncio.to_thread(client.update_lead, lead_id, is_archived=True)
            sandbox.control.reset_counters()
            await airflow.poll()
            await airflow.poll()
            return ids(changed), archived, lead_id, len(seen(sandbox, LEADS)), len(seen(sandbox, ARCHIVED))

    changed, archived, lead_id, active_calls, archived_calls = asyncio.run(scenario())
    assert changed == [lead_id]
    assert [(lead["id"], lead["kind"]) for lead in archived[0]["leads"]] == [(lead_id, "archived")]
    assert len(archived) == 1
    assert active_calls == 2
    assert archived_calls >= 2


def test_events_that_were_not_stored_are_told_again_under_the_same_ids(client, person_id, triggerer, states):
    async def scenario():
        async with triggerer() as airflow:
            first = airflow.start(trigger(), "leads")
            await airflow.settle()
            await asyncio.to_thread(client.add_lead, "One", person_id=person_id)
            await airflow.poll()
            airflow.stores = 0
            await asyncio.to_thread(client.add_lead, "Two", person_id=person_id)
            await airflow.poll()
        async with triggerer() as airflow:
            second = airflow.start(trigger(), "leads")
            await airflow.settle()
        async with triggerer() as airflow:
            third = airflow.start(trigger(), "leads")
            await airflow.settle()
        return first, second, third

    first, second, third = asyncio.run(scenario())
    assert len(events(first)) == 2
    assert events(second) == events(first)[1:]
    assert third == []


def test_each_asset_goes_on_from_where_it_was(sandbox, client, person_id, triggerer, states):
    """One poll from the oldest cursor; nobody hears again of what it was told."""

    async def add(title):
        sandbox.control.advance(300)
        return (await asyncio.to_thread(client.add_lead, title, person_id=person_id))["id"]

    async def scenario():
        async with triggerer() as airflow:
            airflow.start(trigger(), "behind")
            ahead = airflow.start(trigger(on=["created"]), "ahead")
            await airflow.settle()
            await airflow.stop(1)
            one, two = await add("One"), await add("Two")
            await airflow.poll()
            await asyncio.to_thread(client.update_lead, two, title="Two, renamed")
            three = await add("Three")
        async with triggerer() as airflow:
            behind = airflow.start(trigger(), "behind")
            ahead_again = airflow.start(trigger(on=["created"]), "ahead")
            sandbox.control.reset_counters()
            await airflow.settle()
            calls = len(seen(sandbox, LEADS))
        return (one, two, three), behind, ahead, ahead_again, calls

    (one, two, three), behind, ahead, ahead_again, calls = asyncio.run(scenario())
    assert ids(ahead) == [one, two]
    assert ids(behind) == [one, two, three]
    assert ids(ahead_again) == [three]
    assert calls == 1


@pytest.fixture
def many(sandbox, client, person_id, triggerer, states):
    """Leads that were made while no triggerer ran."""

    async def begin():
        async with triggerer() as airflow:
            airflow.start(trigger(on=["created"]), "leads")
            await airflow.settle()

    asyncio.run(begin())
    sandbox.control.advance(7200)
    made = [client.add_lead(f"Lead {number}", person_id=person_id)["id"] for number in range(25)]
    for lead_id in made:
        sandbox.control.advance(5)
        client.update_lead(lead_id, title="Renamed")
    return made


def test_after_a_long_stop_all_comes_in_events_of_bounded_size(sandbox, many, triggerer):
    """With time between them: Airflow starts a run with the first of several events at once, and forgets the others."""

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(on=["created"], max_leads=10), "leads")
            sandbox.control.reset_counters()
            await airflow.settle()
            return told, airflow.times, len(seen(sandbox, LEADS))

    told, times, polls = asyncio.run(scenario())
    assert ids(told) == many
    assert [(payload["count"], payload["more"]) for payload in told] == [(10, 15), (10, 5), (5, 0)]
    assert all(later - earlier >= BETWEEN_EVENTS for earlier, later in itertools.pairwise(times))
    assert polls == 1


@pytest.mark.parametrize("order", [("ahead", "behind"), ("behind", "ahead")])
def test_who_is_behind_hears_of_what_another_was_told_before(client, person_id, triggerer, states, order):
    """After a kill two cursors of the same second may differ in what they have seen."""

    async def scenario():
        async with triggerer() as airflow:
            for asset in order:
                airflow.start(trigger(), asset)
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
        for (asset, _), cursor in states.items():
            assert lead["id"] in cursor["seen"]
            if asset == "behind":
                del cursor["seen"][lead["id"]]
        async with triggerer() as airflow:
            told = {asset: airflow.start(trigger(), asset) for asset in order}
            await airflow.settle()
        return {asset: ids(each) for asset, each in told.items()}, lead["id"]

    told, lead_id = asyncio.run(scenario())
    assert told == {"ahead": [], "behind": [lead_id]}


def test_what_was_not_stored_is_not_left_behind_by_what_came_after():
    """Airflow may fail an event and take the one after it, which was made before that was known."""
    from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

    kept = []

    async def keep(cursor):
        kept.append(cursor)

    async def scenario():
        watcher = Watcher("w", kinds=[], read_wishes=None, cursor=Cursor("A"), keep=keep, pace=(100, 1.0))
        producer = LeadsProducer("pipedrive_default", Stream())
        made = [
            Batch([watcher], handled={watcher: Cursor(when)}, number=producer._next_number()) for when in ("B", "C")
        ]
        outcomes = [AdvanceOutcome(acked=0, failed=1), AdvanceOutcome(acked=1, failed=0)]
        await producer.advance([AdvanceItem(batch, outcome) for batch, outcome in zip(made, outcomes, strict=True)])
        assert kept == []
        later = Batch([watcher], handled={watcher: Cursor("D")}, number=producer._next_number())
        await producer.advance([AdvanceItem(later, outcomes[1])])
        assert kept == [Cursor("D")]

    asyncio.run(scenario())


def test_what_waits_to_be_told_outlives_a_kill(many, triggerer):
    async def scenario():
        async with triggerer() as airflow:
            airflow.stores = 1
            airflow.start(trigger(on=["created"], max_leads=10), "leads")
            await airflow.settle()
        async with triggerer() as airflow:
            told = airflow.start(trigger(on=["created"], max_leads=10), "leads")
            await airflow.settle()
        return told

    assert set(many[10:]) <= set(ids(asyncio.run(scenario())))


def test_one_trigger_may_serve_two_assets(client, person_id, triggerer, states):
    """Airflow makes one trigger out of two that are equal."""

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "one", "two")
            await airflow.settle()
            await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
        return told

    assert len(asyncio.run(scenario())) == 1
    assert {name for name, _ in states} == {"one", "two"}
    assert len({json.dumps(cursor) for cursor in states.values()}) == 1


def test_a_trigger_that_joins_begins_when_it_joins(client, person_id, triggerer, states):
    async def scenario():
        async with triggerer() as airflow:
            airflow.start(trigger(), "leads")
            await airflow.settle()
            late = airflow.start(trigger(on=["created"]), "late")
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
        return lead["id"], late

    lead_id, late = asyncio.run(scenario())
    assert ids(late) == [lead_id]


def test_the_pace_is_the_slower_of_the_interval_and_the_share(sandbox, triggerer, states, virtual_time, caplog):
    """Where the day's size is not told, 30,000 tokens are assumed."""
    told = sandbox.control.choices()["rate_headers"] == "present"

    async def waits(**pace):
        async with triggerer() as airflow:
            airflow.start(trigger(**pace), "leads")
            await airflow.settle()
            return round(virtual_time.left)

    with caplog.at_level(logging.INFO, logger=pace.__name__):
        assert asyncio.run(waits(poll_interval=1000)) == 1000
        assert "Polling every 1000 s, as asked for" in caplog.text
        slow = asyncio.run(waits(poll_interval=20, daily_share=5e-7 if told else 0.005))
    assert slow == (17280 if told else 12343)
    assert f"Polling every {slow} s in the long run, not every 20 s" in caplog.text


@pytest.mark.parametrize(
    ("kind", "options"),
    [("close_before", {"times": 8}), ("status", {"status": 503, "times": 8}), ("html", {"status": 403})],
    ids=["closed", "503", "ban"],
)
@pytest.mark.usefixtures("no_waiting")
def test_trouble_is_waited_out_and_nothing_lost(
    sandbox, client, person_id, triggerer, states, virtual_time, kind, options
):
    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            sandbox.control.fault("GET", LEADS, kind, **options)
            await airflow.poll()
            pause = virtual_time.left
            before = list(told)
            sandbox.control.clear_faults()
            await airflow.poll()
        return before, ids(told), lead["id"], pause

    before, told, lead_id, pause = asyncio.run(scenario())
    assert before == []
    assert told == [lead_id]
    assert pause == pytest.approx(300 if kind == "html" else 100, abs=1)


def test_a_refused_token_is_told_in_the_log_and_asked_again_slowly(
    sandbox, client, person_id, triggerer, states, virtual_time, caplog, monkeypatch
):
    good = json.dumps(sandbox.connection)
    bad = json.dumps({**sandbox.connection, "password": "f" * 40})

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
        lead = client.add_lead("New", person_id=person_id)
        monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", bad)
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
            pauses = [virtual_time.left]
            await airflow.poll()
            pauses.append(virtual_time.left)
            monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", good)
            before = list(told)
            await airflow.poll()
        return before, told, lead["id"], pauses

    before, told, lead_id, pauses = asyncio.run(scenario())
    assert (before, ids(told)) == ([], [lead_id])
    assert pauses == [AFTER_REFUSAL] * 2
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "API token" in errors[0]
    assert "Asking again in 900 s" in errors[0]
    assert "f" * 40 not in caplog.text


def test_a_connection_that_is_not_there_is_asked_for_slowly(triggerer, states, virtual_time, caplog):
    async def scenario():
        async with triggerer() as airflow:
            airflow.start(trigger(pipedrive_conn_id="nowhere"), "leads")
            await airflow.settle()
            return virtual_time.left

    assert asyncio.run(scenario()) == AFTER_REFUSAL
    assert "Connection 'nowhere' was not polled" in caplog.text


@pytest.mark.usefixtures("no_waiting")
def test_a_spent_day_is_slept_through(sandbox, client, person_id, triggerer, states, virtual_time):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            sandbox.control.fault("GET", LEADS, "status", status=429, retry_after=4000)
            await airflow.poll()
            pause, then = virtual_time.left, virtual_time.now()
            airflow.start(trigger(on=["created"]), "joined")  # whoever joins meanwhile makes no poll come sooner
            await airflow.settle()
            assert virtual_time.left == pause
            await virtual_time.pass_sleeps()
            return ids(told), lead["id"], then + timedelta(seconds=pause)

    told, lead_id, probe = asyncio.run(scenario())
    assert probe == virtual_time.now() == datetime(2026, 3, 1, 10, 30, 30, tzinfo=UTC)
    assert told == [lead_id]


def test_a_field_that_is_not_there_stops_only_who_asks_for_it(client, person_id, triggerer, states, caplog):
    async def scenario():
        async with triggerer() as airflow:
            wrong = airflow.start(trigger(fields=["Company sze"]), "wrong")
            right = airflow.start(trigger(), "right")
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
        return wrong, ids(right), lead["id"]

    wrong, right, lead_id = asyncio.run(scenario())
    assert (wrong, right) == ([], [lead_id])
    assert "Nothing is told to the trigger 1 (created, updated) until this is mended" in caplog.text
    assert "'Company size'" in caplog.text


def test_a_trigger_whose_fields_may_not_be_read_stops_nobody_else(
    sandbox, client, person_id, triggerer, states, caplog, monkeypatch, tmp_path
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where no earlier test left the fields
    sandbox.control.fault("GET", "*ields*", "status", status=403, times=9)

    async def scenario():
        async with triggerer() as airflow:
            refused = airflow.start(trigger(fields=["Company size"]), "refused")
            told = airflow.start(trigger(), "told")
            await airflow.settle()
            lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
        return refused, ids(told), lead["id"]

    refused, told, lead_id = asyncio.run(scenario())
    assert (refused, told) == ([], [lead_id])
    assert "tried again hourly" in caplog.text


def test_a_bulk_edit_is_not_read_again_and_again(sandbox, client, person_id, triggerer, states):
    """In the silence after it, whatever was told is left behind, and polls cost a page each again."""

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
            await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
            sandbox.control.advance(600)
            await airflow.poll()
            kept = next(iter(states.values()))
            await airflow.poll()
        return told, kept

    told, kept = asyncio.run(scenario())
    assert len(told) == 1
    assert kept["seen"] == {}


def test_who_comes_back_does_not_poll_sooner(sandbox, triggerer, states, virtual_time):
    """Neither during a ban, nor when a trigger ends and is started again."""

    async def scenario():
        async with triggerer() as airflow:
            airflow.start(trigger(), "leads")
            await airflow.settle()
            sandbox.control.fault("GET", LEADS, "html", status=403)
            await airflow.poll()
            sandbox.control.reset_counters()
            pause = virtual_time.left
            airflow.start(trigger(on=["created"]), "joined")
            await airflow.settle()
            assert not seen(sandbox, LEADS)
            assert virtual_time.left == pause
            await virtual_time.pass_sleeps()
            assert len(seen(sandbox, LEADS)) == 1

    asyncio.run(scenario())


def test_a_store_that_fails_ends_nothing(client, person_id, triggerer, states, monkeypatch, caplog):
    async def refuse(self, message):
        raise RuntimeError("no store")

    async def scenario():
        async with triggerer() as airflow:
            told = airflow.start(trigger(), "leads")
            await airflow.settle()
            kept = type(task_runner.SUPERVISOR_COMMS).asend
            monkeypatch.setattr(type(task_runner.SUPERVISOR_COMMS), "asend", refuse)
            await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
            await airflow.poll()
            monkeypatch.setattr(type(task_runner.SUPERVISOR_COMMS), "asend", kept)
            await airflow.poll()
        async with triggerer() as airflow:
            again = airflow.start(trigger(), "leads")
            await airflow.settle()
        return told, again

    told, again = asyncio.run(scenario())
    assert (len(ids(told)), again) == (1, [])
    assert "was not stored (no store)" in caplog.text


def test_a_trigger_that_ends_and_starts_again_and_again_polls_no_faster(sandbox, triggerer, states, virtual_time):
    async def scenario():
        for _ in range(5):
            async with triggerer(same_process=True) as airflow:
                airflow.start(trigger(), "leads")
                await airflow.settle()

    sandbox.control.reset_counters()
    asyncio.run(scenario())
    assert sum(virtual_time.slept) < OFTEN["poll_interval"]
    assert len(seen(sandbox, LEADS)) == 1


def test_cancelling_leaves_no_call_and_no_watcher(sandbox, triggerer, states, virtual_time, monkeypatch):
    """The call under way would last for ever."""
    poll, ended = LeadsProducer._poll, threading.Event()

    def poll_to_the_end(producer, watchers):
        try:
            return poll(producer, watchers)
        finally:
            ended.set()

    patient = sandbox.connection
    patient["extra"]["timeout"] = LONGEST_TIMEOUT
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(patient))
    monkeypatch.setattr(LeadsProducer, "_poll", poll_to_the_end)
    sandbox.control.fault("GET", LEADS, "hold")

    async def scenario():
        async with triggerer() as airflow:
            airflow.start(trigger(), "leads")
            await virtual_time.pass_sleeps_until(sandbox.control.held)
            assert not ended.is_set()

    try:
        asyncio.run(scenario())
        until(ended.is_set)  # no answer came
    finally:
        sandbox.control.let_go()
    assert module.stream_of(trigger().shared_stream_key()).watchers == []


def test_it_runs_alone_where_no_stream_is_shared(client, person_id, states, virtual_time):
    async def scenario():
        alone = trigger()
        alone.asset_state_store = AssetStateStoreAccessors(inlets=[Asset("leads")])
        running = alone.run()
        first = asyncio.create_task(anext(running))
        await settle(virtual_time)
        lead = await asyncio.to_thread(client.add_lead, "New", person_id=person_id)
        await virtual_time.pass_sleeps_until(first.done)
        event = await first
        await running.aclose()
        return event.payload, lead["id"]

    payload, lead_id = asyncio.run(scenario())
    assert ids([payload]) == [lead_id]


def test_an_event_prints_without_the_leads_data(client, person_id, triggerer, states):
    from airflow_provider_pipedrive_leads.triggers.leads_changed import LeadsChangedEvent

    event = LeadsChangedEvent(payload={"leads": [{"event_id": "7@now", "title": "Confidential"}]})
    assert repr(event) == str(event) == "LeadsChangedEvent<['7@now']>"


def test_it_rebuilds_from_what_it_serializes():
    made = trigger(on={"updated", "created"}, fields=("title",), expected={"b": 1, "a": 2}, owner_id="7", max_leads=5)
    path, values = made.serialize()
    assert path == "airflow_provider_pipedrive_leads.triggers.leads_changed.PipedriveLeadsChangedTrigger"
    rebuilt = PipedriveLeadsChangedTrigger(**json.loads(json.dumps(values)))
    assert rebuilt.serialize() == made.serialize()
    assert rebuilt.shared_stream_key() == made.shared_stream_key()


def test_airflow_takes_it_for_the_same_each_time_a_dag_is_parsed():
    """A watcher whose hash changes between the DAG file and the database is started anew at each parse."""
    from airflow.models.trigger import Trigger

    one = trigger(on=["updated", "created"], expected={"b": 1, "a": 2}, owner_id=7)
    other = trigger(on={"created", "updated"}, expected={"a": 2, "b": 1}, owner_id="7")
    stored = Trigger.from_object(one)
    hashes = {
        BaseEventTrigger.hash(*one.serialize()),
        BaseEventTrigger.hash(*other.serialize()),
        BaseEventTrigger.hash(stored.classpath, stored.kwargs),
    }
    assert len(hashes) == 1


def test_other_fields_go_on_where_the_trigger_was_and_other_filters_begin_anew():
    keys = [trigger(**more)._state_key() for more in ({}, {"fields": ["title"]}, {"poll_interval": 60})]
    assert len(set(keys)) == 1
    others = ({"on": ["created"]}, {"expected": {"title": "x"}}, {"owner_id": 1}, {"pipedrive_conn_id": "crm"})
    assert len({trigger(**more)._state_key() for more in others} | set(keys)) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"on": {"deleted"}},
        {"on": {"restored"}},
        {"fields": ["previous.title"]},
        {"poll_interval": 5},
        {"daily_share": 2},
        {"max_leads": 0},
        {"expected": {}},
        {"owner_id": "me"},
    ],
)
def test_what_cannot_be_right_is_refused_in_the_dag_file(wrong):
    with pytest.raises(PipedriveValidationError, match=next(iter(wrong))):
        PipedriveLeadsChangedTrigger(**wrong)
