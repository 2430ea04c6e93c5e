"""One poll for all who wait: what it costs, what it sees, whom it tells, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import accumulate, islice

import pytest

from airflow_provider_pipedrive_leads.api.budget import A_DAY, DailyBudget
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import Account, PipedriveClient
from airflow_provider_pipedrive_leads.exceptions import (
    PipedriveAuthError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.reading.incremental import LOOKBACK
from airflow_provider_pipedrive_leads.leads.waiting import feed as module
from airflow_provider_pipedrive_leads.leads.waiting import pace
from airflow_provider_pipedrive_leads.leads.waiting.allowance import Allowance
from airflow_provider_pipedrive_leads.leads.waiting.feed import wait_for
from airflow_provider_pipedrive_leads.leads.waiting.first_look import look_at_lead, look_for_leads
from airflow_provider_pipedrive_leads.leads.waiting.looks import THREADS
from airflow_provider_pipedrive_leads.leads.waiting.one_look import OneLook
from airflow_provider_pipedrive_leads.leads.waiting.waits import ManyLeads, OneLead, Terms, plan, whose_turn
from tests.until import eventually
from tests.virtual_time import feeds_live_by, shared_with, threads_of_feeds

QUICK = Terms(poll_interval=0.2, daily_share=1e6)
ANY = {"owner_id": None, "person_id": None, "organization_id": None, "filter_id": None}
LONGEST_TIMEOUT = 600
"""Seconds: a call to a server that never answers ends by being broken off, or not before the test is given up."""


def one(lead_id, expected, since="2026-01-01T00:00:00Z"):
    return OneLead(lead_id=lead_id, expected=expected, since=since)


def some_leads(count, expected, first=0):
    return [one(f"{number:08x}-0000-1000-8000-000000000000", expected) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("waits", "cost", "by_id", "lists"),
    [
        (some_leads(9, {"title": "x"}), 18, 9, 0),
        (some_leads(11, {"title": "x"}), 22, 11, 0),
        (some_leads(12, {"title": "x"}), 22, 0, 1),
        (some_leads(1_000, {"title": "x"}), 22, 0, 1),
        ([*some_leads(1, {"title": "x"}), ManyLeads(min_count=1, since="")], 22, 1, 1),
        ([*some_leads(3, {"title": "x"}), ManyLeads(min_count=1, since="")], 22, 0, 1),
        ([*some_leads(9, {"title": "x"}), ManyLeads(min_count=1, since="", filter_id=7)], 38, 9, 1),
        (some_leads(20, {"is_archived": True}), 40, 20, 0),
        (some_leads(40, {"is_archived": True}), 62, 0, 1),
        ([*some_leads(15, {"title": "x"}), *some_leads(5, {"is_archived": True}, 20)], 32, 5, 1),
        (some_leads(4, "converted"), 8, 4, 0),
        (some_leads(6, "converted"), 12, 6, 0),
        (some_leads(400, "converted"), 12, 0, 0),
        (some_leads(50, "deleted"), 100, 50, 0),
    ],
)
def test_the_cheapest_look_is_taken(waits, cost, by_id, lists):
    looks = plan(waits)
    assert (looks.cost, len(looks.by_id), len(looks.filters)) == (cost, by_id, lists)


def test_a_lead_that_seems_to_be_gone_is_looked_at_by_id():
    waits = some_leads(30, {"title": "x"})
    looks = plan(waits, [waits[7].lead_id])
    assert (looks.by_id, len(looks.listed), looks.cost) == ({waits[7].lead_id}, 29, 24)
    assert not looks.reads(waits[7])


@pytest.mark.parametrize(("tokens", "turns"), [(0, 1), (22, 1), (23.9, 1), (30, 5), (1_000, 20)])
def test_leads_of_a_list_have_turns(tokens, turns):
    """The fewest in any case, more where the poll has tokens to spare; those that waited longest come first."""
    looks = plan(some_leads(30, {"title": "x"}))
    looked_at = dict.fromkeys(sorted(looks.listed)[:9], 7.0)
    chosen = whose_turn(looks, tokens, looked_at)
    assert len(chosen) == turns
    assert not set(chosen) & looked_at.keys()


def test_what_earlier_feeds_owe_is_owed_still():
    """A feed that ends and begins again every hour finds no new savings."""
    day, now = 0, 0.0
    of_account = pace.Pace(now)
    while now < 86_400:
        now += 300
        of_account.begin_again(now)
        for _ in range(10):
            of_account.choose([Allowance(300, None, 0.1)], 62)
            now = max(now, of_account.due)
            of_account.polled(now, 62, 62)
            day += 62 if now < 86_400 else 0
    assert day <= 3_000 + 62


@pytest.fixture
def virtual_time(sandbox, monkeypatch):
    """The time of feeds and of the sandbox: it stands still until the test lets the feed sleep until its next poll."""
    made = shared_with(sandbox)
    with feeds_live_by(made, monkeypatch):
        yield made


@pytest.fixture
def opened(sandbox):
    """Give a function that makes a client."""

    def open_client(**options):
        return PipedriveClient(account_on(sandbox).settings, chance=lambda: 0.0, **options)

    return open_client


class Hasty(Account):
    """Its clients repeat calls without a pause that is left to chance."""

    def connect(self):
        return PipedriveClient(self.settings, chance=lambda: 0.0)


def account_on(sandbox, **more):
    given = {"password": sandbox.token, **more}
    extra = {**sandbox.connection["extra"], **given.pop("extra", {})}
    return Hasty(read_connection(**given, extra=extra))


@asynccontextmanager
async def all_waiting(sandbox, *waits, terms=QUICK):
    """Waits that have joined; those that go on waiting are cancelled at the end."""
    tasks = [asyncio.create_task(wait_for(account_on(sandbox), wait, terms)) for wait in waits]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ended(virtual_time, task):
    """Let polls be made until a wait is over, and give what it found."""
    await virtual_time.pass_sleeps_until(task.done)
    return await task


@pytest.fixture
def unused_leads(sandbox):
    sandbox.control.leads(60, archived=0.0)
    return iter([lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"]])


@pytest.fixture
def leads(unused_leads):
    """Sixteen leads that no other test knows."""
    return list(islice(unused_leads, 16))


def first_look(opened, lead_id, expected):
    looking = opened()
    missing, wait = look_at_lead(looking, lead_id, expected)
    looking.close()
    assert missing
    return wait


@pytest.mark.parametrize("count", [1, 14], ids=["by id", "by list"])
def test_who_waits_is_told(virtual_time, opened, sandbox, client, leads, count):
    waits = [first_look(opened, lead_id, {"title": "Changed"}) for lead_id in leads[:count]]

    async def run():
        async with all_waiting(sandbox, *waits) as tasks:
            await virtual_time.pass_sleeps(2)
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, tasks[0]) == [leads[0]]
            assert not any(task.done() for task in tasks[1:])

    asyncio.run(run())
    paths = {seen["path"] for seen in sandbox.control.requests() if seen["method"] == "GET"}
    assert paths == {f"/v1/leads/{leads[0]}"} if count == 1 else "/v1/leads" in paths


@pytest.mark.parametrize("count", [1, 14], ids=["by id", "by list"])
def test_a_change_before_the_first_poll_is_seen(virtual_time, opened, sandbox, client, leads, count):
    """Between the first look and the joining, and for one that joins when others are polled for already."""
    waits = [first_look(opened, lead_id, {"title": "Changed"}) for lead_id in leads[:count]]
    client.update_lead(leads[0], title="Changed")
    late = first_look(opened, leads[-1], {"title": "Later"})
    client.update_lead(leads[-1], title="Later")
    late_by_list = ManyLeads(min_count=1, since=late.since, expected={"title": "Later"})

    async def run():
        async with all_waiting(sandbox, *waits) as tasks:
            assert await ended(virtual_time, tasks[0]) == [leads[0]]
            if count > 1:
                await virtual_time.pass_sleeps(2)
            polls = len(virtual_time.slept)
            async with all_waiting(sandbox, late, late_by_list) as later:
                told = asyncio.gather(*later)
                await virtual_time.pass_sleeps_until(lambda: told.done() or len(virtual_time.slept) > polls + 1)
                assert len(virtual_time.slept) == polls + 1
                assert await told == [[leads[-1]]] * 2

    asyncio.run(run())


@pytest.fixture
def holds_next_reply(monkeypatch):
    """Give a function after which the next reply from a path stays on its way until it is let go.

    It gives two events: that the reply is under way, and that it may arrive.
    """
    under_way, let_go = threading.Event(), threading.Event()
    send = PipedriveClient.send

    def hold(path):
        def send_and_hold(client, call):
            reply = send(client, call)
            if call.path == path and not under_way.is_set():
                under_way.set()
                let_go.wait()
            return reply

        monkeypatch.setattr(PipedriveClient, "send", send_and_hold)
        return under_way, let_go

    yield hold
    let_go.set()


@pytest.mark.parametrize("others", [0, pytest.param(13, marks=pytest.mark.long)], ids=["by id", "by list"])
def test_an_old_state_does_not_count_for_who_joins(
    virtual_time, opened, sandbox, client, leads, holds_next_reply, others
):
    waits = [first_look(opened, lead_id, {"title": "Never"}) for lead_id in leads[: others + 1]]
    client.update_lead(leads[0], title="Passing")
    under_way, let_go = holds_next_reply("/v1/leads" if others else f"/v1/leads/{leads[0]}")

    async def run():
        async with all_waiting(sandbox, *waits):
            polling = asyncio.create_task(virtual_time.pass_sleeps())
            await eventually(under_way.is_set)
            client.update_lead(leads[0], title="Passed")
            looked = first_look(opened, leads[0], {"title": "Passing"})
            async with all_waiting(sandbox, looked) as (task,):
                assert not polling.done()
                let_go.set()
                await polling
                assert not task.done()
                await virtual_time.pass_sleeps(2)
                assert not task.done()

    asyncio.run(run())


def test_many_leads_are_counted_as_they_come_and_go(virtual_time, opened, sandbox, client):
    person_id = client.add_person("Crowd")["id"]
    looking = opened()
    wait = look_for_leads(looking, "3", {**ANY, "person_id": person_id}, updated_since="", expected={"title": "In"})
    looking.close()

    async def run():
        async with all_waiting(sandbox, wait) as (task,):
            made = [client.add_lead("In", person_id=person_id)["id"] for _ in range(2)]
            client.add_lead("Out", person_id=person_id)
            await virtual_time.pass_sleeps(2)
            client.update_lead(made[0], title="Out")
            await virtual_time.pass_sleeps(2)
            made += [client.add_lead("In", person_id=person_id)["id"]]
            await virtual_time.pass_sleeps(2)
            assert not task.done()
            client.update_lead(made[0], title="In")
            assert sorted(await ended(virtual_time, task)) == sorted(made)

    asyncio.run(run())


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 8], ids=["by id", "by list"])
def test_conversion_is_told_from_deletion(virtual_time, opened, sandbox, client, leads, count):
    converted = [first_look(opened, lead_id, "converted") for lead_id in leads[:count]]
    deleted = first_look(opened, leads[8], "deleted")
    wrong = first_look(opened, leads[9], "deleted")
    title = first_look(opened, leads[10], {"title": "Never"})

    async def run():
        async with all_waiting(sandbox, *converted, deleted, wrong, title) as tasks:
            await virtual_time.pass_sleeps(2)
            for lead_id in (leads[0], leads[9]):
                client.convert_lead_to_deal(lead_id)
            client.delete_lead(leads[8])
            client.delete_lead(leads[10])
            sandbox.control.advance(5)
            assert await ended(virtual_time, tasks[0]) == [leads[0]]
            assert await ended(virtual_time, tasks[-3]) == [leads[8]]
            with pytest.raises(PipedriveNotFoundError, match="converted to deal"):
                await ended(virtual_time, tasks[-2])
            with pytest.raises(PipedriveNotFoundError, match="was deleted"):
                await ended(virtual_time, tasks[-1])

    asyncio.run(run())


@pytest.mark.parametrize("end", ["deleted", "converted", "archived and expected so"])
def test_the_end_of_a_lead_that_a_list_tells_of_is_seen(virtual_time, opened, sandbox, client, leads, end):
    """No list names a lead that is gone."""
    expected = {"is_archived": True} if "expected" in end else {"title": "Never"}
    waits = [first_look(opened, leads[0], expected)]
    waits += [first_look(opened, lead_id, {"title": "Never"}) for lead_id in leads[1:]]
    many = ManyLeads(min_count=900, since=sandbox.control.now())
    assert leads[1] in plan([*waits, many]).listed

    async def run():
        async with all_waiting(sandbox, *waits, many) as tasks:
            await virtual_time.pass_sleeps(2)
            if end == "deleted":
                client.delete_lead(leads[0])
            elif end == "converted":
                client.convert_lead_to_deal(leads[0])
                sandbox.control.advance(5)
            else:
                client.update_lead(leads[0], is_archived=True)
                assert await ended(virtual_time, tasks[0]) == [leads[0]]
                return
            with pytest.raises(PipedriveNotFoundError, match=f"was {end}"):
                await ended(virtual_time, tasks[0])
            assert not any(task.done() for task in tasks[1:])

    asyncio.run(run())


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts its turns."""

    turn = 0

    def _run_once(self):
        self.turn += 1
        super()._run_once()


def test_many_who_are_told_do_not_hold_up_the_event_loop(virtual_time, sandbox, monkeypatch):
    """One looks at what changed, and then all others that run in the loop have a turn."""
    turns = []
    take_changes = module.Waiter.take_changes

    def take_and_note(waiter, changes):
        turns.append(asyncio.get_running_loop().turn)
        take_changes(waiter, changes)

    monkeypatch.setattr(module.Waiter, "take_changes", take_and_note)
    waits = [ManyLeads(min_count=900, since=sandbox.control.now()) for _ in range(30)]

    async def run():
        async with all_waiting(sandbox, *waits):
            await virtual_time.pass_sleeps()

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(run())
    assert len(set(turns)) == len(turns) == 30


def test_who_joins_waits_for_its_turn(virtual_time, sandbox, leads):
    """Else leads that others wait for would have none while there are new ones."""
    waits = [one(lead_id, {"title": "Never"}) for lead_id in leads]

    async def run():
        async with all_waiting(sandbox, *waits[:14], terms=Terms()):
            (feed,) = module._feeds[asyncio.get_running_loop()].values()
            feed._looked_at = dict.fromkeys(leads[:14], 1.0)  # long ago
            async with all_waiting(sandbox, *waits[14:], terms=Terms()):
                assert whose_turn(feed._plan(), 0, feed._looked_at)[0] in leads[:14]

    asyncio.run(run())


def test_absence_is_believed_when_two_polls_say_so(virtual_time, opened, sandbox, client, leads):
    wait = first_look(opened, leads[0], {"title": "Changed"})
    sandbox.control.fault("GET", f"/v1/leads/{leads[0]}", "status", status=404, times=2)  # a poll asks twice

    async def run():
        async with all_waiting(sandbox, wait) as (task,):
            await virtual_time.pass_sleeps()
            assert len([call for call in sandbox.control.requests() if call["fault"]]) == 2
            await virtual_time.pass_sleeps(2)
            assert not task.done()
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, task) == [leads[0]]

    asyncio.run(run())


def test_a_login_that_is_refused_once_ends_nothing(virtual_time, opened, sandbox, client, leads):
    wait = first_look(opened, leads[0], {"title": "Changed"})
    sandbox.control.fault("GET", f"/v1/leads/{leads[0]}", "status", status=401, times=1)

    async def run():
        async with all_waiting(sandbox, wait) as (task,):
            await virtual_time.pass_sleeps(2)
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, task) == [leads[0]]

    asyncio.run(run())


def test_a_feed_that_broke_down_takes_nobody_in(virtual_time, opened, sandbox, client, leads, monkeypatch):
    waits = [first_look(opened, lead_id, {"title": "Changed"}) for lead_id in leads[:2]]
    broken = iter([True])
    choose = module.Pace.choose

    def break_once(*given):
        if next(broken, False):
            raise RuntimeError("broken")
        choose(*given)

    monkeypatch.setattr(module.Pace, "choose", break_once)

    async def run():
        async def joins_when_the_other_ends():
            with pytest.raises(RuntimeError, match="broken"):
                await wait_for(account_on(sandbox), waits[0], QUICK)

        first = asyncio.create_task(joins_when_the_other_ends())
        feeds = module._feeds.setdefault(asyncio.get_running_loop(), {})
        while not feeds:
            await asyncio.sleep(0)
        while feeds:
            await asyncio.sleep(0)
        async with all_waiting(sandbox, waits[1]) as (task,):
            await first
            client.update_lead(leads[1], title="Changed")
            assert await ended(virtual_time, task) == [leads[1]]

    asyncio.run(run())


def test_a_comparison_that_breaks_down_ends_one_wait_only(virtual_time, opened, sandbox, client, leads):
    odd = one(leads[0], {"title": object()})
    wait = first_look(opened, leads[0], {"title": "Changed"})

    class Breaks:
        def __eq__(self, other):
            raise RuntimeError("odd")

        __hash__ = None

    odd.expected["title"] = Breaks()

    async def run():
        async with all_waiting(sandbox, odd, wait) as (broken, task):
            with pytest.raises(RuntimeError, match="odd"):
                await ended(virtual_time, broken)
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, task) == [leads[0]]

    asyncio.run(run())


def test_an_archived_lead_is_not_taken_for_deleted(virtual_time, opened, sandbox, client, leads):
    deleted = first_look(opened, leads[0], "deleted")
    archived = first_look(opened, leads[0], {"is_archived": True})
    client.update_lead(leads[0], is_archived=True)

    async def run():
        async with all_waiting(sandbox, deleted, archived) as (gone, put_away):
            assert await ended(virtual_time, put_away) == [leads[0]]
            await virtual_time.pass_sleeps(3)
            assert not gone.done()
            client.delete_lead(leads[0])
            assert await ended(virtual_time, gone) == [leads[0]]

    asyncio.run(run())


def test_the_last_who_leaves_ends_it(virtual_time, sandbox, leads, caplog):
    """Its task, its threads, and the call under way, which would last for ever: nothing is left that could poll."""
    account = account_on(sandbox, extra={"timeout": LONGEST_TIMEOUT})

    async def run():
        sandbox.control.fault("GET", f"/v1/leads/{leads[0]}", "hold")
        others, others_threads = asyncio.all_tasks(), threads_of_feeds()
        waiting = asyncio.create_task(wait_for(account, one(leads[0], {"title": "Never"}), QUICK))
        await virtual_time.pass_sleeps_until(sandbox.control.held)
        assert threads_of_feeds() - others_threads
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not module._feeds.get(asyncio.get_running_loop())
        await eventually(lambda: asyncio.all_tasks() == others and threads_of_feeds() <= others_threads)

    for _ in range(2):  # each time in another event loop
        try:
            asyncio.run(run())
        finally:
            sandbox.control.let_go()
    assert "broke down" not in caplog.text


def test_a_time_that_is_none_begins_no_feed(sandbox, leads):
    async def run():
        with pytest.raises(PipedriveValidationError, match="since"):
            await wait_for(account_on(sandbox), one(leads[0], {"title": "Never"}, since="soon"), QUICK)
        assert not module._feeds.get(asyncio.get_running_loop())

    asyncio.run(run())


def test_a_dead_account_holds_up_no_other(virtual_time, opened, sandbox, client, leads):
    """Not even one where more is looked at than an account has threads."""
    wait = first_look(opened, leads[0], {"title": "Changed"})

    async def run(server):
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        dead = account_on(sandbox, extra={"base_url": address, "timeout": LONGEST_TIMEOUT})
        never = [one(lead_id, {"title": "Never"}) for lead_id in leads[1 : 2 * THREADS]]
        stuck = [asyncio.create_task(wait_for(dead, each, QUICK)) for each in never]
        arrival = asyncio.create_task(asyncio.get_running_loop().sock_accept(server))
        await virtual_time.pass_sleeps_until(arrival.done)
        call, _ = await arrival
        with call:
            async with all_waiting(sandbox, wait) as (task,):
                client.update_lead(leads[0], title="Changed")
                assert await ended(virtual_time, task) == [leads[0]]
            assert not any(each.done() for each in stuck)
            for each in stuck:
                each.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        asyncio.run(run(silent))


def test_a_refused_token_fails_all_of_its_account_and_nobody_else(virtual_time, opened, sandbox, client, leads):
    wait = first_look(opened, leads[0], {"title": "Changed"})

    async def run():
        strange = account_on(sandbox, password="f" * 40)
        many = ManyLeads(min_count=1, since="2026-01-01T00:00:00Z", filter_id=7)
        refused = [
            asyncio.create_task(wait_for(strange, each, QUICK)) for each in (one(leads[0], {"title": "x"}), many)
        ]
        async with all_waiting(sandbox, wait) as tasks:
            for task in refused:
                with pytest.raises(PipedriveAuthError):
                    await ended(virtual_time, task)
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, tasks[0]) == [leads[0]]

    asyncio.run(run())


def test_a_deleted_filter_fails_those_who_wait_for_it(virtual_time, opened, sandbox, client, leads):
    wait = first_look(opened, leads[0], {"title": "Changed"})
    filtered = ManyLeads(min_count=1, since=sandbox.control.now(), filter_id=987_654)

    async def run():
        async with all_waiting(sandbox, filtered, wait) as (failed, told):
            with pytest.raises(PipedriveError):
                await ended(virtual_time, failed)
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, told) == [leads[0]]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "options"),
    [("close_before", {"times": 9}), ("status", {"status": 503, "times": 9})],
)
def test_trouble_on_the_way_is_waited_out(virtual_time, opened, sandbox, client, leads, kind, options):
    wait = first_look(opened, leads[0], {"title": "Changed"})
    sandbox.control.fault("GET", "/v1/leads*", kind, **options)

    async def run():
        async with all_waiting(sandbox, wait) as (task,):
            client.update_lead(leads[0], title="Changed")
            assert await ended(virtual_time, task) == [leads[0]]

    asyncio.run(run())


@pytest.mark.usefixtures("no_waiting")
def test_a_spent_day_fails_some_and_others_wait(virtual_time, opened, sandbox, leads, client):
    patient = first_look(opened, leads[0], {"title": "Woken"})
    began = virtual_time.now()
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left

    async def run():
        sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000, times=5)
        waiting = asyncio.create_task(wait_for(account_on(sandbox), patient, Terms(on_daily_budget="wait")))
        hasty = asyncio.create_task(wait_for(account_on(sandbox), patient, Terms(on_daily_budget="fail")))
        with pytest.raises(PipedriveDailyBudgetError):
            await ended(virtual_time, hasty)
        assert not waiting.done()
        await virtual_time.pass_sleeps(4)
        client.update_lead(leads[0], title="Woken")
        assert await ended(virtual_time, waiting) == [leads[0]]

    asyncio.run(run())
    first, *probes = [began + timedelta(seconds=passed) for passed in accumulate(virtual_time.slept)]
    assert first == began + timedelta(seconds=Terms().poll_interval)
    assert probes == [first + number * timedelta(seconds=4000 + 30) for number in range(1, 6)]  # when the server said


def test_a_ban_ends_a_poll(virtual_time, sandbox, leads):
    """Many that are looked at by id do not each ask once more."""
    sandbox.control.fault("GET", "/v1/leads/*", "html", status=403, times=100)
    calls = []

    async def run():
        waits = [one(lead_id, {"title": "Never"}) for lead_id in leads[:9]]
        async with all_waiting(sandbox, *waits, terms=Terms(poll_interval=20, daily_share=1.0)):
            for _ in range(2):
                sandbox.control.reset_counters()
                await virtual_time.pass_sleeps()
                calls.append(len(sandbox.control.requests()))

    asyncio.run(run())
    assert virtual_time.slept == [20, 300]
    assert all(1 <= of_a_poll <= THREADS for of_a_poll in calls), calls


def test_a_ban_is_sat_out(virtual_time, opened, sandbox, client, leads):
    """No account is asked again before the time that it told, however often others join."""
    wait = first_look(opened, leads[0], {"title": "Changed"})
    sandbox.control.fault("GET", f"/v1/leads/{leads[0]}", "html", status=403)

    async def run():
        async with all_waiting(sandbox, wait, terms=Terms(poll_interval=20, daily_share=1.0)) as (task,):
            client.update_lead(leads[0], title="Changed")
            await virtual_time.pass_sleeps()
            sandbox.control.reset_counters()
            for lead_id in leads[1:3]:
                hurried = Terms(poll_interval=10, daily_share=1.0)
                async with all_waiting(sandbox, one(lead_id, {"title": "Never"}), terms=hurried):
                    await virtual_time.standstill()
                    assert virtual_time.left == 300
            assert sandbox.control.requests() == []
            assert await ended(virtual_time, task) == [leads[0]]

    asyncio.run(run())
    assert virtual_time.slept == [20, 300]


@pytest.mark.usefixtures("no_waiting")
def test_a_day_that_never_comes_back_ends_all_waits(virtual_time, opened, sandbox, leads):
    patient = first_look(opened, leads[0], {"title": "Never"})
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000, times=100)

    async def run():
        waiting = asyncio.create_task(wait_for(account_on(sandbox), patient, Terms(on_daily_budget="wait")))
        with pytest.raises(PipedriveDailyBudgetError):
            await ended(virtual_time, waiting)

    asyncio.run(run())
    assert timedelta(hours=20) < timedelta(seconds=sum(virtual_time.slept)) < timedelta(hours=28)


DAYS = [(waits, multiplier) for waits in ("one", "list", "archived", "deleted") for multiplier in (1, 7)]


@pytest.mark.parametrize(
    ("waits", "multiplier"),
    [pytest.param(*day, marks=() if day == ("list", 1) else pytest.mark.long) for day in DAYS],
)
def test_a_day_of_waiting_stays_within_its_share(
    sandbox, leads, unused_leads, virtual_time, monkeypatch, waits, multiplier
):
    since = sandbox.control.now()
    joining = {
        "one": [one(leads[0], {"title": "Never"}, since)],
        "list": [ManyLeads(min_count=900, since=since)],
        "archived": [one(lead_id, {"is_archived": True}, since) for lead_id in islice(unused_leads, 40)],
        "deleted": [one(lead_id, "deleted", since) for lead_id in leads],
    }[waits]
    size = 30_000 * multiplier
    sandbox.control.set_budget(size)
    monkeypatch.setattr(DailyBudget, "learn", lambda day, *_: setattr(day, "size", size))

    async def run():
        async with all_waiting(sandbox, *joining, terms=Terms()) as tasks:
            await virtual_time.standstill()
            day_ends = virtual_time.clock() + A_DAY
            while virtual_time.clock() + virtual_time.left <= day_ends:
                await virtual_time.pass_sleeps()
            assert not any(task.done() for task in tasks)
            (feed,) = module._feeds[asyncio.get_running_loop()].values()
            return feed._looks.usage.tokens

    spent = asyncio.run(run())
    assert 0 < spent <= 0.1 * 30_000 * multiplier
    assert min(virtual_time.slept) >= 300


def test_the_log_says_at_what_pace(virtual_time, sandbox, caplog):
    caplog.set_level(logging.INFO, logger=pace.__name__)

    async def run():
        wait = ManyLeads(min_count=900, since=sandbox.control.now())
        async with all_waiting(sandbox, wait, terms=Terms()) as (task,):
            await virtual_time.pass_sleeps(2)
            assert not task.done(), task.exception()

    asyncio.run(run())
    assert "Polling every" in caplog.text


def test_a_look_tells_where_to_go_on(sandbox, opened):
    sandbox.control.freeze()
    look = OneLook(opened())
    assert look.answered_at is None
    look.get_current_user()
    apart = datetime.fromisoformat(sandbox.control.now()) - datetime.fromisoformat(look.unseen_since)
    assert timedelta(seconds=LOOKBACK) <= apart < timedelta(seconds=LOOKBACK + 1)  # it tells whole seconds
