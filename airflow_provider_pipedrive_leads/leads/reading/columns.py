"""The columns of an export: fixed by the account's field catalogue, never by the rows that happened to come.

``names`` makes flat, readable columns; ``keys`` gives what the API gives. A column's name is safe for every warehouse:
lower-case letters, digits and underscores. Of two fields that would share a name the later made one gets a suffix.
Values are made column by column, a page of leads at a time.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import astuple

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.field_types import STANDARD_FIELDS
from airflow_provider_pipedrive_leads.api.fields import near_names
from airflow_provider_pipedrive_leads.api.flat_values import option_ids, part_of
from airflow_provider_pipedrive_leads.api.kinds import in_kind
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.leads.reading.archiving import archived_at
from airflow_provider_pipedrive_leads.leads.reading.pages import Shape, headless

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField
    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.files.table import Batch

STANDARD_KEYS = tuple(STANDARD_FIELDS)
HEAD_KEYS = ("id", "update_time", "archive_time")

Rows = Sequence[Any]
Values = Mapping[str, Sequence[Any]]
"""What some leads have under each key that a layout reads, in the leads' order."""
Read = Callable[[Values], Sequence[Any]]

MOST_REMEMBERED = 1024
"""Combinations of labels or options whose texts are kept: most leads share a few."""


class LeadColumn(msgspec.Struct, frozen=True):
    """One column of an export.

    :param column: its name, the kind of its values, and the key that it stays tied to when people rename a field.
    :param read: makes its values out of what some leads have under its keys.
    :param keys: the keys of a lead that it reads.
    """

    column: Column
    read: Read
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique within an export."""
        return self.column.name


class Layout(msgspec.Struct, frozen=True):
    """What an export makes of leads.

    :param columns: in order.
    :param keys: of a lead that the columns read, and those that every read looks at.
    :param shape: decodes these keys, and nothing else.
    """

    columns: tuple[LeadColumn, ...]
    keys: tuple[str, ...]
    shape: Shape

    @property
    def table(self) -> list[Column]:
        """The columns as a destination needs them."""
        return [column.column for column in self.columns]

    def batch(self, leads: Rows) -> Batch:
        """Read some leads, at least one, column by column."""
        values = dict(zip(self.keys, zip(*map(astuple, leads), strict=True), strict=True))
        return [in_kind(column.column.kind, column.read(values)) for column in self.columns]


def layout_of(columns: Iterable[LeadColumn]) -> Layout:
    """Lay out an export of these columns."""
    columns = tuple(columns)
    keys = tuple(dict.fromkeys((*HEAD_KEYS, "cc_email", *(key for column in columns for key in column.keys))))
    row = msgspec.defstruct(
        "LeadRow",
        [(attribute(key), str if key in ("id", "update_time") else Any, None) for key in keys],
        rename={attribute(key): key for key in keys},
        gc=False,
    )
    return Layout(columns, keys, Shape(row, _with_heads))


def _with_heads(rows: Rows) -> Rows:
    """Give rows of leads, each of which tells what it needs to be read once and whole."""
    if any(row.id is None or row.update_time is None for row in rows):
        raise headless()
    return rows


def attribute(key: str) -> str:
    """Name the attribute that holds the value of a lead's key; keys of custom fields may begin with a digit."""
    return key if key in STANDARD_FIELDS else f"custom_{key}"


def columns_for(choice: str | Sequence[str], catalogue: Catalogue, more: Sequence[LeadColumn] = ()) -> list[LeadColumn]:
    """Choose the columns of an export.

    :param choice: ``"names"``, ``"keys"``, or the names of columns in the order wanted (of either kind).
    :param more: columns that stand behind those of the leads, or can be picked too.
    :raises PipedriveValidationError: there is no such column; lists near ones.
    """
    if choice == "names":
        return [*named_columns(catalogue), *more]
    if choice == "keys":
        return [*key_columns(catalogue), *more]
    if isinstance(choice, str) or not choice:
        raise PipedriveValidationError(f"columns: {choice!r} is neither 'names', 'keys' nor a list of column names.")
    return picked(choice, [*key_columns(catalogue), *named_columns(catalogue), *more])


VERSION_KEYS = ("update_time", "common.remote_updated_at", "_pipedrive_update_time")
"""Keys of the columns that tell when a lead was last changed; the last is for tables that would have none."""


def version_of(columns: Iterable[LeadColumn]) -> str | None:
    """Give the key of the column that tells when a lead was last changed; None if there is none."""
    keys = {column.column.key for column in columns}
    return next((key for key in VERSION_KEYS if key in keys), None)


def with_version(columns: Sequence[LeadColumn]) -> Sequence[LeadColumn]:
    """Add a column that tells when a lead was last changed, if none does."""
    if version_of(columns) is not None:
        return columns
    key = VERSION_KEYS[-1]
    return [*columns, LeadColumn(Column(key, "timestamp", key), itemgetter("update_time"), ("update_time",))]


def picked(choice: str | Sequence[str], columns: Sequence[LeadColumn]) -> list[LeadColumn]:
    """Pick columns by name, in the order wanted; a single word takes all.

    :raises PipedriveValidationError: there is no such column; lists near ones.
    """
    if isinstance(choice, str):
        return list(columns)
    known = {column.name: column for column in columns}
    for name in choice:
        if name not in known:
            raise PipedriveValidationError(f"columns: there is no column {name!r}.{near_names(str(name), list(known))}")
    if len(set(choice)) < len(choice):
        twice = next(name for name in choice if list(choice).count(name) > 1)
        raise PipedriveValidationError(f"columns: {twice!r} is given twice.")
    return [known[name] for name in choice]


def key_columns(catalogue: Catalogue) -> list[LeadColumn]:
    """One column for each key that a lead can have, in the API's order, custom fields last."""
    columns = [_plain(key, key, field.kind) for key, field in STANDARD_FIELDS.items() if key != "archive_time"]
    told = LeadColumn(Column("archive_time", "timestamp", "archive_time"), _archive_times(str), ("archive_time",))
    columns.insert(STANDARD_KEYS.index("archive_time"), told)
    for field in catalogue.fields:
        columns += [_of_field(key, key, of.kind, field) for key, of in field.keys.items()]
    return columns


def named_columns(catalogue: Catalogue) -> list[LeadColumn]:
    """Flat, readable columns: label names beside ids, money as amount and currency, options as labels."""
    columns: list[LeadColumn] = []
    for key, standard in STANDARD_FIELDS.items():
        if key == "value":
            columns += [_part("value", "amount", "number"), _part("value", "currency", "text")]
        elif key == "archive_time":
            columns.append(LeadColumn(Column(key, standard.kind, key), _archive_times(_in_one_form), (key,)))
        else:
            columns.append(_plain(key, key, standard.kind))
        if key == "label_ids":
            columns.append(
                LeadColumn(Column("labels", "list<string>", "labels"), _label_names(catalogue.labels), (key,))
            )
    taken = {column.name for column in columns}
    for field in catalogue.fields:
        new = _unique(_custom_columns(field), taken)
        taken.update(column.name for column in new)
        columns.extend(new)
    return columns


def _custom_columns(field: CustomField) -> list[LeadColumn]:
    name = safe_name(field.name) or f"field_{field.key[:8]}"
    if field.of.options == "one":
        return [LeadColumn(Column(name, "text", field.key), _option_labels(field), (field.key,))]
    if field.of.options == "many":
        return [LeadColumn(Column(name, "list<string>", field.key), _option_lists(field), (field.key,))]
    own = f"{name}_{field.of.first}" if field.of.first else name
    parts = {part: of for part, of in field.of.parts.items() if of.in_names}
    return [
        _of_field(own, field.key, field.of.kind, field),
        *(_of_field(f"{name}_{part}", f"{field.key}_{part}", of.kind, field) for part, of in parts.items()),
    ]


def safe_name(name: str) -> str:
    """Make a column name of letters a to z, digits and underscores; empty if the name has none of these."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return f"field_{safe}" if safe[:1].isdigit() else safe


def _unique(columns: list[LeadColumn], taken: set[str]) -> list[LeadColumn]:
    suffix, new = 1, columns
    while taken & {column.name for column in new}:
        suffix += 1
        new = [
            msgspec.structs.replace(
                column, column=msgspec.structs.replace(column.column, name=f"{column.name}_{suffix}")
            )
            for column in columns
        ]
    return new


def _plain(name: str, key: str, kind: Kind) -> LeadColumn:
    return LeadColumn(Column(name, kind, key), itemgetter(key), (key,))


def _of_field(name: str, key: str, kind: Kind, field: CustomField) -> LeadColumn:
    """A column of what leads have under a key of a custom field; a part may also stand within its value."""
    if key == field.key:
        return _plain(name, key, kind)
    part = key.removeprefix(f"{field.key}_")

    def read(values: Values) -> Sequence[Any]:
        found, wholes = values[key], values[field.key]
        if dict not in set(map(type, wholes)):
            return found
        return [part_of(whole, part) if own is None else own for own, whole in zip(found, wholes, strict=True)]

    return LeadColumn(Column(name, kind, key), read, (key, field.key))


def _part(key: str, part: str, kind: Kind) -> LeadColumn:
    def read(values: Values) -> list[Any]:
        return [
            whole.get(part) if isinstance(whole, dict) else whole if part == "amount" else None for whole in values[key]
        ]

    return LeadColumn(Column(f"{key}_{part}", kind, f"{key}_{part}"), read, (key,))


def _archive_times(form: Callable[[str], str]) -> Read:
    """Times of archiving; null for what is none (docs/pipedrive-api.md, "The object", knows two forms)."""

    def read(values: Values) -> list[str | None]:
        return [form(time) if time and archived_at(time) else None for time in values["archive_time"]]

    return read


def _in_one_form(time: str) -> str:
    return time.replace(" ", "T") + ".000Z" if time[10] == " " else time


def _label_names(labels: Mapping[str, str]) -> Read:
    @lru_cache(MOST_REMEMBERED)
    def names(ids: tuple[str, ...]) -> list[str]:
        return [labels.get(label, label) for label in ids]

    return lambda values: [names(tuple(ids or ())) for ids in in_kind("list<string>", values["label_ids"])]


def _option_labels(field: CustomField) -> Read:
    labels = _labels(field)

    def read(values: Values) -> list[str | None]:
        options = [option if option is None else _one_option(option) for option in values[field.key]]
        return [None if option is None else labels.get(option, option) for option in options]

    return read


def _one_option(option: Any) -> str:
    return option.strip() if isinstance(option, str) else ",".join(option_ids(option))


def _option_lists(field: CustomField) -> Read:
    labels = _labels(field)

    @lru_cache(MOST_REMEMBERED)
    def texts(options: str) -> list[str]:
        return [labels.get(option, option) for option in option_ids(options)]

    return lambda values: [
        texts(options if isinstance(options, str) else _one_option(options)) for options in values[field.key]
    ]


def _labels(field: CustomField) -> dict[str, str]:
    """Label by option; an option that shares its label with another is told by its id."""
    times = Counter(option.label.strip() for option in field.options)
    return {option.id: option.label for option in field.options if times[option.label.strip()] == 1}
