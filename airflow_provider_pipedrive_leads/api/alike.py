"""When two wire values are the same: compared as the API means them, not as they are spelt.

Servers store values in their own way: texts trimmed, amounts rounded to 2 decimals and numbers to 4, addresses laid
out anew. A value that was stored so is the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.flat_values import option_ids

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import JSON

Alike = Callable[["JSON", "JSON"], bool]
"""Compares a wanted value, which is not None, with a present one, which is not None either."""

DECIMALS_OF_MONEY = 2
DECIMALS_OF_NUMBERS = 4


class Likeness(msgspec.Struct, frozen=True):
    """How values are compared.

    :param equal: whether the present value is the wanted one, in whatever form.
    :param stored: whether it is what a server may make of the wanted one.
    """

    equal: Alike
    stored: Alike


def _rounded(decimals: int) -> Alike:
    def stored(wanted: JSON, present: JSON) -> bool:
        found, due = _number(present), _number(wanted)
        if found is None or due is None:
            return False
        half = 0.5 * 10**-decimals
        return found == due or (round(found, decimals) == found and abs(found - due) <= half * (1 + 1e-9))

    return stored


def _number(value: JSON) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _same_number(wanted: JSON, present: JSON) -> bool:
    return _number(wanted) == _number(present)


def _trimmed(wanted: JSON, present: JSON) -> bool:
    return str(wanted).strip() == str(present).strip()


def _tidy(wanted: JSON, present: JSON) -> bool:
    return _pieces(wanted) == _pieces(present)


def _pieces(address: JSON) -> list[str]:
    return [" ".join(piece.split()) for piece in str(address).split(",") if piece.strip()]


def _same_day(wanted: JSON, present: JSON) -> bool:
    return str(wanted)[:10] == str(present)[:10]


def _same_time(wanted: JSON, present: JSON) -> bool:
    return f"{wanted}:00"[:8] == f"{present}:00"[:8]


def _same_truth(wanted: JSON, present: JSON) -> bool:
    return _truth(wanted) is _truth(present)


def _truth(value: JSON) -> bool:
    return str(value).strip().lower() in ("1", "true")


def _same_options(wanted: JSON, present: JSON) -> bool:
    return set(option_ids(wanted)) == set(option_ids(present))


def _money(amounts: Alike) -> Alike:
    def alike(wanted: JSON, present: JSON) -> bool:
        if not isinstance(present, dict):
            return False
        return wanted["currency"] == present.get("currency") and amounts(wanted["amount"], present.get("amount"))

    return alike


def _always_so(alike: Alike) -> Likeness:
    return Likeness(alike, alike)


TEXT = Likeness(lambda wanted, present: bool(wanted == present), _trimmed)
ADDRESS = Likeness(lambda wanted, present: bool(wanted == present), _tidy)
NUMBER = Likeness(_same_number, _rounded(DECIMALS_OF_NUMBERS))
AMOUNT = Likeness(_same_number, _rounded(DECIMALS_OF_MONEY))
MONEY = Likeness(_money(_same_number), _money(_rounded(DECIMALS_OF_MONEY)))
DAY = _always_so(_same_day)
TIME = _always_so(_same_time)
TRUTH = _always_so(_same_truth)
OPTIONS = _always_so(_same_options)
WORD = _always_so(_trimmed)
"""Ids and codes, which may come as numbers or texts."""
