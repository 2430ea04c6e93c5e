# ruff: noqa: S608 - names of tables and columns are our own, values are always bound
"""The search index: a copy of what was written, which lags behind by the delay ``search_index``.

Each entry carries its own hit, so a thing deleted a moment ago is still found, as with the real index (section 5 of
``docs/pipedrive-api.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

TEXT_FIELDS = ("name", "custom_fields", "notes", "email", "phone", "address")


@dataclass(frozen=True)
class Entry:
    """One thing in the index: its hit, its texts by search field, and its field values by key."""

    kind: str
    id: int | str
    hit: dict[str, Any]
    texts: dict[str, list[str]]
    values: Mapping[str, Any]
    owner_id: int
    visible_to: str
    person_id: int | None = None
    organization_id: int | None = None
    archived: bool = False


class SearchIndex:
    """Finds entries by text. Texts are compared without regard to case."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        columns = ", ".join(f"{field} TEXT" for field in TEXT_FIELDS)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS search (kind TEXT, id, hit TEXT, key_values TEXT, owner_id, visible_to, "
            f"person_id, organization_id, archived, {columns}, PRIMARY KEY (kind, id))"
        )

    def put(self, entries: Iterable[Entry]) -> None:
        """Add entries, or replace those of the same kind and id."""
        marks = ", ".join("?" * (9 + len(TEXT_FIELDS)))
        self._connection.executemany(f"INSERT OR REPLACE INTO search VALUES ({marks})", map(_row, entries))

    def remove(self, kind: str, identity: int | str) -> None:
        """Forget an entry."""
        self._connection.execute("DELETE FROM search WHERE kind = ? AND id = ?", (kind, identity))

    def find(
        self,
        kinds: Sequence[str],
        term: str,
        fields: Sequence[str],
        *,
        exact: bool,
        where: str = "1",
        values: Sequence[Any] = (),
        start: int = 0,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Hits ``{result_score, item}``, best first; one more than ``limit`` if there are more."""
        folded = term.strip().casefold()
        needle = f"\n{folded}\n" if exact else folded
        texts = " OR ".join(f"instr({field}, ?)" for field in fields)
        sql = (
            f"SELECT hit, name = ?, instr(name, ?) = 2 FROM search WHERE kind IN ({', '.join('?' * len(kinds))}) "
            f"AND ({texts}) AND {where} ORDER BY 2 DESC, 3 DESC, rowid LIMIT ? OFFSET ?"
        )
        whole = f"\n{folded}\n"
        arguments = (whole, folded, *kinds, *[needle] * len(fields), *values, limit + 1, start)
        return [
            {"result_score": 1.2 if is_whole else 0.6 if is_head else 0.3, "item": msgspec.json.decode(hit)}
            for hit, is_whole, is_head in self._connection.execute(sql, arguments)
        ]

    def find_by_value(
        self,
        kind: str,
        key: str,
        term: str,
        match: str,
        *,
        where: str,
        values: Sequence[Any],
        start: int,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Hits whose field ``key`` is, starts with or holds ``term``, case and all; one more than ``limit`` if any."""
        condition = {
            "exact": "CAST(json_extract(key_values, ?) AS TEXT) = ?",
            "beginning": "instr(json_extract(key_values, ?), ?) = 1",
            "middle": "instr(json_extract(key_values, ?), ?) > 0",
        }[match]
        sql = f"SELECT hit FROM search WHERE kind = ? AND {condition} AND {where} ORDER BY rowid LIMIT ? OFFSET ?"
        arguments = (kind, f'$."{key}"', term, *values, limit + 1, start)
        return [msgspec.json.decode(row[0]) for row in self._connection.execute(sql, arguments)]


def _row(entry: Entry) -> tuple[Any, ...]:
    texts = [_folded(entry.texts.get(field)) for field in TEXT_FIELDS]
    return (
        entry.kind,
        entry.id,
        msgspec.json.encode(entry.hit).decode(),
        msgspec.json.encode(entry.values).decode(),
        entry.owner_id,
        entry.visible_to,
        entry.person_id,
        entry.organization_id,
        entry.archived,
        *texts,
    )


def _folded(texts: list[str] | None) -> str:
    """Texts without regard to case, a line each, so that a whole one can be told from a part."""
    return "\n" + "\n".join(texts).casefold() + "\n" if texts else "\n"
