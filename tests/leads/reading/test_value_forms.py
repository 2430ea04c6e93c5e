"""One value in any form in which Pipedrive may give it comes out as one value, in every format and by name."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet
import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.kinds import in_kind
from airflow_provider_pipedrive_leads.leads.reading.columns import attribute
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads
from airflow_provider_pipedrive_leads.leads.writing.comparing import Comparison
from tests.answering import Answer, Leads, client_of, leads, listing

TYPES = [
    *("varchar", "double", "int", "monetary", "set", "enum", "date", "daterange", "time", "timerange"),
    *("user", "people", "org", "address", "boolean"),
]
KEYS = {field_type: f"{place:040x}" for place, field_type in enumerate(TYPES, 1)}
OPTIONS = [{"id": 87, "label": "small"}, {"id": 88, "label": "large"}]
FIELDS = [
    {"id": place, "key": key, "name": f"My {field_type}", "field_type": field_type, "options": OPTIONS}
    if field_type in ("set", "enum")
    else {"id": place, "key": key, "name": f"My {field_type}", "field_type": field_type}
    for place, (field_type, key) in enumerate(KEYS.items(), 1)
]
FLAT = {
    KEYS["varchar"]: "text",
    KEYS["double"]: 1.5,
    KEYS["int"]: 7,
    KEYS["monetary"]: 12.5,
    f"{KEYS['monetary']}_currency": "EUR",
    KEYS["set"]: "87,88",
    KEYS["enum"]: "88",
    KEYS["date"]: "2026-01-31",
    KEYS["daterange"]: "2026-01-01",
    f"{KEYS['daterange']}_until": "2026-01-31",
    KEYS["time"]: "09:30:00",
    KEYS["timerange"]: "09:30:00",
    f"{KEYS['timerange']}_until": "10:00:00",
    KEYS["user"]: 5,
    KEYS["people"]: 6,
    KEYS["org"]: 7,
    KEYS["address"]: "Example Street 1",
    f"{KEYS['address']}_country": "Finland",
    KEYS["boolean"]: True,
    "visible_to": "3",
}
OBJECTS = {
    KEYS["varchar"]: {"value": "text"},
    KEYS["double"]: "1.5",
    KEYS["int"]: "7",
    KEYS["monetary"]: {"value": 12.5, "currency": "EUR"},
    KEYS["set"]: [87, 88],
    KEYS["enum"]: 88,
    KEYS["date"]: {"value": "2026-01-31"},
    KEYS["daterange"]: {"value": "2026-01-01", "until": "2026-01-31"},
    KEYS["time"]: {"value": "09:30:00", "timezone_id": 3},
    KEYS["timerange"]: {"from": "09:30:00", "until": "10:00:00"},
    KEYS["user"]: {"id": 5, "name": "Robin Example"},
    KEYS["people"]: {"value": 6, "name": "Robin Example"},
    KEYS["org"]: "7",
    KEYS["address"]: {"value": "Example Street 1", "country": "Finland"},
    KEYS["boolean"]: 1,
    "visible_to": 3,
}
OTHER_OBJECTS = {
    **OBJECTS,
    KEYS["set"]: [{"id": 87, "label": "small"}, {"id": 88, "label": "large"}],
    KEYS["enum"]: {"id": 88, "label": "large"},
    KEYS["user"]: {"value": 5},
    KEYS["int"]: 7.0,
    KEYS["boolean"]: "1",
}
UNREADABLE = {
    **{key: {"unheard": ["of"]} for key in KEYS.values()},
    "label_ids": [{"id": "7d5a3b10-0000-4000-8000-000000000001"}, 4],
    "value": 5,
}


def account(more):
    listed = Leads([leads(1)[0] | more])

    def answer(asked) -> Answer:
        return listing(FIELDS) if asked.path == "/v1/leadFields" else listed(asked)

    return client_of(answer)


def rows(path):
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".csv":
        return list(csv.DictReader(path.open()))
    return [json.loads(line) for line in path.read_text().splitlines()]


def exported(more, folder, suffix, columns="names"):
    path = folder / f"leads{suffix}"
    with account(more) as (client, _):
        export_leads(client, Selection(), UPath(path), columns=columns)
    (row,) = rows(path)
    return row


@pytest.mark.parametrize("more", [OBJECTS, OTHER_OBJECTS], ids=["objects", "other objects"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_names_say_the_same_of_every_form(tmp_path, suffix, more):
    expected = exported(FLAT, tmp_path, suffix)
    assert not [name for name, value in expected.items() if name.startswith("my_") and value in (None, "")][11:]
    assert exported(more, tmp_path, suffix) == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_keys_that_are_columns_do_too(tmp_path, suffix):
    columns = [*KEYS.values(), "visible_to", f"{KEYS['monetary']}_currency", f"{KEYS['daterange']}_until"]
    columns.remove(KEYS["set"])  # as the API gives it
    assert exported(OBJECTS, tmp_path, suffix, columns) == exported(FLAT, tmp_path, suffix, columns)


@pytest.mark.parametrize("more", [OBJECTS, OTHER_OBJECTS], ids=["objects", "other objects"])
def test_named_fields_say_the_same(more):
    with account(FLAT) as (client, _):
        assert client.named_fields(more) == client.named_fields(FLAT)
        assert client.named_fields(FLAT)["My monetary"]["currency"] == "EUR"


def test_what_cannot_be_read_is_given_as_it_is():
    with account({}) as (client, _):
        found = client.named_fields(UNREADABLE)
    assert found["My double"] == found["My varchar"] == {"unheard": ["of"]}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_formats_without_types_take_what_cannot_be_read(tmp_path, suffix):
    row = exported(UNREADABLE, tmp_path, suffix)
    assert float(row["value_amount"]) == 5
    assert row["my_varchar"] == '{"unheard":["of"]}'


@pytest.mark.parametrize("more", [OBJECTS, OTHER_OBJECTS], ids=["objects", "other objects"])
def test_a_load_finds_nothing_to_change(more):
    with account(FLAT) as (client, _):
        comparison = Comparison(client.catalogue())

    class Present:
        def __getattr__(self, name):
            return {attribute(key): value for key, value in more.items()}.get(name)

    wanted = {key: value for key, value in FLAT.items() if not key.endswith("_country")}
    assert comparison.differing(wanted, Present()) == []
    assert comparison.differing({**wanted, KEYS["monetary"]: 13}, Present()) == [KEYS["monetary"]]


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("integer", 2.0**53, 2.0**53),
        ("integer", "1.5", 1.5),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", True, True),
        ("number", "1e400", "1e400"),
        ("number", "many", "many"),
        ("boolean", 2, 2),
        ("boolean", [], []),
        ("text", 1.5, "1.5"),
        ("text", {"value": None}, None),
        ("list<string>", "a,b", ["a", "b"]),
        ("timestamp", 5, 5),
        ("json", {"value": 5}, {"value": 5}),
    ],
)
def test_nothing_is_lost(kind, value, read):
    (found,) = in_kind(kind, [value])
    assert (type(found), found) == (type(read), read)
