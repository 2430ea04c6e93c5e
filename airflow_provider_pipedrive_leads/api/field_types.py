"""All there is to know of a type of field, in one table: its columns, how values are read, typed and compared.

A new type is one row here. Formats of custom values: docs/pipedrive-api.md, "Custom fields".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from airflow_provider_pipedrive_leads.api.alike import (
    ADDRESS,
    AMOUNT,
    DAY,
    MONEY,
    NUMBER,
    OPTIONS,
    TEXT,
    TIME,
    TRUTH,
    WORD,
    Likeness,
)
from airflow_provider_pipedrive_leads.api.kinds import Kind  # noqa: TC001 - msgspec reads it
from airflow_provider_pipedrive_leads.api.values import (
    bool_value,
    currency_value,
    date_value,
    id_value,
    money_value,
    number_value,
    text_value,
    time_value,
    title_value,
    visibility_value,
)

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import JSON

Reader = Callable[[str, object], "JSON"]
"""Takes the name of a field, for its error, and a value of people, templates or tables; gives the wire form."""
Empty = Literal["unset", "keep", "refuse"]


class StandardField(msgspec.Struct, frozen=True):
    """A field that every lead has.

    :param kind: of its column.
    :param read: makes the wire form; None where Pipedrive alone sets the field.
    :param alike: how wire values are compared.
    :param empty: what an empty cell means: some fields cannot be without a value.
    """

    kind: Kind
    read: Reader | None = None
    alike: Likeness = TEXT
    empty: Empty = "unset"


class FieldType(msgspec.Struct, frozen=True):
    """A type of custom field, or of a part of one.

    :param kind: of its column, as the API gives the value; of an unknown type anything may come.
    :param read: makes the wire form of a value.
    :param typed: makes a Python value of the wire form; may raise what such conversions raise.
    :param alike: how wire values are compared.
    :param first: what the value is called where further parts belong to it: ``amount``, ``from``.
    :param parts: the further keys of a lead, ``<key>_<part>``, in the API's order.
    :param options: whether the value is one or many of the field's options.
    :param in_names: whether a part has a column among readable ones.
    :param may_be_key: whether values can tell leads apart.
    """

    kind: Kind
    read: Reader
    typed: Callable[[JSON], object]
    alike: Likeness
    first: str = ""
    parts: Mapping[str, FieldType] = {}
    options: Literal["", "one", "many"] = ""
    in_names: bool = True
    may_be_key: bool = False


def _text(value: JSON) -> JSON:
    return value if isinstance(value, dict | list) else str(value)


def _number(value: JSON) -> Decimal:
    return Decimal(str(value))


def _truth(value: JSON) -> bool:
    return value in (True, 1, "1", "true")


def _day(value: JSON) -> date:
    return date.fromisoformat(str(value)[:10])


def _time(value: JSON) -> time:
    return time.fromisoformat(str(value))


_PLAIN_TEXT = FieldType("text", text_value, _text, TEXT)
_KEY_TEXT = FieldType("text", text_value, _text, TEXT, may_be_key=True)
_ID = FieldType("integer", id_value, int, WORD)
_DECIMAL = FieldType("number", number_value, _number, NUMBER)
_CURRENCY = FieldType("text", currency_value, _text, WORD)
_TIMEZONE = FieldType("integer", id_value, int, WORD, in_names=False)
_DAY = FieldType("date", date_value, _day, DAY)
_TIME_OF_DAY = FieldType("time", time_value, _time, TIME)
_ADDRESS_PART = FieldType("text", text_value, _text, ADDRESS)
_ADDRESS_PARTS = (
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

FIELD_TYPES: dict[str, FieldType] = {
    "varchar": _KEY_TEXT,
    "varchar_auto": _KEY_TEXT,
    "text": _KEY_TEXT,
    "phone": _PLAIN_TEXT,
    "enum": FieldType("text", text_value, _text, WORD, options="one"),
    "set": FieldType("text", text_value, _text, OPTIONS, options="many"),
    "double": _DECIMAL,
    "int": msgspec.structs.replace(_DECIMAL, kind="integer"),
    "boolean": FieldType("boolean", bool_value, _truth, TRUTH),
    "user": _ID,
    "people": _ID,
    "org": _ID,
    "lead": _ID,
    "deal": _ID,
    "monetary": FieldType("number", number_value, _number, AMOUNT, first="amount", parts={"currency": _CURRENCY}),
    "date": _DAY,
    "daterange": msgspec.structs.replace(_DAY, first="from", parts={"until": _DAY}),
    "time": msgspec.structs.replace(_TIME_OF_DAY, parts={"timezone_id": _TIMEZONE}),
    "timerange": msgspec.structs.replace(
        _TIME_OF_DAY, first="from", parts={"until": _TIME_OF_DAY, "timezone_id": _TIMEZONE}
    ),
    "address": FieldType("text", text_value, _text, ADDRESS, parts=dict.fromkeys(_ADDRESS_PARTS, _ADDRESS_PART)),
}
"""By the vendor's ``field_type``."""
UNKNOWN_TYPE = FieldType("json", text_value, _text, TEXT)

STANDARD_FIELDS: dict[str, StandardField] = {
    "id": StandardField("text"),
    "title": StandardField("text", title_value, TEXT, "refuse"),
    "owner_id": StandardField("integer", id_value, WORD, "keep"),
    "creator_id": StandardField("integer"),
    "label_ids": StandardField("list<string>", text_value, OPTIONS),
    "value": StandardField("json", money_value, MONEY),
    "expected_close_date": StandardField("date", date_value, DAY),
    "person_id": StandardField("integer", id_value, WORD),
    "organization_id": StandardField("integer", id_value, WORD),
    "is_archived": StandardField("boolean", bool_value, TRUTH, "keep"),
    "archive_time": StandardField("timestamp"),
    "source_name": StandardField("text"),
    "source_deal_id": StandardField("integer"),
    "origin": StandardField("text"),
    "origin_id": StandardField("text", text_value, TEXT, "keep"),
    "channel": StandardField("integer", id_value, WORD),
    "channel_id": StandardField("text", text_value, TEXT),
    "was_seen": StandardField("boolean", bool_value, TRUTH, "keep"),
    "next_activity_id": StandardField("integer"),
    "add_time": StandardField("timestamp"),
    "update_time": StandardField("timestamp"),
    "visible_to": StandardField("text", visibility_value, WORD, "keep"),
    "cc_email": StandardField("text"),
}
"""By name, in the API's order. Labels go by id or name, so what reads them needs the account's own."""
READ_ONLY = frozenset(name for name, field in STANDARD_FIELDS.items() if field.read is None)
