"""From a custom field to every destination and back: what is read there is what the client says of the lead."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet
from upath import UPath

from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import deliver, export_leads
from airflow_provider_pipedrive_leads.leads.reading.lead_rows import rows_for
from airflow_provider_pipedrive_leads.sql.loading import loading_table
from tests.sql.conftest import duckdb, mysql, mysql_server, postgres, postgres_server, sqlite  # noqa: F401

pytestmark = [pytest.mark.usefixtures("no_waiting"), pytest.mark.slow]
FILES = ("leads.jsonl", "leads.csv", "leads.csv.gz", "leads.parquet")
DATABASES = ("sqlite", "duckdb", "postgres", "mysql")
AWKWARD = "He said \"yes\",\r\nit's `fine`; \t\\N \\ %s\n=cmd|'/C calc'!A0 🎉 名前 \u2028 é e\u0301"
WITH_NUL = "before\0after"
SIZES = ["1,5 mm", 'the "wide" one', "🎉"]
MADE = {"Found by": "varchar_auto", "Sizes": "set", "=cmd|'/C calc'!A0": "varchar", "Größe (m²)": "double"}
VALUES = {
    "Company size": "51-200",
    "Interests": ["Sensors", "Training"],
    "Lead score": -12.375,
    "Budget": {"amount": 1234.56, "currency": "EUR"},
    "Next review": date(2028, 2, 29),
    "Trial period": {"from": date(1999, 12, 31), "until": date(2026, 3, 1)},
    "Best time to call": time(0, 0),
    "Office hours": {"from": time(9, 30), "until": time(23, 59, 59)},
    "External ID": "=cmd|'/C calc'!A0",
    "Requirements": AWKWARD,
    "Site address": "Mill Lane 12, 10115 Berlin, Germany",
    "Switchboard": "+49 30 555-0",
    "Technical owner": 11_400_002,
    "Partner": 2,
    "Recommended by": 3,
    "Found by": WITH_NUL,
    "Sizes": SIZES,
    "=cmd|'/C calc'!A0": "-1",
    "Größe (m²)": 0.1,
}
COLUMNS = {
    "Company size": "company_size",
    "Interests": "interests",
    "Lead score": "lead_score",
    "Budget": "budget",
    "Next review": "next_review",
    "Trial period": "trial_period",
    "Best time to call": "best_time_to_call",
    "Office hours": "office_hours",
    "External ID": "external_id",
    "Requirements": "requirements",
    "Site address": "site_address",
    "Switchboard": "switchboard",
    "Technical owner": "technical_owner",
    "Partner": "partner",
    "Recommended by": "recommended_by",
    "Found by": "found_by",
    "Sizes": "sizes",
    "=cmd|'/C calc'!A0": "cmd_c_calc_a0",
    "Größe (m²)": "grosse_m2",
}
"""Where people look for each field; money and ranges have two columns that begin so."""


def new_field(client, name, kind, options=()):
    body = {"field_name": name, "field_type": kind, "options": [{"label": label} for label in options] or None}
    return client.request("POST", "/api/v2/dealFields", json=body)["data"]["field_code"]


def rename(client, key, name):
    client.request("PATCH", f"/api/v2/dealFields/{key}", json={"field_name": name})


@pytest.fixture
def account(client):
    """A full lead, an archived full one and a bare one, and whom each hangs on."""
    for name, kind in MADE.items():
        new_field(client, name, kind, SIZES if kind == "set" else ())
    person = client.add_person("Robin Example")["id"]
    alone = client.add_person("Kim Example")["id"]
    full = client.add_lead(AWKWARD, person_id=person, value={"amount": 0.1, "currency": "USD"}, **VALUES)
    archived = client.add_lead("Archived", person_id=person, **VALUES)
    client.update_lead(archived["id"], is_archived=True)
    bare = client.add_lead("Bare", person_id=alone)
    return SimpleNamespace(
        person=person, alone=alone, full=full["id"], archived=archived["id"], bare=bare["id"], count=3
    )


@pytest.fixture
def leads(client, account):
    """The three leads as the API gives them."""
    given = [lead for who in (account.person, account.alone) for lead in client.get_leads(person_id=who)]
    return {lead["id"]: lead for lead in [*given, *client.get_archived_leads(person_id=account.person)]}


def load(client, database, columns="names", *, table="leads", **filters):
    """Load a table as the transfer does."""
    with (
        rows_for(client, columns) as rows,
        loading_table(database.hook, table, rows.layout.table, mode="merge", run_key="run") as loading,
    ):
        deliver(client, Selection(**filters), rows.layout.shape, lambda batch: loading.write(rows.batch(batch)))
    return loading


def table_rows(database, table="leads"):
    """The rows of a table by id, with the driver's own values."""
    with closing(database.hook.get_conn()) as connection:
        cursor = connection.cursor()
        moments = {"add_time", "update_time", "archive_time"}  # their zone is the business of tests/sql
        cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")
        names = [column[0] for column in cursor.description]
        cursor.fetchall()
        kept = [name for name in names if name not in moments]
        cursor.execute(f"SELECT {', '.join(map(database.quoted, kept))} FROM {table}")
        return {row[0]: dict(zip(kept, row, strict=True)) for row in cursor.fetchall()}


def file_rows(path):
    """The rows of a file by id."""
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    if path.name.endswith(".parquet"):
        rows = parquet.read_table(path).to_pylist()
    elif ".csv" in path.name:
        rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    else:
        rows = [json.loads(line) for line in data.splitlines()]
    return {row["id"]: row for row in rows}


def delivered(request, client, where, columns, tmp_path, **filters):
    """Export to a destination and read it back."""
    if where in DATABASES:
        database = request.getfixturevalue(where)
        load(client, database, columns, **filters)
        return table_rows(database)
    export_leads(client, Selection(**filters), UPath(tmp_path / where), columns=columns)
    return file_rows(tmp_path / where)


def plain(value):
    """A value without the differences that are allowed: of number types, and of types that JSON lacks."""
    if isinstance(value, timedelta):
        value = (datetime.min + value).time()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | int) and not isinstance(value, bool):
        return float(value)
    return value


def told(value, where):
    """How a destination tells a plain value: CSV has text only, some have no NUL, some no list."""
    if where in DATABASES and isinstance(value, str):
        return value.replace("\0", "")
    if ".csv" in where:
        return value.replace("\0", "\u2400") if isinstance(value, str) else "" if value is None else value
    return value


def seen(value, wanted):
    """A value as read back, in the form of the one that is wanted."""
    if isinstance(value, str) and isinstance(wanted, list):
        return json.loads(value)
    if isinstance(value, str) and isinstance(wanted, float):
        return float(value)
    return plain(value)


def flat(client, lead):
    """What the client says of a lead's custom fields, by the columns where it should be found."""
    found = {}
    known = {field.name: field for field in client.catalogue().fields}
    for name, value in client.named_fields(lead).items():
        column = COLUMNS.get(name)
        if column is None:
            continue
        parts = {"monetary": ("amount", "currency"), "daterange": ("from", "until"), "timerange": ("from", "until")}
        ends = parts.get(known[name].type, ())
        found |= {f"{column}_{end}": value and value[end] for end in ends} or {column: value}
        if known[name].type == "set" and value is None:
            found[column] = []  # a list has no further word for nothing
    return found


def assert_row(row, wanted, where):
    for column, value in wanted.items():
        expected = told(plain(value), where)
        assert seen(row[column], expected) == expected, column


@pytest.mark.parametrize("where", [*FILES, *DATABASES])
def test_named_columns_say_what_the_client_says(request, client, account, leads, where, tmp_path):
    rows = delivered(request, client, where, "names", tmp_path)
    assert set(leads) < set(rows)
    for lead_id in (account.full, account.archived, account.bare):
        wanted = flat(client, leads[lead_id])
        assert len(wanted) == len(COLUMNS) + 3
        assert_row(rows[lead_id], wanted, where)
    assert_row(rows[account.full], {"title": leads[account.full]["title"], "value_amount": 0.1}, where)
    assert_row(rows[account.full], {"site_address_country": "Germany", "site_address_locality": "Berlin"}, where)


def test_the_client_says_what_was_written(client, account, leads):
    """What the others are compared with, compared with the origin."""
    assert len(leads) == account.count
    named = client.named_fields(leads[account.full])
    for name, value in VALUES.items():
        if name == "Lead score":
            assert float(named[name]) == value
        elif name == "Budget":
            assert named[name] == {"amount": Decimal("1234.56"), "currency": "EUR"}
        else:
            assert plain(named[name]) == plain(value), name
    assert set(client.named_fields(leads[account.bare]).values()) == {None}


@pytest.mark.parametrize("where", [*FILES, *DATABASES])
def test_key_columns_say_what_the_api_says(request, client, account, leads, where, tmp_path):
    rows = delivered(request, client, where, "keys", tmp_path)
    keys = [field.key for field in client.catalogue().fields]
    for lead_id in (account.full, account.archived, account.bare):
        lead = leads[lead_id]
        wanted = {key: lead.get(key) for key in keys if where != "leads.jsonl" or key in lead}
        wanted |= {key: value for key, value in lead.items() if key[:40] in keys and value is not None}
        assert_row(rows[lead_id], wanted, where)
    assert len([key for key in leads[account.full] if key[:40] in keys]) > len(VALUES)


@pytest.mark.parametrize("columns", ["names", "keys"])
def test_columns_and_types_do_not_depend_on_the_rows(client, account, columns, tmp_path, sqlite):  # noqa: F811
    headers, schemas, tables = [], [], []
    for number, who in enumerate((account.person, account.alone, client.add_person("Nobody's")["id"])):
        places = [tmp_path / f"{number}.csv", tmp_path / f"{number}.parquet"]
        counts = [
            export_leads(client, Selection(person_id=who), UPath(place), columns=columns).rows for place in places
        ]
        load(client, sqlite, columns, table=f"leads_{number}", person_id=who)
        assert counts == [(2, 1, 0)[number]] * 2
        headers.append(next(csv.reader(io.StringIO(places[0].read_text(), newline=""))))
        schemas.append(parquet.read_schema(places[1]))
        tables.append([row[1:3] for row in sqlite.fetch(f"PRAGMA table_info(leads_{number})")])
    assert headers[0] == headers[1] == headers[2] == schemas[0].names
    assert schemas[0].equals(schemas[1], check_metadata=True)
    assert schemas[0].equals(schemas[2], check_metadata=True)
    assert tables[0] == tables[1] == tables[2]
    assert [name for name, _ in tables[0]] == [*headers[0], "is_deleted"]


def test_types_are_those_of_the_fields(client, account, tmp_path, request):
    export_leads(client, Selection(person_id=account.alone), UPath(tmp_path / "leads.parquet"))
    schema = parquet.read_schema(tmp_path / "leads.parquet")
    wanted = {
        "next_review": "date32[day]",
        "trial_period_until": "date32[day]",
        "budget_amount": "double",
        "budget_currency": "string",
        "lead_score": "double",
        "partner": "int64",
        "company_size": "string",
        "external_id": "string",
    }
    assert {name: str(schema.field(name).type) for name in wanted} == wanted
    assert pa.types.is_time(schema.field("office_hours_from").type)
    assert pa.types.is_list(schema.field("interests").type)
    for name in DATABASES[1:]:
        database = request.getfixturevalue(name)
        load(client, database, person_id=account.person)
        row = table_rows(database)[account.full]
        assert row["next_review"] == date(2028, 2, 29)
        assert row["trial_period_from"] == date(1999, 12, 31)
        assert isinstance(row["best_time_to_call"], time | timedelta)
        assert isinstance(row["budget_amount"], float)
        assert isinstance(row["partner"], int)


def test_fields_of_one_name_have_a_column_each(client, person_id, tmp_path, sqlite):  # noqa: F811
    older, newer = new_field(client, "Twin", "varchar"), new_field(client, "Twin", "double")
    lead = client.add_lead("Twins", person_id=person_id, **{older: "first", newer: 2.5})
    export_leads(client, Selection(person_id=person_id), UPath(tmp_path / "leads.jsonl"))
    load(client, sqlite, person_id=person_id)
    said = client.named_fields(lead)
    assert (said[older], float(said[newer])) == ("first", 2.5)
    for row in (file_rows(tmp_path / "leads.jsonl")[lead["id"]], table_rows(sqlite)[lead["id"]]):
        assert (row["twin"], row["twin_2"]) == ("first", 2.5)


@pytest.mark.parametrize("where", ["sqlite", "postgres"])
def test_a_renamed_field_keeps_its_column_and_a_later_one_of_its_name_does_not_take_it(
    request, client, person_id, where, caplog
):
    database = request.getfixturevalue(where)
    key = new_field(client, f"Tier {where}", "varchar")
    first = client.add_lead("First", person_id=person_id, **{key: "gold"})["id"]
    load(client, database, person_id=person_id)
    rename(client, key, f"Rank {where}")
    second = client.add_lead("Second", person_id=person_id, **{key: "silver"})["id"]
    with caplog.at_level(logging.WARNING):
        done = load(client, database, person_id=person_id)
    assert [row[f"tier_{where}"] for row in map(table_rows(database).get, (first, second))] == ["gold", "silver"]
    assert f"rank_{where}" not in table_rows(database)[first]
    (warning,) = done.warnings
    assert f"'tier_{where}'" in warning
    assert f"'rank_{where}'" in warning
    assert warning in caplog.text
    later = new_field(client, f"Tier {where}", "double")
    third = client.add_lead("Third", person_id=person_id, **{key: "bronze", later: 3})["id"]
    for _ in range(2):
        load(client, database, person_id=person_id)
        rows = table_rows(database)
        assert (rows[third][f"tier_{where}"], rows[third][f"tier_{where}_2"]) == ("bronze", 3)
        assert (rows[first][f"tier_{where}"], rows[first][f"tier_{where}_2"]) == ("gold", None)


@pytest.mark.parametrize("kind", ["enum", "set"])
def test_options_that_share_a_label_are_told_as_the_client_tells_them(client, person_id, kind, tmp_path):
    key = new_field(client, f"Shared {kind}", kind, ["Same", "Same", "Other"])
    options = client.read_catalogue().fields[-1].options
    lead = client.add_lead("Shared", person_id=person_id, **{key: options[1].id})
    export_leads(client, Selection(person_id=person_id), UPath(tmp_path / "leads.jsonl"))
    row = file_rows(tmp_path / "leads.jsonl")[lead["id"]]
    assert row[f"shared_{kind}"] == client.named_fields(lead)[f"Shared {kind}"]


@pytest.mark.parametrize("where", ["leads.jsonl", "leads.parquet"])
def test_the_zone_of_a_time_is_among_the_keys(client, person_id, where, tmp_path):
    """docs/pipedrive-api.md, "Custom fields": ``key_timezone_id`` may go along with a time."""
    key = next(field.key for field in client.catalogue().fields if field.name == "Best time to call")
    lead = client.add_lead("Zoned", person_id=person_id, **{key: "09:30:00", f"{key}_timezone_id": 45})
    assert lead[f"{key}_timezone_id"] == 45
    export_leads(client, Selection(person_id=person_id), UPath(tmp_path / where), columns="keys")
    assert file_rows(tmp_path / where)[lead["id"]][f"{key}_timezone_id"] == 45
