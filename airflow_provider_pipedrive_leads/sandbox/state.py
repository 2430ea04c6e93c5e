# ruff: noqa: S608 - names of tables and columns are our own, values are always bound
"""What the sandbox remembers: documents in SQLite, in memory or in a file that survives a kill.

Every document is kept as the JSON that goes out on the wire; the columns used to sort and filter are generated from it,
so there is one truth per document and a page is a join of ready bytes.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Document = dict[str, Any]

_TABLES: dict[str, tuple[str, ...]] = {
    "users": (),
    "members": ("token",),
    "labels": (),
    "custom_fields": ("key",),
    "persons": ("owner_id", "org_id", "visible_to", "add_time", "update_time", "is_deleted"),
    "organizations": ("owner_id", "visible_to", "add_time", "update_time", "is_deleted"),
    "leads": (
        "owner_id",
        "creator_id",
        "person_id",
        "organization_id",
        "visible_to",
        "is_archived",
        "title",
        "was_seen",
        "expected_close_date",
        "next_activity_id",
        "add_time",
        "update_time",
    ),
    "deleted_leads": (),
    "deals": (
        "owner_id",
        "visible_to",
        "person_id",
        "org_id",
        "stage_id",
        "pipeline_id",
        "status",
        "is_archived",
        "add_time",
        "update_time",
    ),
    "notes": ("user_id", "lead_id", "deal_id", "person_id", "org_id", "add_time", "update_time"),
    "conversions": ("source_id", "status"),
    "filters": ("type",),
    "webhooks": (),
    "grants": ("kind",),
}
_LEAD_INDEXES = (
    "add_time",
    "add_time, id",
    "update_time",
    "update_time, id",
    "id",
    "person_id",
    "organization_id",
)


class Documents:
    """One collection of JSON documents, in order of insertion unless asked otherwise."""

    def __init__(self, connection: sqlite3.Connection, name: str, columns: Sequence[str]) -> None:
        self._connection = connection
        self._name = name
        # The document comes last, so that a scan over the columns need not step over it.
        generated = "".join(
            f"{column} GENERATED ALWAYS AS (json_extract(doc, '$.{column}')) STORED, " for column in ("id", *columns)
        )
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} (seq INTEGER PRIMARY KEY AUTOINCREMENT, {generated}doc TEXT NOT NULL)"
        )
        connection.execute(f"CREATE UNIQUE INDEX IF NOT EXISTS {name}_id ON {name} (id)")

    def get(self, identity: int | str) -> Document | None:
        """The document with this id."""
        raw = self.raw(identity)
        return None if raw is None else msgspec.json.decode(raw)

    def raw(self, identity: int | str) -> bytes | None:
        """The document with this id, as JSON."""
        row = self._connection.execute(
            f"SELECT CAST(doc AS BLOB) FROM {self._name} WHERE id = ?", (identity,)
        ).fetchone()
        return None if row is None else row[0]

    def add(self, document: Mapping[str, Any]) -> Document:
        """Keep a new document; one without ``id`` is given the next number."""
        if "id" in document:
            self.add_all([document])
            return dict(document)
        number = self._connection.execute(f"INSERT INTO {self._name} (doc) VALUES ('{{}}')").lastrowid
        numbered = {"id": number, **document}
        self._connection.execute(f"UPDATE {self._name} SET doc = ? WHERE seq = ?", (_json(numbered), number))
        return numbered

    def add_all(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """Keep many new documents that have their ids."""
        rows = (
            (document["id"] if isinstance(document["id"], int) else None, _json(document)) for document in documents
        )
        self._connection.executemany(f"INSERT INTO {self._name} (seq, doc) VALUES (?, ?)", rows)

    def put(self, document: Mapping[str, Any]) -> None:
        """Replace the document that has this id."""
        self._connection.execute(f"UPDATE {self._name} SET doc = ? WHERE id = ?", (_json(document), document["id"]))

    def remove(self, identity: int | str) -> bool:
        """Forget a document; False if there was none."""
        return self._connection.execute(f"DELETE FROM {self._name} WHERE id = ?", (identity,)).rowcount > 0

    def rows(
        self,
        where: str = "1",
        values: Sequence[Any] = (),
        order: str = "seq",
        limit: int = -1,
        start: int = 0,
    ) -> list[bytes]:
        """Documents as JSON; ``where`` and ``order`` are SQL over the generated columns."""
        # Sorted by number first: whole documents are fetched only for the rows that are wanted.
        chosen = f"SELECT seq FROM {self._name} WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"
        sql = f"SELECT CAST(doc AS BLOB) FROM {self._name} WHERE seq IN ({chosen}) ORDER BY {order}"
        return [row[0] for row in self._connection.execute(sql, (*values, limit, start))]

    def all(self, where: str = "1", values: Sequence[Any] = (), order: str = "seq", limit: int = -1) -> list[Document]:
        """Documents that satisfy a condition."""
        return [msgspec.json.decode(row) for row in self.rows(where, values, order, limit)]

    def count(self, where: str = "1", values: Sequence[Any] = ()) -> int:
        """How many documents satisfy a condition."""
        sql = f"SELECT count(*) FROM {self._name} WHERE {where}"
        return int(self._connection.execute(sql, tuple(values)).fetchone()[0])

    def last_number(self) -> int:
        """The highest insertion number ever used."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (self._name,)).fetchone()
        return 0 if row is None else int(row[0])


class State:
    """All collections, in one SQLite database that only the server's thread uses once it runs.

    :param path: of the file; None: in memory.
    :param like: begin with what another one holds.
    """

    def __init__(self, path: Path | None = None, like: State | None = None) -> None:
        self.connection = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        if like is not None:
            like.connection.backup(self.connection)
        if path is not None:
            # A killed process loses nothing this way; only a failing machine could.
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = OFF")
        tables = {name: Documents(self.connection, name, columns) for name, columns in _TABLES.items()}
        self.users = tables["users"]
        self.members = tables["members"]
        self.labels = tables["labels"]
        self.custom_fields = tables["custom_fields"]
        self.persons = tables["persons"]
        self.organizations = tables["organizations"]
        self.leads = tables["leads"]
        self.deleted_leads = tables["deleted_leads"]
        self.deals = tables["deals"]
        self.notes = tables["notes"]
        self.conversions = tables["conversions"]
        self.filters = tables["filters"]
        self.webhooks = tables["webhooks"]
        self.grants = tables["grants"]
        self._index("leads", _LEAD_INDEXES, "is_archived, ")
        self._index("notes", ("lead_id",))
        self._index("persons", ("org_id",))

    def _index(self, table: str, columns: Iterable[str], prefix: str = "") -> None:
        for column in columns:
            self.connection.execute(
                f"CREATE INDEX IF NOT EXISTS {table}_by_{column.replace(', ', '_')} ON {table} ({prefix}{column}, seq)"
            )

    def settle(self) -> None:
        """Let the database look at what it holds, so that it picks the narrow index; after many additions."""
        self.connection.execute("ANALYZE")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing does."""
        self.connection.execute("SAVEPOINT work")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK TO work")
            raise
        finally:
            self.connection.execute("RELEASE work")

    def close(self) -> None:
        """Close the database."""
        self.connection.close()


def _json(document: Mapping[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
