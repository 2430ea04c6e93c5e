"""Kinds of values, and values as their kind wants them: one rule for all destinations, read where nothing is lost.

Pipedrive may give an option as a number, an id as a text, a set as a list or a person as an object. What cannot be read
stays as it is; a destination with types then refuses it and names the column.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_pipedrive_leads.api.flat_values import option_ids, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Kind = Literal["text", "integer", "number", "boolean", "date", "time", "timestamp", "list<string>", "json"]
"""What :mod:`files.table` describes; Python's type for each stands below."""

LARGEST_EXACT = 2**53
USUAL: dict[Kind, set[type]] = {
    "text": {str},
    "integer": {int},
    "number": {int, float},
    "boolean": {bool},
    "date": {str},
    "time": {str},
    "timestamp": {str},
    "list<string>": {list},
}


def in_kind(kind: Kind, values: Sequence[Any]) -> Sequence[Any]:
    """Give the values of a column; those that are as usual come as they are."""
    usual = USUAL.get(kind)
    if usual is None:
        return values
    if set(map(type, values)) - {type(None)} - usual:
        read = READ[kind]
        return [value if value is None or type(value) in usual else read(value) for value in values]
    if kind == "list<string>" and set(map(type, chain.from_iterable(filter(None, values)))) - {str}:
        return [None if value is None else option_ids(value) for value in values]
    return values


def _text(value: Any) -> Any:
    main = plain(value)
    if isinstance(main, str) or main is None:
        return main
    return msgspec.json.encode(main).decode()


def _number(value: Any) -> Any:
    main = plain(value)
    if isinstance(main, str):
        try:
            return msgspec.json.decode(main, type=int | float)
        except msgspec.DecodeError:
            return value
    return main if main is None or type(main) in (int, float) else value


def _integer(value: Any) -> Any:
    number = _number(value)
    if isinstance(number, float) and number.is_integer() and abs(number) < LARGEST_EXACT:
        return int(number)
    return number


def _boolean(value: Any) -> Any:
    main = plain(value)
    truths: dict[Any, bool] = {1: True, "1": True, "true": True, 0: False, "0": False, "false": False}
    return truths.get(main, value) if isinstance(main, str | int) else value


def _plain_text(value: Any) -> Any:
    main = plain(value)
    return main if isinstance(main, str) or main is None else value


READ: dict[Kind, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _plain_text,
    "time": _plain_text,
    "timestamp": _plain_text,
    "list<string>": option_ids,
}
