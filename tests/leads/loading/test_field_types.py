"""Every type of field: written by name, by key, and as dataframes and databases hold it, it is the same value."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead, update_lead
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from tests.leads.loading.loads import load
from tests.unhurried import unhurried

pytestmark = pytest.mark.usefixtures("no_waiting")
UNSHRUNK = (Phase.explicit, Phase.generate)
"""Each example takes many calls: a smaller one would take minutes to find."""
LABELS = ["First", "Second, with a comma", "Third"]
MADE = ("varchar", "text", "varchar_auto", "phone", "double", "monetary", "date", "time", "daterange", "timerange")
MADE += ("enum", "set", "address", "user", "people", "org")
NAMES = {field_type: f"Field of type {field_type}" for field_type in MADE}

Spellings = Callable[[Any], list[Any]]
"""Gives values that mean the same as the first, as people, templates, dataframes and databases write it."""


def whole(number: int) -> list[Any]:
    return [number, str(number), float(number), f"{number}.0", Decimal(number), f" {number} "]


def numbers(number: Decimal) -> list[Any]:
    return [number, str(number), float(number), f" {number} "]


def days(day: date) -> list[Any]:
    midnight = datetime(day.year, day.month, day.day)
    return [day.isoformat(), day, midnight, midnight.isoformat(), str(midnight), f" {day} "]


def times(seconds: int) -> list[Any]:
    duration = timedelta(seconds=seconds)
    moment = (datetime(2026, 1, 1) + duration).time()
    return [moment.isoformat(), moment, duration, str(duration)]


def money(amount: Decimal) -> list[Any]:
    return [{"amount": each, "currency": code} for each in numbers(amount) for code in ("EUR", " eur ")]


def ranges(of: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    def spelt(ends: tuple[Any, Any]) -> list[Any]:
        first, last = (of(end) for end in ends)
        return [{"from": one, "until": other} for one, other in zip(first, last, strict=True)]

    return spelt


texts = st.text("abcXYZ äß,;'\"%ÿ漢😀", min_size=1, max_size=20).filter(str.strip).map(str.strip)
amounts = st.decimals(-(10**6), 10**6, places=2)
any_days = st.dates(date(1990, 1, 1), date(2090, 1, 1))
seconds = st.integers(0, 24 * 3600 - 1)
VALUES: dict[str, tuple[st.SearchStrategy[Any], Spellings]] = {
    **dict.fromkeys(("varchar", "text", "varchar_auto"), (texts, lambda text: [text])),
    "phone": (st.integers(10**6, 10**12), lambda number: [str(number), number, Decimal(number)]),
    "double": (st.decimals(-(10**6), 10**6, places=4), numbers),
    "monetary": (amounts, money),
    "date": (any_days, days),
    "time": (seconds, times),
    "daterange": (st.tuples(any_days, any_days).map(lambda ends: tuple(sorted(ends))), ranges(days)),
    "timerange": (st.tuples(seconds, seconds).map(lambda ends: tuple(sorted(ends))), ranges(times)),
    "address": (texts.filter(lambda text: any(map(str.isalpha, text))), lambda text: [text]),
}


class Account:
    """A sandbox with a field of each type that can be made."""

    def __init__(self, client: Any, person_id: int) -> None:
        self.client = client
        self.person_id = person_id
        for field_type, name in NAMES.items():
            options = {"options": [{"label": label} for label in LABELS]} if field_type in ("enum", "set") else {}
            body = {"field_name": name, "field_type": field_type, **options}
            client.request("POST", "/api/v2/dealFields", json=body)
        client.fresh_catalogue()
        self.fields = {field.name: field for field in client.catalogue().fields}
        self.organization_id = client.add_organization("Of a field")["id"]
        self.user_id = client.get_current_user()["id"]

    def spellings(self, draw: Any) -> dict[str, list[Any]]:
        """For each type of field, one value in several spellings."""
        spelt = {field_type: spell(draw(values)) for field_type, (values, spell) in VALUES.items()}
        for field_type, number in (("user", self.user_id), ("people", self.person_id), ("org", self.organization_id)):
            spelt[field_type] = whole(number)
        (one, *_) = chosen = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True))
        spelt["enum"] = [one, *whole(self._option("enum", one)), one.upper()]
        ids = [self._option("set", label) for label in chosen]
        spelt["set"] = [chosen, ids, list(map(float, ids)), ",".join(map(str, ids)), tuple(chosen)]
        return spelt

    def _option(self, field_type: str, label: str) -> int:
        options = self.fields[NAMES[field_type]].options
        return next(int(option.id) for option in options if option.label == label)


@pytest.fixture
def account(sandbox, client, person_id):
    sandbox.control.set_burst(1_000_000, 1_000_000)
    return Account(client, person_id)


@settings(unhurried, max_examples=8, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_value_is_the_same_however_it_is_named_and_spelt(account, data):
    spelt = account.spellings(data.draw)
    by_name = {NAMES[field_type]: spellings[0] for field_type, spellings in spelt.items()}
    row = {"origin_id": uuid.uuid4().hex, "title": "Typed", "person_id": account.person_id}
    assert load(account.client, [{**row, **by_name}])["created"] == 1
    assert load(account.client, [{**row, **by_name}])["unchanged"] == 1
    for called in (lambda field: field.name, lambda field: field.key):
        other = {
            called(account.fields[NAMES[field_type]]): data.draw(st.sampled_from(spellings), label=field_type)
            for field_type, spellings in spelt.items()
        }
        facts = load(account.client, [{**row, **other}])
        assert (facts["unchanged"], facts["failed"]) == (1, 0), facts["results"]


class Memory(dict):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


@settings(unhurried, max_examples=4, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_create_update_and_load_read_alike(account, data):
    spelt = account.spellings(data.draw)
    client, read_back = account.client, []
    for called in (lambda field: field.name, lambda field: field.key):
        values = {
            called(account.fields[NAMES[field_type]]): data.draw(st.sampled_from(spellings), label=field_type)
            for field_type, spellings in spelt.items()
        }
        new = NewLead(title="Typed", key=uuid.uuid4().hex, person_id=account.person_id, fields=values)
        created = create_lead(client, new, Memory(), Patience(0.0, 30.0))
        updated = client.add_lead("Typed", person_id=account.person_id)["id"]
        update_lead(client, updated, fields=values)
        loaded = uuid.uuid4().hex
        row = {"origin_id": loaded, "title": "Typed", "person_id": account.person_id, **values}
        (result,) = load(client, [row])["results"]
        read_back += [client.get_lead(lead_id) for lead_id in (created, updated, result["lead_id"])]
    keys = [key for field in account.fields.values() for key in field.keys]
    first, *others = [{key: lead.get(key) for key in keys} for lead in read_back]
    assert others == [first] * 5
    named = client.named_fields(read_back[0])
    assert set(NAMES.values()) <= {name for name, value in named.items() if value is not None}


@pytest.mark.parametrize(
    ("field_type", "part", "value"),
    [("address", "locality", "Berlin"), ("time", "timezone_id", 7), ("monetary", "currency", "EUR")],
)
def test_a_part_may_come_without_the_whole(account, field_type, part, value):
    name = uuid.uuid4().hex
    row = {"origin_id": name, "title": "Part", "person_id": account.person_id}
    load(account.client, [row])
    column = f"{account.fields[NAMES[field_type]].key}_{part}"
    facts = load(account.client, [{**row, column: value}], max_failed=1)
    assert facts["updated"] + facts["failed"] == 1
