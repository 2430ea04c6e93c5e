"""Whether a lead has what is wanted: wire values compared as the API means them, not as they are spelt.

Servers store values in their own way: texts trimmed, amounts rounded to 2 decimals and numbers to 4, addresses laid
out anew. A value that was stored so is the same value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, ID_TYPES, RANGE_TYPES, Catalogue
from airflow_provider_pipedrive_leads.api.flat_values import option_ids, part_of, plain
from airflow_provider_pipedrive_leads.leads.reading.columns import attribute

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.fields import CustomField
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

Alike = Callable[["JSON", "JSON"], bool]
"""Compares a wanted value, which is not None, with a present one, which is not None either."""

log = logging.getLogger(__name__)

KEY_LENGTH = 40
DECIMALS_OF_MONEY = 2
DECIMALS_OF_NUMBERS = 4


class Kind(msgspec.Struct, frozen=True):
    """How values of a kind are compared.

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


def _always_so(alike: Alike) -> Kind:
    return Kind(alike, alike)


TEXT = Kind(lambda wanted, present: bool(wanted == present), _trimmed)
ADDRESS = Kind(lambda wanted, present: bool(wanted == present), _tidy)
NUMBER = Kind(_same_number, _rounded(DECIMALS_OF_NUMBERS))
AMOUNT = Kind(_same_number, _rounded(DECIMALS_OF_MONEY))
MONEY = Kind(_money(_same_number), _money(_rounded(DECIMALS_OF_MONEY)))
DAY = _always_so(_same_day)
TIME = _always_so(_same_time)
TRUTH = _always_so(_same_truth)
OPTIONS = _always_so(_same_options)
WORD = _always_so(_trimmed)
"""Ids and codes, which may come as numbers or texts."""

STANDARD: dict[str, Kind] = {
    "title": TEXT,
    "owner_id": WORD,
    "person_id": WORD,
    "organization_id": WORD,
    "value": MONEY,
    "expected_close_date": DAY,
    "label_ids": OPTIONS,
    "visible_to": WORD,
    "was_seen": TRUTH,
    "is_archived": TRUTH,
    "origin_id": TEXT,
    "channel": WORD,
    "channel_id": TEXT,
}
CUSTOM: dict[str, Kind] = {
    "double": NUMBER,
    "int": NUMBER,
    "monetary": AMOUNT,
    "date": DAY,
    "daterange": DAY,
    "time": TIME,
    "timerange": TIME,
    "boolean": TRUTH,
    "enum": WORD,
    "set": OPTIONS,
    "address": ADDRESS,
    **dict.fromkeys(ID_TYPES, WORD),
}


class Comparison:
    """Compares leads with wanted wire values.

    :param catalogue: tells the types of custom fields.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._kinds = dict(STANDARD)
        self._fields: dict[str, str] = {}
        for field in catalogue.fields:
            kinds = _kinds_of(field)
            self._kinds.update(kinds)
            self._fields.update(dict.fromkeys(kinds, field.key))
        self._attributes = {key: attribute(key) for key in self._kinds}

    def differing(self, wanted: Mapping[str, JSON], lead: Any) -> list[str]:
        """Name the keys in which a lead has not what is wanted.

        :param lead: has the attributes that :func:`leads.reading.columns.attribute` names, None where one is not set.
        """
        kinds, attributes = self._kinds, self._attributes
        names = []
        for key, value in wanted.items():
            found = getattr(lead, attributes[key])
            if value != found and not _alike(kinds[key].stored, value, self._flat(key, found, lead)):
                names.append(key)
        return names

    def _flat(self, key: str, found: JSON, lead: Any) -> JSON:
        """What a lead has under a key of a custom field, in v1's form, though it may be in another."""
        field = self._fields.get(key)
        if field is None:
            return found
        if found is None and key != field:
            return part_of(getattr(lead, self._attributes[field]), key.removeprefix(f"{field}_"))
        return plain(found)

    def rewritten(self, sent: Mapping[str, JSON], lead: Mapping[str, JSON]) -> list[str]:
        """Name the keys under which a lead came back with something else than was sent."""
        return [
            key
            for key, value in sent.items()
            if value != lead.get(key) and not _alike(self._kinds.get(key, TEXT).equal, value, lead.get(key))
        ]


def warn_of_rewritten(api: LeadsApi, sent: Mapping[str, JSON], lead: Mapping[str, JSON]) -> None:
    """Warn of fields whose value in the reply differs from what was sent; values are not shown."""
    is_custom = any(CUSTOM_KEY.fullmatch(key) for key in sent)
    catalogue = api.catalogue() if is_custom else Catalogue()
    keys = Comparison(catalogue).rewritten(sent, lead)
    if keys:
        names = {field.key: field.name for field in catalogue.fields}
        told = dict.fromkeys(names.get(key[:KEY_LENGTH], key) for key in keys)
        log.warning(
            "Lead %s: Pipedrive stored a value other than the one sent in: %s.", lead.get("id"), ", ".join(told)
        )


def _alike(alike: Alike, wanted: JSON, present: JSON) -> bool:
    if wanted is None or present is None or wanted == [] or present == []:
        return _is_empty(wanted) and _is_empty(present)
    return alike(wanted, present)


def _is_empty(value: JSON) -> bool:
    return value in (None, "", [])


def _kinds_of(field: CustomField) -> dict[str, Kind]:
    """How the keys of a custom field are compared: its own, and that of its second part."""
    kinds = {field.key: CUSTOM.get(field.type, TEXT)}
    if field.type == "monetary":
        kinds[f"{field.key}_currency"] = WORD
    if field.type in RANGE_TYPES:
        kinds[f"{field.key}_until"] = kinds[field.key]
    return kinds
