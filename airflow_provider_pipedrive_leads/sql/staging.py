"""Where rows wait until all of them are there: in a staging table or, for DuckDB, in an Arrow file that it reads."""

from __future__ import annotations

import mmap
import re
import tempfile
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_pipedrive_leads.files.parquet import BYTES_PER_GROUP, arrow_array, arrow_at_once, arrow_types
from airflow_provider_pipedrive_leads.files.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.files.table import Batch
    from airflow_provider_pipedrive_leads.sql.dialects import Portable
    from airflow_provider_pipedrive_leads.sql.session import Session
    from airflow_provider_pipedrive_leads.sql.values import Reader

AS_TEXT = ("list<string>", "json")
"""Kinds of values that lie in the file as the texts that the table will hold."""
NUL = re.compile(rb"\0")


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
    """Rows in an Arrow file without a name, gone with this process, which DuckDB reads in place as if it were a table.

    :param name: quoted.
    :param columns: what comes.
    :param reader: reads the values.
    """

    def __init__(self, session: Session, name: str, columns: Sequence[Column], reader: Reader) -> None:
        import pyarrow as pa

        self.name = name
        self.rows = 0
        self._session = session
        self._columns = columns
        self._reader = reader
        kinds: list[Kind] = ["text" if column.kind in AS_TEXT else column.kind for column in columns]
        self._lying = [Column(f"c{number}", kind, f"c{number}") for number, kind in enumerate(kinds)]
        self._types = [arrow_types()[kind] for kind in kinds]
        names = ["n", *(column.name for column in self._lying)]
        self._schema = pa.schema(zip(names, [pa.int64(), *self._types], strict=True))
        self._waiting: list[Any] = []
        self._bytes = 0
        self._open = ExitStack()

    def open(self) -> None:
        """Begin the file."""
        from pyarrow import ipc

        self._file = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - close() closes it
        self._writer = self._open.enter_context(ipc.new_file(self._file, self._schema))

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch."""
        import pyarrow as pa

        arrays = [self._array(number, values) for number, values in enumerate(batch)]
        numbers = pa.array(range(self.rows, self.rows + len(arrays[0])), pa.int64())
        self.rows += len(numbers)
        rows = pa.RecordBatch.from_arrays([numbers, *arrays], schema=self._schema)
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= BYTES_PER_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        group = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting.clear()
        self._bytes = 0
        self._writer.write_table(group.combine_chunks())

    def _array(self, number: int, values: Sequence[object]) -> Any:
        """A column's values as Arrow reads them, which is fastest, or as every other database gets them."""
        column, arrow_type = self._columns[number], self._types[number]
        if column.kind not in AS_TEXT:
            array = arrow_at_once(column.kind, arrow_type, values)
            if array is not None and _is_storable(column.kind, array):
                return array
        read = self._reader.column(column, values, first=self.rows + 1)
        return arrow_array(self._lying[number], arrow_type, read, first=self.rows + 1)

    def finish(self) -> None:
        """End the file, and give it the name of a table."""
        import pyarrow as pa
        from pyarrow import ipc

        self._write_group()
        self._writer.close()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        rows = ipc.open_file(pa.py_buffer(mapped)).read_all()
        self._session.connection.register(self.name.strip('"'), rows)

    def close(self) -> None:
        """Give the file up."""
        with suppress(Exception):  # it need not end well
            self._open.close()


def _is_storable(kind: Kind, array: Any) -> bool:
    from pyarrow import compute

    if array.null_count == len(array):
        return True
    if kind == "text":
        *_, characters = array.buffers()
        return NUL.search(memoryview(characters)) is None  # copies nothing
    return kind != "number" or bool(compute.all(compute.is_finite(array)).as_py())
