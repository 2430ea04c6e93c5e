"""Rows of Parquet, as Python's own values: Decimal, date, datetime, time, bool, list. Imports pyarrow when needed."""

from __future__ import annotations

from datetime import UTC
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.row import Row, check_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROWS_AT_ONCE = 4096


def parquet_rows(file: IO[bytes], where: str) -> Iterator[Row]:
    """Open a Parquet file.

    :param where: the file, as an error begins.
    :raises PipedriveConfigError: it is none, or its columns cannot be told apart.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
        names = list(opened.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeError) as problem:
        if _is_of_the_disk(problem):
            raise
        raise PipedriveConfigError(f"{where}: this is no Parquet file that can be read ({problem}).") from problem
    check_names(names, where)
    return _rows(opened, names)


def _is_of_the_disk(problem: Exception) -> bool:
    """Tell a failed read of the disk or the network, which has a number, from data that pyarrow cannot read."""
    return isinstance(problem, OSError) and problem.errno is not None


def _rows(opened: Any, names: Sequence[str]) -> Iterator[Row]:
    """Rows group by group: where one is damaged, the next is read all the same."""
    import pyarrow as pa

    start = 1
    for group in range(opened.num_row_groups):
        number, end = start, start + opened.metadata.row_group(group).num_rows
        try:
            for batch in opened.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=[group]):
                yield from _rows_of_batch(number, names, batch)
                number += batch.num_rows
        except (pa.ArrowException, OSError) as problem:
            if _is_of_the_disk(problem):
                raise
            yield Row(number, None, f"the file is damaged: rows {number} to {end - 1} cannot be read ({problem})")
        start = end


def _rows_of_batch(first: int, names: Sequence[str], batch: Any) -> Iterator[Row]:
    columns = [_in_microseconds(column) for column in batch.columns]
    try:
        values = [_values(column) for column in columns]
    except Exception:  # noqa: BLE001  # a value that Python cannot hold: each kind has an error of its own
        yield from (
            _row(first + place, names, [column.slice(place, 1) for column in columns])
            for place in range(batch.num_rows)
        )
        return
    for number, row in enumerate(zip(*values, strict=True), first):
        yield Row(number, dict(zip(names, row, strict=True)))


def _row(number: int, names: Sequence[str], columns: Sequence[Any]) -> Row:
    """One row, value by value."""
    values = {}
    for name, column in zip(names, columns, strict=True):
        try:
            (values[name],) = _values(column)
        except Exception as problem:  # noqa: BLE001  # each kind has an error of its own
            return Row(number, None, f"column {name!r} holds a value that Python cannot: {type(problem).__name__}")
    return Row(number, values)


def _values(column: Any) -> list[Any]:
    """Python's values of a column. Moments in UTC go without their zone, whose look-up for each takes most time."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.tz == "UTC":
        plain = column.cast(pa.timestamp(column.type.unit)).to_pylist()
        return [None if moment is None else moment.replace(tzinfo=UTC) for moment in plain]
    values: list[Any] = column.to_pylist()
    return values


def _in_microseconds(column: Any) -> Any:
    """Cut nanoseconds, which Python's own types cannot hold."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return column.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return column.cast(pa.time64("us"), safe=False)
    return column
