"""The lead itself: its live field order, how it is made, read from a body, changed and archived. No HTTP, no storage.

Sources: vendor operations addLead and updateLead; sections 3.1, 3.5 and 3.6 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, plain_seconds
from airflow_provider_pipedrive_leads.sandbox.custom_values import (
    companion_keys,
    normalised,
    read_custom_value,
    rounded,
)
from airflow_provider_pipedrive_leads.sandbox.fields import CHANNEL_OPTIONS
from airflow_provider_pipedrive_leads.sandbox.parameters import (
    read_boolean,
    read_date,
    read_integer,
    read_number,
    read_text,
    read_uuid,
)
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError
from airflow_provider_pipedrive_leads.sandbox.visibility import LEVELS

Lead = dict[str, Any]
Settings = Mapping[str, str]

SORTABLE = (
    "id",
    "title",
    "owner_id",
    "creator_id",
    "was_seen",
    "expected_close_date",
    "next_activity_id",
    "add_time",
    "update_time",
)
OAUTH_CHANNEL = 8
LONGEST_TITLE = 255
LONGEST_ORIGIN_ID = 255
# A custom key that a write takes away: null will not do, for parts of an address may be null.
_UNSET: Any = object()
_GREGORIAN_TICKS = 0x01B21DD213814000
_TICKS_PER_MS = 10_000
_NODE = 0x02_5A_4E_44_42_58
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGIT_TRIPLES = tuple(map("".join, product(_DIGITS, repeat=3)))


@dataclass(frozen=True)
class Company:
    """The invented company that the sandbox plays."""

    id: int = 4_711_042
    name: str = "Brightwater Instruments"
    domain: str = "brightwater-sandbox"
    country: str = "DE"
    currency: str = "EUR"


@dataclass(frozen=True)
class Book:
    """What a body may refer to: users, contacts and labels that exist, the custom fields, the settings of unknowns."""

    exists: Callable[[str, int], bool]
    label_exists: Callable[[str], bool]
    custom_fields: Sequence[Mapping[str, Any]]
    settings: Settings


def lead_id(ms: int, number: int) -> str:
    """A UUID version 1 for the ``number``-th lead, made at a time in milliseconds."""
    ticks = ms * _TICKS_PER_MS + number % _TICKS_PER_MS + _GREGORIAN_TICKS
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000
    sequence = number // _TICKS_PER_MS % 0x4000 | 0x8000
    return f"{low:08x}-{middle:04x}-{high:04x}-{sequence:04x}-{_NODE:012x}"


def cc_email(identity: str, company: Company) -> str:
    """The lead's own mail address, which holds its UUID as a number to base 36."""
    number, digits = int(identity.replace("-", ""), 16), ""
    while number:
        number, triple = divmod(number, len(_DIGIT_TRIPLES))
        digits = _DIGIT_TRIPLES[triple] + digits
    return f"{company.domain}+{company.id}+lead{digits.lstrip('0')}@pipedrivemail.com"


def new_lead(identity: str, company: Company, now_ms: int, user: int, values: Mapping[str, Any]) -> Lead:
    """A lead in live field order; ``values`` holds what differs from a bare one, custom keys included."""
    time = iso_ms(now_ms)
    lead = {
        "id": identity,
        "title": "",
        "owner_id": user,
        "creator_id": user,
        "label_ids": [],
        "value": None,
        "expected_close_date": None,
        "person_id": None,
        "organization_id": None,
        "is_archived": False,
        "archive_time": None,
        "source_name": "API",
        "source_deal_id": None,
        "origin": "API",
        "origin_id": None,
        "channel": None,
        "channel_id": None,
        "was_seen": False,
        "next_activity_id": None,
        "add_time": time,
        "update_time": time,
        "visible_to": "3",
        "cc_email": cc_email(identity, company),
    }
    return {**lead, **values}


def app_origin(client_id: str, app_name: str, given: Mapping[str, Any], origin_id: str) -> Lead:
    """What an OAuth app's leads carry by themselves; ``origin_id`` is the choice ``oauth_origin_id``."""
    marks = {
        "origin": "Marketplace",
        "origin_id": f"{client_id.encode().hex():0<16}"[:16],
        "channel": OAUTH_CHANNEL,
        "channel_id": app_name,
    }
    kept = {name: value for name, value in given.items() if name in marks and value is not None}
    if origin_id == "overwritten":
        kept.pop("origin_id", None)
    return {**marks, **kept}


def read_new_lead(body: Mapping[str, Any], book: Book) -> Lead:
    """The values of a lead to create, checked. Raises InvalidError."""
    if body.get("title") is None:
        raise InvalidError("title is required")
    values = _read_values(body, {}, book, frozenset((*_CHANGEABLE, "origin_id")))
    if values.get("person_id") is None and values.get("organization_id") is None:
        raise InvalidError("a lead needs person_id or organization_id")
    return {name: value for name, value in values.items() if value is not _UNSET}


def read_changes(body: Mapping[str, Any], lead: Lead, book: Book) -> Lead:
    """The values that a PATCH gives, checked against the lead as it is, for :func:`changed_lead`."""
    values = _read_values(body, lead, book, frozenset((*_CHANGEABLE, "is_archived")))
    if values.get("label_ids") == [] and book.settings["empty_label_ids"] == "ignored":
        del values["label_ids"]
    after = {**lead, **values}
    unlinked = after["person_id"] is None and after["organization_id"] is None
    if unlinked and book.settings["unlink_last_contact"] == "refused":
        raise InvalidError("a lead needs person_id or organization_id")
    return values


def changed_lead(lead: Lead, values: Lead, now_ms: int, settings: Settings) -> Lead:
    """The lead after a PATCH, its ``update_time`` and ``archive_time`` moved as the settings say."""
    after = {name: value for name, value in {**lead, **values}.items() if value is not _UNSET}
    archiving = after["is_archived"] != lead["is_archived"]
    if archiving:
        after["archive_time"] = _archive_time(now_ms, settings["archive_time_form"]) if after["is_archived"] else None
    moved = {name for name in {*lead, *after} if lead.get(name) != after.get(name)} - {
        "is_archived",
        "archive_time",
    }
    moves = (
        bool(moved)
        or (archiving and settings["archiving_update_time"] == "moves")
        or (not archiving and settings["unchanged_patch_update_time"] == "moves")
    )
    if moves:
        after["update_time"] = iso_ms(now_ms)
    return after


def is_custom_key(name: str) -> bool:
    """True for the key of a custom field or a companion of it."""
    return re.match(r"[0-9a-f]{40}(_|$)", name) is not None


def _archive_time(now_ms: int, form: str) -> str | None:
    return {"iso_ms": iso_ms(now_ms), "plain": plain_seconds(now_ms)}.get(form)


def _read_values(body: Mapping[str, Any], lead: Lead, book: Book, allowed: frozenset[str]) -> Lead:
    customs = {key: field for field in book.custom_fields for key in (field["key"], *companion_keys(field))}
    unknown = [name for name in body if name not in allowed and name not in customs]
    if unknown and book.settings["unknown_keys"] == "refused":
        raise InvalidError(f"{unknown[0]} is not allowed")
    values: Lead = {}
    for name in (name for name in _READERS if name in body and name in allowed):
        if name == "title" and body[name] is None and book.settings["null_title"] == "ignored":
            continue
        values[name] = _READERS[name](body[name], book)
    for field in {customs[name]["key"]: customs[name] for name in body if name in customs}.values():
        values.update(_read_custom(field, body, lead, book))
    return values


def _read_custom(field: Mapping[str, Any], body: Mapping[str, Any], lead: Lead, book: Book) -> Lead:
    keys = [field["key"], *companion_keys(field)]
    value = read_custom_value(
        field,
        {key: body[key] for key in keys if key in body},
        {key: lead[key] for key in keys if key in lead},
        book.exists,
    )
    if book.settings["stored_values"] == "normalised":
        value = normalised(field, value)
    return {**dict.fromkeys(keys, _UNSET), **value}


def _title(value: object, book: Book) -> str:
    text = read_text(value, "title", LONGEST_TITLE)
    return text.strip() if book.settings["stored_values"] == "normalised" else text


def _reference(name: str, collection: str, nullable: bool) -> Callable[[object, Book], int | None]:
    def read(value: object, book: Book) -> int | None:
        if value is None and nullable:
            return None
        number = read_integer(value, name)
        if not book.exists(collection, number):
            raise InvalidError(f"{name} {number} does not exist")
        return number

    return read


def _label_ids(value: object, book: Book) -> list[str]:
    if not isinstance(value, list):
        raise InvalidError("label_ids must be a list of UUIDs")
    labels = list(dict.fromkeys(read_uuid(item, "label_ids") for item in value))
    for label in labels:
        if not book.label_exists(label):
            raise InvalidError(f"label_ids names no label: {label}")
    return labels


def _value(value: object, book: Book) -> Lead | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"amount", "currency"}:
        raise InvalidError("value must be an object of amount and currency, both needed")
    amount, currency = read_number(value["amount"], "value.amount"), value["currency"]
    if not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        raise InvalidError("value.currency must be a three-letter currency code")
    normalise = book.settings["stored_values"] == "normalised"
    return {"amount": rounded(amount, 2) if normalise else amount, "currency": currency}


def _visible_to(value: object, _: Book) -> str:
    if value not in LEVELS:
        raise InvalidError(f"visible_to must be a string out of {', '.join(LEVELS)}")
    return str(value)


def _channel(value: object, _: Book) -> int | None:
    if value is not None and read_integer(value, "channel") not in [option["id"] for option in CHANNEL_OPTIONS]:
        raise InvalidError("channel must be an option of the channel field")
    return value  # type: ignore[return-value]


def _free_text(name: str) -> Callable[[object, Book], str | None]:
    def read(value: object, _: Book) -> str | None:
        return None if value is None else read_text(value, name, LONGEST_ORIGIN_ID)

    return read


_READERS: dict[str, Callable[[object, Book], Any]] = {
    "title": _title,
    "owner_id": _reference("owner_id", "users", nullable=False),
    "label_ids": _label_ids,
    "value": _value,
    "expected_close_date": lambda value, _: None if value is None else read_date(value, "expected_close_date"),
    "person_id": _reference("person_id", "persons", nullable=True),
    "organization_id": _reference("organization_id", "organizations", nullable=True),
    "is_archived": lambda value, _: read_boolean(value, "is_archived"),
    "origin_id": _free_text("origin_id"),
    "channel": _channel,
    "channel_id": _free_text("channel_id"),
    "was_seen": lambda value, _: read_boolean(value, "was_seen"),
    "visible_to": _visible_to,
}
_CHANGEABLE = tuple(name for name in _READERS if name not in ("is_archived", "origin_id"))
