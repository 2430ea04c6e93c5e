"""Values of a batch, checked against the kind of their column and put into the form that every driver takes.

The forms: text, int, float, bool, and text for all other kinds: dates, times and moments in ISO 8601, lists and objects
as JSON. A NUL character, which PostgreSQL refuses in text, is removed for every database alike, and counted.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.files.table import Column

NUL = "\0"
NUL_IN_JSON = "\\u0000"
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1
DATE, MILLISECONDS = len("2026-01-31"), len("2026-01-31T09:30:00.123")

encode_lines = msgspec.json.Encoder().encode_lines


class Reader:
    """Reads the values of columns: all at once where they are as usual, one by one where they are not.

    :param zone: what to put behind a moment, which is in UTC: ``Z`` or nothing.
    :ivar removed: how many NUL characters were taken out so far.
    """

    def __init__(self, zone: str) -> None:
        self.removed = 0
        self._zone = zone
        self._usual: dict[Kind, Callable[[Sequence[Any], set[type]], list[Any] | None]] = {
            "text": self._usual_texts,
            "integer": _usual_integers,
            "number": _usual_numbers,
            "boolean": _usual_booleans,
            "date": _usual_dates,
            "timestamp": self._usual_moments,
            "list<string>": self._usual_lists,
            "json": self._usual_json,
        }
        self._reads: dict[Kind, Callable[[Any], Any]] = {
            "text": self._text,
            "integer": _integer,
            "number": _number,
            "boolean": _boolean,
            "date": _date,
            "time": _time,
            "timestamp": self._moment,
            "list<string>": self._texts,
            "json": self._json,
        }

    def column(self, column: Column, values: Sequence[Any], *, first: int = 1) -> list[Any]:
        """Read all values of a column; None stays None.

        :param first: number of the row of the first value, for the error.
        :raises PipedriveValidationError: a value is not of the column's kind; it does not show the value, for logs keep
            no data of leads.
        """
        usual = self._usual.get(column.kind)
        if usual is not None and (read_at_once := usual(values, set(map(type, values)) - {type(None)})) is not None:
            return read_at_once
        read = self._reads[column.kind]
        out = []
        for row, value in enumerate(values, first):
            try:
                out.append(None if value is None else read(value))
            except (TypeError, ValueError, OverflowError):
                raise PipedriveValidationError(
                    f"column {column.name!r}, row {row}: the value ({type(value).__name__}) is not of the kind"
                    f" {column.kind!r}; nothing was loaded."
                ) from None
        return out

    def _usual_texts(self, values: Sequence[Any], types: set[type]) -> list[Any] | None:
        if types - {str}:
            return None
        return None if NUL in "".join(filter(None, values)) else list(values)

    def _usual_moments(self, values: Sequence[Any], types: set[type]) -> list[Any] | None:
        if types - {str}:
            return None
        try:
            return [None if value is None else self._usual_moment(value) for value in values]
        except ValueError:
            return None

    def _usual_moment(self, value: str) -> str:
        if value[MILLISECONDS:] != "Z" or value[10] != "T":
            return self._moment(value)
        datetime.fromisoformat(value)
        return value[:MILLISECONDS] + self._zone

    def _usual_lists(self, values: Sequence[Any], types: set[type]) -> list[Any] | None:
        if types - {list} or set(map(type, chain.from_iterable(filter(None, values)))) - {str}:
            return None
        return self._usual_json(values, types)

    def _usual_json(self, values: Sequence[Any], types: set[type]) -> list[Any] | None:
        del types
        try:
            together = encode_lines(values).decode()
        except (TypeError, ValueError):
            return None
        if NUL_IN_JSON in together:
            return None
        return [None if value is None else text for value, text in zip(values, together.split("\n"), strict=False)]

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError
        return self._without_nul(value) if NUL in value else value

    def _texts(self, value: Any) -> str:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            raise TypeError
        return self._json(value)

    def _json(self, value: Any) -> str:
        text = msgspec.json.encode(value).decode()
        return msgspec.json.encode(self._clean(value)).decode() if NUL_IN_JSON in text else text

    def _moment(self, value: str) -> str:
        moment = datetime.fromisoformat(value)
        known = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return f"{known.replace(tzinfo=None).isoformat(timespec='milliseconds')}{self._zone}"

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._without_nul(value)
        if isinstance(value, list | tuple):
            return [self._clean(part) for part in value]
        if isinstance(value, dict):
            return {self._clean(name): self._clean(part) for name, part in value.items()}
        return value

    def _without_nul(self, text: str) -> str:
        self.removed += text.count(NUL)
        return text.replace(NUL, "")


def _usual_integers(values: Sequence[Any], types: set[type]) -> list[Any] | None:
    if types - {int}:
        return None
    present = [value for value in values if value is not None]
    fit = not present or SMALLEST_INTEGER <= min(present) <= max(present) <= LARGEST_INTEGER
    return list(values) if fit else None


def _usual_numbers(values: Sequence[Any], types: set[type]) -> list[Any] | None:
    if types - {int, float}:
        return None
    try:
        read = [None if value is None else float(value) for value in values]
    except OverflowError:
        return None
    return read if all(map(math.isfinite, (value for value in read if value is not None))) else None


def _usual_booleans(values: Sequence[Any], types: set[type]) -> list[Any] | None:
    return None if types - {bool} else list(values)


def _usual_dates(values: Sequence[Any], types: set[type]) -> list[Any] | None:
    try:
        usual = not types - {str} and all(
            len(value) == DATE and value[4] == value[7] == "-" and date.fromisoformat(value)
            for value in values
            if value is not None
        )
    except ValueError:
        return None
    return list(values) if usual else None


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise OverflowError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _date(value: str) -> str:
    return date.fromisoformat(value).isoformat()


def _time(value: str) -> str:
    return time.fromisoformat(value).replace(tzinfo=None).isoformat()
