"""One lead for each task, wherever its create is cut."""

from __future__ import annotations

import logging
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConnectionError,
    PipedriveError,
    PipedriveServerError,
    PipedriveValidationError,
    error_from_reply,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.writing.create_once import Intent, key_of_run, noted_intent
from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience, seconds_until_settled

SETTLE = 30.0
LEADS = "/v1/leads"


class Memory(dict):
    """What Airflow keeps for the tries of a task."""

    def set(self, key, value):
        self[key] = value


class Killed(BaseException):
    """The worker died here."""


@pytest.fixture(autouse=True)
def prompt_sandbox(request, no_waiting):
    """No limit to calls, and no time lost in keeping one."""
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").control.set_burst(1_000_000, search=1_000_000)


@pytest.fixture
def patience(sandbox):
    """Waiting moves the sandbox's clock, so that what a server finishes late is finished by then."""
    sandbox.control.freeze()
    return Patience(SETTLE, SETTLE, sandbox.control.advance, lambda: datetime.fromisoformat(sandbox.control.now()))


def named(sandbox, title):
    """The leads of a title, those included that a server finishes late."""
    sandbox.control.advance(2 * SETTLE)
    return [lead for lead in sandbox.control.all_leads() if lead["title"] == title]


def new_lead(title, **parts):
    return NewLead(title=title, key=f"key of {title}", **parts)


def test_a_clean_create_costs_one_call(sandbox, client, person_id, patience):
    memory = Memory()
    sandbox.control.reset_counters()
    lead_id = create_lead(client, new_lead("Clean", person_id=person_id), memory, patience)
    assert [seen["method"] for seen in sandbox.control.requests()] == ["POST"]
    assert [lead["origin_id"] for lead in named(sandbox, "Clean")] == ["key of Clean"]
    assert create_lead(client, new_lead("Clean", person_id=person_id), memory, patience) == lead_id
    assert len(sandbox.control.requests()) == 1


@pytest.mark.parametrize("kind", ["close_before", "close_after", "close_and_finish", "cut_body", "broken_json"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_create_in_doubt_is_looked_for_before_it_is_sent_again(sandbox, client, person_id, patience, kind, times):
    title = f"{kind} {times}"
    sandbox.control.fault("POST", LEADS, kind, times=times, after=SETTLE / 2)
    lead_id = create_lead(client, new_lead(title, person_id=person_id), Memory(), patience)
    assert [lead["id"] for lead in named(sandbox, title)] == [lead_id]


def test_a_create_that_stays_undone_fails_so_that_a_later_try_may_send_it(sandbox, client, person_id, patience):
    memory = Memory()
    sandbox.control.fault("POST", LEADS, "close_before", times=3)
    with pytest.raises(PipedriveConnectionError) as failure:
        create_lead(client, new_lead("Later", person_id=person_id), memory, patience)
    assert not failure.value.in_doubt
    create_lead(client, new_lead("Later", person_id=person_id), memory, patience)
    assert len(named(sandbox, "Later")) == 1


@pytest.mark.parametrize("kind", ["person", "organization"])
def test_a_contact_that_is_finished_after_the_next_try_looked_is_not_made_again(sandbox, client, patience, kind):
    """The first try dies while it waits for its contact; the server finishes that in the wait of the next."""
    title, memory = f"Late {kind}", Memory()
    lead = new_lead(title, **{kind: {"name": title}})
    sandbox.control.fault("POST", f"/api/v2/{kind}s", "close_and_finish", after=SETTLE / 2)
    with pytest.raises(Killed):
        create_lead(client, lead, memory, patience_without_end(patience))
    create_lead(client, lead, memory, patience)
    assert len(named(sandbox, title)) == 1
    listed = client.get_persons() if kind == "person" else client.get_organizations()
    assert [row["name"] for row in listed].count(title) == 1


class CutClient(PipedriveClient):
    """Dies before or after it sends what creates a lead, or while it looks."""

    def __init__(self, settings, *, die):
        super().__init__(settings, chance=lambda: 0.0)
        self._die = die

    def send(self, call):
        place = call.method if call.path == LEADS else ""
        if self._die == f"before {place}":
            raise Killed
        reply = super().send(call)
        if self._die == f"after {place}":
            raise Killed
        return reply


@pytest.fixture
def settings(sandbox):
    return read_connection(password=sandbox.token, extra={"base_url": sandbox.url})


@pytest.mark.parametrize("die", ["before POST", "after POST"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_killed_try_is_settled_by_the_next(sandbox, settings, client, person_id, patience, die, late):
    title = f"Killed {die} {late}"
    memory = Memory()
    if late:
        sandbox.control.fault("POST", LEADS, "close_and_finish", after=SETTLE / 2)
    with pytest.raises((Killed, PipedriveConnectionError)):
        create_lead(
            CutClient(settings, die=die), new_lead(title, person_id=person_id), memory, patience_without_end(patience)
        )
    lead_id = create_lead(client, new_lead(title, person_id=person_id), memory, patience)
    assert [lead["id"] for lead in named(sandbox, title)] == [lead_id]


def patience_without_end(patience):
    """The worker dies in its first wait."""

    def die(seconds):
        raise Killed

    return Patience(patience.settle, patience.timeout, die, patience.now)


def test_a_lead_that_was_archived_meanwhile_is_found(sandbox, client, person_id, patience):
    memory = Memory()
    sandbox.control.fault("POST", LEADS, "close_after")
    with pytest.raises(Killed):
        create_lead(Blind(client), new_lead("Archived", person_id=person_id), memory, patience_without_end(patience))
    (lead,) = named(sandbox, "Archived")
    client.update_lead(lead["id"], is_archived=True)
    assert create_lead(client, new_lead("Archived", person_id=person_id), memory, patience) == lead["id"]


class Blind:
    """Finds nothing, so that the look for a lead goes on to its wait."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return (lambda **options: iter(())) if name.endswith("_leads") else getattr(self._client, name)


def test_a_lost_note_is_made_up_for_by_the_time_of_the_run(sandbox, client, person_id, patience):
    began = patience.now().isoformat()
    lead_id = create_lead(client, new_lead("Forgotten", person_id=person_id), Memory(), patience)
    assert create_lead(client, new_lead("Forgotten", person_id=person_id), Memory(), patience, began=began) == lead_id


def test_a_lost_note_is_not_forgotten_by_a_try_that_dies_at_the_contact(sandbox, client, patience):
    began, memory = patience.now().isoformat(), Memory()
    lead = new_lead("Twice forgotten", person={"name": "Robin Twice"})
    lead_id = create_lead(client, lead, Memory(), patience)
    with pytest.raises(Killed):
        create_lead(DyingClient(client), lead, memory, patience, began=began)
    assert create_lead(client, lead, memory, patience, began=began) == lead_id


def test_the_same_key_on_another_contact_is_no_success(sandbox, client, person_id, patience):
    other = client.add_organization("Elsewhere")["id"]
    began = patience.now().isoformat()
    create_lead(client, new_lead("Moved", person_id=person_id), Memory(), patience)
    with pytest.raises(PipedriveValidationError, match="organization_id: lead"):
        create_lead(
            client, new_lead("Moved", person_id=person_id, organization_id=other), Memory(), patience, began=began
        )
    assert len(named(sandbox, "Moved")) == 1


def test_a_try_that_means_another_contact_than_the_one_before_is_stopped(client, person_id, patience):
    memory = Memory()
    with pytest.raises(Killed):
        create_lead(
            DyingClient(client), new_lead("Reordered", person_id=person_id), memory, patience_without_end(patience)
        )
    with pytest.raises(PipedriveValidationError, match="an earlier try of this task"):
        create_lead(client, new_lead("Reordered", organization_id=1), memory, patience)


class DyingClient:
    def __init__(self, client):
        self._client = client

    def add_lead(self, **body):
        raise Killed

    def search_persons(self, term, **options):
        raise Killed

    def __getattr__(self, name):
        return getattr(self._client, name)


def oauth_client(sandbox):
    grant = sandbox.control.oauth_grant()
    extra = {
        "base_url": sandbox.url,
        "client_id": grant["client_id"],
        "client_secret": grant["client_secret"],
        "refresh_token": grant["refresh_token"],
    }
    return PipedriveClient(read_connection(extra=extra), chance=lambda: 0.0)


@pytest.fixture
def overwriting(sandbox):
    """An OAuth app's client in an account that puts an origin_id of its own."""
    before = sandbox.control.choices()["oauth_origin_id"]
    sandbox.control.set_choice("oauth_origin_id", "overwritten")
    made = oauth_client(sandbox)
    yield made
    made.close()
    sandbox.control.set_choice("oauth_origin_id", before)
    sandbox.control.clear_faults()


def test_an_account_that_overwrites_keys_is_told_of(sandbox, overwriting, person_id, patience, caplog):
    with caplog.at_level(logging.WARNING):
        create_lead(overwriting, new_lead("Overwritten", person_id=person_id), Memory(), patience)
    assert "key_field" in caplog.text


def test_without_a_key_that_is_kept_doubt_fails_aloud(sandbox, overwriting, person_id, patience):
    sandbox.control.fault("POST", LEADS, "close_after")
    with pytest.raises(PipedriveValidationError, match="key_field: nobody can tell"):
        create_lead(overwriting, new_lead("Doubtful", person_id=person_id), Memory(), patience)
    assert len(named(sandbox, "Doubtful")) == 1


def test_without_a_key_that_is_kept_absence_is_still_seen(sandbox, overwriting, person_id, patience):
    sandbox.control.fault("POST", LEADS, "close_before")
    create_lead(overwriting, new_lead("Absent", person_id=person_id), Memory(), patience)
    assert len(named(sandbox, "Absent")) == 1


def test_a_custom_field_carries_the_key_where_the_account_overwrites_it(sandbox, overwriting, person_id, patience):
    field = next(field for field in overwriting.catalogue().fields if field.type == "varchar")
    sandbox.control.fault("POST", LEADS, "close_after")
    lead = new_lead("Carried", person_id=person_id, key_field=field.name)
    create_lead(overwriting, lead, Memory(), patience)
    assert [lead["fields"][field.name] for lead in named(sandbox, "Carried")] == ["key of Carried"]


class Lossy:
    """A client of an account that keeps something else than it is sent."""

    def __init__(self, client, **kept):
        self._client, self._kept = client, kept

    def add_lead(self, **body):
        changed = {name: change(body[name]) for name, change in self._kept.items()}
        return self._client.add_lead(**{**body, **changed})

    def __getattr__(self, name):
        return getattr(self._client, name)


def nothing(_):
    return None


def other_key(_):
    return "c0ffee00c0ffee00"


@pytest.mark.parametrize("key", [nothing, other_key])
@pytest.mark.parametrize(
    "title", [str, lambda title: title[:25], lambda title: " ".join(title.split()), lambda title: title.upper()]
)
def test_doubt_fails_aloud_whatever_the_account_makes_of_key_and_title(
    sandbox, client, person_id, patience, key, title
):
    sandbox.control.fault("POST", LEADS, "close_after")
    sent = new_lead("A  title of more than a few characters", person_id=person_id)
    with pytest.raises(PipedriveValidationError, match="key_field: nobody can tell"):
        create_lead(Lossy(client, origin_id=key, title=title), sent, Memory(), patience)
    assert len(named(sandbox, title(sent.title))) == 1


def test_a_lead_that_people_entered_meanwhile_is_not_taken_for_ones_own(sandbox, client, person_id, patience):
    entered = {**client.add_lead("By hand", person_id=person_id), "origin": "ManuallyCreated"}
    sandbox.control.fault("POST", LEADS, "close_before")
    looking = Lossy(client)
    looking.get_leads = lambda **_: iter([entered])
    create_lead(looking, new_lead("By hand", person_id=person_id), Memory(), patience)
    assert [lead["origin_id"] for lead in named(sandbox, "By hand")].count("key of By hand") == 1


def test_where_the_key_field_was_not_kept_origin_id_tells_the_lead(sandbox, client, person_id, patience):
    field = next(field for field in client.catalogue().fields if field.type == "varchar")
    sandbox.control.fault("POST", LEADS, "close_after")
    lead = new_lead("By origin_id", person_id=person_id, key_field=field.key)
    lead_id = create_lead(Lossy(client, **{field.key: nothing}), lead, Memory(), patience)
    assert [lead["id"] for lead in named(sandbox, "By origin_id")] == [lead_id]


def test_a_key_field_that_the_account_does_not_have_is_refused(sandbox, client, person_id, patience):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^key_field: .*deleted in Pipedrive"):
        create_lead(client, new_lead("Gone", person_id=person_id, key_field="a" * 40), Memory(), patience)
    assert not [call for call in sandbox.control.requests() if call["method"] == "POST"]


@pytest.mark.parametrize("minutes", [-60, -6, 0, 6, 60])
def test_clocks_may_differ(sandbox, client, person_id, minutes):
    """By how much this machine's is ahead of Pipedrive's."""
    sandbox.control.freeze()
    ahead = timedelta(minutes=minutes)
    patience = Patience(
        SETTLE, SETTLE, sandbox.control.advance, lambda: datetime.fromisoformat(sandbox.control.now()) + ahead
    )
    sandbox.control.fault("POST", LEADS, "close_after")
    lead_id = create_lead(client, new_lead("Apart", person_id=person_id), Memory(), patience)
    assert [lead["id"] for lead in named(sandbox, "Apart")] == [lead_id]


@pytest.mark.parametrize("status", [408, 425, 499])
def test_an_answer_that_somebody_gave_up_waiting_leaves_doubt(sandbox, client, person_id, patience, status):
    title = f"Gave up {status}"
    sandbox.control.fault("POST", LEADS, "close_after")
    add = client.add_lead

    def given_up(**body):
        with pytest.raises(PipedriveConnectionError):
            add(**body)
        call = endpoints.ADD_LEAD.call(body=body)
        raise error_from_reply(call, status, {}, b"")

    doubting = Lossy(client)
    doubting.add_lead = given_up
    lead_id = create_lead(doubting, new_lead(title, person_id=person_id), Memory(), patience)
    assert [lead["id"] for lead in named(sandbox, title)] == [lead_id]


def test_a_key_field_must_be_a_text(client, person_id, patience):
    field = next(field for field in client.catalogue().fields if field.type == "enum")
    with pytest.raises(PipedriveValidationError, match="of type enum, not a text"):
        create_lead(client, new_lead("x", person_id=person_id, key_field=field.name), Memory(), patience)


class Flaky(PipedriveClient):
    """A worker that may die around any call that creates a lead."""

    def __init__(self, settings, chance):
        super().__init__(settings, chance=lambda: 0.0)
        self._dice = chance

    def send(self, call):
        creates = call.method == "POST" and call.path == LEADS
        if creates and self._dice.random() < 0.1:
            raise Killed
        reply = super().send(call)
        if creates and self._dice.random() < 0.1:
            raise Killed
        return reply


@pytest.mark.long
@pytest.mark.usefixtures("no_waiting")
def test_two_hundred_tasks_make_two_hundred_leads(sandbox, settings, patience, person_id):
    """What a server finishes late comes within the time that is waited for it."""
    chance = random.Random(17)
    clients = [Flaky(settings, random.Random(seed)) for seed in range(8)]

    def task(number):
        memory, lead = Memory(), new_lead(f"Task {number}", person_id=person_id)
        for _ in range(12):
            try:
                return create_lead(clients[number % 8], lead, memory, patience)
            except (Killed, PipedriveConnectionError, PipedriveServerError):
                continue
        raise AssertionError("never done")

    for _ in range(60):
        kind = chance.choice(["close_before", "close_after", "close_and_finish", "status", "cut_body"])
        sandbox.control.fault("POST", LEADS, kind, after=SETTLE / 2, status=502)
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(task, range(200)))
    sandbox.control.advance(2 * SETTLE)
    made = [lead for lead in sandbox.control.all_leads() if lead["title"].startswith("Task ")]
    assert Counter(lead["title"] for lead in made) == Counter(f"Task {number}" for number in range(200))
    assert sorted(lead["id"] for lead in made) == sorted(ids)


def test_what_surely_did_nothing_leaves_no_doubt(sandbox, client, person_id, patience):
    memory = Memory()
    sandbox.control.fault("POST", LEADS, "status", status=400)
    with pytest.raises(PipedriveError):
        create_lead(client, new_lead("Refused", person_id=person_id), memory, patience)
    assert noted_intent(memory).sent_at is None


def test_keys_tell_runs_apart_and_tries_not():
    keys = {key_of_run(run) for run in ("dag\nrun\ntask\n-1", "dag\nrun\ntask\n0", "dag\nrun2\ntask\n-1")}
    assert len(keys) == 3
    assert key_of_run("dag\nrun\ntask\n0") in keys
    assert all(key.startswith("airflow-") and len(key) == 32 for key in keys)


def test_an_old_call_has_surely_ended():
    now = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
    patience = Patience(20, 30, now=lambda: now)
    waits = [
        seconds_until_settled((now - timedelta(seconds=ago)).isoformat(), patience) for ago in (0, 60, 400, 3600, -200)
    ]
    assert waits == [20, 20, 10, 0, 20]


def test_an_intent_survives_as_json():
    memory = Memory()
    memory.set("pipedrive_create", {"since": "2026-01-01T00:00:00+00:00", "contact": {"person_id": 7}})
    assert noted_intent(memory) == Intent("2026-01-01T00:00:00+00:00", contact={"person_id": 7})
    assert noted_intent(Memory()) is None


def test_a_refused_try_leaves_room_for_another_contact(sandbox, client, person_id, patience):
    memory = Memory()
    sandbox.control.fault("POST", LEADS, "status", status=400)
    with pytest.raises(PipedriveError):
        create_lead(client, new_lead("Corrected", person_id=1), memory, patience)
    create_lead(client, new_lead("Corrected", person_id=person_id), memory, patience)
    assert [lead["person_id"] for lead in named(sandbox, "Corrected")] == [person_id]


def test_a_lead_made_for_another_contact_is_not_given_for_this_one(client, person_id, patience):
    memory = Memory()
    create_lead(client, new_lead("Row three", person_id=person_id), memory, patience)
    with pytest.raises(PipedriveValidationError, match="person_id: an earlier try of this task created lead"):
        create_lead(client, new_lead("Another row three", person_id=1), memory, patience)
