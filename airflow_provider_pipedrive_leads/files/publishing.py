"""A file appears whole or not at all.

On a filesystem it is written beside its place under a hidden temporary name and then renamed. On an object store
closing a file publishes it, so it is written to local disk and uploaded in one go when it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import tempfile
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_PROTOCOLS = ("", "file", "local")
STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "hdfs", "dbfs", "oss", "ftp", "sftp")
"""Schemes by which a path with a slip of the pen is recognized."""
NEEDS_PEOPLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP),
}
"""What no waiting mends; a full disk or a file server that is away does pass."""
BUFFER_BYTES = 1 << 18
BYTES_BETWEEN_SYNCS = 1 << 23
"""So that the disk works while pages arrive, not all at the end."""


class Place(Protocol):
    """Where a file shall appear: Airflow's ``ObjectStoragePath``, or anything of its shape."""

    @property
    def protocol(self) -> str:
        """The scheme of the path; empty or ``file`` for a filesystem."""

    @property
    def path(self) -> str:
        """The path without its scheme."""

    @property
    def fs(self) -> Any:
        """The ``fsspec`` filesystem."""


def publishing(place: Place, run_key: str = "") -> AbstractContextManager[IO[bytes]]:
    """Open a binary file that takes its place when the ``with`` block ends well, and vanishes when it does not.

    :param run_key: the same for all tries of a run: a try removes what a killed one left. Empty: nothing is removed.
    :raises PipedriveConfigError: nothing can be written there; found before the block begins.
    """
    if is_local(place):
        target = Path(place.path)
        target = target.resolve() if target.is_symlink() else target  # the link stays, what it leads to is replaced
        check_writable(target)
        return renamed_into_place(target, mark_of(run_key))
    return uploaded_when_complete(filesystem_of(place), place.path, str(place), mark_of(run_key))


def is_local(place: Place) -> bool:
    """Whether a place is on a filesystem."""
    return place.protocol in LOCAL_PROTOCOLS


def mark_of(run_key: str) -> str:
    """Twelve hexadecimal digits that stand for a run in names of files; empty for no run."""
    return hashlib.sha256(run_key.encode()).hexdigest()[:12] if run_key else ""


def filesystem_of(place: Place) -> Any:
    """Open the filesystem of an object store.

    :raises PipedriveConfigError: nothing installed can open it.
    """
    try:
        return place.fs
    except (ImportError, ValueError) as problem:
        raise no_filesystem(f"{place.protocol}://", problem) from problem


def no_filesystem(path: str, problem: Exception) -> PipedriveConfigError:
    """The error for a path of a scheme that nothing installed can open."""
    scheme = path.split("://", maxsplit=1)[0]
    return PipedriveConfigError(
        f"path: nothing installed here can open {scheme}:// ({problem}). Install the Airflow provider or the fsspec"
        " package of that scheme; for s3:// that is: pip install 'apache-airflow-providers-amazon[s3fs]'."
    )


def check_whole(path: str, parameter: str = "path") -> None:
    """Refuse a path that means something in the worker's working folder alone.

    :param path: as it was given.
    :raises PipedriveConfigError: it is relative, or a URL with a slip of the pen; says how it should be written.
    """
    scheme, url, rest = path.partition("://")
    if url and (scheme not in LOCAL_PROTOCOLS or rest.startswith("/")):
        return
    if not url and path.startswith("/"):
        return
    slip = re.fullmatch(r"([a-z][a-z0-9]+):?//?(.+)", path)
    if slip and not url and slip[1] in (*LOCAL_PROTOCOLS, *STORES):
        meant = f"{slip[1]}://{'/' if slip[1] in LOCAL_PROTOCOLS else ''}{slip[2]}"
    else:
        meant = f"file:///…/{(rest if url else path).removeprefix('~').lstrip('./')}"
    raise PipedriveConfigError(
        f"{parameter}: {path!r} would lie in whatever folder the worker happens to run in. Write it in full, such as"
        f" {meant}."
    )


def check_store(place: Place) -> None:
    """Try on an object store whether a file can be written: an empty hidden one is put there and removed.

    :raises PipedriveConfigError: it cannot, before somebody mends something.
    :raises OSError: it cannot now.
    """
    filesystem = filesystem_of(place)
    folder, _, name = place.path.rstrip("/").rpartition("/")
    probe = f"{folder}/.{name}.check"
    try:
        filesystem.pipe_file(probe, b"")
    except (FileNotFoundError, PermissionError) as problem:
        raise PipedriveConfigError(f"path: cannot write to {place}: {problem}.") from problem
    with suppress(Exception):  # whoever may only write leaves it there
        filesystem.rm_file(probe)


def check_writable(target: Path, *, as_folder: bool = False) -> None:
    """Try on a filesystem whether a file, or a folder of files, can be written. Makes the folder above it.

    :raises PipedriveConfigError: it cannot, before somebody mends something.
    :raises OSError: it cannot now; names the place.
    """
    try:
        if as_folder and target.is_file():
            raise NotADirectoryError(errno.ENOTDIR, "with rows_per_file it must be a folder, but it is a file")
        if not as_folder and target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        folder = target if target.is_dir() else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        if problem.errno not in NEEDS_PEOPLE:
            raise OSError(problem.errno or errno.EIO, problem.strerror or str(problem), str(target)) from problem
        raise PipedriveConfigError(f"path: cannot write to {target}: {problem.strerror or problem}.") from problem


@contextmanager
def renamed_into_place(target: Path, mark: str = "") -> Iterator[IO[bytes]]:
    """Publish a file on a filesystem.

    :param mark: stands for the run: what a killed try of it left beside the target is removed.
    :raises OSError: it cannot be written, such as on a full disk; names the file and its place.
    """
    if mark:
        for left in _marked(target.parent, f".{target.name}.{mark}"):
            left.unlink(missing_ok=True)
    partial = target.with_name(f".{target.name}.{mark}{uuid.uuid4().hex[:8]}.part")
    try:
        with _written(partial, str(target)) as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _marked(folder: Path, start: str) -> list[Path]:
    """What a killed try left."""
    return [left for left in folder.iterdir() if left.name.startswith(start)]


@contextmanager
def uploaded_when_complete(filesystem: Any, path: str, place: str, mark: str = "") -> Iterator[IO[bytes]]:
    """Publish a file on an object store.

    :param path: as the filesystem takes it.
    :param place: as people write it.
    :param mark: stands for the run: what a killed try of it left in this machine's temporary folder is removed.
    :raises OSError: it cannot be spooled or uploaded; names the spool and the place.
    """
    start = f"pipedrive-leads-spool-{mark}"
    if mark:
        for left in _marked(Path(tempfile.gettempdir()), start):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=start) as folder:
        spool = Path(folder) / "spool"
        with _written(spool, place) as file:
            yield file
        try:
            filesystem.put_file(str(spool), path)
        except OSError as problem:
            raise _named(problem, spool, place) from problem


class _DiskFile(io.FileIO):
    """A new file whose errors say for which place it is written. The disk works in a thread, so that nobody waits."""

    def __init__(self, path: Path, place: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pipedrive-disk")
        super().__init__(path, "x")
        self._path, self._place = path, place
        self._unsynced = 0
        self._synced: Future[None] | None = None

    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
            self._unsynced += written
            if self._unsynced >= BYTES_BETWEEN_SYNCS:
                self._start_sync()
        except OSError as problem:
            raise _named(problem, self._path, self._place) from problem
        return written

    def sync(self) -> None:
        """Wait until all that was written is on the disk."""
        try:
            self._start_sync().result()
        except OSError as problem:
            raise _named(problem, self._path, self._place) from problem

    def _start_sync(self) -> Future[None]:
        """Have the disk take what was written so far, once it has taken what was written before."""
        if self._synced is not None:
            self._synced.result()
        self._unsynced = 0
        self._synced = self._thread.submit(os.fsync, self.fileno())
        return self._synced

    def close(self) -> None:
        """Close the file, which no thread uses any more by then."""
        self._thread.shutdown()
        super().close()


@contextmanager
def _written(path: Path, place: str) -> Iterator[IO[bytes]]:
    """Write a new file down to the disk."""
    on_disk = _DiskFile(path, place)
    file = io.BufferedWriter(on_disk, BUFFER_BYTES)
    try:
        yield file
        file.flush()
        on_disk.sync()
    except BaseException:
        with suppress(OSError):  # the file is given up: what led here counts, not that its end cannot be written
            file.close()
        raise
    file.close()


def _named(problem: OSError, path: Path, place: str) -> OSError:
    return OSError(problem.errno or errno.EIO, problem.strerror or str(problem), str(path), None, place)
