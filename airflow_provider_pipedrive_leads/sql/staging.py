"""Where rows wait until all of them are there: in a staging table or, for DuckDB, in a Parquet file that it reads."""

# ruff: noqa: S608  # names are quoted by the dialect

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.files.parquet import parquet_table
from airflow_provider_pipedrive_leads.files.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.files.table import Batch, Kind
    from airflow_provider_pipedrive_leads.sql.dialects import Portable
    from airflow_provider_pipedrive_leads.sql.session import Session
    from airflow_provider_pipedrive_leads.sql.values import Reader

AS_TEXT = ("text", "list<string>", "json")
"""Kinds of values that lie in the file as the texts that the table will hold."""
TYPES: dict[str, set[type]] = {
    **{kind: {str} for kind in ("date", "time", "timestamp")},
    "integer": {int},
    "boolean": {bool},
}
"""What Arrow reads as strictly as :class:`sql.values.Reader` does, and faster."""

FOR_ONE_READER = {"compression": "none", "use_dictionary": False, "write_statistics": False}


class Staging(Protocol):
    """Takes rows, and gives them back to a query.

    :ivar name: what to select from, quoted; its columns are ``n``, the row's number, and ``c0``, ``c1`` and so on.
    :ivar rows: how many it has taken.
    """

    name: str
    rows: int

    def open(self) -> None:
        """Make room."""

    def write(self, batch: Batch) -> None:
        """Take the rows of a batch.

        :raises PipedriveValidationError: a value is not of its column's kind.
        """

    def finish(self) -> None:
        """Make everything that was taken ready to be selected."""

    def close(self) -> None:
        """Give the room back, whatever happened."""


class StagingTable:
    """Rows in a table of the database, a temporary one where it has such.

    :param name: quoted.
    :param columns: what comes, each with the database's type for it.
    :param reader: reads the values.
    """

    def __init__(
        self,
        session: Session,
        dialect: Portable,
        name: str,
        columns: Sequence[tuple[Column, str]],
        reader: Reader,
    ) -> None:
        self.name = name
        self.rows = 0
        self._session = session
        self._dialect = dialect
        self._columns = columns
        self._reader = reader

    def open(self) -> None:
        """Make the table."""
        parts = ", ".join(f"c{number} {type_name}" for number, (_, type_name) in enumerate(self._columns))
        kind = "TEMPORARY TABLE" if self._dialect.temporary else "TABLE"
        self.close()
        with self._session.transaction(self._dialect.light_begin):
            self._session.execute(f"CREATE {kind} {self.name} (n BIGINT, {parts})")

    def write(self, batch: Batch) -> None:
        """Put the rows of a batch into the table."""
        values = [
            self._reader.column(column, part, first=self.rows + 1)
            for (column, _), part in zip(self._columns, batch, strict=True)
        ]
        numbers = list(range(self.rows, self.rows + len(values[0])))
        if numbers:
            self._dialect.stage(self._session, self.name, [numbers, *values])
        self.rows += len(numbers)

    def finish(self) -> None:
        """Nothing is left to do."""

    def close(self) -> None:
        """Drop the table if it would outlive the connection."""
        if not self._dialect.temporary:
            with suppress(Exception), self._session.transaction():
                self._session.execute(f"DROP TABLE {self.name}")


class StagingFile:
    """Rows in a Parquet file without a name, gone with this process, which DuckDB reads as if it were a table.

    :param name: quoted.
    :param columns: what comes.
    :param reader: reads the values.
    """

    def __init__(self, session: Session, name: str, columns: Sequence[Column], reader: Reader) -> None:
        self.name = name
        self.rows = 0
        self._session = session
        self._columns = columns
        self._reader = reader
        self._open = ExitStack()

    def open(self) -> None:
        """Begin the file."""
        kinds: list[Kind] = ["text" if column.kind in AS_TEXT else column.kind for column in self._columns]
        lying = [Column(f"c{number}", kind, f"c{number}") for number, kind in enumerate(kinds)]
        self._file = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - close() closes it
        table = parquet_table(self._file, [Column("n", "integer", "n"), *lying], encoding=FOR_ONE_READER)
        self._writer = self._open.enter_context(table)

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch."""
        first = self.rows + 1
        values = [
            part if self._is_usual(column, part) else self._reader.column(column, part, first=first)
            for column, part in zip(self._columns, batch, strict=True)
        ]
        numbers = list(range(self.rows, self.rows + len(values[0])))
        self.rows += len(numbers)
        try:
            self._writer.write([numbers, *values])
        except PipedriveValidationError:
            for column, part in zip(self._columns, batch, strict=True):
                self._reader.column(column, part, first=first)  # says the same as for every other database
            raise

    def _is_usual(self, column: Column, values: Sequence[object]) -> bool:
        return column.kind in TYPES and set(map(type, values)) - {type(None)} <= TYPES[column.kind]

    def finish(self) -> None:
        """End the file, and give it the name of a table."""
        self._writer.finish()
        self._file.flush()
        place = f"/dev/fd/{self._file.fileno()}"
        with self._session.transaction():
            self._session.execute(f"CREATE TEMPORARY VIEW {self.name} AS SELECT * FROM read_parquet('{place}')")

    def close(self) -> None:
        """Give the file up."""
        with suppress(Exception):  # it need not end well
            self._open.close()
