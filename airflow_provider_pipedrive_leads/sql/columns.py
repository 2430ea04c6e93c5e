"""Columns stay tied to their field key: which column of a table takes which column of a load.

A key keeps the column once made for it, whatever its name becomes. A new key takes the column of its name, if nothing
else is tied to it, or else a new one with a suffix. Names are cut to what the database can hold.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.kinds import Kind  # noqa: TC001  # msgspec reads them
from airflow_provider_pipedrive_leads.files.table import Column  # noqa: TC001  # msgspec reads them

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

DELETED = "is_deleted"
RUN = "_run"
OWN = (DELETED, RUN)
MOST_SUFFIXES = 1000

_TEXT = {"text", "tinytext", "mediumtext", "longtext", "varchar", "char", "character", "nvarchar", "nchar", "string"}
_INTEGERS = {"bigint", "int8", "integer", "int", "int4", "smallint", "int2", "mediumint", "hugeint"}
_NUMBERS = {"double", "float", "float8", "real", "float4", "numeric", "decimal", "number"}
_MOMENTS = {"timestamp", "timestamptz", "datetime"}
_JSON = {"json", "jsonb"}
TAKEN_BY: dict[Kind, set[str]] = {
    "text": set(),
    "integer": _INTEGERS | {"numeric", "decimal", "number"},
    "number": _NUMBERS,
    "boolean": {"boolean", "bool", "tinyint", "bit"},
    "date": {"date"} | _MOMENTS,
    "time": {"time"},
    "timestamp": _MOMENTS,
    "list<string>": _JSON,
    "json": _JSON,
}
"""The first words of the types that take a kind; text takes every kind."""


class Layout(msgspec.Struct, frozen=True):
    """Where each column of a load goes.

    :param names: names of the columns in the table, in the order of the load.
    :param missing: those of them that the table lacks, with the load's columns.
    :param ties: names to write down for keys that have no tie yet, with the load's columns.
    :param warnings: sentences for people.
    """

    names: list[str]
    missing: list[tuple[str, Column]]
    ties: list[tuple[str, Column]]
    warnings: list[str]


def lay_out(
    columns: Sequence[Column], present: Mapping[str, str], ties: Mapping[str, str], fit: Callable[[str], str]
) -> Layout:
    """Find or name the column of a table for each column of a load.

    :param present: names of the columns that the table has, with their types.
    :param ties: names of columns by field key.
    :param fit: cuts a name to what the database can hold.
    """
    spelled = {name.casefold(): name for name in present}
    taken = {name.casefold() for name in (*OWN, *ties.values())}
    names = {}
    for column in columns:
        if column.key in ties:
            names[column.key] = spelled.get(ties[column.key].casefold(), ties[column.key])
    new = [column for column in columns if column.key not in ties]
    for column in new:
        name = _free_name(column.name, taken, spelled, fit)
        taken.add(name.casefold())
        names[column.key] = spelled.get(name.casefold(), name)
    return Layout(
        [names[column.key] for column in columns],
        [(names[column.key], column) for column in columns if names[column.key].casefold() not in spelled],
        [(names[column.key], column) for column in new],
        [_renamed(column, names[column.key]) for column in columns if _is_renamed(column.name, names[column.key], fit)],
    )


def _free_name(wanted: str, taken: set[str], spelled: Mapping[str, str], fit: Callable[[str], str]) -> str:
    for name in _candidates(wanted, fit):
        if name.casefold() not in taken and (name == fit(wanted) or name.casefold() not in spelled):
            return name
    raise PipedriveConfigError(f"columns: more than {MOST_SUFFIXES} columns of the name {wanted!r}.")


def _candidates(wanted: str, fit: Callable[[str], str]) -> Iterator[str]:
    yield fit(wanted)
    for number in range(2, MOST_SUFFIXES):
        yield fit(f"{wanted}_{number}")


def _is_renamed(wanted: str, name: str, fit: Callable[[str], str]) -> bool:
    return all(candidate.casefold() != name.casefold() for candidate in _candidates(wanted, fit))


def _renamed(column: Column, name: str) -> str:
    return f"The field of column {name!r} is now named {column.name!r}: its values go on into {name!r}."


def cut(name: str, size: Callable[[str], int], most: int) -> str:
    """Shorten a name that is too long; what is cut off lives on in a hash, so that other names stay other names."""
    if size(name) <= most:
        return name
    tail = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    while size(name) + len(tail) > most:
        name = name[:-1]
    return name + tail


def can_take(type_name: str, kind: Kind) -> bool:
    """Whether a column of a type takes a kind; a type that is not known (empty) takes all."""
    if "[" in type_name:
        return False
    word = re.split(r"[^a-z0-9]", type_name.lower().strip(), maxsplit=1)[0]
    return not word or word in _TEXT or word in TAKEN_BY[kind]
