"""One lead: whether it is there, and its custom fields by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.field_types import STANDARD_FIELDS

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi

CHOICES = ("names", "keys")


def read_lead(api: LeadsApi, lead_id: str, columns: str = "names") -> Lead:
    """Fetch a lead (2 tokens) as values that JSON knows.

    :param columns: ``keys`` for what the API gives; ``names`` to have each custom field by the name that people see,
        too: options by label, numbers, dates and times as texts, None where it is not set. Fields that share a name, or
        have that of one of Pipedrive's own, stay under their keys. Names cost 20 tokens unless they are known.
    :raises PipedriveNotFoundError: there is no such lead, or it is archived and this account does not give it by id.
    """
    if columns not in CHOICES:
        raise PipedriveValidationError(f"columns: {columns!r} is neither 'names' nor 'keys'.")
    try:
        lead = api.get_lead(lead_id)
    except PipedriveNotFoundError as error:
        error.args = (
            f"{error} If it is archived: not every account gives archived leads by id; export archived='only' to see"
            " it.",
        )
        raise
    if columns == "keys":
        return lead
    named = {name: value for name, value in api.named_fields(lead).items() if name not in {*lead, *STANDARD_FIELDS}}
    return {**lead, **msgspec.to_builtins(named)}


def lead_is_there(api: LeadsApi, lead_id: str) -> bool:
    """Whether the API gives a lead by its id (2 tokens); one that is archived may not be given."""
    try:
        api.get_lead(lead_id)
    except PipedriveNotFoundError:
        return False
    return True
