"""Fields by any name, values by the field's type."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import (
    Catalogue,
    CustomField,
    Option,
    custom_fields,
    differing,
    to_wire,
)
from airflow_provider_pipedrive_leads.api.values import is_gap, moment_value
from tests.unhurried import unhurried

HOT, COLD = "a1b2c3d4-0000-11ef-8c3b-6f1e2a9d7c55", "a1b2c3d4-0001-11ef-8c3b-6f1e2a9d7c55"


def key(number: int) -> str:
    return f"{number:040x}"


SIZES = (Option("11", "1-10"), Option("12", "11-50"), Option("13", "51-200"))
TOPICS = (Option("21", "Training"), Option("22", "Support, gold"), Option("23", "Migration"))
FIELDS = (
    CustomField(1, key(1), "Company size", "enum", SIZES),
    CustomField(2, key(2), "Interests", "set", TOPICS),
    CustomField(3, key(3), "Lead score", "double"),
    CustomField(4, key(4), "Budget", "monetary"),
    CustomField(5, key(5), "Next review", "date"),
    CustomField(6, key(6), "Campaign", "daterange"),
    CustomField(7, key(7), "Best hours", "timerange"),
    CustomField(8, key(8), "Call at", "time"),
    CustomField(9, key(9), "Advisor", "user"),
    CustomField(10, key(10), "Region", "varchar"),
    CustomField(11, key(11), "Twin", "varchar"),
    CustomField(12, key(12), "Twin", "double"),
)
CATALOGUE = Catalogue(FIELDS, {HOT: "Hot", COLD: "Cold"})


def wire(**fields):
    return to_wire(fields, lambda: CATALOGUE)


def no_catalogue():
    raise AssertionError("the catalogue was asked for")


CUSTOM = [
    ("Company size", "11-50", {key(1): "12"}),
    ("company SIZE", "11-50", {key(1): "12"}),
    ("Company size", 12, {key(1): "12"}),
    ("Company size", None, {key(1): None}),
    ("Interests", ["Training", "Migration"], {key(2): "21,23"}),
    ("Interests", "Training, Migration", {key(2): "21,23"}),
    ("Interests", "Support, gold", {key(2): "22"}),
    ("Interests", [], {key(2): None}),
    ("Lead score", "87", {key(3): 87}),
    ("Lead score", 8.5, {key(3): 8.5}),
    ("Budget", {"amount": "3000", "currency": "eur"}, {key(4): 3000, f"{key(4)}_currency": "EUR"}),
    ("Budget", 12, {key(4): 12}),
    ("Next review", date(2026, 1, 31), {key(5): "2026-01-31"}),
    ("Next review", "2026-01-31", {key(5): "2026-01-31"}),
    (
        "Campaign",
        {"from": "2026-01-01", "until": date(2026, 2, 1)},
        {key(6): "2026-01-01", f"{key(6)}_until": "2026-02-01"},
    ),
    ("Best hours", {"from": "09:00", "until": time(12)}, {key(7): "09:00:00", f"{key(7)}_until": "12:00:00"}),
    ("Call at", "09:30", {key(8): "09:30:00"}),
    ("Advisor", "17", {key(9): 17}),
    ("Region", 7, {key(10): "7"}),
]


@pytest.mark.parametrize(("name", "value", "sent"), CUSTOM)
def test_custom_fields_by_name(name, value, sent):
    assert to_wire({name: value}, lambda: CATALOGUE) == sent


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("title", "Rollout", "Rollout"),
        ("owner_id", "12", 12),
        ("person_id", None, None),
        ("value", {"amount": "3000.50", "currency": "usd"}, {"amount": 3000.5, "currency": "USD"}),
        ("expected_close_date", date(2026, 1, 31), "2026-01-31"),
        ("visible_to", 3, "3"),
        ("was_seen", "true", True),
        ("is_archived", "False", False),
        ("label_ids", [HOT.upper()], [HOT]),
        ("label_ids", [], []),
    ],
)
def test_standard_fields_ask_for_no_catalogue(name, value, sent):
    assert to_wire({name: value}, no_catalogue) == {name: sent}


@pytest.mark.parametrize(("name", "value", "sent"), CUSTOM)
def test_a_key_is_read_as_its_name_is(name, value, sent):
    named = next(field.key for field in FIELDS if field.name.casefold() == name.casefold())
    assert to_wire({named: value}, lambda: CATALOGUE) == sent
    assert to_wire(sent, lambda: CATALOGUE) == sent, "what was read is read as itself"


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        (f"{key(4)}_currency", "eur", "EUR"),
        (f"{key(6)}_until", date(2026, 1, 1), "2026-01-01"),
        (f"{key(7)}_until", "9:00:00 ", "09:00:00"),
        (f"{key(7)}_until", "nine", "error"),
        (f"{key(7)}_timezone_id", "3", 3),
        (f"{key(6)}_until", None, None),
        (key(6), "2026-01-01", "2026-01-01"),
    ],
)
def test_a_part_is_read_by_its_fields_type(name, value, sent):
    if sent == "error":
        with pytest.raises(PipedriveValidationError, match=r"^Best hours\.until: "):
            to_wire({name: value}, lambda: CATALOGUE)
    else:
        assert to_wire({name: value}, lambda: CATALOGUE) == {name: sent}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (key(99), "has no lead field with the key 0{38}63; it may have been deleted"),
        (f"{key(99)}_currency", "has no lead field with the key 0{38}63"),
        (f"{key(3)}_currency", r"'Lead score' \(double\) has no part 'currency'"),
    ],
)
def test_a_key_that_the_account_does_not_have_is_an_error(name, words):
    with pytest.raises(PipedriveValidationError, match=words):
        to_wire({name: None if name == key(99) else "EUR"}, lambda: CATALOGUE)


class NAType:
    """As pandas has it: equal to nothing, and neither true nor false."""

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __ne__(self, other):
        return self

    __hash__ = None


class NaTType(NAType):
    """Likewise."""


class Float32:
    """As numpy has it: a number that is no float."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return self.value


GAPS = [float("nan"), Decimal("nan"), Decimal("sNaN"), NAType(), NaTType(), Float32(math.nan)]


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: type(gap).__name__)
def test_a_gap_of_a_table_is_no_value(gap):
    assert is_gap(gap)
    for name in ("title", "owner_id", "Region", key(3), "Budget"):
        with pytest.raises(PipedriveValidationError, match=f"^{name}: .*Write None to unset the field"):
            to_wire({name: gap}, lambda: CATALOGUE)


@pytest.mark.parametrize(
    "value", [None, 0, "", "nan", [], {}, 1.5, math.inf, Decimal(1), datetime(2026, 1, 31), Float32(1.5), object()]
)
def test_other_values_are_no_gaps(value):
    assert not is_gap(value)


@pytest.mark.parametrize("name", ["title", "Region", "Lead score", "Budget"])
def test_infinity_is_refused(name):
    with pytest.raises(PipedriveValidationError, match=f"^{name}: 'inf' is not a (text|number)"):
        to_wire({name: math.inf}, lambda: CATALOGUE)


def test_a_label_whose_name_has_a_comma_is_one_label():
    q3 = "a1b2c3d4-0002-11ef-8c3b-6f1e2a9d7c55"
    catalogue = Catalogue(FIELDS, {**CATALOGUE.labels, q3: "Q3, Berlin", HOT: "Q3", COLD: "Berlin"})
    assert to_wire({"label_ids": "q3, berlin"}, lambda: catalogue) == {"label_ids": [q3]}
    assert to_wire({"label_ids": "Berlin, Q3"}, lambda: catalogue) == {"label_ids": [COLD, HOT]}
    assert to_wire({"label_ids": ["Q3, Berlin"]}, lambda: catalogue) == {"label_ids": [q3]}


def test_labels_by_name():
    assert wire(label_ids=["hot", COLD, "Hot"]) == {"label_ids": [HOT, COLD]}
    assert wire(label_ids="Hot, Cold") == {"label_ids": [HOT, COLD]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Compny size": "11-50"}, ["'Compny size'", "'Company size'"]),
        ({"expected_close": "2026-01-01"}, ["'expected_close_date'"]),
        ({"Twin": 1}, [key(11), key(12), "2 fields"]),
        ({"Company size": "11-5O"}, ["Company size", "'11-50'"]),
        ({"label_ids": ["Hott"]}, ["'Hott'", "'Hot'"]),
        ({"Lead score": "many"}, ["Lead score", "a number"]),
        ({"Lead score": True}, ["a number"]),
        ({"Next review": datetime(2026, 1, 31, 9)}, ["Next review", "without time"]),
        ({"expected_close_date": "2026-01-31T09:00:00Z"}, ["expected_close_date", "without time"]),
        ({"expected_close_date": "2026-02-30"}, ["2026-02-30"]),
        ({"value": {"amount": 3000}}, ["value", "currency"]),
        ({"value": 3000}, ["value", "currency"]),
        ({"value": {"amount": 3000, "currency": None}}, ["value", "currency"]),
        ({"value": {"amount": "x", "currency": "EUR"}}, ["value.amount"]),
        ({"value": {"amount": 1, "currency": "Euro"}}, ["value.currency"]),
        ({"person_id": "None"}, ["person_id", "'None'"]),
        ({"person_id": True}, ["person_id"]),
        ({"visible_to": 2}, ["visible_to", "1, 3, 5, 7"]),
        ({"was_seen": "maybe"}, ["was_seen"]),
        ({"title": " "}, ["title"]),
        ({"cc_email": "x@example.com"}, ["cc_email", "set by Pipedrive"]),
        ({"Campaign": "2026-01-01"}, ["Campaign", "from", "until"]),
        ({"Lead score": 1, key(3): 2}, ["twice"]),
    ],
)
def test_bad_fields_name_themselves_and_near_matches(fields, words):
    with pytest.raises(PipedriveValidationError) as raised:
        to_wire(fields, lambda: CATALOGUE)
    for word in words:
        assert word in str(raised.value)


def test_custom_fields_are_picked_from_the_fields_reply():
    reply = [
        {"id": 9, "key": key(9), "name": "Later", "field_type": "enum", "options": [{"id": 3, "label": "A"}]},
        {"id": 1, "key": "title", "name": "Title", "field_type": "varchar", "options": None},
        {"id": 2, "key": key(2), "name": "Earlier", "field_type": "double", "options": None},
        {"id": None, "key": key(2), "name": "Currency", "field_type": "varchar", "is_subfield": True},
    ]
    fields = custom_fields(reply)
    assert [(field.name, field.options) for field in fields] == [("Earlier", ()), ("Later", (Option("3", "A"),))]


@pytest.mark.parametrize(
    ("wanted", "lead", "differ"),
    [
        ({"title": "A"}, {"title": "A"}, []),
        ({"title": "A"}, {"title": "B"}, ["title"]),
        ({key(1): None}, {}, []),
        ({key(1): "12"}, {key(1): 12}, []),
        ({key(2): "21,23"}, {key(2): "23,21"}, []),
        ({key(2): "21"}, {key(2): "23,21"}, [key(2)]),
        ({"label_ids": [HOT, COLD]}, {"label_ids": [COLD, HOT]}, []),
        ({"value": {"amount": 3000, "currency": "EUR"}}, {"value": {"amount": 3000.0, "currency": "EUR"}}, []),
        ({"value": None}, {"value": {"amount": 1, "currency": "EUR"}}, ["value"]),
        ({"origin_id": "21,23"}, {"origin_id": "23,21"}, ["origin_id"]),
    ],
)
def test_differences(wanted, lead, differ):
    assert differing(wanted, lead) == differ


@unhurried
@given(st.sampled_from(FIELDS[:10]), st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none()))
def test_any_value_is_taken_or_refused_by_name(field, value):
    try:
        sent = to_wire({field.name: value}, lambda: CATALOGUE)
    except PipedriveValidationError as error:
        assert field.name in str(error)
    else:
        assert field.key in sent
        assert differing(sent, sent) == []


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T10:20:30.999Z", "2026-01-31T10:20:30Z"),
        ("2026-01-31T10:20:30+02:00", "2026-01-31T08:20:30Z"),
        (datetime(2026, 1, 31, 10, 20, 30, 999_000), "2026-01-31T10:20:30Z"),
    ],
)
def test_moments_are_whole_seconds_in_utc(value, sent):
    assert moment_value("updated_since", value) == sent


def test_a_moment_that_is_none_names_the_parameter():
    with pytest.raises(PipedriveValidationError, match="updated_since: 'yesterday'"):
        moment_value("updated_since", "yesterday")
