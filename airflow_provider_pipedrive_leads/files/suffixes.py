"""What the suffix of a path says: the format, and whether it is gzipped."""

from __future__ import annotations

import gzip
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Literal, cast

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP_LEVEL = 4
"""Half the time of level 6 for about a tenth more bytes: so it measured."""

FORMATS: dict[str, Literal["jsonl", "csv", "parquet"]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


class Format(msgspec.Struct, frozen=True):
    """A file's format.

    :param name: ``jsonl``, ``csv`` or ``parquet``.
    :param suffix: as files carry it, in lower case, such as ``.csv.gz``.
    :param gzipped: whether the file is compressed as a whole.
    """

    name: Literal["jsonl", "csv", "parquet"]
    suffix: str
    gzipped: bool

    @contextmanager
    def packed(self, file: IO[bytes]) -> Iterator[IO[bytes]]:
        """Compress what is written, if the format says so; on leaving all of it is in the file, which is still open."""
        if not self.gzipped:
            yield file
            return
        packed = gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0)
        try:
            yield cast("IO[bytes]", packed)
        except BaseException:
            with suppress(Exception):  # the file is given up: what led here counts, not that its end cannot be written
                packed.close()
            raise
        packed.close()


def format_of(path: str) -> Format:
    """Read the format off a path.

    :raises PipedriveConfigError: the suffix is not one of ours.
    """
    name = path.lower()
    stem = name.removesuffix(".gz")
    gzipped = stem != name
    for suffix, format_name in FORMATS.items():
        if not stem.endswith(suffix):
            continue
        if gzipped and format_name == "parquet":
            raise PipedriveConfigError(
                f"path: {path!r} asks for gzip around Parquet, which compresses itself. Leave out the .gz."
            )
        return Format(format_name, suffix + ".gz" * gzipped, gzipped)
    raise PipedriveConfigError(
        f"path: the suffix of {path!r} is not known. Use .jsonl, .ndjson or .csv, each also with .gz behind it,"
        " or .parquet."
    )
