"""Typed values and wire values are inverses of each other, for every type of custom field."""

from __future__ import annotations

from datetime import time
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.fields import CustomField, Option, custom_to_wire, from_wire
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
