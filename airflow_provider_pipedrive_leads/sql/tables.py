"""The target table and its companion, which ties columns to field keys: checked, made and widened."""

# ruff: noqa: S608  # names are quoted by the dialect, values are parameters

from __future__ import annotations

import secrets
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.columns import DELETED, RUN, Layout, can_take, lay_out
from airflow_provider_pipedrive_leads.sql.dialects import Portable, Table
from airflow_provider_pipedrive_leads.sql.session import MARK, Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODES = ("merge", "replace", "append")
TIES_AT_ONCE = 100
"""A statement takes as long as a message to the server and back; not every other database takes many rows at once."""
FORBIDDEN = "\"'`;[]"


class Target(msgspec.Struct, frozen=True):
    """A table to load.

    :param table: its name.
    :param mode: ``merge``, ``replace`` or ``append``.
    :param key: field key of the column by which rows are told apart.
    """

    table: Table
    mode: str
    key: str

    def sibling(self, dialect: Portable, suffix: str) -> Table:
        """A table beside the target."""
        return Table(self.table.schema, dialect.fit(self.table.name + suffix))

    def companion(self, dialect: Portable) -> Table:
        """The table that ties columns to field keys."""
        return self.sibling(dialect, "_columns")

    def own_columns(self) -> list[Column]:
        """Columns that the loading itself needs."""
        flag = Column(DELETED, "boolean", DELETED)
        return [flag, Column(RUN, "text", RUN)] if self.mode == "append" else [flag]


def target_of(table: str, mode: str, key: str, dialect: Portable) -> Target:
    """Read the parameters.

    :raises PipedriveConfigError: there is no such mode, or no table can have this name.
    """
    if mode not in MODES:
        raise PipedriveConfigError(f"mode: {mode!r} is none of {', '.join(map(repr, MODES))}.")
    parts = table.split(".") if isinstance(table, str) else []
    if not 1 <= len(parts) <= 2 or not all(_may_name(part, dialect) for part in parts):
        raise PipedriveConfigError(
            f"table: {table!r} is no name of a table. Write 'table' or 'schema.table', without quotes, each part"
            f" at most {dialect.longest_name} long; its case is kept."
        )
    return Target(Table("" if len(parts) == 1 else parts[0], parts[-1]), mode, key)


def _may_name(part: str, dialect: Portable) -> bool:
    usable = part.isprintable() and part == part.strip() and not set(part) & set(FORBIDDEN)
    return usable and 0 < dialect.size(part) <= dialect.longest_name


def examine(session: Session, dialect: Portable, target: Target, columns: Sequence[Column]) -> Layout:
    """Compare the table as it is with what is to be loaded.

    :raises PipedriveConfigError: a column cannot take what it should, or the table is keyed for another mode.
    """
    present = dialect.present(session, target.table)
    layout = lay_out(columns, present, read_ties(session, dialect, target), dialect.fit)
    if not present:
        return layout
    types = {name.casefold(): type_name for name, type_name in present.items()}
    wanted = [*zip(layout.names, columns, strict=True), *((column.name, column) for column in target.own_columns())]
    for name, column in wanted:
        type_name = types.get(name.casefold(), "")
        if not can_take(type_name, column.kind):
            raise PipedriveConfigError(
                f"table: column {name!r} of {target.table} is {type_name}, but has to take {column.kind} values. Change"
                f" it to {dialect.types[column.kind]}, rename it, or load into another table."
            )
    for name, column in zip(layout.names, columns, strict=True):
        if column.key == target.key:
            _check_key(dialect.has_unique_key(session, target.table, name), target, name, needed=dialect.upserts)
    return layout


def try_to_write(session: Session, dialect: Portable, target: Target) -> None:
    """Find out whether rows may be put into the table, or a table be made; nothing is changed.

    Raises what the driver does.
    """
    table = dialect.table(target.table)
    present = dialect.present(session, target.table)
    if present:
        key = Column(target.key, "text", target.key)
        (found,) = lay_out([key], present, read_ties(session, dialect, target), dialect.fit).names
        if found not in present:  # it will be added; no other column is known to take values
            return
        name = dialect.quote(found)
        statements = [
            f"INSERT INTO {table} ({name}) SELECT {name} FROM {table} WHERE 1 = 0",
            f"UPDATE {table} SET {name} = {name} WHERE 1 = 0"
            if target.mode == "merge"
            else f"DELETE FROM {table} WHERE 1 = 0",
        ]
    else:
        probe = dialect.table(target.sibling(dialect, f"_pipedrive_check_{secrets.token_hex(4)}"))
        statements = [f"CREATE TABLE {probe} (n BIGINT)", f"DROP TABLE {probe}"]
    with session.transaction():
        for statement in statements:
            session.execute(statement)


def _check_key(unique: bool | None, target: Target, name: str, *, needed: bool) -> None:
    if target.mode == "merge" and needed and unique is False:
        raise PipedriveConfigError(
            f"table: {target.table} has no primary key or unique index on {name!r} alone, so mode 'merge' cannot tell"
            " which rows to update. Add one, or load into another table."
        )
    if target.mode == "append" and unique:
        raise PipedriveConfigError(
            f"table: {target.table} holds each {name!r} once, so mode 'append' cannot keep a history in it. Load into"
            " another table, or use mode 'merge'."
        )


def read_ties(session: Session, dialect: Portable, target: Target) -> dict[str, str]:
    """Names of columns by field key; empty if the table has no companion yet."""
    companion = target.companion(dialect)
    if not dialect.present(session, companion):
        return {}
    rows = session.fetch(f"SELECT field_key, column_name FROM {dialect.table(companion)}")
    return {str(key): str(name) for key, name in rows}


class Settled(msgspec.Struct, frozen=True):
    """Where rows go.

    :param layout: which columns they go to.
    :param table: the target or, for a swap, its successor.
    :param is_new: no row can be in it.
    """

    layout: Layout
    table: Table
    is_new: bool


def settle(session: Session, dialect: Portable, target: Target, columns: Sequence[Column]) -> Settled:
    """Make or widen the table, or for a swap its successor, and write down the new ties."""
    layout = examine(session, dialect, target, columns)
    present = dialect.present(session, target.table)
    _write_ties(session, dialect, target, layout)
    table = target.table
    if dialect.swaps and target.mode == "replace":
        table = target.sibling(dialect, "_pipedrive_new")
        session.execute(f"DROP TABLE IF EXISTS {dialect.table(table)}")
        if present:
            session.execute(f"CREATE TABLE {dialect.table(table)} LIKE {dialect.table(target.table)}")
    if present:
        parts = _missing(dialect, target, layout, present)
        statements = [f"ALTER TABLE {dialect.table(table)} ADD COLUMN {part}" for part in parts]
    else:
        parts = _all_parts(dialect, target, layout, columns)
        statements = [f"CREATE TABLE {dialect.table(table)} ({', '.join(parts)})"]
    for statement in statements:
        session.execute(statement)
    return Settled(layout, table, is_new=not present or table != target.table)


def _write_ties(session: Session, dialect: Portable, target: Target, layout: Layout) -> None:
    companion = target.companion(dialect)
    if not dialect.present(session, companion):
        session.execute(
            f"CREATE TABLE {dialect.table(companion)} (column_name {dialect.name_type} NOT NULL,"
            f" field_key {dialect.name_type} NOT NULL PRIMARY KEY, kind {dialect.name_type} NOT NULL)"
        )
    rows = [[name, column.key, column.kind] for name, column in layout.ties]
    at_once = TIES_AT_ONCE if dialect.upserts else 1
    for first in range(0, len(rows), at_once):
        part = rows[first : first + at_once]
        marks = ", ".join([f"({MARK}, {MARK}, {MARK})"] * len(part))
        session.execute(
            f"INSERT INTO {dialect.table(companion)} (column_name, field_key, kind) VALUES {marks}",
            list(chain.from_iterable(part)),
        )


def _all_parts(dialect: Portable, target: Target, layout: Layout, columns: Sequence[Column]) -> list[str]:
    parts = []
    for name, column in zip(layout.names, columns, strict=True):
        part = f"{dialect.quote(name)} {type_of(column, dialect, target.key)}"
        if column.key == target.key:
            part += " NOT NULL" if target.mode == "append" else " NOT NULL PRIMARY KEY"
        parts.append(part)
    return [*parts, *(_own_part(column, dialect.flag, dialect) for column in target.own_columns())]


def _missing(dialect: Portable, target: Target, layout: Layout, present: Mapping[str, str]) -> list[str]:
    there = {name.casefold() for name in present}
    return [
        *(f"{dialect.quote(name)} {type_of(column, dialect, target.key)}" for name, column in layout.missing),
        *(
            _own_part(column, dialect.added_flag, dialect)
            for column in target.own_columns()
            if column.name.casefold() not in there
        ),
    ]


def type_of(column: Column, dialect: Portable, key: str) -> str:
    """The type of a column, which for a key has to suit an index."""
    return dialect.key_type if column.key == key and column.kind == "text" else dialect.types[column.kind]


def _own_part(column: Column, flag: str, dialect: Portable) -> str:
    return f"{dialect.quote(column.name)} {flag if column.name == DELETED else dialect.types[column.kind]}"
