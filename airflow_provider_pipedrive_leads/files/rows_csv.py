"""Rows of CSV: a header, commas, double quotes, UTF-8.

Values are texts. A cell with nothing in it is None, with quotes or without: Python's ``csv`` cannot tell them apart.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.row import Row, check_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_pipedrive_leads.files.lines import Lines

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
WORDS = {
    "unexpected end of data": "a quote that is opened here is not closed before the end of the file",
    "field larger": "a cell is longer than {limit} characters",
    "expected after": "a quote within a cell in quotes is not doubled",
    "new-line character": "a carriage return stands in a cell without quotes",
}
"""What Python's words for a row that is no CSV mean."""


class CsvRows:
    """Rows of a file, whose header is read at once.

    :param where: the file, as an error begins.
    :raises PipedriveConfigError: the header is none.
    """

    def __init__(self, lines: Lines, where: str) -> None:
        self._source = lines
        self._where = where
        self._line = 0
        self._quotes = 0
        self._unclean = False
        self._at_rest = False
        self._texts = self._lines()
        self._reader = csv.reader(self._texts, strict=True)
        self._names = self._header()

    def __iter__(self) -> Iterator[Row]:
        names, width = self._names, len(self._names)
        first = self._line + 1
        while True:
            try:
                for cells in self._reader:
                    if len(cells) != width or self._unclean:
                        if len(cells) == width or (self._at_rest and len(cells) > 1) or any(map(str.strip, cells)):
                            yield self._checked(first, cells)
                    else:
                        values = [cell or None for cell in cells] if "" in cells else cells
                        yield Row(first, dict(zip(names, values, strict=True)))
                    first, self._quotes = self._line + 1, 0
                break
            except csv.Error as problem:
                if self._source.damage is None:
                    yield Row(first, None, self._skipped(first, problem))
            first, self._quotes = self._line + 1, 0
        if self._source.damage is not None:
            yield Row(first, None, self._source.damage)

    def _lines(self) -> Iterator[str]:
        """Lines as texts. A byte that is not UTF-8 becomes half a character, which nothing else can be."""
        for block in self._source.blocks():
            for line in io.StringIO(self._text(block), newline="\n"):
                self._line += 1
                self._quotes += line.count('"')
                yield line
        if self._source.rest and self._source.damage is None:
            self._line += 1
            self._at_rest = self._unclean = True
            yield self._text(self._source.rest)

    def _text(self, block: bytes) -> str:
        self._unclean = self._unclean or b"\0" in block
        try:
            return block.decode()
        except UnicodeDecodeError:
            self._unclean = True
            return block.decode(errors="surrogateescape")

    def _header(self) -> Sequence[str]:
        try:
            names: list[str] = next((cells for cells in self._reader if cells), [])
        except csv.Error as problem:
            if "new-line character" in str(problem):
                self._refuse("its lines end with carriage returns only. Save it with line feeds")
            if self._source.damage is None:
                self._refuse(f"the header is not CSV: {_words(problem)}")
            return []
        if any("\0" in name for name in names):
            self._refuse("it seems to be UTF-16. Save the file as CSV UTF-8")
        if names and names[0].lower().startswith("sep="):
            self._refuse(f"its first line is {names[0][:5]!r}, which only Excel understands. Delete that line")
        if any(_flaw(name) for name in names):
            self._refuse("the header is not UTF-8. Save the file as CSV UTF-8")
        for mark, word in OTHER_SEPARATORS.items():
            if len(names) == 1 and mark in names[0]:
                self._refuse(f"the columns seem to be separated by {word}. Save it with commas")
        check_names(names, self._where)
        return names

    def _refuse(self, words: str) -> NoReturn:
        raise PipedriveConfigError(f"{self._where}: {words}.")

    def _checked(self, number: int, cells: Sequence[str]) -> Row:
        """A row that may not be clean."""
        if len(cells) != len(self._names):
            return Row(number, None, f"the row has {len(cells)} cells, where the header has {len(self._names)}")
        for name, cell in zip(self._names, cells, strict=True):
            if flaw := _flaw(cell):
                return Row(number, None, f"column {name!r} {flaw}")
        values = {name: cell or None for name, cell in zip(self._names, cells, strict=True)}
        return Row(number, values, may_be_cut=self._at_rest)

    def _skipped(self, first: int, problem: csv.Error) -> str:
        """Pass over a row that cannot be read; say why, and how far it goes.

        Within a cell that is too long lines are no rows: they are passed over until its quote is closed.
        """
        words = _words(problem)
        in_quotes = "field larger" in str(problem) and self._quotes % 2
        if in_quotes and not any(self._quotes % 2 == 0 for _ in self._texts):
            words = WORDS["unexpected end of data"]
        return words if self._line <= first else f"{words} (lines {first} to {self._line})"


def _flaw(cell: str) -> str:
    """What is wrong with a text; empty if nothing is."""
    if "\0" in cell:
        return "holds a NUL byte"
    try:
        cell.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def _words(problem: csv.Error) -> str:
    for part, words in WORDS.items():
        if part in str(problem):
            return words.format(limit=csv.field_size_limit())
    return f"the row is not CSV: {problem}"
