"""A file appears whole or not at all.

On a filesystem it is written beside its place under a hidden temporary name and then renamed. On an object store
closing a file publishes it, so it is written to local disk and uploaded in one go when it is complete.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_PROTOCOLS = ("", "file", "local")


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


def publishing(place: Place) -> AbstractContextManager[IO[bytes]]:
    """Open a binary file that takes its place when the ``with`` block ends well, and vanishes when it does not.

    :raises PipedriveConfigError: nothing can be written there; found before the block begins.
    """
    if place.protocol in LOCAL_PROTOCOLS:
        return _renamed_into_place(Path(place.path))
    return _uploaded_when_complete(place, _filesystem(place))


def _filesystem(place: Place) -> Any:
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


@contextmanager
def _renamed_into_place(target: Path) -> Iterator[IO[bytes]]:
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(target)
        file = partial.open("wb")
    except OSError as problem:
        raise PipedriveConfigError(
            f"path: cannot write to {target}: {problem.strerror or 'it is a folder'}."
        ) from problem
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _uploaded_when_complete(place: Place, filesystem: Any) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryDirectory(prefix="pipedrive-leads-") as folder:
        spool = Path(folder) / "spool"
        with spool.open("wb") as file:
            yield file
        filesystem.put_file(str(spool), place.path)
