"""One connection to a database, spoken to in one way whatever the driver."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARK = "\0"
"""Stands for a parameter in a statement: no identifier can hold it, so it needs no escaping."""


class Session:
    """Statements and transactions over a DB-API connection.

    :param connection: as the hook gives it, in autocommit off where the driver knows that.
    :param placeholder: the driver's own mark, ``%s`` or ``?``.
    :param begin: the statement that opens a transaction; empty where the driver opens it by itself.
    :param one_cursor: the connection is its own cursor (DuckDB: a cursor there is another connection).
    """

    def __init__(self, connection: Any, *, placeholder: str, begin: str = "", one_cursor: bool = False) -> None:
        self.connection = connection
        self._placeholder = placeholder
        self._begin = begin
        self._one_cursor = one_cursor
        driver = type(connection).__module__
        self._doubles_percent = placeholder == "%s" and not driver.startswith("mysql.connector")

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement and forget what it returns."""
        with self.cursor() as cursor:
            self._run(cursor, statement, parameters)

    def fetch(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and give all its rows, whatever kind of cursor the connection was set to."""
        with self.cursor() as cursor:
            self._run(cursor, statement, parameters)
            return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in cursor.fetchall()]

    def names(self, query: str) -> list[str]:
        """The names of the columns that a query gives."""
        with self.cursor() as cursor:
            cursor.execute(query)
            found = [str(part[0]) for part in cursor.description]
            cursor.fetchall()
            return found

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row, in the driver's fastest way."""
        with self.cursor() as cursor:
            cursor.executemany(self._in_the_drivers_words(statement), rows)

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor that is closed afterwards."""
        if self._one_cursor:
            yield self.connection
        else:
            with closing(self.connection.cursor()) as cursor:
                yield cursor

    def begin(self, begin: str | None = None) -> None:
        """Open a transaction; unless it is committed, all is undone when the connection is closed.

        :param begin: another opening statement than the session's own.
        """
        opening = self._begin if begin is None else begin
        if opening:
            self.execute(opening)

    @contextmanager
    def transaction(self, begin: str | None = None) -> Iterator[None]:
        """Commit what the block does, or undo it all.

        :param begin: another opening statement than the session's own.
        """
        self.begin(begin)
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self.connection.rollback()
            raise
        self.connection.commit()

    def close(self) -> None:
        """Give the connection back; one that is lost already is no trouble."""
        with suppress(Exception):
            self.connection.close()

    def _run(self, cursor: Any, statement: str, parameters: Sequence[Any]) -> None:
        if parameters:
            cursor.execute(self._in_the_drivers_words(statement), tuple(parameters))
        else:
            cursor.execute(statement)

    def _in_the_drivers_words(self, statement: str) -> str:
        if self._doubles_percent:
            statement = statement.replace("%", "%%")
        return statement.replace(MARK, self._placeholder)
