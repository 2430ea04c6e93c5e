"""CSV for machines: a header, commas, double quotes where needed, lines end in ``\\n``, UTF-8.

* Null is nothing at all between two commas, an empty text is ``""``; readers that do not look at quotes take both for
  an empty text. In a table of one column null is ``""`` too, for many readers skip an empty line.
* Booleans are ``true`` and ``false``; lists and whatever JSON holds are JSON texts.
* Line breaks in a text, of any kind, stay as they are, inside quotes. Control characters stay as they are, but for
  NUL: databases and spreadsheets refuse it or cut the text there, so its sign U+2400 stands in its place.
* A text that begins with ``=``, ``+``, ``-`` or ``@`` is not altered: this is a file of data, and what is read back
  must be what was written. A person who opens it in a spreadsheet should import its columns as text, or the
  spreadsheet takes such a text for a formula.

Written here and not by Python's ``csv``, which before 3.12 cannot tell null from an empty text, before 3.13 leaves a
lone carriage return without quotes, and looks at every character by itself: columns at once are several times faster.
"""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_pipedrive_leads.files.table import Batch, Column

ROWS_AT_ONCE = 100
"""Whose text is in memory: a page of fat leads has tens of megabytes."""
NUL_SIGN = "\N{SYMBOL FOR NULL}"
EMPTY_TEXT = '""'

encode_lines = msgspec.json.Encoder().encode_lines


class CsvTable:
    """Writes a table: a header, then one record a row."""

    def __init__(self, file: IO[bytes], columns: Sequence[Column]) -> None:
        self._file = file
        self._cells = [CELLS.get(column.kind, text_cells) for column in columns]
        self._write_records([[quoted(column.name)] for column in columns])

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch."""
        self._write_records([cells(values) for cells, values in zip(self._cells, batch, strict=True)])

    def _write_records(self, columns: Sequence[Sequence[str]]) -> None:
        if len(columns) == 1:
            columns = [[cell or EMPTY_TEXT for cell in columns[0]]]
        records = map(",".join, zip(*columns, strict=True))
        while some := list(islice(records, ROWS_AT_ONCE)):
            self._file.write("\n".join([*some, ""]).replace("\0", NUL_SIGN).encode())


def quoted(text: str) -> str:
    """A text as a cell: inside quotes where it must be."""
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    if "," in text or "\n" in text or "\r" in text or not text:
        return f'"{text}"'
    return text


def text_cells(values: Sequence[Any]) -> Sequence[str]:
    """Cells of texts. Whether any needs quotes is asked of all at once."""
    try:
        together = "".join(filter(None, values))
    except TypeError:  # not only texts
        return [cell(value) for value in values]
    if '"' in together or "," in together or "\n" in together or "\r" in together:
        return ["" if value is None else quoted(value) for value in values]
    return [value or ("" if value is None else EMPTY_TEXT) for value in values]


def number_cells(values: Sequence[Any]) -> Sequence[str]:
    """Cells of numbers: the shortest digits that give the same number back."""
    return ["" if value is None else repr(value) if type(value) in (int, float) else cell(value) for value in values]


def json_cells(values: Sequence[Any]) -> Sequence[str]:
    """Cells of what only JSON can say; it has no line breaks, so all can be encoded at once."""
    texts = encode_lines(values).decode().replace('"', '""').split("\n")
    return [
        "" if value is None else f'"{text}"' if '"' in text or "," in text else text
        for value, text in zip(values, texts, strict=False)
    ]


def cell(value: Any) -> str:
    """Any value as a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return quoted(value)
    return quoted(msgspec.json.encode(value).decode())


def boolean_cells(values: Sequence[Any]) -> Sequence[str]:
    """Cells of true and false."""
    return ["true" if value is True else "false" if value is False else cell(value) for value in values]


CELLS: dict[str, Callable[[Sequence[Any]], Sequence[str]]] = {
    "integer": number_cells,
    "number": number_cells,
    "boolean": boolean_cells,
    "list<string>": json_cells,
    "json": json_cells,
}
