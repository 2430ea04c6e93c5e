"""Rows of JSON Lines: one JSON object a line, UTF-8. Values are what JSON says; of a key that comes twice, the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.files.row import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_pipedrive_leads.files.lines import Lines

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How such a file begins."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def json_rows(lines: Lines) -> Iterator[Row]:
    """Give a row for each line that is not blank."""
    number = 1
    for block in lines.blocks():
        texts = block.split(b"\n")
        del texts[-1]  # what stands behind the last line feed: nothing
        yield from _rows(number, texts)
        number += len(texts)
    for row in _rows(number, [lines.rest]):
        if row.problem is None or _is_json(lines.rest):
            yield row
        elif lines.damage is None:
            yield Row(number, None, "the file ends in mid-line")
    if lines.damage is not None:
        yield Row(number, None, lines.damage)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _rows(first: int, texts: Sequence[bytes]) -> Iterator[Row]:
    """Rows of lines, all at once where all can be read."""
    try:
        found = list(map(_decode, texts))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        yield from (_row(number, text) for number, text in enumerate(texts, first) if text.strip())
    else:
        yield from map(Row, range(first, first + len(found)), found)


def _row(number: int, text: bytes) -> Row:
    try:
        return Row(number, _decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return Row(number, None, _words(text, problem))


def _words(text: bytes, problem: Exception) -> str:
    """Say what is wrong with a line, without showing it."""
    if text.startswith(UTF_16):
        return "the file is UTF-16. Save it as UTF-8"
    if b"\0" in text:
        return f"the line holds a NUL byte (byte {text.index(0) + 1})"
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return f"the line is not UTF-8 (byte {wrong.start + 1})"
    if isinstance(problem, RecursionError):
        return "the line is nested too deeply"
    if isinstance(problem, msgspec.ValidationError) and not text.lstrip().startswith(b"{"):
        return "the line is no JSON object"
    return f"the line is not JSON that can be read: {problem}"
