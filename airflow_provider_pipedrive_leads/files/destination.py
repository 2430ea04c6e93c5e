"""Where rows go: one file, or a folder of parts, whose suffix names the format."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.comma_separated import CsvTable
from airflow_provider_pipedrive_leads.files.folders import folder_at
from airflow_provider_pipedrive_leads.files.json_lines import JsonLinesTable, JsonTexts
from airflow_provider_pipedrive_leads.files.parquet import parquet_table, require_pyarrow
from airflow_provider_pipedrive_leads.files.parts import FileSeries, Manifest, NamedKind, writing_parts
from airflow_provider_pipedrive_leads.files.publishing import check_store, check_writable, is_local, publishing
from airflow_provider_pipedrive_leads.files.suffixes import Format, format_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_pipedrive_leads.files.publishing import Place
    from airflow_provider_pipedrive_leads.files.table import Batch, Column, TableWriter

Writer = TypeVar("Writer")
Opened = Callable[[IO[bytes]], AbstractContextManager[Writer]]
"""Opens a writer on an open file."""


class TableFile:
    """Takes a table in batches, in order.

    :ivar files: the files written, as a user would open them; known when the block has ended well.
    :ivar rows: written so far.
    """

    def __init__(self, series: FileSeries[TableWriter]) -> None:
        self.files: list[str] = []
        self.rows = 0
        self._series = series

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch: one sequence of values for each column.

        :raises ValueError: the columns are not equally long.
        :raises PipedriveValidationError: a value does not fit its column, for formats with types.
        :raises OSError: nothing can be written any more, such as on a full disk.
        """
        lengths = {len(values) for values in batch}
        if len(lengths) != 1:
            raise ValueError(f"The columns of a batch have different lengths: {sorted(lengths)}.")
        rows = lengths.pop()
        for writer, start, end in self._series.spread(rows):
            whole = end - start == rows
            writer.write(batch if whole else [values[start:end] for values in batch])
        self.rows += rows


class LineFile:
    """Takes JSON texts, in order.

    :ivar files: the files written, as a user would open them; known when the block has ended well.
    :ivar rows: lines written so far.
    """

    def __init__(self, series: FileSeries[JsonTexts]) -> None:
        self.files: list[str] = []
        self.rows = 0
        self._series = series

    def write(self, lines: Sequence[Any]) -> None:
        """Append JSON texts, one a line, unread: bytes, ``msgspec.Raw`` or anything that can be read as bytes.

        :raises OSError: nothing can be written any more, such as on a full disk.
        """
        for writer, start, end in self._series.spread(len(lines)):
            writer.write(lines[start:end])
        self.rows += len(lines)


def check(place: Place, rows_per_file: int | str | None = None) -> None:
    """Find out before anything is read whether rows can be written to a place.

    :param rows_per_file: rows of a part, as a number or text; None for one file.
    :raises PipedriveConfigError: they cannot; says why and what to do.
    """
    limit = _limit(rows_per_file)
    if _format(place).name == "parquet":
        require_pyarrow()
    if is_local(place):
        check_writable(Path(place.path), as_folder=limit is not None)
    else:
        check_store(place)


@contextmanager
def writing_table(
    place: Place, columns: Sequence[Column], *, rows_per_file: int | str | None = None, run_key: str = ""
) -> Iterator[TableFile]:
    """Write a table: it appears whole when the block ends well, and nothing changes when it does not.

    :param place: a file; with ``rows_per_file`` a folder, whose name has the suffix all the same.
    :param rows_per_file: rows of a part, as a number or text; None for one file.
    :param run_key: the same for all tries of a run: a try removes what a killed one left.
    :raises PipedriveConfigError: nothing can be written there; found before the block begins.
    """
    form = _format(place)
    with _writing(
        place, form, columns, _table_writer(form, columns), rows_per_file=rows_per_file, run_key=run_key
    ) as series:
        table = TableFile(series)
        yield table
    table.files = series.names


@contextmanager
def writing_lines(place: Place, *, rows_per_file: int | str | None = None, run_key: str = "") -> Iterator[LineFile]:
    """Write JSON texts as JSON Lines: they appear whole when the block ends well, and nothing changes when it does not.

    :param place: a file; with ``rows_per_file`` a folder, whose name has the suffix all the same.
    :param rows_per_file: lines of a part, as a number or text; None for one file.
    :param run_key: the same for all tries of a run: a try removes what a killed one left.
    :raises PipedriveConfigError: nothing can be written there; found before the block begins.
    """
    form = _format(place)
    if form.name != "jsonl":
        raise PipedriveConfigError(
            f"path: what the API gives is written to {str(place)!r} only as a table, with columns. As it is, it goes"
            " to .jsonl or .ndjson, each also with .gz behind it."
        )
    with _writing(
        place, form, None, lambda file: nullcontext(JsonTexts(file)), rows_per_file=rows_per_file, run_key=run_key
    ) as series:
        lines = LineFile(series)
        yield lines
    lines.files = series.names


@contextmanager
def _writing(
    place: Place,
    form: Format,
    columns: Sequence[Column] | None,
    opened: Opened[Writer],
    *,
    rows_per_file: int | str | None,
    run_key: str,
) -> Iterator[FileSeries[Writer]]:
    """Open one file, or parts of it; in the end the series names them as a user would open them."""
    limit = _limit(rows_per_file)

    def opening(published: AbstractContextManager[IO[bytes]]) -> AbstractContextManager[Writer]:
        return _writer_on(published, form, opened)

    if limit is None:
        with FileSeries(lambda _: str(place), lambda _: opening(publishing(place, run_key)), None) as series:
            yield series
        return
    kinds = None if columns is None else [NamedKind(column.name, column.kind) for column in columns]
    folder = folder_at(place)
    empty = Manifest(form.name, [], 0, kinds)
    with writing_parts(folder, empty, suffix=form.suffix, limit=limit, run_key=run_key, opening=opening) as series:
        yield series
    series.names = [f"{folder.place}/{name}" for name in series.names]


@contextmanager
def _writer_on(published: AbstractContextManager[IO[bytes]], form: Format, opened: Opened[Writer]) -> Iterator[Writer]:
    with published as file, form.packed(file) as packed, opened(packed) as writer:
        yield writer


def _table_writer(form: Format, columns: Sequence[Column]) -> Opened[TableWriter]:
    """How a table is written in a format.

    :raises PipedriveConfigError: what the format needs is not installed.
    """
    if form.name == "parquet":
        require_pyarrow()
        return lambda file: parquet_table(file, columns)
    table = JsonLinesTable if form.name == "jsonl" else CsvTable
    return lambda file: nullcontext(table(file, columns))


def _format(place: Place) -> Format:
    return format_of(place.path.rstrip("/"))


def _limit(rows_per_file: int | str | None) -> int | None:
    """Read a number of rows.

    :raises PipedriveConfigError: it is none.
    """
    if rows_per_file is None:
        return None
    text = str(rows_per_file).strip()
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise PipedriveConfigError(f"rows_per_file: {rows_per_file!r} is not a whole number of at least 1.")
    return int(text)
