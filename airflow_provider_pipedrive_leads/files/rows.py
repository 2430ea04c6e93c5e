"""Rows to be loaded: from files on any filesystem, by their suffix, and from lists in memory.

A row that cannot be read is a row too: it says why, and reading goes on behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.folders import LocalFolder, StoredFolder
from airflow_provider_pipedrive_leads.files.lines import Lines
from airflow_provider_pipedrive_leads.files.parquet import require_pyarrow
from airflow_provider_pipedrive_leads.files.parts import MANIFEST, Manifest, present_manifest
from airflow_provider_pipedrive_leads.files.publishing import NEEDS_PEOPLE, filesystem_of, is_local
from airflow_provider_pipedrive_leads.files.row import Row
from airflow_provider_pipedrive_leads.files.rows_csv import CsvRows
from airflow_provider_pipedrive_leads.files.rows_json import json_rows
from airflow_provider_pipedrive_leads.files.rows_parquet import parquet_rows
from airflow_provider_pipedrive_leads.files.suffixes import Format, format_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_pipedrive_leads.files.publishing import Place

__all__ = ["Row", "reading_rows", "rows_of"]

GZIP_MAGIC = b"\x1f\x8b"
REMOTE_BLOCK_BYTES = 1 << 22
"""How much is fetched from an object store at once; some filesystems would take ten times as much."""


@contextmanager
def reading_rows(place: Place) -> Iterator[Iterator[Row]]:
    """Open a file of rows, or a folder of parts as an export writes it.

    JSON Lines give what JSON says, CSV texts (an empty cell is None), Parquet Python's own values. Where any row has a
    problem others may be missing, or altered where gzip data is damaged, which may be told by the very last row only:
    read all rows before anything is done that cannot be undone.

    :param place: ends in ``.jsonl``, ``.ndjson`` or ``.csv``, each also with ``.gz`` behind it, or ``.parquet``.
    :raises PipedriveConfigError: it cannot be read; found before the first row, but for what is wrong with a part.
    """
    form = format_of(place.path.rstrip("/"))
    if form.name == "parquet":
        require_pyarrow()
    if _is_folder(place):
        yield _rows_of_parts(place, _manifest(place))
        return
    with _reading_file(place, place.path, form) as rows:
        yield iter(rows)


def rows_of(items: Iterable[object]) -> Iterator[Row]:
    """Give rows that are in memory already, numbered from 1; what is no mapping by texts is a row that has a problem.

    :raises PipedriveConfigError: they are one text or mapping instead of many.
    """
    if isinstance(items, str | bytes | Mapping):
        raise PipedriveConfigError(f"rows: a list of mappings is needed, but this is of type {type(items).__name__}.")
    return (_row_of(number, item) for number, item in enumerate(items, 1))


def _row_of(number: int, item: object) -> Row:
    if not isinstance(item, Mapping):
        return Row(number, None, f"the row is of type {type(item).__name__}, not a mapping of columns to values")
    if not all(isinstance(name, str) for name in item):
        return Row(number, None, "the row has a column whose name is no text")
    return Row(number, dict(item))


def _is_folder(place: Place) -> bool:
    """Tell a folder from a file.

    :raises PipedriveConfigError: there is nothing, or it may not be read.
    """
    if is_local(place):
        return Path(place.path).is_dir()
    filesystem = filesystem_of(place)
    filesystem.invalidate_cache()  # other processes write too, and a size remembered would cut the file
    try:
        return bool(filesystem.info(place.path)["type"] == "directory")
    except (FileNotFoundError, PermissionError) as problem:
        raise _unreadable(str(place), problem) from problem


def _open(place: Place, path: str) -> IO[bytes]:
    """Open a file at a place or below it.

    :raises PipedriveConfigError: it is not there, or may not be read.
    """
    shown = f"{str(place).rstrip('/')}{path.removeprefix(place.path.rstrip('/'))}"
    if not is_local(place):
        try:
            opened: IO[bytes] = filesystem_of(place).open(path, "rb", block_size=REMOTE_BLOCK_BYTES)
        except (FileNotFoundError, PermissionError) as problem:
            raise _unreadable(shown, problem) from problem
        return opened
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and problem.errno not in NEEDS_PEOPLE:
            raise
        raise _unreadable(shown, problem) from problem


def _unreadable(shown: str, problem: Exception) -> PipedriveConfigError:
    if isinstance(problem, FileNotFoundError):
        return PipedriveConfigError(f"path: there is no file {shown}.")
    return PipedriveConfigError(f"path: cannot read {shown}: {getattr(problem, 'strerror', None) or problem}.")


@contextmanager
def _reading_file(place: Place, path: str, form: Format) -> Iterator[Iterable[Row]]:
    with _open(place, path) as file:
        yield _rows_in(file, form, f"path: {str(place).rstrip('/')}{path.removeprefix(place.path.rstrip('/'))}")


def _rows_in(file: IO[bytes], form: Format, where: str) -> Iterable[Row]:
    """Rows of an open file.

    :param where: the file, as an error begins.
    """
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    if not start:
        if form.name == "parquet" or form.gzipped:
            raise PipedriveConfigError(f"{where}: the file is empty: it was not written completely.")
        return ()
    if form.gzipped and not GZIP_MAGIC.startswith(start):
        raise PipedriveConfigError(f"{where}: this is not gzip, though its name says so.")
    if form.name == "parquet":
        return parquet_rows(file, where)
    lines = Lines(file, gzipped=form.gzipped)
    return json_rows(lines) if form.name == "jsonl" else CsvRows(lines, where)


def _manifest(place: Place) -> Manifest:
    """What a folder says of its parts.

    :raises PipedriveConfigError: nothing.
    """
    if is_local(place):
        manifest = present_manifest(LocalFolder(Path(place.path), str(place)))
    else:
        manifest = present_manifest(StoredFolder(filesystem_of(place), place.path.rstrip("/"), str(place)))
    if manifest is None:
        raise PipedriveConfigError(
            f"path: {place} is a folder without a {MANIFEST}, as an export in parts writes it. Name one file."
        )
    return manifest


def _rows_of_parts(place: Place, manifest: Manifest) -> Iterator[Row]:
    """Rows of a folder, numbered through; a problem names the part and the line."""
    number = 0
    for part in manifest.files:
        path = f"{place.path.rstrip('/')}/{part.name}"
        if part.name not in manifest.names():
            raise PipedriveConfigError(f"path: {place}/{MANIFEST} names {part.name!r}, which no export writes.")
        with _reading_file(place, path, format_of(part.name)) as rows:
            for row in rows:
                number += 1
                problem = row.problem and f"{part.name}, line {row.number}: {row.problem}"
                yield Row(number, row.values, problem, row.may_be_cut)
