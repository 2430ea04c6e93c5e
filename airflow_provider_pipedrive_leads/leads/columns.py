"""The columns of an export: fixed by the account's field catalogue, never by the rows that happened to come.

``names`` makes flat, readable columns; ``keys`` gives what the API gives. A column's name is safe for every warehouse:
lower-case letters, digits and underscores. Of two fields that would share a name the later made one gets a suffix.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import ADDRESS_PARTS, RANGE_TYPES, near_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField


STANDARD_KEYS = (
    "id",
    "title",
    "owner_id",
    "creator_id",
    "label_ids",
    "value",
    "expected_close_date",
    "person_id",
    "organization_id",
    "is_archived",
    "archive_time",
    "source_name",
    "source_deal_id",
    "origin",
    "origin_id",
    "channel",
    "channel_id",
    "was_seen",
    "next_activity_id",
    "add_time",
    "update_time",
    "visible_to",
    "cc_email",
)


Read = Callable[[Mapping[str, Any]], Any]


class Column(msgspec.Struct, frozen=True):
    """One column.

    :param name: unique within an export.
    :param read: takes the value out of a lead as the API gives it.
    """

    name: str
    read: Read


def columns_for(choice: str | Sequence[str], catalogue: Catalogue) -> list[Column]:
    """Lay out an export.

    :param choice: ``"names"``, ``"keys"``, or the names of columns in the order wanted (of either kind).
    :raises PipedriveValidationError: there is no such column; lists near ones.
    """
    if choice == "names":
        return named_columns(catalogue)
    if choice == "keys":
        return key_columns(catalogue)
    if isinstance(choice, str) or not choice:
        raise PipedriveValidationError(f"columns: {choice!r} is neither 'names', 'keys' nor a list of column names.")
    known = {column.name: column for column in [*key_columns(catalogue), *named_columns(catalogue)]}
    for name in choice:
        if name not in known:
            raise PipedriveValidationError(f"columns: there is no column {name!r}.{near_names(name, list(known))}")
    return [known[name] for name in choice]


def key_columns(catalogue: Catalogue) -> list[Column]:
    """One column for each key that a lead can have, in the API's order, custom fields last."""
    keys = [*STANDARD_KEYS, *(key for field in catalogue.fields for key in field_keys(field))]
    return [Column(key, _key(key)) for key in keys]


def field_keys(field: CustomField) -> list[str]:
    """The keys under which a lead carries a custom field: one, or several for money, ranges and addresses."""
    if field.type == "monetary":
        return [field.key, f"{field.key}_currency"]
    if field.type in RANGE_TYPES:
        return [field.key, f"{field.key}_until"]
    if field.type == "address":
        return [field.key, *(f"{field.key}_{part}" for part in ADDRESS_PARTS)]
    return [field.key]


def named_columns(catalogue: Catalogue) -> list[Column]:
    """Flat, readable columns: label names beside ids, money as amount and currency, options as labels."""
    columns: list[Column] = []
    for key in STANDARD_KEYS:
        columns.append(Column(key, _key(key)))
        if key == "label_ids":
            columns.append(Column("labels", _label_names(catalogue.labels)))
        if key == "value":
            columns[-1:] = [Column(f"value_{part}", _part("value", part)) for part in ("amount", "currency")]
    taken = {column.name for column in columns}
    for field in catalogue.fields:
        new = _unique(_custom_columns(field), taken)
        taken.update(column.name for column in new)
        columns.extend(new)
    return columns


def _custom_columns(field: CustomField) -> list[Column]:
    key = field.key
    name = safe_name(field.name) or f"field_{key[:8]}"
    if field.type == "monetary":
        return [Column(f"{name}_amount", _key(key)), Column(f"{name}_currency", _key(f"{key}_currency"))]
    if field.type in RANGE_TYPES:
        return [Column(f"{name}_from", _key(key)), Column(f"{name}_until", _key(f"{key}_until"))]
    if field.type == "address":
        parts = [Column(f"{name}_{part}", _key(f"{key}_{part}")) for part in ADDRESS_PARTS]
        return [Column(name, _key(key)), *parts]
    if field.type == "enum":
        return [Column(name, _option(field))]
    if field.type == "set":
        return [Column(name, _options(field))]
    return [Column(name, _key(key))]


def safe_name(name: str) -> str:
    """Make a column name of letters a to z, digits and underscores; empty if the name has none of these."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return f"field_{safe}" if safe[:1].isdigit() else safe


def _unique(columns: list[Column], taken: set[str]) -> list[Column]:
    suffix, new = 1, columns
    while taken & {column.name for column in new}:
        suffix += 1
        new = [Column(f"{column.name}_{suffix}", column.read) for column in columns]
    return new


def _key(key: str) -> Read:
    return lambda lead: lead.get(key)


def _part(key: str, part: str) -> Read:
    return lambda lead: (lead.get(key) or {}).get(part)


def _label_names(labels: Mapping[str, str]) -> Read:
    return lambda lead: [labels.get(label_id, label_id) for label_id in lead.get("label_ids") or ()]


def _option(field: CustomField) -> Read:
    def read(lead: Mapping[str, Any]) -> str | None:
        option_id = lead.get(field.key)
        return None if option_id is None else field.label_of(option_id) or str(option_id)

    return read


def _options(field: CustomField) -> Read:
    def read(lead: Mapping[str, Any]) -> list[str]:
        ids = str(lead.get(field.key) or "").split(",")
        return [field.label_of(option_id) or option_id for option_id in ids if option_id]

    return read
