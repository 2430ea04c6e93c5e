"""The field catalogue, read once for all tasks of a machine and kept for ten minutes.

It lies in the folder ``pipedrive-leads-<user id>`` of the system's temporary folder, readable by this user alone: names
of custom fields, options and labels; no lead, no token. Whoever comes first reads it while the others wait for some
seconds. It is a convenience: where the folder is missing, full or cannot be written to, everyone reads for himself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.fields import Catalogue  # noqa: TC001 - msgspec reads the type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS_TO_LIVE = 600.0
SECONDS_FRESH = 30.0
"""So young a catalogue is not read again when a name is not found in it."""


LOCK_TIMEOUT = 4.0
"""Seconds for which somebody else's reading is waited for: a task that is stopped has five."""
LOCK_INTERVAL = 0.05
"""Seconds between two looks whether it has ended."""


class Kept(msgspec.Struct, frozen=True):
    """A catalogue and when it was read, in seconds since 1970.

    :param generation: what was written in the account's ``.generation`` when the reading began: a catalogue is good as
        long as that says the same.
    """

    read_at: float
    catalogue: Catalogue
    generation: str = ""


class CatalogueCache:
    """The catalogue of one account on this machine.

    :param account: a name for the account that gives nothing away, such as a fingerprint.
    :param folder: where to keep it; default: see above.
    :param clock: seconds since 1970; default: the machine's.
    :param sleep: waits so many seconds; default: really.
    """

    def __init__(
        self,
        account: str,
        *,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder or _own_folder()
        self._name = f"catalogue-{account}"
        self._clock = clock
        self._sleep = sleep

    def get(self, read: Callable[[], Catalogue], *, younger_than: float = SECONDS_TO_LIVE) -> Catalogue:
        """Give the kept catalogue if it is young enough, else read it and keep it.

        :param read: asks the account.
        :param younger_than: seconds.
        """
        if not self._usable():
            return read()
        if (kept := self._load(younger_than)) is not None:
            return kept
        with self._turn():
            if (kept := self._load(younger_than)) is not None:
                return kept
            generation = self._generation()
            catalogue = read()
            self._write(".json", msgspec.json.encode(Kept(self._clock(), catalogue, generation)))
            return catalogue

    def forget(self) -> None:
        """Keep nothing of an account that has changed; what somebody is just reading goes as well."""
        if self._usable() and not self._write(".generation", secrets.token_hex(8).encode()):
            with suppress(OSError):
                self._file(".json").unlink()

    def _file(self, suffix: str) -> Path:
        return Path(self._folder or "", self._name + suffix)

    def _usable(self) -> bool:
        """Whether the folder is there, ours, and nobody else's to write to."""
        if self._folder is None:
            return False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.lstat()
            return self._folder.is_dir() and found.st_uid == os.getuid() and not found.st_mode & 0o077
        except OSError:
            return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until nobody else reads, but not longer than is worth it."""
        descriptor = None
        try:
            with suppress(OSError):
                descriptor = os.open(self._file(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._wait_for(descriptor)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _wait_for(self, lock: int) -> None:
        for _ in range(round(LOCK_TIMEOUT / LOCK_INTERVAL)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._sleep(LOCK_INTERVAL)
            else:
                return

    def _generation(self) -> str:
        try:
            return self._file(".generation").read_text()
        except (OSError, UnicodeDecodeError):
            return ""

    def _load(self, younger_than: float) -> Catalogue | None:
        try:
            kept = msgspec.json.decode(self._file(".json").read_bytes(), type=Kept)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        is_young = 0 <= self._clock() - kept.read_at < younger_than
        return kept.catalogue if is_young and kept.generation == self._generation() else None

    def _write(self, suffix: str, content: bytes) -> bool:
        """Write a file whole or not at all; False if it could not be."""
        partial = self._file(f".{secrets.token_hex(8)}.part")
        try:
            partial.write_bytes(content)
            partial.replace(self._file(suffix))
        except OSError:
            with suppress(OSError):
                partial.unlink()
            return False
        return True


def _own_folder() -> Path | None:
    try:
        return Path(tempfile.gettempdir()) / f"pipedrive-leads-{os.getuid()}"
    except OSError:  # there is no folder in which a file could be made
        return None
