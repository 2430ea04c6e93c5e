"""Errors as events of triggers: what a trigger met goes through Airflow's database, and is raised in the task.

All that the error knows goes with it, for whoever catches it and for the retry policy. Events of earlier versions hold
kind and message alone, and are read like others; what cannot be read of one is left out.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api import errors
from airflow_provider_pipedrive_leads.api.errors import PipedriveError

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS: dict[str, type] = {
    "status": int,
    "error": str,
    "error_info": str,
    "correlation_id": str,
    "method": str,
    "path": str,
    "in_doubt": bool,
    "retry_after": float,
    "banned": bool,
    "resets_at": datetime,
    "needed": int,
}
"""What errors of all kinds know, and the types that it has."""


def error_event(error: PipedriveError) -> dict[str, Any]:
    """Give the event that tells of an error; it is plain JSON."""
    known = {name: getattr(error, name) for name in FACTS if getattr(error, name, None) is not None}
    facts = msgspec.to_builtins(known)
    return {"status": "error", "error": type(error).__name__, "message": str(error), "facts": facts}


def error_in(event: Mapping[str, Any]) -> PipedriveError:
    """Give the error that an event tells of, with all that it knew."""
    kind = getattr(errors, str(event.get("error")), None)
    if not (isinstance(kind, type) and issubclass(kind, PipedriveError)):
        kind = PipedriveError
    error = kind(str(event.get("message")))
    facts = event.get("facts")
    for name, value in facts.items() if isinstance(facts, dict) else ():
        if name in FACTS and hasattr(error, name):
            with suppress(msgspec.ValidationError):
                setattr(error, name, msgspec.convert(value, FACTS[name]))
    return error
