"""Records on local disk, so that memory does not grow with what they hold."""

from __future__ import annotations

import os
import tempfile
from array import array
from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

BUFFER_BYTES = 1 << 20


class Spool:
    """JSON values in a temporary file, appended in order, read by number. Memory: 8 bytes a record.

    The file has no name: it is gone with the process, however that ends.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="pipedrive-leads-", buffering=BUFFER_BYTES)  # noqa: SIM115
        self._starts = array("Q", [0])
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder().decode
        self._flushed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, record: Any) -> None:
        """Add a record behind the others.

        :raises OSError: the disk is full.
        """
        text = self._encode(record)
        self._file.write(text)
        self._starts.append(self._starts[-1] + len(text))
        self._flushed = False

    def __getitem__(self, number: int) -> Any:
        """Read a record."""
        if not self._flushed:
            self._file.flush()
            self._flushed = True
        start = self._starts[number]
        return self._decode(os.pread(self._file.fileno(), self._starts[number + 1] - start, start))

    def __iter__(self) -> Iterator[Any]:
        """Read all records in order."""
        return (self[number] for number in range(len(self)))
