"""Typed values and wire values are inverses of each other, for every type of custom field."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import CustomField, Option, custom_to_wire, from_wire
from airflow_provider_pipedrive_leads.api.values import key_value, refuse_rendered_none, text_value
from tests.unhurried import unhurried

KEY = "a" * 40
LABELS = ("1-10", "11-50", "Support, gold", " Größe ", "7")
OPTIONS = tuple(Option(str(number), label) for number, label in enumerate(LABELS, 100))
numbers = st.integers(-(10**12), 10**12).map(Decimal) | st.decimals(-(10**6), 10**6, places=2)
days = st.dates()
hours = st.times().map(lambda at: time(at.hour, at.minute, at.second))
ids = st.integers(1, 2**53)
TYPED = {
    "varchar": st.text(min_size=1),
    "text": st.text(min_size=1),
    "varchar_auto": st.text(min_size=1),
    "phone": st.text(min_size=1),
    "address": st.text(min_size=1),
    "double": numbers,
    "int": numbers,
    "monetary": st.fixed_dictionaries({"amount": numbers, "currency": st.sampled_from(["EUR", "USD", "SEK"])}),
    "date": days,
    "time": hours,
    "daterange": st.fixed_dictionaries({"from": days, "until": days | st.none()}),
    "timerange": st.fixed_dictionaries({"from": hours, "until": hours}),
    "enum": st.sampled_from(LABELS),
    "set": st.lists(st.sampled_from(LABELS), min_size=1, unique=True),
    "boolean": st.booleans(),
    "user": ids,
    "people": ids,
    "org": ids,
}


@unhurried
@given(st.data())
def test_what_is_written_is_read_again(data):
    kind = data.draw(st.sampled_from(sorted(TYPED)))
    field = CustomField(1, KEY, "Field", kind, OPTIONS)
    value = data.draw(TYPED[kind] | st.none())
    wire = custom_to_wire(field, value)
    assert from_wire(field, wire) == value
    assert custom_to_wire(field, from_wire(field, wire)) == wire


def test_what_a_server_may_give_is_read():
    options = (Option("1", "Twin"), Option("2", "Twin"), Option("3", "One"))
    assert from_wire(CustomField(1, KEY, "F", "enum", options), {KEY: 3}) == "One"
    assert from_wire(CustomField(1, KEY, "F", "enum", options), {KEY: "2"}) == "2"
    assert from_wire(CustomField(1, KEY, "F", "enum", options), {KEY: "9"}) == "9"
    assert from_wire(CustomField(1, KEY, "F", "set", options), {KEY: "3,9"}) == ["One", "9"]
    assert from_wire(CustomField(1, KEY, "F", "monetary"), {KEY: 12.5}) == Decimal("12.5")
    assert from_wire(CustomField(1, KEY, "F", "set", options), {}) is None


@pytest.mark.parametrize(
    ("written", "rendered", "refused"),
    [
        ("{{ none }}", "None", True),
        ("{{ none }}", None, False),
        ("None", "None", False),
        ("Is {{ none }}", "Is None", False),
        ({"a": {"b": ["x", "{{ c }}"]}}, {"a": {"b": ["x", "None"]}}, True),
        ({"a": "{{ c }}"}, '{"a": "None"}', False),
    ],
)
def test_none_that_a_template_has_made_is_told_from_a_text(written, rendered, refused):
    if refused:
        with pytest.raises(PipedriveValidationError, match=r"^field.*: is the text 'None'.*native_obj"):
            refuse_rendered_none("field", written, rendered)
    else:
        refuse_rendered_none("field", written, rendered)


@pytest.mark.parametrize("text", ["cut \ud83d", "\udfff"])
@pytest.mark.parametrize("read", [text_value, key_value])
def test_half_a_character_is_refused(read, text):
    with pytest.raises(PipedriveValidationError, match=r"^field: contains half a character"):
        read("field", text)
    assert read("field", "whole \U0001f600") == "whole \U0001f600"


def test_texts_are_read_from_what_dataframes_and_databases_hold():
    moment = datetime(2026, 1, 31, 9, 30)
    values = [7, 7.0, 7.5, Decimal("7.00"), Decimal("7.5"), UUID(int=7), date(2026, 1, 31), time(9, 30), moment]
    texts = ["7", "7", "7.5", "7", "7.5", str(UUID(int=7)), "2026-01-31", "09:30:00", "2026-01-31T09:30:00"]
    assert [text_value("field", value) for value in values] == texts


@pytest.mark.parametrize("value", [Decimal("sNaN"), Decimal("Infinity"), float("inf"), float("nan"), True, b"x", None])
@pytest.mark.parametrize("read", [text_value, key_value])
def test_what_is_no_text_is_refused(read, value):
    with pytest.raises(PipedriveValidationError, match=r"^field: "):
        read("field", value)
