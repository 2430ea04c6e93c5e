"""What differs from database to database: types, quoting, the catalogue, locks, and the fast ways in.

PostgreSQL, MySQL and MariaDB, SQLite and DuckDB have their own; :class:`Portable` is for all others.
"""

# ruff: noqa: S608  # names are quoted by the dialect, values are parameters

from __future__ import annotations

import hashlib
import io
import threading
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from airflow_provider_pipedrive_leads.sql.columns import cut
from airflow_provider_pipedrive_leads.sql.session import MARK, Session
from airflow_provider_pipedrive_leads.sql.staging import StagingFile, StagingTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.files.table import Column
    from airflow_provider_pipedrive_leads.sql.staging import Staging
    from airflow_provider_pipedrive_leads.sql.values import Reader

LOCK_SECONDS = 600
BATCH_CHARACTERS = 1_000_000
FALLBACK_ROWS = 500
SYSTEM_COLUMNS = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
"""Names that every table of PostgreSQL has already."""


_turns_at_duckdb = threading.Lock()


class Table(msgspec.Struct, frozen=True):
    """A table's name.

    :param schema: empty for the connection's own.
    """

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Portable:
    """Any database: a staging table beside the target, and DELETE by key + INSERT in one transaction.

    A merge replaces whole rows, so columns that people added themselves become null in rows that come again. The
    database has to know ``TEXT``, ``BIGINT``, ``BOOLEAN`` and double quotes around names, and to undo a DELETE and an
    INSERT with its transaction.

    :cvar temporary: whether staging tables are temporary ones.
    :cvar upserts: whether a merge needs a unique key.
    :cvar swaps: whether tables are renamed in one step, and cannot be changed within a transaction.
    :cvar zone: what stands behind a moment in UTC.
    :cvar light_begin: how a transaction is opened that does not write to lasting tables; None as any other.
    :cvar added_flag: type of a yes-or-no column added to a table that has rows.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        "text": "TEXT",
        "integer": "BIGINT",
        "number": "DOUBLE PRECISION",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "time": "TIME",
        "timestamp": "TIMESTAMP",
        "list<string>": "TEXT",
        "json": "TEXT",
    }
    key_type = "VARCHAR(36)"
    name_type = "VARCHAR(255)"
    flag = "BOOLEAN NOT NULL DEFAULT FALSE"
    added_flag = flag
    longest_name = 63
    temporary = False
    upserts = False
    swaps = False
    quote_mark = '"'
    zone = ""
    light_begin: str | None = None

    def open(self, hook: DbApiHook) -> Session:
        """Connect."""
        connection: Any = hook.get_conn()
        if hook.supports_autocommit:
            hook.set_autocommit(connection, autocommit=False)
        return Session(connection, placeholder=hook.placeholder)

    def quote(self, name: str) -> str:
        """Write a name so that it means itself."""
        mark = self.quote_mark
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def table(self, table: Table) -> str:
        """Write a table's name."""
        return ".".join(self.quote(part) for part in (table.schema, table.name) if part)

    def fit(self, name: str) -> str:
        """Cut a name to what the database can hold."""
        return cut(name, self.size, self.longest_name)

    def size(self, name: str) -> int:
        """How much of the limit a name takes."""
        return len(name.encode())

    def present(self, session: Session, table: Table) -> dict[str, str]:
        """Names and types of a table's columns; empty if there is no such table. A type may be unknown (empty)."""
        try:
            names = session.names(f"SELECT * FROM {self.table(table)} WHERE 1 = 0")
        except Exception:  # noqa: BLE001  # every driver has its own error for a table that is not there
            session.connection.rollback()
            return {}
        return dict.fromkeys(names, "")

    def has_unique_key(self, session: Session, table: Table, key: str) -> bool | None:
        """Whether a column alone is unique in a table; None where the database cannot say."""
        del session, table, key
        return None

    @contextmanager
    def exclusively(self, session: Session, table: Table) -> Iterator[None]:
        """One transaction; where the database can, no other load of the same table passes here meanwhile."""
        del table
        with session.transaction():
            yield

    def staging(
        self,
        session: Session,
        name: str,
        columns: Sequence[tuple[Column, str]],
        reader: Reader,
    ) -> Staging:
        """Choose where many rows wait.

        :param name: of the staging table, quoted.
        :param columns: what comes, each with the database's type for it.
        :param reader: reads the values.
        """
        return StagingTable(session, self, name, columns, reader)

    def stage(self, session: Session, table: str, columns: Sequence[Sequence[Any]]) -> None:
        """Put rows into a staging table.

        :param table: quoted.
        :param columns: the values of each column of the table.
        """
        statement = f"INSERT INTO {table} VALUES ({', '.join([MARK] * len(columns))})"
        with session.transaction(self.light_begin):
            for rows in _portions(columns):
                session.execute_many(statement, rows)

    def merge(self, target: str, names: Sequence[str], key: str, source: str, version: str | None) -> list[str]:
        """The statements that put the rows of a query into the target in place of those of the same key.

        :param target: quoted, as are names, key and version.
        :param source: the query; its columns are the names, and it ends in a WHERE clause.
        :param version: one of the names: a row with a higher value there stays as it is; None: all are replaced.
        """
        into = f"INSERT INTO {target} ({', '.join(names)})"
        if version is None:
            return [f"DELETE FROM {target} WHERE {key} IN (SELECT {key} FROM ({source}) fresh)", f"{into} {source}"]
        replaced = (
            f"SELECT fresh.{key} FROM ({source}) fresh JOIN {target} old ON old.{key} = fresh.{key}"
            f" WHERE old.{version} IS NULL OR fresh.{version} IS NULL OR fresh.{version} >= old.{version}"
        )
        missing = f"NOT EXISTS (SELECT 1 FROM {target} old WHERE old.{key} = fresh.{key})"
        return [
            f"DELETE FROM {target} WHERE {key} IN ({replaced})",
            f"{into} SELECT {', '.join(f'fresh.{name}' for name in names)} FROM ({source}) fresh WHERE {missing}",
        ]


class _OnConflict(Portable):
    """Databases with ``ON CONFLICT`` and temporary tables."""

    temporary = True
    upserts = True
    zone = "Z"
    key_type = "TEXT"
    name_type = "TEXT"

    def merge(self, target: str, names: Sequence[str], key: str, source: str, version: str | None) -> list[str]:
        """Insert or update."""
        changes = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
        upsert = (
            f"INSERT INTO {target} AS old ({', '.join(names)}) {source} ON CONFLICT ({key}) DO UPDATE SET {changes}"
        )
        if version is None:
            return [upsert]
        is_newer = f"excluded.{version} >= old.{version}"
        return [f"{upsert} WHERE old.{version} IS NULL OR excluded.{version} IS NULL OR {is_newer}"]


class Postgres(_OnConflict):
    """PostgreSQL, through psycopg2 or psycopg 3: COPY into a temporary table.

    The user needs the right to make temporary tables, and a pooler in between has to pool whole sessions.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        **Portable.types,
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "list<string>": "JSONB",
        "json": "JSONB",
    }

    def fit(self, name: str) -> str:
        """Cut a name to what the database can hold; those of its own columns get a suffix."""
        return f"{name}_2" if name in SYSTEM_COLUMNS else super().fit(name)

    def open(self, hook: DbApiHook) -> Session:
        """Connect, in UTC."""
        session = super().open(hook)
        with session.transaction():
            session.execute("SET TIME ZONE 'UTC'")
            session.execute("SET client_encoding TO 'UTF8'")
        return session

    def present(self, session: Session, table: Table) -> dict[str, str]:
        """Read pg_attribute."""
        rows = session.fetch(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            f" WHERE attrelid = to_regclass({MARK}) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [self.table(table)],
        )
        return dict(rows)

    def has_unique_key(self, session: Session, table: Table, key: str) -> bool | None:
        """Look for an index that ON CONFLICT can use."""
        return bool(
            session.fetch(
                "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
                f" WHERE i.indrelid = to_regclass({MARK}) AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1"
                f" AND a.attname = {MARK}",
                [self.table(table), key],
            )
        )

    @contextmanager
    def exclusively(self, session: Session, table: Table) -> Iterator[None]:
        """One transaction under an advisory lock."""
        number = int.from_bytes(hashlib.sha256(f"pipedrive leads {table}".encode()).digest()[:8], signed=True)
        with session.transaction():
            session.fetch(f"SELECT pg_advisory_xact_lock({MARK})", [number])
            yield

    def stage(self, session: Session, table: str, columns: Sequence[Sequence[Any]]) -> None:
        """COPY."""
        texts = [_copy_texts(values) for values in columns]
        data = "".join("\t".join(row) + "\n" for row in zip(*texts, strict=True)).encode()
        statement = f"COPY {table} FROM STDIN"
        with session.transaction(), session.cursor() as cursor:
            if hasattr(cursor, "copy_expert"):
                cursor.copy_expert(statement, io.BytesIO(data))
            else:
                with cursor.copy(statement) as copy:
                    copy.write(data)


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy_texts(values: Sequence[Any]) -> list[str]:
    return [
        "\\N" if value is None else value.translate(_COPY_ESCAPES) if isinstance(value, str) else str(value)
        for value in values
    ]


class MySql(Portable):
    """MySQL and MariaDB, through any of its drivers: multi-row INSERT into a temporary table.

    Text is utf8mb4, up to 16 MB; moments are in UTC. MySQL cannot undo the adding of a column: after a failure at the
    very end a column may be there that holds nothing yet. A replaced table is a new one made ``LIKE`` the old, so
    triggers and foreign keys of the old one are not kept.
    """

    types: ClassVar[Mapping[Kind, str]] = {
        **Portable.types,
        "text": "MEDIUMTEXT CHARACTER SET utf8mb4",
        "timestamp": "DATETIME(3)",
        "list<string>": "JSON",
        "json": "JSON",
    }
    key_type = "VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    name_type = "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    longest_name = 64
    temporary = True
    upserts = True
    swaps = True
    quote_mark = "`"

    def size(self, name: str) -> int:
        """Names are counted in characters."""
        return len(name)

    def open(self, hook: DbApiHook) -> Session:
        """Connect, in UTF-8, in UTC, and so that nothing is cut without a word."""
        session = super().open(hook)
        if hasattr(session.connection, "set_character_set"):
            session.connection.set_character_set("utf8mb4")
        session.execute("SET time_zone = '+00:00'")
        session.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
        return session

    def present(self, session: Session, table: Table) -> dict[str, str]:
        """Read information_schema."""
        rows = session.fetch(
            "SELECT column_name, column_type FROM information_schema.columns"
            f" WHERE table_schema = COALESCE({MARK}, DATABASE()) AND table_name = {MARK} ORDER BY ordinal_position",
            [table.schema or None, table.name],
        )
        return {_decoded(name): _decoded(type_name) for name, type_name in rows}

    def has_unique_key(self, session: Session, table: Table, key: str) -> bool | None:
        """Read information_schema."""
        rows = session.fetch(
            "SELECT MAX(column_name) FROM information_schema.statistics"
            f" WHERE table_schema = COALESCE({MARK}, DATABASE()) AND table_name = {MARK} AND non_unique = 0"
            " GROUP BY index_name HAVING COUNT(*) = 1",
            [table.schema or None, table.name],
        )
        return key.casefold() in {_decoded(name).casefold() for (name,) in rows}

    @contextmanager
    def exclusively(self, session: Session, table: Table) -> Iterator[None]:
        """One transaction under a named lock; a change of a table's columns is committed at once all the same."""
        lock = f"pipedrive leads {hashlib.sha256(str(table).encode()).hexdigest()[:32]}"
        if session.fetch(f"SELECT GET_LOCK({MARK}, {LOCK_SECONDS})", [lock]) != [(1,)]:
            raise TimeoutError(f"table: another load of {table} goes on for more than {LOCK_SECONDS} s.")
        try:
            with session.transaction():
                yield
        finally:
            with suppress(Exception):  # a lost connection has let go of it
                session.fetch(f"SELECT RELEASE_LOCK({MARK})", [lock])

    def merge(self, target: str, names: Sequence[str], key: str, source: str, version: str | None) -> list[str]:
        """Insert or update."""
        others = [name for name in names if name not in (key, version)]
        fresh = {name: f"VALUES({name})" for name in names}
        if version is not None:  # set last: what stands before is decided by its old value
            is_newer = f"COALESCE({fresh[version]} >= {version}, TRUE)"
            fresh = {name: f"IF({is_newer}, {value}, {name})" for name, value in fresh.items()}
            others.append(version)
        changes = ", ".join(f"{name} = {fresh[name]}" for name in others)
        return [f"INSERT INTO {target} ({', '.join(names)}) {source} ON DUPLICATE KEY UPDATE {changes}"]


class Sqlite(_OnConflict):
    """SQLite: moments, lists and objects are text."""

    types: ClassVar[Mapping[Kind, str]] = {**Portable.types, "timestamp": "TEXT"}
    light_begin = "BEGIN"

    def open(self, hook: DbApiHook) -> Session:
        """Connect; transactions are opened aloud, so that they hold changes of tables too."""
        connection: Any = hook.get_conn()
        connection.isolation_level = None
        session = Session(connection, placeholder="?", begin="BEGIN IMMEDIATE")
        session.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
        return session

    def present(self, session: Session, table: Table) -> dict[str, str]:
        """Read the table's own description."""
        rows = session.fetch(
            f"SELECT name, type FROM pragma_table_info({MARK}, {MARK})", [table.name, table.schema or "main"]
        )
        return dict(rows)

    def has_unique_key(self, session: Session, table: Table, key: str) -> bool | None:
        """Read the table's indexes, and its primary key, which may have none."""
        where = [table.name, table.schema or "main"]
        keys = session.fetch(f"SELECT name FROM pragma_table_info({MARK}, {MARK}) WHERE pk > 0", where)
        indexes = session.fetch(
            f'SELECT name FROM pragma_index_list({MARK}, {MARK}) WHERE "unique" = 1 AND partial = 0', where
        )
        parts = [
            session.fetch(f"SELECT name FROM pragma_index_info({MARK}, {MARK})", [name, where[1]])
            for (name,) in indexes
        ]
        return [(key,)] in [keys, *parts]


class DuckDb(_OnConflict):
    """DuckDB: rows wait in an Arrow file, or without pyarrow, as lists, in a temporary table."""

    types: ClassVar[Mapping[Kind, str]] = {
        **Portable.types,
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "list<string>": "JSON",
        "json": "JSON",
    }
    added_flag = "BOOLEAN DEFAULT FALSE"

    @contextmanager
    def exclusively(self, session: Session, table: Table) -> Iterator[None]:
        """One transaction; only threads of one process can be at the same file at all, and they take turns."""
        del table
        with _turns_at_duckdb, session.transaction():
            yield

    def open(self, hook: DbApiHook) -> Session:
        """Connect, in UTC."""
        session = Session(hook.get_conn(), placeholder="?", begin="BEGIN TRANSACTION", one_cursor=True)
        session.execute("SET TimeZone = 'UTC'")
        return session

    def present(self, session: Session, table: Table) -> dict[str, str]:
        """Read information_schema."""
        rows = session.fetch(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_catalog = current_database()"
            f" AND table_schema = COALESCE({MARK}, current_schema()) AND lower(table_name) = lower({MARK})"
            " ORDER BY ordinal_position",
            [table.schema or None, table.name],
        )
        return dict(rows)

    def has_unique_key(self, session: Session, table: Table, key: str) -> bool | None:
        """Read the constraints."""
        rows = session.fetch(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database()"
            f" AND schema_name = COALESCE({MARK}, current_schema()) AND lower(table_name) = lower({MARK})"
            " AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
            [table.schema or None, table.name],
        )
        return [key] in [list(names) for (names,) in rows]

    def staging(
        self,
        session: Session,
        name: str,
        columns: Sequence[tuple[Column, str]],
        reader: Reader,
    ) -> Staging:
        """Take the file if it can be written."""
        if find_spec("pyarrow") is None:
            return super().staging(session, name, columns, reader)
        return StagingFile(session, name, [column for column, _ in columns], reader)

    def stage(self, session: Session, table: str, columns: Sequence[Sequence[Any]]) -> None:
        """Unnest one list for each column."""
        lists = ", ".join(f"unnest({MARK}::{_list_type(values)}[])" for values in columns)
        with session.transaction():
            session.execute(f"INSERT INTO {table} SELECT {lists}", [list(values) for values in columns])


def _list_type(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    return "BOOLEAN" if bool in kinds else "DOUBLE" if float in kinds else "BIGINT" if int in kinds else "VARCHAR"


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else str(value)


def _portions(columns: Sequence[Sequence[Any]]) -> Iterator[list[tuple[Any, ...]]]:
    """Rows in portions that fit into one message to the server."""
    rows: list[tuple[Any, ...]] = []
    characters = 0
    for row in zip(*columns, strict=True):
        rows.append(row)
        characters += sum(len(value) for value in row if isinstance(value, str))
        if len(rows) >= FALLBACK_ROWS or characters >= BATCH_CHARACTERS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows


_DIALECTS: dict[str, type[Portable]] = {
    "postgresql": Postgres,
    "mysql": MySql,
    "mariadb": MySql,
    "sqlite": Sqlite,
    "duckdb": DuckDb,
}


def dialect_of(hook: DbApiHook) -> Portable:
    """Choose by the name that the hook gives its SQL, or else by its type of connection."""
    for name in (getattr(hook, "dialect_name", ""), getattr(hook, "conn_type", "")):
        if name in _DIALECTS:
            return _DIALECTS[name]()
    return Portable()
