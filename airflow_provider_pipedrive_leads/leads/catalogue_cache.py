"""The field catalogue, read once for all tasks of a machine and kept for ten minutes.

It lies in the folder ``pipedrive-leads-<user id>`` of the system's temporary folder, readable by this user alone: names
of custom fields, options and labels; no lead, no token. Whoever comes first reads it while the others wait.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.fields import Catalogue  # noqa: TC001 - msgspec reads the type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_LIVE = 600.0
SECONDS_FRESH = 30.0
"""So young a catalogue is not read again when a name is not found in it."""


class Kept(msgspec.Struct, frozen=True):
    """A catalogue and when it was read, in seconds since 1970."""

    read_at: float
    catalogue: Catalogue


class CatalogueCache:
    """The catalogue of one account on this machine.

    :param account: a name for the account that gives nothing away, such as a fingerprint.
    :param folder: where to keep it; default: see above.
    """

    def __init__(self, account: str, *, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"pipedrive-leads-{os.getuid()}"
        self._file = self._folder / f"catalogue-{account}.json"
        self._clock = clock

    def get(self, read: Callable[[], Catalogue], *, younger_than: float = SECONDS_TO_LIVE) -> Catalogue:
        """Give the kept catalogue if it is young enough, else read it and keep it.

        :param read: asks the account.
        :param younger_than: seconds.
        """
        if not self._usable():
            return read()
        with self._locked():
            kept = self._load()
            if kept is not None and 0 <= self._clock() - kept.read_at < younger_than:
                return kept.catalogue
            catalogue = read()
            self._store(Kept(self._clock(), catalogue))
            return catalogue

    def forget(self) -> None:
        """Keep nothing of an account that has changed; what somebody is just reading goes as well."""
        if self._usable():
            with self._locked():
                self._file.unlink(missing_ok=True)

    def _usable(self) -> bool:
        """Whether the folder is there, ours, and nobody else's to write to."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.lstat()
        except OSError:
            return False
        return self._folder.is_dir() and found.st_uid == os.getuid() and not found.st_mode & 0o077

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _load(self) -> Kept | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _store(self, kept: Kept) -> None:
        partial = self._file.with_suffix(".part")
        partial.write_bytes(msgspec.json.encode(kept))
        partial.replace(self._file)
