"""Whole lines of a file, in blocks, so that memory does not grow with the file; gzipped or not."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 18
BOM = b"\xef\xbb\xbf"


class Lines:
    """Reads a file once.

    :param file: open for reading, at its beginning.
    :ivar rest: what stands behind the last line feed; known when the blocks are at their end.
    :ivar damage: why the file ends before its end; None if it does not. Known when the blocks are at their end.
    """

    def __init__(self, file: IO[bytes], *, gzipped: bool) -> None:
        self.rest = b""
        self.damage: str | None = None
        # read1: a read that meets the damage in its midst would give nothing of what came before
        self._read: Callable[[int], bytes] = gzip.GzipFile(fileobj=file, mode="rb").read1 if gzipped else file.read

    def blocks(self) -> Iterator[bytes]:
        """Give the lines, some thousand at a time, each with its line feed; without a byte order mark."""
        waiting: list[bytes] = []
        at_start = True
        for chunk in self._chunks():
            lines, feed, rest = chunk.rpartition(b"\n")
            if not feed:
                waiting.append(rest)
                continue
            block = b"".join([*waiting, lines, feed])
            yield block.removeprefix(BOM) if at_start else block
            waiting, at_start = [rest], False
        rest = b"".join(waiting)
        self.rest = rest.removeprefix(BOM) if at_start else rest

    def _chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._read(BLOCK_BYTES):
                yield chunk
        except EOFError:
            self.damage = "the file ends early: its gzip data is cut off here"
        except (gzip.BadGzipFile, zlib.error) as problem:
            self.damage = f"the file is damaged: its gzip data cannot be read from here on ({problem})"
