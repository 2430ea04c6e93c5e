"""Custom field values in the format of the v1 deal endpoints, which leads share.

One logical value may take several keys beside each other: ``key`` and ``key_currency``, ``key_until`` or the parts
of an address. Source: section 3.1 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from airflow_provider_pipedrive_leads.sandbox.parameters import (
    read_date,
    read_integer,
    read_number,
)
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError

Value = dict[str, Any]
Field = Mapping[str, Any]

ADDRESS_PARTS = (
    "subpremise",
    "street_number",
    "route",
    "sublocality",
    "locality",
    "admin_area_level_1",
    "admin_area_level_2",
    "country",
    "postal_code",
    "formatted_address",
)
COMPANIONS: dict[str, tuple[str, ...]] = {
    "monetary": ("currency",),
    "daterange": ("until",),
    "timerange": ("until", "timezone_id"),
    "time": ("timezone_id",),
    "address": ADDRESS_PARTS,
}
REFERENCES = {"user": "users", "people": "persons", "org": "organizations"}
LONGEST_VARCHAR = 255
_CURRENCY = re.compile(r"[A-Z]{3}")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")


def companion_keys(field: Field) -> list[str]:
    """The further keys that a field's value may take, beside its own."""
    return [f"{field['key']}_{part}" for part in COMPANIONS.get(field["field_type"], ())]


def read_custom_value(field: Field, given: Value, present: Value, exists: Callable[[str, int], bool]) -> Value:
    """The wire keys of one field after a write; empty when it is unset.

    ``given`` and ``present`` hold the field's own key and companions, from the body and from the lead. ``exists`` tells
    whether a user, person or organization is there. Raises InvalidError.
    """
    key, kind = field["key"], field["field_type"]
    if key in given and given[key] is None:
        return {}
    merged = {name: value for name, value in {**present, **given}.items() if value is not None}
    if key not in merged:
        raise InvalidError(f"{key} is needed beside its companions")
    if kind in REFERENCES:
        return {key: _read_reference(merged[key], key, REFERENCES[kind], exists)}
    if kind in ("enum", "set"):
        return _READERS[kind](merged[key], key, [option["id"] for option in field["options"] or []])
    if kind in COMPANIONS:
        return _READERS[kind](merged, key)
    return _READERS[kind](merged[key], key)


def normalised(field: Field, value: Value) -> Value:
    """A value as the server keeps it: text trimmed, numbers rounded, addresses laid out anew."""
    key, kind = field["key"], field["field_type"]
    if key not in value:
        return value
    if kind in ("varchar", "varchar_auto", "text", "phone"):
        return {key: value[key].strip()}
    if kind == "monetary":
        return {**value, key: rounded(value[key], 2)}
    if kind == "double":
        return {key: rounded(value[key], 4)}
    return _read_address({key: _tidy_address(value[key])}, key) if kind == "address" else value


def rounded(number: float, places: int) -> float:
    """A number with at most so many decimals; whole numbers lose their point."""
    short = Decimal(str(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return int(short) if short == int(short) else float(short)


def _read_varchar(value: object, key: str) -> Value:
    if not isinstance(value, str) or len(value) > LONGEST_VARCHAR:
        raise InvalidError(f"{key} must be a string of at most {LONGEST_VARCHAR} characters")
    return {key: value}


def _read_text(value: object, key: str) -> Value:
    if not isinstance(value, str):
        raise InvalidError(f"{key} must be a string")
    return {key: value}


def _read_double(value: object, key: str) -> Value:
    return {key: read_number(value, key)}


def _read_day(value: object, key: str) -> Value:
    return {key: read_date(value, key)}


def _read_monetary(merged: Value, key: str) -> Value:
    currency = merged.get(f"{key}_currency")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise InvalidError(f"{key}_currency must be a three-letter currency code")
    return {key: read_number(merged[key], key), f"{key}_currency": currency}


def _read_daterange(merged: Value, key: str) -> Value:
    first = read_date(merged[key], key)
    if f"{key}_until" not in merged:
        raise InvalidError(f"{key}_until is needed beside {key}")
    last = read_date(merged[f"{key}_until"], f"{key}_until")
    if last < first:
        raise InvalidError(f"{key}_until must not lie before {key}")
    return {key: first, f"{key}_until": last}


def _read_time(merged: Value, key: str) -> Value:
    zone = {f"{key}_timezone_id": merged[f"{key}_timezone_id"]} if f"{key}_timezone_id" in merged else {}
    for number in zone.values():
        read_integer(number, f"{key}_timezone_id")
    return {key: _clock_time(merged[key], key), **zone}


def _read_timerange(merged: Value, key: str) -> Value:
    if f"{key}_until" not in merged:
        raise InvalidError(f"{key}_until is needed beside {key}")
    until = {f"{key}_until": _clock_time(merged[f"{key}_until"], f"{key}_until")}
    return {**_read_time(merged, key), **until}


def _clock_time(value: object, key: str) -> str:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InvalidError(f"{key} must be a time in the form HH:MM:SS")
    return value if len(value) == len("00:00:00") else f"{value}:00"


def _read_address(merged: Value, key: str) -> Value:
    text = merged[key]
    if not isinstance(text, str) or not text.strip():
        raise InvalidError(f"{key} must be an address in one line")
    return {key: text, **{f"{key}_{part}": value for part, value in address_parts(text).items()}}


def _read_option(value: object, key: str, options: list[int]) -> Value:
    return {key: str(_option_id(value, key, options))}


def _read_options(value: object, key: str, options: list[int]) -> Value:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    chosen = {_option_id(part, key, options): None for part in parts}
    return {key: ",".join(str(option) for option in chosen)} if chosen else {}


def _option_id(value: object, key: str, options: list[int]) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r" ?[0-9]{1,15}", value) else value
    if type(number) is not int or number not in options:
        raise InvalidError(f"{key} must be an id out of the field's options")
    return number


def _read_reference(value: object, key: str, collection: str, exists: Callable[[str, int], bool]) -> int:
    number = read_integer(value, key)
    if not exists(collection, number):
        raise InvalidError(f"{key} {number} does not exist")
    return number


_READERS: dict[str, Callable[..., Value]] = {
    "varchar": _read_varchar,
    "varchar_auto": _read_varchar,
    "phone": _read_varchar,
    "text": _read_text,
    "double": _read_double,
    "date": _read_day,
    "monetary": _read_monetary,
    "daterange": _read_daterange,
    "time": _read_time,
    "timerange": _read_timerange,
    "address": _read_address,
    "enum": _read_option,
    "set": _read_options,
}


def address_parts(text: str) -> dict[str, str | None]:
    """The parts of an address written as ``Route 12, 10115 Locality, Country``; what cannot be told apart is null."""
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    parts: dict[str, str | None] = dict.fromkeys(ADDRESS_PARTS)
    parts["formatted_address"] = ", ".join(pieces)
    if pieces:
        street = re.fullmatch(r"(.*\D)\s+(\d+\w?)", pieces[0])
        parts["route"], parts["street_number"] = (street[1].strip(), street[2]) if street else (pieces[0], None)
    if len(pieces) > 1:
        town = re.fullmatch(r"(\d{3,})\s+(.+)", pieces[1])
        parts["postal_code"], parts["locality"] = (town[1], town[2]) if town else (None, pieces[1])
    if len(pieces) > 2:
        parts["country"] = pieces[-1]
    return parts


def _tidy_address(text: str) -> str:
    return ", ".join(" ".join(piece.split()) for piece in text.split(",") if piece.strip())


def as_v2_fields(thing: Mapping[str, Any], fields: Iterable[Field]) -> Value:
    """The custom values of a lead in v2 dress: numbers for options, objects for what has companions."""
    return {field["key"]: _as_v2(thing, field) for field in fields if field["key"] in thing}


def _as_v2(thing: Mapping[str, Any], field: Field) -> Any:
    key, kind = field["key"], field["field_type"]
    value = thing[key]
    if kind == "enum":
        return int(value)
    if kind == "set":
        return [int(part) for part in value.split(",")]
    if kind in COMPANIONS:
        return {"value": value, **{part: thing.get(f"{key}_{part}") for part in COMPANIONS[kind]}}
    return value


def as_v1_keys(custom_fields: Mapping[str, Any], fields: Iterable[Field]) -> Value:
    """Custom values in v2 dress laid out in v1 keys again."""
    keys: Value = {}
    for field in fields:
        key, kind = field["key"], field["field_type"]
        value = custom_fields.get(key)
        if value is None:
            continue
        if kind in COMPANIONS:
            keys[key] = value["value"]
            keys.update({f"{key}_{part}": item for part, item in value.items() if _goes_along(kind, part, item)})
        elif kind == "set":
            keys[key] = ",".join(str(option) for option in value)
        else:
            keys[key] = str(value) if kind == "enum" else value
    return keys


def _goes_along(kind: str, part: str, item: object) -> bool:
    return part != "value" and (item is not None or kind == "address")
