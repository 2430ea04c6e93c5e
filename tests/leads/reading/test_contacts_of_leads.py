"""Contacts stand beside leads, each looked up once, in flat memory."""

from __future__ import annotations

import secrets
import threading
import tracemalloc
from collections import Counter
from types import SimpleNamespace

import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConnectionError,
    PipedriveError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.columns import columns_for, layout_of
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import ContactsOfLeads
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

ALL = ("person", "organization", "owner")
NAMES = [
    "person_name",
    "person_emails",
    "person_phones",
    "organization_name",
    "owner_name",
    "owner_email",
]
LISTS = {"/api/v2/persons": "person", "/api/v2/organizations": "organization", "/v1/users": "owner"}
NOBODY = 999_999


def lead(person_id=None, organization_id=None, owner_id=None):
    return SimpleNamespace(person_id=person_id, organization_id=organization_id, owner_id=owner_id)


def told(contacts, leads):
    """Look a batch up and read it: one dictionary for each lead."""
    contacts.look_up(leads)
    columns = contacts.columns()
    ids = {f"{kind}_id": [getattr(lead, f"{kind}_id") for lead in leads] for kind in LISTS.values()}
    rows = zip(*(column.read(ids) for column in columns), strict=True)
    return [dict(zip([column.name for column in columns], row, strict=True)) for row in rows]


def calls(sandbox):
    """Count the calls to the lists of contacts, and the ids that were asked for."""
    seen, ids = Counter(), Counter()
    for request in sandbox.control.requests():
        if request["method"] == "GET" and request["path"] in LISTS:
            kind = LISTS[request["path"]]
            seen[kind] += 1
            ids.update((kind, each) for each in request["query"].get("ids", "").split(",") if each)
    return seen, ids


@pytest.fixture
def contacts(sandbox, client):
    sandbox.control.reset_counters()
    with ContactsOfLeads(client, ALL) as made:
        yield made


def test_every_lead_of_an_export_has_its_contacts(sandbox, client, contacts):
    layout = layout_of([*columns_for(["id", "title"], client.read_catalogue()), *contacts.columns()])
    call = endpoints.GET_LEADS.call(query={"limit": 500}, rows=layout.shape.row)
    leads = client.send(call).data
    contacts.look_up(leads)
    assert [column.name for column in layout.table] == ["id", "title", *NAMES]
    known = {each["id"]: each for each in sandbox.control.all_leads()}
    persons = {each["id"]: each for each in client.get_persons()}
    users = {each["id"]: each for each in client.get_users()}
    rows = list(zip(*layout.batch(leads), strict=True))
    assert len(rows) == sandbox.control.lead_count(archived=False)
    for lead_id, _, name, emails, phones, organization, owner, owner_email in rows:
        expected = known[lead_id]
        person = persons.get(expected["person_id"])
        assert (name, organization) == (expected["person_name"], expected["organization_name"])
        assert emails == (person and [one["value"] for one in person["emails"]])
        assert phones == (person and [one["value"] for one in person["phones"]])
        assert (owner, owner_email) == (users[expected["owner_id"]]["name"], users[expected["owner_id"]]["email"])
    assert None in {row[2] for row in rows}, "some lead should have no person"


def test_the_primary_address_comes_first(client, contacts):
    emails = [
        {"value": "second@example.com", "primary": False, "label": "home"},
        {"value": "first@example.com", "primary": True, "label": "work"},
        {"value": "third@example.com", "primary": False, "label": "other"},
    ]
    person = client.add_person("Robin Example", emails=emails, phones=[])
    (row,) = told(contacts, [lead(person["id"])])
    assert row["person_emails"] == ["first@example.com", "second@example.com", "third@example.com"]
    assert row["person_phones"] == []


def test_each_id_is_asked_for_once_also_if_nobody_is_there(sandbox, contacts):
    first = [lead(1, 2, 11_400_001), lead(NOBODY, NOBODY, NOBODY), lead(1, 2, 11_400_001)]
    rows = told(contacts, first)
    assert rows[0] == rows[2]
    assert rows[0]["owner_name"] == "Maren Solberg"
    assert rows[1] == dict.fromkeys(NAMES)
    again = told(contacts, [*first, lead(3, 2, 11_400_002)])
    assert again[:3] == rows
    assert again[3]["person_name"]
    seen, ids = calls(sandbox)
    assert seen == {"person": 2, "organization": 1, "owner": 1}
    assert set(ids.values()) == {1}


def test_what_a_batch_knew_waits_while_others_are_read(contacts):
    (first,) = told(contacts, [lead(1, 1)])
    told(contacts, [lead(2, 2)])
    with pytest.raises(KeyError):
        contacts.person(1)
    assert told(contacts, [lead(1, 1)]) == [first]


def test_a_deleted_person_is_nobody(client, contacts):
    person = client.add_person("Gone Example")
    client.request("DELETE", f"/api/v2/persons/{person['id']}")
    (row,) = told(contacts, [lead(person["id"], 1)])
    assert row["person_name"] is row["person_emails"] is row["person_phones"] is None
    assert row["organization_name"]


def test_a_lead_of_an_organization_alone_asks_for_no_person(sandbox, contacts):
    (row,) = told(contacts, [lead(None, 1)])
    assert row["organization_name"]
    assert row["person_name"] is None
    assert calls(sandbox)[0] == {"organization": 1}


def test_only_what_is_expanded_is_asked_for(sandbox, client):
    sandbox.control.reset_counters()
    with ContactsOfLeads(client, "organization") as contacts:
        assert told(contacts, [lead(1, 1, 11_400_001)])[0].keys() == {"organization_name"}
        contacts.look_up([])
    assert calls(sandbox)[0] == {"organization": 1}


def test_what_no_column_reads_is_not_asked_for(sandbox, contacts):
    contacts.look_up([SimpleNamespace(id="x", organization_id=1)])
    assert calls(sandbox)[0] == {"organization": 1}


def test_what_the_token_may_not_see_is_nobody(sandbox, client):
    hidden = client.add_person("Hidden Example", visible_to=1, owner_id=11_400_001)
    settings = read_connection(password=sandbox.control.token_for(11_400_003), extra={"base_url": sandbox.url})
    other = PipedriveClient(settings)
    with ContactsOfLeads(other, "person") as contacts:
        assert told(contacts, [lead(hidden["id"])])[0]["person_name"] is None
    other.close()


def test_a_hundred_ids_go_into_a_call():
    with Sandbox(leads=690, token=secrets.token_hex(20)) as sandbox:
        client = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
        leads = [lead(number % 230 + 1, 1, 11_400_001) for number in range(250)]
        with ContactsOfLeads(client, ALL) as contacts:
            names = [row["person_name"] for row in told(contacts, leads)]
        people = {person["id"]: person["name"] for person in client.get_persons()}
        client.close()
        assert names == [people[each.person_id] for each in leads]
        assert len(people) == 230
        seen, ids = calls(sandbox)
        assert seen == {"person": 4, "organization": 1, "owner": 1}, "3 calls, and this test's own"
        assert {each for kind, each in ids if kind == "person"} == {str(number) for number in people}
        assert set(ids.values()) == {1}


def test_a_failed_call_is_an_error_and_nothing_is_taken_for_absent(sandbox, client, contacts):
    sandbox.control.fault("GET", "/api/v2/persons", "status", status=501)
    with pytest.raises(PipedriveError):
        contacts.look_up([lead(1)])
    assert told(contacts, [lead(1)])[0]["person_name"]


@pytest.mark.parametrize("expand", ["persons", ["person", "deal"], [""], [None]])
def test_an_unknown_word_is_refused_before_any_call(sandbox, client, expand):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"expand: .* is none of person, organization, owner"):
        ContactsOfLeads(client, expand)
    assert sandbox.control.counters()["calls"] == 0


def test_names_stand_apart_from_the_accounts_own_and_keys_stay(contacts):
    plain = contacts.columns()
    assert [column.name for column in plain] == NAMES
    apart = contacts.columns(["person_name", "person_name_2", "owner_email"])
    assert [column.name for column in apart] == ["person_name_3", *NAMES[1:5], "owner_email_2"]
    assert [column.column.key for column in apart] == [column.column.key for column in plain]
    assert [column.column.key for column in plain][:2] == ["person.name", "person.emails"]


@pytest.mark.parametrize(
    ("ids", "found"), [([], []), ([1], [1]), (["2", 1, NOBODY], [1, 2]), (range(1, 101), list(range(1, 25)))]
)
def test_persons_and_organizations_come_by_ids(client, ids, found):
    assert [person["id"] for person in client.get_persons(ids=ids) if person["id"] <= 24] == found
    organizations = [organization["id"] for organization in client.get_organizations(ids=ids)]
    assert organizations == [each for each in found if each <= 12]


@pytest.mark.parametrize("ids", [range(1, 102), ["x"], [0]])
def test_ids_that_the_api_would_refuse_are_refused(sandbox, client, ids):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match="ids"):
        list(client.get_persons(ids=ids))
    assert sandbox.control.counters()["calls"] == 0


def test_persons_come_page_after_page(client):
    assert [person["id"] for person in client.get_persons(page_size=7)][:24] == list(range(1, 25))


def test_deals_tell_which_lead_they_were(sandbox, client, person_id):
    made = client.add_lead("Becomes a deal", person_id=person_id)
    client.convert_lead_to_deal(made["id"])
    sandbox.control.advance(60)
    deals = list(client.get_deals())
    assert made["id"] in [deal["source_lead_id"] for deal in deals]
    since = list(client.get_deals(updated_since="2020-01-01"))
    assert since == (deals if sandbox.control.choices()["new_record_update_time"] == "add_time" else [])
    assert list(client.get_deals(updated_since="2100-01-01")) == []
    assert sandbox.control.requests()[-1]["query"]["include_fields"] == "source_lead_id"


def test_an_error_breaks_off_what_is_under_way(client):
    def fail_between_batches():
        with ContactsOfLeads(client, ALL) as contacts:
            contacts.look_up([lead(1)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_between_batches()
    with pytest.raises(PipedriveConnectionError):
        client.get_current_user()


class Answers(LeadsApi):
    """Answers each person asked for out of nothing, so that all memory seen is the looker-up's."""

    def __init__(self, **more):
        self.more = more

    def send(self, call):
        raise NotImplementedError

    def get_persons(self, *, ids=None, page_size=500):
        for each in ids:
            value = f"person.number.{each}@example.com"
            emails = [{"value": value, "primary": True, "label": "work"}]
            yield {"id": each, "name": f"Person Number {each}", "emails": emails, "phones": [], **self.more}


def read_all(contacts, first, last):
    for start in range(first, last, 500):
        rows = told(contacts, [lead(each) for each in range(start, start + 500)])
    assert rows[-1]["person_emails"] == [f"person.number.{last - 1}@example.com"]


def peak_while_reading(contacts, first, last):
    tracemalloc.start()
    try:
        read_all(contacts, first, last)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_contacts():
    with ContactsOfLeads(Answers(), "person") as contacts:
        read_all(contacts, 1, 501)
        few = peak_while_reading(contacts, 501, 2_501)
        assert peak_while_reading(contacts, 2_501, 30_001) < 1.5 * few
        assert told(contacts, [lead(77)])[0]["person_name"] == "Person Number 77"


def test_what_was_looked_up_waits_in_a_file_and_hardly_any_of_it_in_memory(contacts):
    (journal,) = contacts._file.execute("PRAGMA journal_mode").fetchone()
    assert journal != "memory"  # as it is of what SQLite keeps in memory alone
    (kibibytes,) = contacts._file.execute("PRAGMA cache_size").fetchone()
    assert -5_000 < kibibytes < 0, "above 0 it would be pages"


class Together(Answers):
    """Answers when as many calls as it lets be under way have come, and notes how many there were at most."""

    def __init__(self, ahead):
        super().__init__()
        self.ahead, self.under_way, self.most, self.rounds = ahead, 0, 0, 0
        self.meeting, self.counting = threading.Barrier(ahead), threading.Lock()

    def calls_ahead(self):
        self.rounds += 1
        return self.ahead

    def get_persons(self, *, ids=None, page_size=500):
        with self.counting:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.meeting.wait()
        with self.counting:
            self.under_way -= 1
        return super().get_persons(ids=ids)


@pytest.mark.parametrize("ahead", [1, 4])
def test_as_many_calls_are_under_way_as_are_worth_it(ahead):
    api = Together(ahead)
    with ContactsOfLeads(api, "person") as contacts:
        rows = told(contacts, [lead(each) for each in range(1, 801)])
    assert [row["person_name"] for row in rows] == [f"Person Number {each}" for each in range(1, 801)]
    assert (api.most, api.rounds) == (ahead, 8 // ahead)


def test_a_contact_of_another_form_is_pipedrives_error():
    with (
        ContactsOfLeads(Answers(first_name=5), "person") as contacts,
        pytest.raises(PipedriveServerError, match=r"expand.*first_name"),
    ):
        contacts.look_up([lead(1)])
