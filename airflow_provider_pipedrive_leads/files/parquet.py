"""Parquet: typed columns, zstd, statistics. Needs pyarrow, the extra ``parquet``; imported here only, when needed.

======= ==========   ============ ======================
kind    Parquet      kind         Parquet
======= ==========   ============ ======================
text    string       time         time, whole seconds
integer 64 bits      timestamp    timestamp, ms, UTC
number  double       list<string> list of strings
boolean boolean      json         string that holds JSON
date    date
======= ==========   ============ ======================

Each column's metadata holds its ``key``: what it was made from, stable when people rename a field.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_pipedrive_leads.files.table import Batch, Column

ROWS_PER_GROUP, BYTES_PER_GROUP = 16_384, 16 * 1024 * 1024
"""A group ends with the batch that brings it to so many bytes, if it has not had so many rows before."""
NUMERIC = re.compile(r"[+-]?\d{1,400}(\.\d{0,400})?([eE][+-]?\d{1,3})?", re.ASCII)


def require_pyarrow() -> None:
    """Find out whether Parquet can be read and written here.

    :raises PipedriveConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as problem:
        raise PipedriveConfigError(
            f"path: .parquet needs pyarrow, which cannot be imported ({problem})."
            " Run: pip install 'airflow-provider-pipedrive-leads[parquet]'"
        ) from problem


@contextmanager
def parquet_table(file: IO[bytes], columns: Sequence[Column]) -> Iterator[ParquetTable]:
    """Open an empty file for a table; on leaving well the file is complete, and still open.

    :raises PipedriveConfigError: pyarrow is not installed.
    """
    require_pyarrow()
    table = ParquetTable(file, columns)
    try:
        yield table
        table.finish()
    except BaseException:
        with suppress(Exception):  # the file is given up: what led here counts, not that its end cannot be written
            table.close()
        raise


class ParquetTable:
    """Writes a table in groups of rows. Batches wait as Arrow arrays, a fraction of the size of Python's objects.

    A thread packs and writes one group while the next comes together: for that Arrow leaves Python's lock alone.
    """

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        types = arrow_types()
        self._arrow = pa
        self._columns = [(column, types[column.kind]) for column in columns]
        self._schema = pa.schema(
            [pa.field(column.name, kind, metadata={"key": column.key}) for column, kind in self._columns]
        )
        compression = "zstd" if pa.Codec.is_available("zstd") else "snappy"
        self._writer = parquet.ParquetWriter(file, self._schema, compression=compression, write_statistics=True)
        self._waiting: list[Any] = []
        self._rows = 0
        self._bytes = 0
        self._taken = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipedrive-parquet")
        self._written: Future[None] = self._thread.submit(lambda: None)

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch.

        :raises PipedriveValidationError: a value does not fit its column.
        """
        arrays = [
            arrow_array(column, kind, values, first=self._taken + 1)
            for (column, kind), values in zip(self._columns, batch, strict=True)
        ]
        self._taken += len(arrays[0])
        rows = self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema)
        while rows.num_rows:
            taken = rows.slice(0, ROWS_PER_GROUP - self._rows)
            rows = rows.slice(taken.num_rows)
            self._waiting.append(taken)
            self._rows += taken.num_rows
            self._bytes += taken.nbytes
            if self._rows == ROWS_PER_GROUP:
                self._write_group()
            elif self._bytes >= BYTES_PER_GROUP:
                self._write_group()
                self._written.result()  # before more of what weighs so much comes together

    def finish(self) -> None:
        """Write what waits, and the end of the file."""
        if self._rows:
            self._write_group()
        self._written.result()
        self.close()

    def close(self) -> None:
        """Write the end of the file."""
        self._thread.shutdown()
        self._writer.close()

    def _write_group(self) -> None:
        group = self._arrow.Table.from_batches(self._waiting, self._schema)
        self._waiting.clear()
        self._rows = self._bytes = 0
        self._written.result()
        self._written = self._thread.submit(self._writer.write_table, group, row_group_size=ROWS_PER_GROUP)


def arrow_types() -> dict[str, Any]:
    """The Arrow type of each kind."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "time": pa.time32("s"),
        "timestamp": pa.timestamp("ms", tz="UTC"),
        "list<string>": pa.list_(pa.string()),
        "json": pa.string(),
    }


PLAIN: dict[str, set[type]] = {
    "integer": {int},
    "number": {int, float},
    "boolean": {bool},
    "list<string>": {list},
}
"""Types that Arrow converts all at once. It would take others too, but silently cut 1.5 to 1 and make True 1.0."""


def arrow_array(column: Column, kind: Any, values: Sequence[Any], *, first: int = 1) -> Any:
    """Convert a column's values.

    :param first: number of the row of the first value, for the error.
    :raises PipedriveValidationError: a value does not fit.
    """
    import pyarrow as pa

    if column.kind == "json":
        encode = msgspec.json.encode
        return pa.array([None if value is None else encode(value) for value in values], kind)
    at_once = arrow_at_once(column.kind, kind, values)
    if at_once is not None:
        return at_once
    return pa.array([_fitting(column, value, row) for row, value in enumerate(values, first)], kind)


def arrow_at_once(kind: str, arrow_type: Any, values: Sequence[Any]) -> Any | None:
    """Convert a column's values by Arrow alone; None where they are not all of the type that the kind usually has."""
    import pyarrow as pa

    with suppress(pa.ArrowException, OverflowError, UnicodeError):
        if kind not in PLAIN:
            return _of_texts(kind, arrow_type, values)
        if set(map(type, values)) - {type(None)} <= PLAIN[kind]:
            return pa.array(values, arrow_type)
    return None


def _of_texts(kind: str, arrow_type: Any, values: Sequence[Any]) -> Any:
    """Convert texts, or what is written as texts, all at once.

    :raises pyarrow.ArrowException: not all are texts, or not all can be read.
    """
    import pyarrow as pa
    from pyarrow import compute

    texts = pa.array(values)
    if texts.type == pa.null():
        return pa.nulls(len(values), arrow_type)
    if texts.type != pa.string():
        raise pa.ArrowTypeError(texts.type)
    if kind == "text":
        return texts
    if kind == "time":  # Arrow reads no times of day, but moments
        texts = compute.binary_join_element_wise("1970-01-01T", texts, "").cast(pa.timestamp("s"))
    return texts.cast(arrow_type)


def _fitting(column: Column, value: Any, row: int) -> Any:
    """One value as Arrow takes it, if it fits; the error does not show it, for logs keep no data of leads."""
    if value is None:
        return None
    try:
        return FITTING[column.kind](value)
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise PipedriveValidationError(
            f"column {column.name!r}, row {row}: the value ({type(value).__name__}) does not fit its Parquet type"
            f" ({column.kind}). Nothing was written. JSON Lines (.jsonl) keeps values as they are; or leave the column"
            " out with the parameter columns."
        ) from None


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _text(value: str) -> str:
    value.encode()  # fails on half a character
    return value


def _exact(value: Any) -> Decimal:
    if isinstance(value, str) and NUMERIC.fullmatch(value.strip()):
        return Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return Decimal(value)


def _integer(value: Any) -> int:
    whole = int(_exact(value))
    if whole != _exact(value) or not -(2**63) <= whole < 2**63:
        raise ValueError(value)
    return whole


def _number(value: Any) -> float:
    near = float(value) if isinstance(value, float) else float(_exact(value))
    if isinstance(value, int) and int(near) != value:
        raise ValueError(value)
    if isinstance(value, str) and near in (float("inf"), float("-inf")):
        raise OverflowError(value)
    return near


def _time(value: str) -> time:
    read = time.fromisoformat(value)
    if read.tzinfo or read.microsecond:
        raise ValueError(value)
    return read


def _moment(value: str) -> datetime:
    read = datetime.fromisoformat(value)
    if read.microsecond % 1000:
        raise ValueError(value)
    return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)


def _texts(value: Any) -> list[str | None]:
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return [None if text is None else _text(text) for text in value]


FITTING: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": date.fromisoformat,
    "time": _time,
    "timestamp": _moment,
    "list<string>": _texts,
}
