"""JSON Lines: one JSON object a line, UTF-8, lines end in ``\\n``. Values stay as they are; nulls are written too."""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_pipedrive_leads.files.table import Batch, Column

ROWS_AT_ONCE = 250
"""Whose text is in memory: a page of fat leads has tens of megabytes."""


class JsonLinesTable:
    """Writes a table: every row has every column, in their order."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._file = file
        self._row = row_maker([column.name for column in columns])
        self._encode = msgspec.json.Encoder().encode_lines

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch."""
        rows = map(self._row, *batch)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            self._file.write(self._encode(some))


def row_maker(names: Sequence[str]) -> Callable[..., Any]:
    """What makes an object out of a row's values: a class of its own, which is encoded far faster than a dict."""
    fields = [f"c{place}" for place in range(len(names))]
    try:
        return msgspec.defstruct(
            "Row", [(field, Any) for field in fields], rename=dict(zip(fields, names, strict=True)), gc=False
        )
    except ValueError:  # a name holds what JSON escapes, which such a class cannot
        return lambda *values: dict(zip(names, values, strict=True))


class JsonTexts:
    """Writes JSON texts that are JSON already and stand on one line each, without reading them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, texts: Sequence[Any]) -> None:
        """Append texts without line breaks: bytes, or anything that can be read as bytes."""
        for start in range(0, len(texts), ROWS_AT_ONCE):
            self._file.write(b"\n".join([*texts[start : start + ROWS_AT_ONCE], b""]))
