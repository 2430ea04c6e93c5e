"""Conversion and deals, v2.

Vendor operations: convertLeadToDeal, getLeadConversionStatus, convertDealToLead, getDealConversionStatus, getDeals,
getArchivedDeals, getDeal, updateDeal (``is_archived`` alone), deleteDeal.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_pipedrive_leads.sandbox import conversion, parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import iso_seconds
from airflow_provider_pipedrive_leads.sandbox.deals import STAGES, first_stage
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply, data_reply, not_found
from airflow_provider_pipedrive_leads.sandbox.routes.listing import cursor_list
from airflow_provider_pipedrive_leads.sandbox.visibility import sees

LEADS_READ = ("leads:read", "leads:full")
LEADS_WRITE = ("leads:full",)
DEALS_READ = ("deals:read", "deals:full")
DEALS_WRITE = ("deals:full",)
DEAL_STATUSES = ("open", "won", "lost", "deleted")
DEAL_FILTERS = ("owner_id", "person_id", "org_id", "pipeline_id", "stage_id")


def convert_lead(call: Call) -> Reply:
    """Begin turning a lead into a deal; stage_id wins over pipeline_id."""
    lead = _visible(call, call.world.state.leads.get(_uuid(call, "id")))
    unknown = set(call.body) - {"stage_id", "pipeline_id"}
    if unknown:
        raise InvalidError(f"{min(unknown)} is not allowed")
    begun = conversion.begin(call.world, "lead", lead["id"], call.caller.member.id, _stage(call.body))
    return _accepted(begun)


def convert_deal(call: Call) -> Reply:
    """Begin turning a deal into a lead."""
    deal = _visible(call, call.world.state.deals.get(_number(call, "id")))
    return _accepted(conversion.begin(call.world, "deal", deal["id"], call.caller.member.id))


def lead_conversion_status(call: Call) -> Reply:
    """How far a lead's conversion is; ``deal_id`` once it is completed."""
    return _status(call, "lead", _uuid(call, "id"), "deal_id")


def deal_conversion_status(call: Call) -> Reply:
    """How far a deal's conversion is; ``lead_id`` once it is completed."""
    return _status(call, "deal", _number(call, "id"), "lead_id")


def get_deals(call: Call) -> Reply:
    """Deals that are neither archived nor deleted, or those of one status."""
    return _deals(call, archived=False)


def get_archived_deals(call: Call) -> Reply:
    """Archived deals, likewise."""
    return _deals(call, archived=True)


def _deals(call: Call, *, archived: bool) -> Reply:
    status = call.query.get("status", "")
    wanted = parameters.names(call.query, "status", DEAL_STATUSES) if status else DEAL_STATUSES[:3]
    where, values = ["is_archived = ?", f"status IN ({', '.join('?' * len(wanted))})"], [int(archived), *wanted]
    return cursor_list(call, call.world.state.deals, where, values, DEAL_FILTERS)


def update_deal(call: Call) -> Reply:
    """A deal archived or restored."""
    deal = _visible(call, call.world.state.deals.get(_number(call, "id")), "Deal")
    archived = call.body.get("is_archived")
    if set(call.body) != {"is_archived"} or not isinstance(archived, bool):
        raise InvalidError("is_archived must be given, and nothing else")
    now = iso_seconds(call.world.now_ms)
    deal |= {"is_archived": archived, "archive_time": now if archived else None, "update_time": now}
    call.world.state.deals.put(deal)
    return data_reply(deal)


def get_deal(call: Call) -> Reply:
    """One deal; a deleted one too, marked as such."""
    return data_reply(_visible(call, call.world.state.deals.get(_number(call, "id")), "Deal"))


def delete_deal(call: Call) -> Reply:
    """A deal marked as deleted."""
    deal = _visible(call, call.world.state.deals.get(_number(call, "id")), "Deal")
    if deal["is_deleted"]:
        raise not_found("Deal")
    call.world.state.deals.put({**deal, "is_deleted": True, "status": "deleted"})
    call.world.reindex_later("deal", deal["id"])
    return data_reply({"id": deal["id"]})


def _accepted(begun: dict[str, Any]) -> Reply:
    return data_reply({"conversion_id": begun["id"]}, additional_data=None)


def _status(call: Call, kind: str, source_id: int | str, target: str) -> Reply:
    found = conversion.find(call.world, kind, source_id, _uuid(call, "conversion_id"))
    if found is None:
        raise not_found()
    result = {} if found["target_id"] is None else {target: found["target_id"]}
    data = {**result, "conversion_id": found["id"], "status": found["status"]}
    return data_reply(data, additional_data=None)


def _visible(call: Call, thing: dict[str, Any] | None, name: str = "Entity") -> dict[str, Any]:
    members, plan = call.world.members, call.world.options.plan
    if thing is None or not sees(call.caller.member, members[thing["owner_id"]], str(thing["visible_to"]), plan):
        raise not_found(name)
    return thing


def _stage(body: dict[str, Any]) -> int:
    if body.get("stage_id") is not None:
        stage = parameters.read_integer(body["stage_id"], "stage_id")
        if stage not in STAGES:
            raise InvalidError("stage_id names no stage")
        return stage
    pipeline = body.get("pipeline_id")
    first = first_stage(1 if pipeline is None else parameters.read_integer(pipeline, "pipeline_id"))
    if first is None:
        raise InvalidError("pipeline_id names no pipeline")
    return first


def _uuid(call: Call, name: str) -> str:
    return parameters.read_uuid(call.params[name], name)


def _number(call: Call, name: str) -> int:
    return parameters.integer(call.params, name, least=0) or 0


ENDPOINTS = (
    Endpoint("POST", "/api/v2/leads/{id}/convert/deal", 40, LEADS_WRITE, convert_lead),
    Endpoint("GET", "/api/v2/leads/{id}/convert/status/{conversion_id}", 1, LEADS_READ, lead_conversion_status),
    Endpoint("POST", "/api/v2/deals/{id}/convert/lead", 40, DEALS_WRITE, convert_deal),
    Endpoint("GET", "/api/v2/deals/{id}/convert/status/{conversion_id}", 1, DEALS_READ, deal_conversion_status),
    Endpoint("GET", "/api/v2/deals", 10, DEALS_READ, get_deals),
    Endpoint("GET", "/api/v2/deals/archived", 20, DEALS_READ, get_archived_deals),
    Endpoint("GET", "/api/v2/deals/{id}", 1, DEALS_READ, get_deal),
    Endpoint("PATCH", "/api/v2/deals/{id}", 5, DEALS_WRITE, update_deal),
    Endpoint("DELETE", "/api/v2/deals/{id}", 3, DEALS_WRITE, delete_deal),
)
