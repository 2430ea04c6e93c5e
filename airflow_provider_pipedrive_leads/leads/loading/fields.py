"""The fields that a column can fill, by any of their names, and how each reads a value.

Names are those of the API, of people (``Company size``), the 40-hex keys, and those of an export's columns
(``company_size``, ``value_amount``, ``trial_period_until``): what was exported can be loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import (
    RANGE_TYPES,
    READ_ONLY,
    Catalogue,
    CustomField,
    custom_to_wire,
    find_field,
    near_names,
    to_wire,
)
from airflow_provider_pipedrive_leads.api.values import (
    date_value,
    key_value,
    money_value,
    number_value,
    time_value,
    wrong,
)
from airflow_provider_pipedrive_leads.leads.reading.columns import named_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.api.endpoints import JSON

Read = Callable[[Any], "JSON"]
"""Reads a value that is not None; None is what an empty one reads as. Raises ``PipedriveValidationError``."""
Empty = Literal["unset", "keep", "refuse"]

KEY_TYPES = ("varchar", "varchar_auto", "text")
TEXT_TYPES = (*KEY_TYPES, "phone", "address")
AMOUNT, CURRENCY = "value.amount", "value.currency"
"""The halves of ``value``, which become one at the end."""
STANDARD: dict[str, Empty] = {
    "title": "refuse",
    "owner_id": "keep",
    "person_id": "unset",
    "organization_id": "unset",
    "expected_close_date": "unset",
    "visible_to": "keep",
    "was_seen": "keep",
    "is_archived": "keep",
    "origin_id": "keep",
    "channel": "unset",
    "channel_id": "unset",
}
"""What an empty cell means for each field that takes one value: some fields cannot be without one."""
TEXTS = ("title", "origin_id", "channel_id")
WHOLE_NUMBERS = ("owner_id", "person_id", "organization_id", "channel")
MOST_REMEMBERED = 4096


class Pair(msgspec.Struct, frozen=True):
    """Two keys that go together: an amount and its currency, or the ends of a range.

    :param name: as errors call the whole.
    :param words: what is due.
    """

    name: str
    first: str
    second: str
    words: str


class Target(msgspec.Struct, frozen=True):
    """What a column fills.

    :param name: of the field, as errors and results call it.
    :param key: the wire key; None where a value fills two, and reading gives both.
    :param read: makes a wire value of it.
    :param empty: whether an empty value unsets the field, leaves it as it is, or is an error.
    :param pair: what the key is a half of.
    """

    name: str
    key: str | None
    read: Read
    empty: Empty = "unset"
    pair: Pair | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """All wire keys that it fills."""
        if self.key is not None:
            return (self.key,)
        return (self.pair.first, self.pair.second) if self.pair else ()


class Fields:
    """The fields of an account.

    :param catalogue: its custom fields and labels.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._by_key = {
            target.key or field.key: target for field in catalogue.fields for target in _custom_targets(field)
        }
        self._by_column = {
            column.name: self._by_key[column.column.key]
            for column in named_columns(catalogue)
            if column.column.key in self._by_key
        }

    def find(self, name: str) -> Target:
        """Find a field by any of its names.

        :raises PipedriveValidationError: there is none, several have the name, or it cannot be written.
        """
        standard = _standard_target(name, self._catalogue)
        if standard is not None:
            return standard
        if name in READ_ONLY:
            raise PipedriveValidationError(f"fields: {name!r} is set by Pipedrive and cannot be written.")
        if name in self._by_key:
            return self._by_key[name]
        try:
            return self._by_key[find_field(name, self._catalogue.fields).key]
        except PipedriveValidationError:
            if name in self._by_column:
                return self._by_column[name]
            raise

    def find_key(self, name: str, prefix: str) -> Target:
        """Find the field that tells leads apart; it reads whole keys, with their prefix.

        :raises PipedriveConfigError: it is no such field.
        """
        if name == "id":
            return Target("id", "id", _lead_id, "refuse")
        if name == "origin_id":
            return Target("origin_id", "origin_id", _key_reader("origin_id", prefix), "refuse")
        try:
            field = find_field(name, [_called_by_key(name, field) for field in self._catalogue.fields])
        except PipedriveValidationError as problem:
            raise PipedriveConfigError(f"key: {str(problem).removeprefix('fields: ')}") from None
        if field.type not in KEY_TYPES:
            raise PipedriveConfigError(
                f"key: {name!r} is a field of type {field.type}. A key is origin_id, id, or a custom text field."
            )
        return Target(name, field.key, _key_reader(name, prefix), "refuse")

    def unknown(self, columns: Sequence[str]) -> PipedriveConfigError:
        """The error for columns that are no fields."""
        known = [*STANDARD, "value", "label_ids", *(field.name for field in self._catalogue.fields)]
        words = [f"{column!r}: {self._why_not(column, known)}" for column in columns]
        return PipedriveConfigError(
            f"fields: not every column is a lead field that can be written. {' '.join(words)} Name the columns to load"
            " in fields={field: column}; others are then left aside."
        )

    def _why_not(self, column: str, known: Sequence[str]) -> str:
        if column in READ_ONLY:
            return "is set by Pipedrive."
        return f"there is no such field.{near_names(column, known)}"


def _called_by_key(name: str, field: CustomField) -> CustomField:
    return msgspec.structs.replace(field, name=name) if field.key == name else field


def _standard_target(name: str, catalogue: Catalogue) -> Target | None:
    if name in ("value", "value_amount", "value_currency"):
        return _value_target(name)
    if name in ("label_ids", "labels"):
        return Target("label_ids", "label_ids", _labels_reader(catalogue))
    if name not in STANDARD:
        return None
    read = _wire_reader(name, catalogue)
    if name in TEXTS:
        return Target(name, name, _text_reader(name), STANDARD[name])
    if name in WHOLE_NUMBERS:
        return Target(name, name, _id_reader(read), STANDARD[name])
    return Target(name, name, remembered(read), STANDARD[name])


def _value_target(name: str) -> Target:
    pair = Pair("value", AMOUNT, CURRENCY, "needs both an amount and a currency")
    if name == "value":
        return Target("value", None, _json_text(_money_reader("value", pair)), pair=pair)
    return _half(pair, name.removeprefix("value_"))


def _custom_targets(field: CustomField) -> list[Target]:
    """A field's target, and that of its second half."""
    name, key = field.name, field.key
    if field.type == "monetary":
        pair = Pair(name, key, f"{key}_currency", "needs both an amount and a currency")
        whole = _whole_or_half(_money_reader(name, pair), _half(pair, "amount"), pair)
        return [Target(name, None, whole, pair=pair), _half(pair, "currency")]
    if field.type in RANGE_TYPES:
        pair = Pair(name, key, f"{key}_until", "needs both a beginning and an end")
        whole = _whole_or_half(lambda value: custom_to_wire(field, value), _end(field, pair, key), pair)
        return [Target(name, None, whole, pair=pair), _end(field, pair, pair.second)]
    if field.type in TEXT_TYPES:
        return [Target(name, key, _text_reader(name))]
    if field.type == "set":
        return [Target(name, key, remembered(lambda value: custom_to_wire(field, _listed(value))[key]))]
    if field.type == "double":
        return [Target(name, key, _number_reader(name))]
    return [Target(name, key, remembered(lambda value: custom_to_wire(field, value)[key]))]


def _half(pair: Pair, part: str) -> Target:
    label = f"{pair.name}.{part}"
    if part == "amount":
        return Target(label, pair.first, _number_reader(label), pair=pair)
    return Target(label, pair.second, remembered(lambda value: _currency(pair.name, value)), pair=pair)


def _currency(name: str, value: object) -> JSON:
    return money_value(name, {"amount": 0, "currency": value})["currency"]


def _end(field: CustomField, pair: Pair, key: str) -> Target:
    label = f"{field.name}.{'from' if key == pair.first else 'until'}"
    read = date_value if field.type == "daterange" else time_value
    return Target(label, key, remembered(lambda value: read(label, value)), pair=pair)


def _money_reader(name: str, pair: Pair) -> Read:
    def read(value: Any) -> JSON:
        money = money_value(name, value)
        return {pair.first: money["amount"], pair.second: money["currency"]}

    return read


def _whole_or_half(whole: Read, first: Target, pair: Pair) -> Read:
    """Under a field's own name stands all of it, or, as the API and exports have it, its first half."""

    def read(value: Any) -> JSON:
        value = _parsed(value)
        if isinstance(value, dict):
            return whole(value)
        half = None if value is None else first.read(value)
        return {pair.first: half}

    return _blank_is_none(read)


def _json_text(read: Read) -> Read:
    return _blank_is_none(lambda value: read(_parsed(value)))


def _parsed(value: Any) -> Any:
    """A text that looks like JSON as what it says: cells hold lists and objects so."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _listed(value: Any) -> Any:
    found = _parsed(value)
    return found if isinstance(found, list) else value


def _blank_is_none(read: Read) -> Read:
    def read_unless_blank(value: Any) -> JSON:
        return None if isinstance(value, str) and not value.strip() else read(value)

    return read_unless_blank


def remembered(read: Read) -> Read:
    """Read each text once: most columns hold few different ones."""
    known: dict[str, JSON] = {}

    def read_or_remember(value: Any) -> JSON:
        if type(value) is not str:
            return read(value)
        try:
            return known[value]
        except KeyError:
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            found = known[value] = read(value) if value.strip() else None
            return found

    return read_or_remember


def _wire_reader(name: str, catalogue: Catalogue) -> Read:
    return lambda value: to_wire({name: value}, lambda: catalogue)[name]


def _labels_reader(catalogue: Catalogue) -> Read:
    return remembered(_listing(_wire_reader("label_ids", catalogue)))


def _listing(read: Read) -> Read:
    return lambda value: read(_listed(value))


def _id_reader(read: Read) -> Read:
    slow = remembered(read)

    def read_id(value: Any) -> JSON:
        if type(value) is int and value > 0:
            return value
        whole = (
            isinstance(value, float | Decimal) and value == value // 1
        )  # as tables without nulls in integers have it
        return slow(int(value) if whole else value)

    return read_id


def _number_reader(name: str) -> Read:
    def read(value: Any) -> JSON:
        if type(value) is str and not value.strip():
            return None
        return number_value(name, value)

    return read


def _text_reader(name: str) -> Read:
    def read(value: Any) -> JSON:
        text = value if type(value) is str else _as_text(name, value)
        return text if text.strip() else None

    return read


def _key_reader(name: str, prefix: str) -> Read:
    """Read a key as leads carry it: with its prefix, without blanks around it; a whole number has one spelling."""

    def read(value: Any) -> JSON:
        text = key_value(name, _as_text(name, value) if isinstance(value, UUID | date | time) else value)
        return prefix + text if text else None

    return read


def _lead_id(value: Any) -> JSON:
    text = str(value).strip()
    if not text:
        return None
    try:
        return path_id("lead_id", text)
    except PipedriveValidationError as problem:
        raise PipedriveValidationError(str(problem).removeprefix("lead_")) from None


def _as_text(name: str, value: Any) -> str:
    """Write what files and databases hold in place of a text; whole numbers without a point."""
    if isinstance(value, bool):
        raise wrong(name, value, "a text")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | UUID) or (isinstance(value, float | Decimal) and math.isfinite(value)):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    raise wrong(name, value, "a text")
