"""The fields that a column can fill, by any of their names, and how each reads a value.

Names are those of the API, of people (``Company size``), the 40-hex keys, and those of an export's columns
(``company_size``, ``value_amount``, ``trial_period_until``): what was exported can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.field_types import FIELD_TYPES, READ_ONLY, STANDARD_FIELDS, Empty
from airflow_provider_pipedrive_leads.api.fields import (
    Catalogue,
    CustomField,
    custom_to_wire,
    find_field,
    near_names,
    to_wire,
)
from airflow_provider_pipedrive_leads.api.values import key_value, money_value, number_value, text_value, title_value
from airflow_provider_pipedrive_leads.leads.reading.columns import named_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.field_types import FieldType, Reader

Read = Callable[[Any], "JSON"]
"""Reads a value that is not None; None is what an empty one reads as. Raises ``PipedriveValidationError``."""

AMOUNT, CURRENCY = "value.amount", "value.currency"
"""The halves of ``value``, which become one at the end."""
NEEDS = {"amount": "needs both an amount and a currency", "from": "needs both a beginning and an end"}
"""By what the first half is called."""
MOSTLY_DIFFERENT: tuple[Reader, ...] = (text_value, title_value, number_value)
MOST_REMEMBERED = 4096
OF_EXPORTS = ("id", "add_time", "update_time")
"""Columns by which rows are known to have been exported."""


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
            key: target
            for field in catalogue.fields
            for key, target in zip(field.keys, _custom_targets(field), strict=True)
        }
        self._by_column = {
            column.name: self._by_key[column.column.key]
            for column in named_columns(catalogue)
            if column.column.key in self._by_key
        }
        self._address_of = _addresses(catalogue)

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

    def follows(self, name: str, columns: Collection[str]) -> bool:
        """Whether a column of an export says what Pipedrive sets by itself, or another of its columns says too."""
        if not set(OF_EXPORTS) <= set(columns):
            return False
        says_too = "label_ids" if name == "labels" else self._address_of.get(name)
        return name in READ_ONLY or says_too in columns

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
        if not field.of.may_be_key:
            raise PipedriveConfigError(
                f"key: {name!r} is a field of type {field.type}. A key is origin_id, id, or a custom text field."
            )
        return Target(name, field.key, _key_reader(name, prefix), "refuse")

    def unknown(self, columns: Sequence[str]) -> PipedriveConfigError:
        """The error for columns that are no fields."""
        known = [
            *(name for name in STANDARD_FIELDS if name not in READ_ONLY),
            *(field.name for field in self._catalogue.fields),
        ]
        words = [f"{column!r}: {self._why_not(column, known)}" for column in columns]
        return PipedriveConfigError(
            f"fields: not every column is a lead field that can be written. {' '.join(words)} Name the columns to load"
            " in fields={field: column}; others are then left aside."
        )

    def _why_not(self, column: str, known: Sequence[str]) -> str:
        if column in READ_ONLY:
            return "is set by Pipedrive."
        return f"there is no such field.{near_names(column, known)}"


def _addresses(catalogue: Catalogue) -> dict[str, str]:
    """The column of the whole address for each column of a part of one, in exports by names and by keys."""
    names = {column.column.key: column.name for column in named_columns(catalogue)}
    parts = [(field, key) for field in catalogue.fields if field.type == "address" for key in field.keys]
    return {
        part: whole
        for field, key in parts
        if key != field.key
        for part, whole in ((key, field.key), (names[key], names[field.key]))
    }


def _called_by_key(name: str, field: CustomField) -> CustomField:
    return msgspec.structs.replace(field, name=name) if field.key == name else field


def _standard_target(name: str, catalogue: Catalogue) -> Target | None:
    if name in ("value", "value_amount", "value_currency"):
        return _value_target(name)
    if name in ("label_ids", "labels"):
        return Target("label_ids", "label_ids", remembered(lambda value: _label_ids(_listed(value), catalogue)))
    field = STANDARD_FIELDS.get(name)
    if field is None or field.read is None:
        return None
    return Target(name, name, _reader(name, field.read), field.empty)


def _label_ids(value: Any, catalogue: Catalogue) -> JSON:
    return to_wire({"label_ids": value}, lambda: catalogue)["label_ids"]


def _value_target(name: str) -> Target:
    pair = Pair("value", AMOUNT, CURRENCY, NEEDS["amount"])
    if name == "value":
        return Target("value", None, _json_text(_money_reader("value", pair)), pair=pair)
    money = FIELD_TYPES["monetary"]
    if name == "value_amount":
        return _part_target("value.amount", AMOUNT, money, pair)
    return _part_target("value.currency", CURRENCY, money.parts["currency"], pair)


def _custom_targets(field: CustomField) -> list[Target]:
    """A field's target, and that of each of its further parts."""
    name, of = field.name, field.of
    pair = None
    if of.first:
        second = next(iter(of.parts))
        pair = Pair(name, field.key, f"{field.key}_{second}", NEEDS[of.first])
        first = _part_target(f"{name}.{of.first}", field.key, of, pair)
        own = Target(name, None, _whole_or_half(_whole_reader(field, pair), first, pair), pair=pair)
    elif of.options:
        own = Target(name, field.key, remembered(lambda value: _options(field, value)))
    else:
        own = Target(name, field.key, _reader(name, of.read))
    parts = [
        _part_target(f"{name}.{part}", key, field.keys[key], pair if pair and key == pair.second else None)
        for key, part in ((f"{field.key}_{part}", part) for part in of.parts)
    ]
    return [own, *parts]


def _part_target(name: str, key: str, of: FieldType, pair: Pair | None) -> Target:
    return Target(name, key, _reader(name, of.read), pair=pair)


def _reader(name: str, read: Reader) -> Read:
    """Read cells; an empty text is none. Most columns hold few different values, but for texts and numbers."""
    read_cell = partial(read, name)
    return _blank_is_none(read_cell) if read in MOSTLY_DIFFERENT else remembered(read_cell)


def _options(field: CustomField, value: Any) -> JSON:
    return custom_to_wire(field, _listed(value) if field.of.options == "many" else value)[field.key]


def _whole_reader(field: CustomField, pair: Pair) -> Read:
    return _money_reader(field.name, pair) if field.of.first == "amount" else partial(custom_to_wire, field)


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


def _key_reader(name: str, prefix: str) -> Read:
    """Read a key as leads carry it: with its prefix, without blanks around it; a whole number has one spelling."""

    def read(value: Any) -> JSON:
        text = key_value(name, text_value(name, value) if isinstance(value, UUID | date | time) else value)
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
