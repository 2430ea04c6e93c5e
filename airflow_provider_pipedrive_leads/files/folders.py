"""A folder of files, on a filesystem or an object store, as far as parts need one."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from airflow_provider_pipedrive_leads.files.publishing import (
    Place,
    check_writable,
    filesystem_of,
    is_local,
    renamed_into_place,
    uploaded_when_complete,
)


class Folder(Protocol):
    """Files by name."""

    @property
    def place(self) -> str:
        """The folder as people write it."""

    def publishing(self, name: str, mark: str = "") -> AbstractContextManager[IO[bytes]]:
        """Open a file that appears whole when the ``with`` block ends well, or not at all.

        :param mark: stands for the run: what a killed try of it left of this file is removed.
        """

    def names(self) -> list[str]:
        """What is there, hidden files too."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None if there is none."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


def folder_at(place: Place) -> Folder:
    """Open the folder at a place, which need not be there yet.

    :raises PipedriveConfigError: nothing can be written there.
    """
    if not is_local(place):
        return StoredFolder(filesystem_of(place), place.path.rstrip("/"), str(place).rstrip("/"))
    path = Path(place.path)
    check_writable(path, as_folder=True)
    return LocalFolder(path, str(place).rstrip("/"))


class LocalFolder:
    """A folder of a filesystem."""

    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self.place = place

    def publishing(self, name: str, mark: str = "") -> AbstractContextManager[IO[bytes]]:
        """Open a file that appears whole or not at all."""
        self._path.mkdir(exist_ok=True)
        return renamed_into_place(self._path / name, mark)

    def names(self) -> list[str]:
        """What is there."""
        return [file.name for file in self._path.iterdir()] if self._path.is_dir() else []

    def read(self, name: str) -> bytes | None:
        """A file's bytes."""
        with suppress(FileNotFoundError):
            return (self._path / name).read_bytes()
        return None

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self._path / name).unlink(missing_ok=True)


class StoredFolder:
    """What begins with a prefix on an object store."""

    def __init__(self, filesystem: Any, path: str, place: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self.place = place

    def publishing(self, name: str, mark: str = "") -> AbstractContextManager[IO[bytes]]:
        """Open a file that is uploaded when it is complete."""
        return uploaded_when_complete(self._filesystem, f"{self._path}/{name}", f"{self.place}/{name}", mark)

    def names(self) -> list[str]:
        """What is there now: other processes write too, so nothing remembered counts."""
        self._filesystem.invalidate_cache()
        try:
            found = self._filesystem.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def read(self, name: str) -> bytes | None:
        """A file's bytes."""
        try:
            found: bytes = self._filesystem.cat_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        return found

    def remove(self, name: str) -> None:
        """Remove a file."""
        with suppress(FileNotFoundError):
            self._filesystem.rm_file(f"{self._path}/{name}")
