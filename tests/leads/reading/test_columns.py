"""The columns of an export follow the catalogue."""

from __future__ import annotations

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField, Option
from airflow_provider_pipedrive_leads.leads.reading.columns import STANDARD_KEYS, columns_for, layout_of, safe_name


def key(number: int) -> str:
    return f"{number:040x}"


CATALOGUE = Catalogue(
    (
        CustomField(1, key(1), "Company size", "enum", (Option("11", "1-10"), Option("12", "11-50"))),
        CustomField(2, key(2), "Interests", "set", (Option("21", "Training"), Option("22", "Support"))),
        CustomField(3, key(3), "Budget", "monetary"),
        CustomField(4, key(4), "Campaign", "daterange"),
        CustomField(5, key(5), "Site", "address"),
        CustomField(6, key(6), "Title", "varchar"),
        CustomField(7, key(7), "Company-Size", "double"),
    ),
    {"l1": "Hot"},
)
LEAD = {
    "id": "x",
    "title": "T",
    "label_ids": ["l1", "gone"],
    "value": {"amount": 5, "currency": "EUR"},
    key(1): "12",
    key(2): "22,21,99",
    key(3): 7.5,
    f"{key(3)}_currency": "USD",
    key(4): "2026-01-01",
    f"{key(4)}_until": "2026-02-01",
    key(5): "Main St 1",
    f"{key(5)}_country": "Norway",
    key(6): "Dr",
}


def row(columns, lead=LEAD):
    layout = layout_of(columns)
    text = msgspec.json.encode({"add_time": "", "update_time": "", **lead})
    leads = [msgspec.json.decode(text, type=layout.shape.row)]
    return {column.name: values[0] for column, values in zip(layout.table, layout.batch(leads), strict=True)}


def test_named_columns_are_flat_and_readable():
    found = row(columns_for("names", CATALOGUE))
    expected = {
        "title": "T",
        "labels": ["Hot", "gone"],
        "label_ids": ["l1", "gone"],
        "value_amount": 5,
        "value_currency": "EUR",
        "company_size": "11-50",
        "interests": ["Support", "Training", "99"],
        "budget_amount": 7.5,
        "budget_currency": "USD",
        "campaign_from": "2026-01-01",
        "campaign_until": "2026-02-01",
        "site": "Main St 1",
        "site_country": "Norway",
        "site_locality": None,
        "title_2": "Dr",
        "company_size_2": None,
        "owner_id": None,
    }
    assert {name: found[name] for name in expected} == expected


def test_an_empty_lead_has_every_column():
    columns = columns_for("names", CATALOGUE)
    assert len({column.name for column in columns}) == len(columns)
    empty = row(columns, {"id": "y", "label_ids": [], "value": None})
    assert empty["labels"] == empty["interests"] == []
    assert empty["value_amount"] is None


def test_key_columns_are_the_apis_own():
    names = [column.name for column in columns_for("keys", CATALOGUE)]
    assert names[: len(STANDARD_KEYS)] == list(STANDARD_KEYS)
    assert {key(3), f"{key(3)}_currency", f"{key(4)}_until", f"{key(5)}_postal_code"} < set(names)


def test_columns_can_be_picked_and_ordered():
    assert [column.name for column in columns_for(["company_size", "id", key(1)], CATALOGUE)] == [
        "company_size",
        "id",
        key(1),
    ]


@pytest.mark.parametrize("choice", [["compny_size"], "all", [], ""])
def test_an_unknown_column_is_refused(choice):
    with pytest.raises(PipedriveValidationError, match="columns"):
        columns_for(choice, CATALOGUE)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Company size", "company_size"),
        ("  Größe (m²) ", "grosse_m2"),
        ("2nd contact", "field_2nd_contact"),
        ("名前", ""),
        ("=cmd|x", "cmd_x"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_name(name) == safe
