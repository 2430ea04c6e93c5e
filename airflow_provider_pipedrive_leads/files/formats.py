"""The file formats, chosen by suffix: JSON lines and CSV, each plain or gzipped.

JSON lines: one object a line, UTF-8. CSV: a header, comma, double quotes where needed, ``\\n``; empty means null, true
and false in lower case, lists and objects as JSON.
"""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GZIP_LEVEL = 6


class RowWriter(Protocol):
    """Writes rows to an open file."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""


class JsonLinesWriter:
    """One JSON object a line."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._file.write(self._encode(row) + b"\n")


class CsvWriter:
    """A header and one line a row, in the order of the columns."""

    def __init__(self, text: IO[str], columns: Sequence[str]) -> None:
        self._columns = columns
        self._csv = csv.writer(text, lineterminator="\n")
        self._csv.writerow(columns)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self._csv.writerow([cell(row.get(column)) for column in self._columns])


def cell(value: object) -> object:
    """Give a value the form in which a CSV cell holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return value


class FileFormat(msgspec.Struct, frozen=True):
    """What a file's suffix says.

    :param rows: ``jsonl`` or ``csv``.
    :param gzipped: whether the file is compressed.
    """

    rows: str
    gzipped: bool

    @contextmanager
    def rows_to(self, file: IO[bytes], columns: Sequence[str]) -> Iterator[RowWriter]:
        """Open an empty file for rows; on leaving, all rows are in it, and it is still open."""
        with ExitStack() as stack:
            if self.gzipped:
                file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0)))
            if self.rows == "csv":
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                stack.callback(text.detach)
                yield CsvWriter(text, columns)
            else:
                yield JsonLinesWriter(file)


def format_of(path: str) -> FileFormat:
    """Read the format off a path.

    :raises PipedriveConfigError: the suffix is not one of ours.
    """
    name = path.lower()
    gzipped = name.endswith(".gz")
    stem = name.removesuffix(".gz")
    for suffix, rows in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".csv", "csv")):
        if stem.endswith(suffix):
            return FileFormat(rows, gzipped)
    raise PipedriveConfigError(
        f"path: the suffix of {path!r} is not known. Use .jsonl, .ndjson or .csv, each also with .gz behind it."
    )
