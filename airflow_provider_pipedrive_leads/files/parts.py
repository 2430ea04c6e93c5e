"""A table in parts: a folder of files, and a manifest that names those that belong together.

The manifest is written last and replaced in one step, so whoever goes by it sees the old table or the new one, never
half. Parts that no manifest names are leftovers of a run that was killed; its next try removes them.
"""

from __future__ import annotations

import logging
import re
import uuid
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Generic, Self, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.publishing import mark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from airflow_provider_pipedrive_leads.files.folders import Folder

log = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
PART_NAME = re.compile(r"part-[0-9a-f]{12}-\d{5,}(\.[a-z]+)+")

Writer = TypeVar("Writer")


class Part(msgspec.Struct, frozen=True):
    """A file of a table.

    :param name: within the folder.
    """

    name: str
    rows: int


class NamedKind(msgspec.Struct, frozen=True):
    """A column as a manifest shows it.

    :param kind: one of ``api.kinds.Kind``; earlier versions called a timestamp ``moment``, a list ``texts``.
    """

    name: str
    kind: str


class Manifest(msgspec.Struct, frozen=True):
    """Which files make up a table.

    :param format: ``jsonl``, ``csv`` or ``parquet``.
    :param rows: of all files together.
    :param columns: None where each row has its own.
    :param replaced: files of the table before, which are removed once this one stands, if need be by the next run.
    """

    format: str
    files: list[Part]
    rows: int
    columns: list[NamedKind] | None
    replaced: list[str] = []

    def names(self) -> set[str]:
        """The files named, as far as they can be parts: nothing else is ever touched."""
        return {part.name for part in self.files if PART_NAME.fullmatch(part.name)}

    def needless(self) -> set[str]:
        """The files that this table replaced."""
        return {name for name in self.replaced if PART_NAME.fullmatch(name)} - self.names()


class FileSeries(Generic[Writer]):
    """Files written one after another, each published when it is full; at least one.

    :param naming: names the file of a number.
    :param opening: opens the file of a name.
    :param limit: rows of a file; None for one file.
    :ivar names: of the files so far.
    :ivar counts: their rows.
    """

    def __init__(
        self,
        naming: Callable[[int], str],
        opening: Callable[[str], AbstractContextManager[Writer]],
        limit: int | None,
    ) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self._naming = naming
        self._opening = opening
        self._limit = limit
        self._open_file = ExitStack()

    def __enter__(self) -> Self:
        self._next_file()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_file.__exit__(kind, value, trace)

    def spread(self, rows: int) -> Iterator[tuple[Writer, int, int]]:
        """Say which of so many rows go to which file: a writer, the first row, the row after the last."""
        done = 0
        while done < rows:
            if self.counts[-1] == self._limit:
                self._next_file()
            end = rows if self._limit is None else min(rows, done + self._limit - self.counts[-1])
            yield self._writer, done, end
            self.counts[-1] += end - done
            done = end

    def _next_file(self) -> None:
        self._open_file.close()
        self.names.append(self._naming(len(self.names)))
        self.counts.append(0)
        self._writer = self._open_file.enter_context(self._opening(self.names[-1]))


def present_manifest(folder: Folder) -> Manifest | None:
    """Read the manifest of a folder; None if there is none.

    :raises PipedriveConfigError: the file of that name is no such manifest.
    """
    text = folder.read(MANIFEST)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as problem:
        raise PipedriveConfigError(
            f"path: {folder.place}/{MANIFEST} was not written by this operator ({problem}). Choose another folder, or"
            " remove it."
        ) from problem


@contextmanager
def writing_parts(
    folder: Folder,
    empty: Manifest,
    *,
    suffix: str,
    limit: int,
    run_key: str,
    opening: Callable[[AbstractContextManager[IO[bytes]]], AbstractContextManager[Writer]],
) -> Iterator[FileSeries[Writer]]:
    """Write parts; when the block ends well the manifest names them, and what it named before is removed.

    :param empty: the manifest but for its files and rows.
    :param suffix: of each part.
    :param limit: rows of a part.
    :param run_key: the same for all tries of a run; empty for a run that has one try.
    :param opening: opens a writer on a file about to be published.
    :raises PipedriveConfigError: the folder holds something else.
    """
    token, mark = _token(folder, run_key), mark_of(run_key)
    series = FileSeries(
        lambda number: f"part-{token}-{number:05}{suffix}", lambda name: opening(folder.publishing(name, mark)), limit
    )
    try:
        with series:
            yield series
        files = [Part(name, rows) for name, rows in zip(series.names, series.counts, strict=True)]
        manifest = msgspec.structs.replace(empty, files=files, rows=sum(series.counts))
        present = present_manifest(folder)
        replaced = sorted(present.names() - manifest.names()) if present else []
        manifest = msgspec.structs.replace(manifest, replaced=replaced)
        with folder.publishing(MANIFEST, mark) as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    except BaseException:
        _give_up(folder, series.names)
        raise
    _remove(folder, manifest.needless())


def _token(folder: Folder, run_key: str) -> str:
    """What the parts of this try are called by; leftovers of earlier tries are removed.

    A run has two tokens: when one of them is in the manifest, for an earlier try came to its end, this try takes the
    other, so that no part is replaced that a reader may be reading.
    """
    present = present_manifest(folder)
    _remove(folder, present.needless() if present else ())
    if not run_key:
        return uuid.uuid4().hex[:12]
    named = present.names() if present else set()
    tokens = [mark_of(run_key), mark_of(f"{run_key} again")]
    starts = tuple(f"{hidden}part-{token}-" for token in tokens for hidden in ("", "."))
    _remove(folder, [name for name in folder.names() if name.startswith(starts) and name not in named])
    free = [token for token in tokens if not any(name.startswith(f"part-{token}-") for name in named)]
    return free[0]


def _give_up(folder: Folder, names: Iterable[str]) -> None:
    """Remove the parts of this try, unless the manifest stands: an upload can succeed and its reply be lost."""
    try:
        present = present_manifest(folder)
    except Exception as problem:  # noqa: BLE001  # what led here is about to be raised
        log.warning("Parts of this try may be left in %s: %s", folder.place, problem)
        return
    _remove(folder, set(names) - (present.names() if present else set()))


def _remove(folder: Folder, names: Iterable[str]) -> None:
    for name in names:
        try:
            folder.remove(name)
        except Exception as problem:  # noqa: BLE001  # no reader goes by it, so the run may go on
            log.warning("Could not remove %s/%s, which is not needed any more: %s", folder.place, name, problem)
