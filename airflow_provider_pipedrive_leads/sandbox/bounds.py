"""How far the orders of the control API may go, so that none makes every later call fail. All raise ValueError."""

from __future__ import annotations

import math
from datetime import UTC, datetime

EARLIEST = 0.0
LATEST = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
"""Times that the clock may show, in seconds since 1970: beyond lie years that dates cannot name."""
MAX_SECONDS = 100 * 366 * 86_400.0
"""Of the sandbox's own time."""
MAX_REAL_SECONDS = 3_600.0
MAX_COUNT = 1_000_000_000_000
MAX_TEXT = 1_000


def number(value: object, name: str, least: float, most: float) -> float:
    """A number between two others, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} must be a number")  # noqa: TRY004 - the order is at fault, not a type
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not least <= found <= most:  # nor is what is not a number
        raise ValueError(f"{name} must be between {least:.15g} and {most:.15g}")
    return found


def whole(value: object, name: str, least: int = 0, most: int = MAX_COUNT) -> int:
    """A whole number between two others, or a text that is one."""
    found = number(value, name, least, most)
    if found != int(found):
        raise ValueError(f"{name} must be a whole number")
    return int(found)


def text(value: object, name: str) -> str:
    """A text of one line."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name} must be a text of one line, up to {MAX_TEXT} characters")
    return value


def moment(seconds: float) -> float:
    """A time that the clock may show."""
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError("the clock goes from 1970 to the year 9000")
    return seconds
