"""The layout of unified CRM APIs holds what Pipedrive tells, and nothing made up."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField, Option
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.leads.reading.columns import STANDARD_KEYS, layout_of
from airflow_provider_pipedrive_leads.leads.reading.common_layout import COMMON_EXPAND, common_columns
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import ContactsOfLeads

PAGE = Path(__file__).parents[3] / "docs" / "common-layout.md"
FIELDS = {
    "id": "text",
    "remote_id": "text",
    "owner": "text",
    "lead_source": "text",
    "title": "text",
    "company": "text",
    "first_name": "text",
    "last_name": "text",
    "addresses": "json",
    "email_addresses": "json",
    "phone_numbers": "json",
    "remote_created_at": "timestamp",
    "remote_updated_at": "timestamp",
    "converted_date": "timestamp",
    "converted_contact": "text",
    "converted_account": "text",
    "remote_was_deleted": "boolean",
    "field_mappings": "json",
    "remote_data": "json",
}


def rows_of(contacts, layout, leads):
    contacts.look_up(leads)
    names = [column.name for column in layout.table]
    return [dict(zip(names, row, strict=True)) for row in zip(*layout.batch(leads), strict=True)]


def test_the_fields_are_those_of_unified_apis_and_the_page_tells_of_each():
    with ContactsOfLeads(Answers(), COMMON_EXPAND) as contacts:
        table = layout_of(common_columns(contacts, Catalogue())).table
    assert {column.name: column.kind for column in table} == FIELDS
    assert len({column.key for column in table}) == len(table)
    assert table[0].key == "id", "loads find a lead's row by it"
    told = re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE)
    assert told == list(FIELDS)


@pytest.fixture
def exported(sandbox, client):
    """Every active lead of the sandbox: as the API gives it, and its row."""
    sandbox.control.reset_counters()
    with ContactsOfLeads(client, COMMON_EXPAND) as contacts:
        layout = layout_of(common_columns(contacts, client.read_catalogue()))
        call = endpoints.GET_LEADS.call(query={"limit": 500}, rows=layout.shape.row)
        rows = rows_of(contacts, layout, client.send(call).data)
    return list(zip(client.get_leads(), rows, strict=True))


def test_every_lead_tells_of_itself(sandbox, client, exported):
    persons = {person["id"]: person for person in client.get_persons()}
    organizations = {organization["id"]: organization for organization in client.get_organizations()}
    for lead, row in exported:
        person = persons.get(lead["person_id"], {"first_name": None, "last_name": None, "emails": [], "phones": []})
        set_or_standard = {key: value for key, value in lead.items() if value is not None or key in STANDARD_KEYS}
        assert row["remote_data"] == set_or_standard
        assert row["id"] == row["remote_id"] == lead["id"]
        assert row["owner"] == str(lead["owner_id"])
        assert row["lead_source"] == lead["source_name"]
        assert row["company"] == organizations[lead["organization_id"]]["name"]
        assert (row["first_name"], row["last_name"]) == (person["first_name"], person["last_name"])
        assert row["email_addresses"] == [
            {"email_address": one["value"], "email_address_type": "work"} for one in person["emails"]
        ]
        assert row["phone_numbers"] == [
            {"phone_number": one["value"], "phone_number_type": "work"} for one in person["phones"]
        ]
        assert (row["remote_created_at"], row["remote_updated_at"]) == (lead["add_time"], lead["update_time"])
        assert row["remote_was_deleted"] is False
        assert [row[name] for name in ("title", "converted_date", "converted_contact", "converted_account")] == [
            None
        ] * 4
    assert {lead["person_id"] is None for lead, _ in exported} == {True, False}


def test_addresses_have_their_parts(client, exported):
    organizations = {organization["id"]: organization["address"] for organization in client.get_organizations()}
    for lead, row in exported:
        given = organizations[lead["organization_id"]]
        (address,) = row["addresses"]
        assert (address["city"], address["postal_code"], address["country"]) == (
            given["locality"],
            given["postal_code"],
            given["country"],
        )
        assert given["value"].startswith(address["street_1"])
        assert address["street_1"].endswith(given["street_number"])


def test_custom_fields_are_named_and_readable(sandbox, client, exported):
    shown = {lead["id"]: lead["fields"] for lead in sandbox.control.all_leads()}
    names = [field.name for field in client.catalogue().fields]
    found = set()
    for lead, row in exported:
        mappings = row["field_mappings"]
        assert list(mappings) == names
        for name in ("Company size", "Lead score", "Next review", "External ID", "Site address", "Partner"):
            assert mappings[name] == shown[lead["id"]].get(name)
            found.update(name for _ in range(mappings[name] is not None))
    assert len(found) == 6


def key(number):
    return f"{number:040x}"


CATALOGUE = Catalogue(
    (
        CustomField(1, key(1), "Company size", "enum", (Option("11", "1-10"), Option("12", "11-50"))),
        CustomField(2, key(2), "Interests", "set", (Option("21", "Training"), Option("22", "Support"))),
        CustomField(3, key(3), "Budget", "monetary"),
        CustomField(4, key(4), "Campaign", "daterange"),
        CustomField(5, key(5), "Größe, 名前", "double"),
        CustomField(6, key(6), "Twice", "varchar"),
        CustomField(7, key(7), "Twice", "varchar"),
    )
)


class Answers(LeadsApi):
    """Answers with the contact of every id asked for."""

    def __init__(self, **contact):
        self.contact = contact

    def send(self, call):
        raise NotImplementedError

    def get_persons(self, *, ids=None, page_size=500):
        return [{"id": each, **self.contact} for each in ids]

    get_organizations = get_persons


def row_of(lead, api=None, catalogue=CATALOGUE):
    with ContactsOfLeads(api or Answers(), COMMON_EXPAND) as contacts:
        layout = layout_of(common_columns(contacts, catalogue))
        text = msgspec.json.encode({"id": "x", "add_time": "", "update_time": "", **lead})
        (row,) = rows_of(contacts, layout, [msgspec.json.decode(text, type=layout.shape.row)])
    return row


def test_custom_fields_of_several_keys_are_one():
    lead = {
        key(1): "12",
        key(2): "22,21",
        key(3): 0,
        f"{key(3)}_currency": "USD",
        f"{key(4)}_until": "2026-02-01",
        key(7): "second",
    }
    assert row_of(lead)["field_mappings"] == {
        "Company size": "11-50",
        "Interests": ["Support", "Training"],
        "Budget": {"amount": 0, "currency": "USD"},
        "Campaign": {"from": None, "until": "2026-02-01"},
        "Größe, 名前": None,
        key(6): None,
        key(7): "second",
    }
    bare = row_of({})["field_mappings"]
    assert (bare["Budget"], bare["Campaign"], bare["Interests"]) == (None, None, [])


def test_remote_data_leaves_out_custom_fields_that_are_not_set():
    data = row_of({"title": "T", key(1): "12"})["remote_data"]
    assert (data["title"], data[key(1)], data["value"]) == ("T", "12", None)
    assert key(2) not in data


def test_a_lead_that_is_gone_is_an_id_and_says_so():
    row = row_of({"id": "x", "is_deleted": True, "converted_deal_id": 5})
    told = {
        name: value for name, value in row.items() if name not in ("field_mappings", "remote_was_deleted") and value
    }
    assert told == {"id": "x", "remote_id": "x"}
    assert row["remote_was_deleted"] is True


def test_a_lead_without_contacts_has_empty_lists():
    row = row_of({"owner_id": None})
    assert row["addresses"] == row["email_addresses"] == row["phone_numbers"] == []
    assert row["owner"] is row["company"] is row["first_name"] is row["title"] is None


def test_contact_sync_tells_job_title_and_the_persons_own_address():
    address = {"value": "1 Elm St, Reno, NV 89501, USA", "street_number": "1", "route": "Elm St", "locality": "Reno"}
    row = row_of({"title": "Ten pumps", "person_id": 5}, Answers(job_title="Head of Pumps", postal_address=address))
    assert row["title"] == "Head of Pumps"
    assert row["remote_data"]["title"] == "Ten pumps"
    assert [(each["street_1"], each["city"], each["state"]) for each in row["addresses"]] == [
        ("1 Elm St", "Reno", None)
    ]


@pytest.mark.parametrize(
    ("address", "street"),
    [
        ({"value": "Mill Lane 4, Berlin", "route": "Mill Lane", "street_number": "4"}, "Mill Lane 4"),
        ({"value": "4 Mill Lane, Leeds", "route": "Mill Lane", "street_number": "4"}, "4 Mill Lane"),
        ({"value": "Mill Lane, Leeds", "route": "Mill Lane"}, "Mill Lane"),
        ({"value": "P.O. Box 7, Leeds", "locality": "Leeds"}, "P.O. Box 7, Leeds"),
        ({"value": None, "locality": None}, None),
        (None, None),
    ],
)
def test_a_street_is_written_as_people_wrote_it(address, street):
    addresses = row_of({"organization_id": 5}, Answers(address=address))["addresses"]
    assert [each["street_1"] for each in addresses] == ([] if street is None else [street])


def test_addresses_and_numbers_keep_their_labels_primary_first():
    emails = [{"value": "b@example.com"}, {"value": "a@example.com", "primary": True, "label": "home"}, {"value": ""}]
    assert row_of({"person_id": 5}, Answers(emails=emails))["email_addresses"] == [
        {"email_address": "a@example.com", "email_address_type": "home"},
        {"email_address": "b@example.com", "email_address_type": None},
    ]
