"""Unpacking replies within a limit: a megabyte of gzip can hold a gigabyte."""

from __future__ import annotations

import zlib

ACCEPTED = "gzip, deflate"
"""What a request may say that it takes."""
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class TooLargeError(Exception):
    """There is more than may be taken in."""


def unpacked(packed: bytes, encoding: str, max_bytes: int) -> bytes:
    """Unpack a body.

    :param encoding: the header ``Content-Encoding``; empty for a body that is not packed.
    :param max_bytes: of the result.
    :raises TooLargeError: there is more.
    :raises ValueError: it is cut or spoiled, or packed in a way that was not asked for.
    """
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        if name in ("gzip", "x-gzip"):
            packed = _inflated(packed, _GZIP, max_bytes)
        elif name == "deflate":  # by the standard with zlib's frame, by some servers without it
            packed = _inflated(packed, _ZLIB if packed[:1] in (b"\x78", b"\x58", b"\x38") else _RAW, max_bytes)
        elif name not in ("", "identity"):
            raise ValueError("the body is packed in a way that was not asked for")
    return packed


def _inflated(packed: bytes, window: int, max_bytes: int) -> bytes:
    parts, left = [], max_bytes
    while packed:  # gzip may hold several members
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(packed, left + 1)
        except zlib.error:
            raise ValueError("the packed body is spoiled") from None
        left -= len(part)
        if left < 0:
            raise TooLargeError
        if not stream.eof:
            raise ValueError("the packed body is cut off")
        parts.append(part)
        packed = stream.unused_data
    return b"".join(parts)
