"""Deals as far as conversion needs them: what a lead turns into and back. No HTTP, no storage.

Sources: vendor operations convertLeadToDeal, convertDealToLead; section 5 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox.clock import iso_seconds
from airflow_provider_pipedrive_leads.sandbox.custom_values import as_v1_keys, as_v2_fields
from airflow_provider_pipedrive_leads.sandbox.leads import Company, new_lead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Document = dict[str, Any]

STAGES: dict[int, int] = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 2, 7: 2, 8: 2}
"""Pipeline of each stage."""
_CARRIED = ("title", "person_id", "expected_close_date", "origin", "origin_id", "channel", "channel_id")


def first_stage(pipeline_id: int) -> int | None:
    """The stage in which a pipeline begins; None for an unknown pipeline."""
    return min((stage for stage, pipeline in STAGES.items() if pipeline == pipeline_id), default=None)


def deal_from_lead(
    lead: Mapping[str, Any],
    stage_id: int,
    *,
    company: Company,
    now_ms: int,
    fields: Sequence[Document],
    settings: Mapping[str, str],
) -> Document:
    """The deal that a lead becomes, in v2 dress, without its number."""
    time = iso_seconds(now_ms) if settings["converted_deal_add_time"] == "now" else _in_seconds(lead["add_time"])
    value = lead["value"] or {"amount": 0, "currency": company.currency}
    return {
        **{name: lead[name] for name in _CARRIED},
        "creator_user_id": lead["creator_id"],
        "owner_id": lead["owner_id"],
        "org_id": lead["organization_id"],
        "value": value["amount"],
        "currency": value["currency"],
        "stage_id": stage_id,
        "pipeline_id": STAGES[stage_id],
        "add_time": time,
        "update_time": update_time_of_new(iso_seconds(now_ms), settings),
        "stage_change_time": None,
        "archive_time": None,
        "status": "open",
        "is_archived": False,
        "is_deleted": False,
        "probability": None,
        "lost_reason": None,
        "visible_to": int(lead["visible_to"]),
        "close_time": None,
        "won_time": None,
        "lost_time": None,
        "label_ids": [],
        "source_lead_id": lead["id"],
        "arr": None,
        "mrr": None,
        "acv": None,
        "custom_fields": as_v2_fields(lead, fields),
    }


def update_time_of_new(time: str, settings: Mapping[str, str]) -> str | None:
    """The ``update_time`` of a person, organization or deal that was just made."""
    return time if settings["new_record_update_time"] == "add_time" else None


def _in_seconds(time: str) -> str:
    return f"{time[:19]}Z"


def lead_from_deal(
    deal: Mapping[str, Any], identity: str, *, user: int, company: Company, now_ms: int, fields: Sequence[Document]
) -> Document:
    """The lead that a deal becomes."""
    values = {
        **{name: deal[name] for name in _CARRIED},
        "owner_id": deal["owner_id"],
        "organization_id": deal["org_id"],
        "value": {"amount": deal["value"], "currency": deal["currency"]},
        "source_name": "Deal",
        "source_deal_id": deal["id"],
        "visible_to": str(deal["visible_to"]),
        **as_v1_keys(deal["custom_fields"], fields),
    }
    return new_lead(identity, company, now_ms, user, values)
