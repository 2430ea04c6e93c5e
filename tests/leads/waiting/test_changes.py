"""What changed since a cursor: nothing missed, nothing given twice, whatever happens between and during polls."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.exceptions import PipedriveServerError, PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.reading.walk import Page
from airflow_provider_pipedrive_leads.leads.waiting import changes as module
from airflow_provider_pipedrive_leads.leads.waiting import one_look
from airflow_provider_pipedrive_leads.leads.waiting.changes import Cursor, before_all, cursor_at, poll, read_changes
from tests.answering import Leads, client_of, leads
from tests.leads.simulated_account import (
    Answer,
    Beginning,
    Edit,
    Move,
    SimulatedSource,
    Wait,
    World,
    beginnings,
    changes,
    schedules,
)

MANY_MOVES = 100


class SourceOfLeads(SimulatedSource):
    """Gives leads as the API does: as dicts."""

    def ask(self, order, question, limit, *, archived):
        ticket = super().ask(order, question, limit, archived=archived)
        result = ticket.result

        def with_dicts():
            page = result()
            rows = [{**dataclasses.asdict(lead), "is_archived": lead.is_archived} for lead in page.rows]
            return Page(page.heads, rows, page.more)

        ticket.result = with_dicts
        return ticket


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    beginnings,
    st.lists(st.tuples(changes, schedules), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([2, 3, 5]),
)
def test_every_change_is_given_once(beginning, rounds, archived, contrary, told, limit):
    world = World(beginning, (), contrary=contrary, moves_allowed=MANY_MOVES)
    source = SourceOfLeads(world, [1, 3])
    account = world.account
    account.pass_time(1_000)
    before = dict(account.leads)
    cursor = cursor_at(account.now())
    account.pass_time(1_000)
    moved, given_out = set(), []
    for between, during in [*rounds, ((), ())]:
        for step in between:
            world.play(step)
        world.steps.extend(step for step in during if between or not isinstance(step, Answer))
        answered_at = account.now() if told else None
        found, cursor = read_changes(
            source,
            cursor,
            archived=archived,
            limit=limit,
            clock=lambda: account.now_ms / 1000,
            answered_at=lambda at=answered_at: at,
        )
        cursor = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(cursor))), Cursor)
        given_out += [(each.lead["id"], each.lead["version"]) for each in found]
        for step in iter(lambda: world.steps.popleft() if world.steps else None, None):
            if not isinstance(step, Answer):
                world.play(step)
        moved |= world.moves.keys()
    found, _ = read_changes(source, cursor, archived=archived, limit=limit, clock=lambda: account.now_ms / 1000)
    given_out += [(each.lead["id"], each.lead["version"]) for each in found]
    assert len(given_out) == len(set(given_out))
    latest = dict(given_out)
    for lead_id, lead in account.leads.items():
        unseen = (lead.is_archived and not archived) or (contrary and lead_id in moved)
        if lead != before.get(lead_id) and not unseen:
            assert latest[lead_id] == lead.version


@pytest.mark.parametrize(("silence", "read_again"), [(300, 40), (900, 0)], ids=["shortly after", "long after"])
def test_what_changed_long_ago_is_not_read_again(sandbox, client, person_id, cursor, monkeypatch, silence, read_again):
    monkeypatch.setattr(one_look, "_now", lambda: datetime.fromisoformat(sandbox.control.now()))
    sandbox.control.freeze()
    made = []
    for number in range(40):
        sandbox.control.advance(0.01)
        made.append(client.add_lead(f"Bulk {number}", person_id=person_id)["id"])
    found, cursor = poll(client, cursor, archived=False)
    assert [each.lead["id"] for each in found] == made
    assert len(cursor.seen) == 40
    sandbox.control.advance(silence)
    found, cursor = poll(client, cursor, archived=False)
    assert (found, len(cursor.seen)) == ([], read_again)


@pytest.mark.parametrize("ahead", [0, 600, 86_400])
def test_a_servers_clock_that_runs_ahead_hides_no_change(monkeypatch, ahead):
    """As that of a proxy that dates the answers itself; and so nothing of what follows a quiet hour is lost."""
    account, now = leads(3), datetime(2026, 1, 31, 1, tzinfo=UTC)
    active = Leads(account)

    def answer(asked):
        told = {"date": format_datetime(now + timedelta(seconds=ahead), usegmt=True)}
        return active(asked)._replace(headers=told)

    monkeypatch.setattr(one_look, "_now", lambda: now)
    with client_of(answer) as (client, _):
        found, cursor = poll(client, cursor_at("2026-01-30T00:00:00Z"), archived=False)
        assert len(found) == 3
        account[0]["update_time"] = "2026-01-31T01:00:01.000Z"
        now += timedelta(minutes=1)
        found, cursor = poll(client, cursor, archived=False)
    assert [each.lead["id"] for each in found] == [account[0]["id"]]


def test_what_slips_through_between_the_two_lists_is_given_next():
    """A lead is archived when the archived ones were read already, and long before the last change of the poll."""
    world = World([Beginning(1_000, archived=False)] * 2, (), contrary=False, moves_allowed=1)
    source, account = SourceOfLeads(world, [1]), world.account
    slipped, edited = account.leads
    account.pass_time(1_000)
    cursor = cursor_at(account.now())
    account.pass_time(2_000)
    world.steps.extend([Answer(0), Move(0), Wait(600_000), Edit(1), Answer(0)])
    given_out = []
    for _ in range(2):
        found, cursor = read_changes(source, cursor, archived=True, clock=lambda: account.now_ms / 1000)
        given_out.append([each.lead["id"] for each in found])
    assert given_out == [[edited], [slipped]]


def test_a_poll_for_several_readers_gives_each_what_is_new_to_it(sandbox, client, person_id, cursor):
    """The oldest cursor may have seen what a younger one, or one of the same second, has not."""
    made = [client.add_lead(f"Lead {number}", person_id=person_id)["id"] for number in range(3)]
    _, ahead = poll(client, cursor, archived=False)
    behind = Cursor(ahead.since, {made[0]: ahead.seen[made[0]]})
    for cursors in ([ahead, behind], [behind, ahead]):
        found, _ = poll(client, before_all(cursors), archived=False)
        assert {each.lead["id"] for each in found} == set(made[1:])
    later = Cursor("2999-01-01T00:00:00Z", {})
    assert before_all([ahead, later]) == Cursor(ahead.since, {})


@pytest.fixture
def cursor(sandbox):
    sandbox.control.advance(120)
    return cursor_at(sandbox.control.now())


def filter_by_person(client, person_id):
    field_id = next(field["id"] for field in client.get_lead_fields() if field["key"] == "person_id")
    condition = {"object": "lead", "field_id": str(field_id), "operator": "=", "value": person_id}
    groups = [{"glue": "and", "conditions": [condition]}]
    body = {"name": "Theirs", "type": "leads", "conditions": {"glue": "and", "conditions": groups}}
    return client.request("POST", "/v1/filters", json=body)["data"]["id"]


def ids_and_kinds(found):
    return [(each.lead["id"], each.kind) for each in found]


def test_kinds(sandbox, client, person_id, cursor):
    old = client.add_lead("Old", person_id=person_id)["id"]
    sandbox.control.advance(5)
    cursor = cursor_at(sandbox.control.now())
    new = client.add_lead("New", person_id=person_id)["id"]
    client.update_lead(old, title="Older")
    found, cursor = poll(client, cursor, archived=True)
    assert sorted(ids_and_kinds(found)) == sorted([(new, "created"), (old, "updated")])
    assert poll(client, cursor, archived=True)[0] == []
    client.update_lead(new, is_archived=True)
    found, cursor = poll(client, cursor, archived=True)
    assert ids_and_kinds(found) == [(new, "archived")]
    client.update_lead(new, is_archived=False)
    found, cursor = poll(client, cursor, archived=True)
    assert ids_and_kinds(found) == [(new, "updated")]
    assert found[0].lead == client.get_lead(new)


def test_the_archived_list_is_read_only_if_asked_for(sandbox, client, person_id, cursor):
    lead_id = client.add_lead("Put away", person_id=person_id)["id"]
    client.update_lead(lead_id, is_archived=True)
    sandbox.control.reset_counters()
    assert poll(client, cursor, archived=False)[0] == []
    assert [seen["path"] for seen in sandbox.control.requests()] == ["/v1/leads"]
    assert ids_and_kinds(poll(client, cursor, archived=True)[0]) == [(lead_id, "archived")]
    assert len(sandbox.control.requests()) == 3


def test_a_quiet_account_costs_one_page(sandbox, client, cursor):
    sandbox.control.reset_counters()
    for _ in range(3):
        found, cursor = poll(client, cursor, archived=False)
        assert found == []
    assert len(sandbox.control.requests()) == 3


def test_it_remembers_no_more_than_the_last_minutes(sandbox, client, person_id, cursor):
    for _ in range(4):
        client.add_lead("One of many", person_id=person_id)
        found, cursor = poll(client, cursor, archived=False)
        assert len(found) == 1
        sandbox.control.advance(module.LOOKBACK + 240)
    assert len(cursor.seen) == 1


def test_a_poll_that_fails_leaves_the_client_usable(sandbox, client, cursor):
    sandbox.control.fault("GET", "/v1/leads", "status", status=501)
    with pytest.raises(PipedriveServerError):
        poll(client, cursor, archived=False)
    assert poll(client, cursor, archived=False)[0] == []


def test_a_filter_is_the_servers(client, person_id, cursor):
    lead_id = client.add_lead("Filtered", person_id=person_id)["id"]
    client.add_lead("Other", person_id=client.add_person("Somebody")["id"])
    filter_id = filter_by_person(client, person_id)
    assert ids_and_kinds(poll(client, cursor, archived=False, filter_id=filter_id)[0]) == [(lead_id, "created")]


def test_a_beginning_that_is_no_time_is_refused():
    with pytest.raises(PipedriveValidationError, match="now"):
        cursor_at("soon")
