"""What became of a lead: it is there, archived, converted, or deleted.

A lead that is not found by its id may be any of the last three: some accounts do not show archived leads by id. So
absence is looked into before it is believed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import find_deal
from airflow_provider_pipedrive_leads.leads.writing.settling import CLOCKS_APART

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi

BEGINNING_OF_UUID_TIME = datetime(1582, 10, 15, tzinfo=UTC)
LONG_AGO = "2010-01-01T00:00:00Z"
"""Before the first lead of any account."""


class Fate(msgspec.Struct, frozen=True):
    """What became of a lead.

    :param lead: as the API gives it, where it still does.
    :param deal_id: the deal that it was converted to.
    """

    outcome: Literal["there", "archived", "converted", "deleted"]
    lead: dict[str, Any] | None = None
    deal_id: int | None = None


def fate(api: LeadsApi, lead_id: str, *, there: str | None = None, changed: str | None = None) -> Fate:
    """Look for a lead (2 tokens), and if it is not found, for its deal (10 a page, 20 of archived ones) and among the
    archived leads (40 a page).

    :param there: a time by Pipedrive's clock at which the lead was there; default: when it was made, as its id tells.
    :param changed: an ``update_time`` that the lead had; default: the same.
    """
    lead = _get(api, lead_id)
    if lead is None:
        made = made_at(lead_id)
        deal_id = find_deal(api, lead_id, datetime.fromisoformat(there or made))
        if deal_id is not None:
            return Fate("converted", deal_id=deal_id)
        lead = _find_archived(api, lead_id, changed or made) or _get(
            api, lead_id
        )  # it may have been restored meanwhile
    return Fate("deleted") if lead is None else fate_of(lead)


def fate_of(lead: Lead) -> Fate:
    """What became of a lead that the API gives."""
    return Fate("archived" if lead.get("is_archived") else "there", lead)


def made_at(lead_id: str) -> str:
    """A second before a lead was made, which UUIDs of version 1 tell; else one before all leads."""
    number = UUID(lead_id)
    if number.version != 1:
        return LONG_AGO
    made = BEGINNING_OF_UUID_TIME + timedelta(microseconds=number.time // 10) - CLOCKS_APART
    return moment_value("lead_id", made) if made.year < datetime.now(UTC).year + 1 else LONG_AGO


def _get(api: LeadsApi, lead_id: str) -> Lead | None:
    try:
        return api.get_lead(lead_id)
    except PipedriveNotFoundError:
        return None


def _find_archived(api: LeadsApi, lead_id: str, changed: str) -> Lead | None:
    bound = changed.removesuffix("Z")
    newest_first = api.get_archived_leads(sort="update_time DESC")
    within = takewhile(lambda lead: lead["update_time"] >= bound, newest_first)
    return next((lead for lead in within if lead["id"] == lead_id), None)
