"""Rows go into a table as one act: first into a staging table, batch by batch, then in one transaction into the target.

Nothing in the target changes until the ``with`` block ends well. A failed or killed load leaves at most tables of the
name ``<table>_pipedrive_…``, which no reader takes for the target and which the next load of the same run clears away.
"""

# ruff: noqa: S608  # names are quoted by the dialect, values are parameters

from __future__ import annotations

import hashlib
import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.columns import DELETED, RUN, lay_out
from airflow_provider_pipedrive_leads.sql.connecting import connect, passes, refuses_row, without_row
from airflow_provider_pipedrive_leads.sql.dialects import Portable, Table, dialect_of
from airflow_provider_pipedrive_leads.sql.session import MARK, Session
from airflow_provider_pipedrive_leads.sql.staging import StagingTable
from airflow_provider_pipedrive_leads.sql.tables import (
    Target,
    examine,
    read_ties,
    settle,
    target_of,
    try_to_write,
    type_of,
)
from airflow_provider_pipedrive_leads.sql.values import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_pipedrive_leads.files.table import Batch

log = logging.getLogger(__name__)


def check(hook: DbApiHook, table: str, mode: str, columns: Sequence[Column] = (), *, key: str = "id") -> None:
    """Find out, before anything is asked of Pipedrive, whether a table can be loaded.

    :param hook: a ``DbApiHook``, as ``BaseHook.get_connection(conn_id).get_hook()`` gives it.
    :param table: ``table`` or ``schema.table``.
    :param mode: ``merge``, ``replace`` or ``append``.
    :param columns: what is to be loaded, if that is known already.
    :param key: field key of the column by which rows are told apart.
    :raises PipedriveConfigError: it cannot; says why and what to do.
    :raises ConnectionError: the database cannot be reached now.
    """
    with closing(connect(hook)) as session:
        dialect = dialect_of(hook)
        target = target_of(table, mode, key, dialect)
        try:
            with session.transaction(dialect.light_begin):
                examine(session, dialect, target, columns)
            try_to_write(session, dialect, target)
        except PipedriveConfigError:
            raise
        except Exception as problem:  # every driver has its own errors
            if passes(problem):
                raise
            words = " ".join(str(problem).split())
            raise PipedriveConfigError(
                f"table: {table} cannot be written to: {type(problem).__name__}: {words}"
            ) from problem


def keys_in_table(hook: DbApiHook, table: str, *, key: str = "id") -> list[str]:
    """Give the keys of the rows that are not marked as deleted; none where there is no table yet.

    :param key: field key of the column by which rows are told apart.
    """
    with closing(connect(hook)) as session:
        dialect = dialect_of(hook)
        target = target_of(table, "merge", key, dialect)
        with session.transaction(dialect.light_begin):
            present = dialect.present(session, target.table)
            if not present:
                return []
            ties = read_ties(session, dialect, target)
            name = lay_out([Column(key, "text", key)], present, ties, dialect.fit).names[0]
            query = f"SELECT DISTINCT {dialect.quote(name)} FROM {dialect.table(target.table)}"
            if DELETED in present:
                query += f" WHERE NOT {dialect.quote(DELETED)}"
            return [str(found) for (found,) in session.fetch(query)]


@contextmanager
def loading_table(
    hook: DbApiHook,
    table: str,
    columns: Sequence[Column],
    *,
    mode: str,
    run_key: str,
    key: str = "id",
    version: str | None = None,
) -> Iterator[TableLoad]:
    """Load a table; its new content is there when the block ends well, and nothing of it when the block does not.

    :param hook: a ``DbApiHook``, as ``BaseHook.get_connection(conn_id).get_hook()`` gives it.
    :param table: ``table`` or ``schema.table``; made if it is not there.
    :param columns: what the batches hold.
    :param mode: ``merge`` updates rows of the same key, ``replace`` leaves no row of before, ``append`` adds rows to
        those of other runs.
    :param run_key: names the run: the same for every try of it.
    :param key: field key of the column by which rows are told apart.
    :param version: field key of the column that tells how new a row is: ``merge`` leaves a row as it is that another
        load has put there in a newer version meanwhile. None: the last to come replaces.
    :raises PipedriveConfigError: the table, the mode or the connection cannot work.
    :raises PipedriveValidationError: a value is not of its column's kind.
    """
    with closing(connect(hook)) as session:
        dialect = dialect_of(hook)
        target = target_of(table, mode, key, dialect)
        for wanted, purpose in ((key, "rows are told apart"), (version or key, "new rows are told from old ones")):
            if wanted not in [column.key for column in columns]:
                raise PipedriveConfigError(f"columns: none has the key {wanted!r}, by which {purpose}.")
        with session.transaction(dialect.light_begin):
            examine(session, dialect, target, columns)
        load = TableLoad(session, dialect, target, columns, run_key=run_key, version=version)
        load.open()
        try:
            yield load
            load.finish()
        finally:
            load.close()


class TableLoad:
    """A load under way.

    :ivar rows: how many rows it put into the table; known when the block has ended.
    :ivar columns: names of its columns in the table; known when the block has ended.
    :ivar warnings: sentences for people; they are logged too.
    """

    def __init__(
        self,
        session: Session,
        dialect: Portable,
        target: Target,
        columns: Sequence[Column],
        *,
        run_key: str,
        version: str | None,
    ) -> None:
        self.rows = 0
        self.columns: list[str] = []
        self.warnings: list[str] = []
        self._session = session
        self._dialect = dialect
        self._target = target
        self._load = list(columns)
        self._run_key = run_key
        keys = [column.key for column in columns]
        self._key = keys.index(target.key)
        self._version = None if version is None else keys.index(version)
        self._reader = Reader(dialect.zone)
        self._flags: list[int] = []
        self._as_of: str | None = None
        typed = [(column, type_of(column, dialect, target.key)) for column in columns]
        name = self._staging_name("rows")
        self._fresh = dialect.staging(session, name, typed, self._reader)
        looked = (Column("as_of", "timestamp", "as_of"), dialect.types["timestamp"])
        self._gone = StagingTable(
            session, dialect, self._staging_name("gone"), [typed[self._key], looked], self._reader
        )

    def _staging_name(self, purpose: str) -> str:
        """A temporary table needs no name of its own; a lasting one is told from those of other runs by a hash."""
        if self._dialect.temporary:
            return self._dialect.quote(f"_pipedrive_{purpose}")
        run = hashlib.sha256(self._run_key.encode()).hexdigest()[:8]
        return self._dialect.table(self._target.sibling(self._dialect, f"_pipedrive_{purpose}_{run}"))

    def open(self) -> None:
        """Make room for what comes."""
        self._fresh.open()
        self._gone.open()

    def close(self) -> None:
        """Leave nothing that would outlive the connection."""
        self._fresh.close()
        self._gone.close()

    def write(self, batch: Batch) -> None:
        """Add the rows of a batch.

        :raises PipedriveValidationError: a value is not of its column's kind, or a row has no key.
        """
        if len(batch) != len(self._load):
            raise PipedriveValidationError(f"batch: {len(batch)} columns came, where {len(self._load)} were announced.")
        if any(key is None for key in batch[self._key]):
            raise PipedriveValidationError(
                f"column {self._load[self._key].name!r}: a row has none; nothing was loaded."
            )
        self._fresh.write(batch)

    def mark_deleted(self, ids: Sequence[str], *, also: str = "", as_of: str | None = None) -> None:
        """Set ``is_deleted`` in the rows of these keys when the block ends, after all that was written.

        A key that the table lacks gets a row with nothing else in it.

        :param also: key of a boolean column of the load that is set too, if there is one.
        :param as_of: ISO time at which the keys were looked for: a row whose version is not older is left as it is.
        :raises PipedriveConfigError: in mode ``replace``, where what is gone leaves no row.
        """
        if self._target.mode == "replace":
            raise PipedriveConfigError("mode: 'replace' keeps no rows of deleted leads. Use 'merge' or 'append'.")
        self._flags = [number for number, column in enumerate(self._load) if column.key == also]
        self._gone.write([ids, [as_of] * len(ids)])
        self._as_of = as_of

    def finish(self) -> None:
        """Put everything into the table, in one transaction.

        :raises PipedriveConfigError: the table refuses a row, such as by a NOT NULL that people gave a column.
        """
        try:
            self._put()
        except Exception as problem:
            if not refuses_row(problem):
                raise
            words = f"{type(problem).__name__}: {without_row(problem)}"
        else:
            return
        raise PipedriveConfigError(
            f"table: {self._target.table} refuses a row. Change the table, or load into another. {words}"
        )

    def _put(self) -> None:
        self._fresh.finish()
        with self._dialect.exclusively(self._session, self._target.table):
            settled = settle(self._session, self._dialect, self._target, self._load)
            names = [self._dialect.quote(name) for name in settled.layout.names]
            table = self._dialect.table(settled.table)
            if settled.is_new:
                self._fill(table, names)
            else:
                self._move(table, names)
            self._bury(table, names)
            if settled.table != self._target.table:
                self._swap(settled.table)
        self.columns = settled.layout.names
        self._warn(settled.layout.warnings)

    def _move(self, target: str, names: Sequence[str]) -> None:
        """Put rows into a table that may have some."""
        flag = self._dialect.quote(DELETED)
        if self._target.mode == "merge":
            version = None if self._version is None else names[self._version]
            source = self._source(names)
            for statement in self._dialect.merge(target, [*names, flag], names[self._key], source, version):
                self._session.execute(statement)
            return
        if self._target.mode == "append":
            run = self._dialect.quote(RUN)
            self._session.execute(f"DELETE FROM {target} WHERE {run} = {MARK}", [self._run_key])
        else:
            self._session.execute(f"DELETE FROM {target}")
        self._fill(target, names)

    def _fill(self, target: str, names: Sequence[str]) -> None:
        """Put rows into a table that has none of these keys; for a new one this is faster than a merge."""
        more, values = ([RUN], [self._run_key]) if self._target.mode == "append" else ([], [])
        into = [*names, self._dialect.quote(DELETED), *map(self._dialect.quote, more)]
        source = self._source(names, *[MARK] * len(more))
        self._session.execute(f"INSERT INTO {target} ({', '.join(into)}) {source}", values)

    def _source(self, names: Sequence[str], *more: str) -> str:
        """The query that gives the staged rows; of a key that came more than once, the last."""
        parts = [f"c{number} AS {name}" for number, name in enumerate(names)]
        select = f"SELECT {', '.join([*parts, f'FALSE AS {self._dialect.quote(DELETED)}', *more])}"
        ((self.rows,),) = self._session.fetch(f"SELECT COUNT(DISTINCT c{self._key}) FROM {self._fresh.name}")
        if self._target.mode == "append" or self.rows == self._fresh.rows:
            self.rows = self._fresh.rows
            return f"{select} FROM {self._fresh.name} WHERE 1 = 1"
        turn = f"ROW_NUMBER() OVER (PARTITION BY c{self._key} ORDER BY n DESC)"
        return f"{select} FROM (SELECT f.*, {turn} AS turn FROM {self._fresh.name} f) g WHERE turn = 1"

    def _bury(self, target: str, names: Sequence[str]) -> None:
        key, flag, run = names[self._key], self._dialect.quote(DELETED), self._dialect.quote(RUN)
        in_run = self._target.mode == "append"
        into = f"INSERT INTO {target} ({key}, {flag}{f', {run}' if in_run else ''})"
        parts = f"SELECT DISTINCT c0, TRUE{f', {MARK}' if in_run else ''} FROM {self._gone.name} g"
        flags = ", ".join(f"{name} = TRUE" for name in (flag, *(names[number] for number in self._flags)))
        gone = f"SELECT 1 FROM {self._gone.name} g WHERE g.c0 = {key}"
        if self._as_of is not None and self._version is not None:
            version = names[self._version]
            gone += f" AND ({version} IS NULL OR {version} < g.c1)"
        self._session.execute(f"UPDATE {target} SET {flags} WHERE EXISTS ({gone})")
        self._session.execute(
            f"{into} {parts} WHERE NOT EXISTS (SELECT 1 FROM {target} t WHERE t.{key} = g.c0)",
            [self._run_key] if in_run else [],
        )

    def _swap(self, successor: Table) -> None:
        """Let the successor take the target's place in one step, and drop the old one."""
        table, new = self._dialect.table(self._target.table), self._dialect.table(successor)
        old = self._dialect.table(self._target.sibling(self._dialect, "_pipedrive_old"))
        self._session.execute(f"DROP TABLE IF EXISTS {old}")
        if self._dialect.present(self._session, self._target.table):
            self._session.execute(f"RENAME TABLE {table} TO {old}, {new} TO {table}")
            self._session.execute(f"DROP TABLE {old}")
        else:
            self._session.execute(f"RENAME TABLE {new} TO {table}")

    def _warn(self, warnings: Sequence[str]) -> None:
        self.warnings.extend(warnings)
        if self._reader.removed:
            self.warnings.append(f"{self._reader.removed} NUL characters were removed from texts.")
        for warning in self.warnings:
            log.warning("%s: %s", self._target.table, warning)
