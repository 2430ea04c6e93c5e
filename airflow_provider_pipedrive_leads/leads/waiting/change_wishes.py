"""What somebody may ask to hear of changed leads: read here, and refused where no poll can see it.

DAG files are parsed all the time and read these parameters, so this module loads little.
"""

from __future__ import annotations

import json
import re
from datetime import date, time
from decimal import Decimal
from typing import Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import id_value, wrong

KINDS = ("created", "updated", "archived")
DEFAULT_KINDS = ("created", "updated")
DEFAULT_FIELDS = ("title", "owner_id", "person_id", "organization_id", "value")
MEANT_OTHERWISE = ("kind", "event_id")
PREVIOUS = re.compile(r"(previous|old|before)([._].*)?", re.IGNORECASE)
MOST_LEADS = 1000
UNSEEN = {
    "deleted": "a deleted lead is in no list, so a poll cannot tell it from one that never was; export with"
    " detect_deleted=True finds deleted leads",
    "converted": "a converted lead is in no list; wait for a conversion with PipedriveLeadConversionSensor",
    "restored": "a poll sees that a lead is active now, not that it was archived before; a restored lead comes as"
    " 'updated'",
}


def kinds_value(on: object) -> list[str]:
    """Read the kinds of changes, in one order whatever the order given.

    :raises PipedriveValidationError: there is none, or one that no poll can see.
    """
    wanted = {on} if isinstance(on, str) else set(on) if isinstance(on, list | tuple | set | frozenset) else set()
    for kind in sorted(map(str, wanted)):
        if kind in UNSEEN:
            raise PipedriveValidationError(f"on: {kind!r} cannot be told: {UNSEEN[kind]}.")
    if not wanted or not wanted <= set(KINDS):
        raise wrong("on", on, f"a set of {', '.join(KINDS)}")
    return [kind for kind in KINDS if kind in wanted]


def fields_value(fields: object) -> list[str]:
    """Read the names of fields that are told of each lead; whether the account has them shows later.

    :raises PipedriveValidationError: it is no list of names, or one asks for what a poll cannot see.
    """
    names = [fields] if isinstance(fields, str) else list(fields) if isinstance(fields, list | tuple) else [None]
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise wrong("fields", fields, "a list of names of fields")
        if PREVIOUS.fullmatch(name):
            raise PipedriveValidationError(
                f"fields: {name!r} cannot be told: a poll sees the present values of a lead, not those before the"
                " change. If a field of yours is called so, name it by its key."
            )
        if name in MEANT_OTHERWISE:
            raise PipedriveValidationError(f"fields: {name!r} means something else in an event; use the field's key.")
    return list(dict.fromkeys(names))


def expected_value(expected: object) -> dict[str, Any] | None:
    """Read the values that leads must have, in one order whatever the order given.

    :raises PipedriveValidationError: it is no mapping of fields to values that JSON can hold.
    """
    if expected is None:
        return None
    if not isinstance(expected, dict) or not expected:
        raise wrong("expected", expected, "a mapping of fields to values")
    plain = {str(name): json_value(value) for name, value in sorted(expected.items())}
    try:
        json.dumps(plain)
    except TypeError as problem:
        raise PipedriveValidationError(f"expected: holds a value that JSON has no form for ({problem}).") from None
    return plain


def links_value(**links: int | str | None) -> dict[str, int]:
    """Read the ids that a lead must have; None for any.

    :raises PipedriveValidationError: one is no id.
    """
    return {name: id_value(name, number) for name, number in links.items() if number is not None}


def most_leads_value(value: object) -> int:
    """Read how many leads an event may hold.

    :raises PipedriveValidationError: it is no number from 1 to 1000.
    """
    number = id_value("max_leads", value)
    if number > MOST_LEADS:
        raise wrong("max_leads", value, f"a number from 1 to {MOST_LEADS}")
    return number


def json_value(value: Any) -> Any:
    """Give a typed value the form in which JSON holds it: numbers as numbers, days and times as ISO texts."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(part) for part in value]
    return value
