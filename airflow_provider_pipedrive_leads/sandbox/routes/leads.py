"""Leads. Vendor operations: getLeads, getArchivedLeads, getLead, addLead, updateLead, deleteLead, getLeadUsers."""

from __future__ import annotations

from typing import Any

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.fields import numbered_fields
from airflow_provider_pipedrive_leads.sandbox.lead_filters import as_sql
from airflow_provider_pipedrive_leads.sandbox.leads import (
    SORTABLE,
    app_origin,
    changed_lead,
    new_lead,
    read_changes,
    read_new_lead,
)
from airflow_provider_pipedrive_leads.sandbox.replies import (
    ApiError,
    InvalidError,
    Reply,
    data_reply,
    not_found,
    page_reply,
)
from airflow_provider_pipedrive_leads.sandbox.visibility import sees

READ = ("leads:read", "leads:full")
WRITE = ("leads:full",)
REFERENCES = ("owner_id", "person_id", "organization_id")


def get_leads(call: Call) -> Reply:
    """Active leads; offset pages that drift as rows come and go."""
    choices = call.world.choices
    if "archived_status" in call.query and choices["archived_status_parameter"] == "refused":
        raise InvalidError("archived_status is not allowed")
    bound = parameters.since(call.query, "updated_since", choices["updated_since_fractions"])
    return _list(call, archived=False, updated_since=bound)


def get_archived_leads(call: Call) -> Reply:
    """Archived leads, at twice the cost; the vendor's schema has no ``updated_since`` here."""
    effect = call.world.choices["archived_updated_since"]
    bound = None
    if "updated_since" in call.query and effect == "refused":
        raise InvalidError("updated_since is not allowed")
    if effect == "honoured":
        bound = parameters.since(call.query, "updated_since", call.world.choices["updated_since_fractions"])
    return _list(call, archived=True, updated_since=bound)


def _list(call: Call, *, archived: bool, updated_since: str | None) -> Reply:
    choices = call.world.choices
    start, limit = parameters.window(call.query, choices["limit_over_500"])
    where, values = _conditions(call)
    where.append("is_archived = ?")
    values.append(archived)
    if updated_since is not None:
        where.append("update_time >= ?")
        values.append(updated_since)
    pairs = parameters.order(call.query, SORTABLE, "add_time ASC")
    reversed_ties = choices["equal_times_order"] == "reversed"
    tie = "DESC" if (pairs[0][1] == "DESC") != reversed_ties else "ASC"
    order = ", ".join([*(f"{field} {direction}" for field, direction in pairs), f"seq {tie}"])
    rows = call.world.state.leads.rows(" AND ".join(where), values, order, limit + 1, start)
    return page_reply(rows, start, limit, shape=choices["paging_shape"], empty=choices["empty_page"])


def _conditions(call: Call) -> tuple[list[str], list[Any]]:
    visible, values = call.visible()
    where = [visible]
    filter_id = parameters.integer(call.query, "filter_id", least=0)
    if filter_id is not None:
        condition, filter_values = _filter_condition(call, filter_id)
        return [*where, condition], [*values, *filter_values]
    for name in REFERENCES:
        number = parameters.integer(call.query, name)
        if number is not None:
            where.append(f"{name} = ?")
            values.append(number)
    return where, values


def _filter_condition(call: Call, filter_id: int) -> tuple[str, list[Any]]:
    """What a filter keeps; it wins over the references named beside it."""
    found = call.world.state.filters.get(filter_id)
    if found is None:
        raise not_found("Filter")
    return as_sql(found["conditions"], numbered_fields("lead", call.world.state.custom_fields.all()))


def get_lead(call: Call) -> Reply:
    """One lead."""
    lead = _lead(call)
    if lead["is_archived"] and call.world.choices["archived_lead_get"] == "404":
        raise not_found("Lead")
    return data_reply(lead)


def add_lead(call: Call) -> Reply:
    """A new lead, linked to a person or an organization that is there; a repeated POST makes another one."""
    world, caller = call.world, call.caller
    values = read_new_lead(call.body, world.book)
    if caller.kind == "oauth":
        values |= app_origin(caller.client_id, caller.app_name, values, world.choices["oauth_origin_id"])
    lead = new_lead(world.fresh_lead_id(), world.company, world.stamp_ms(), caller.member.id, values)
    world.add_lead(lead, caller.member.id)
    return data_reply(lead, int(world.choices["lead_created_status"]))


def update_lead(call: Call) -> Reply:
    """A lead changed: absent keys stay, null unsets, label_ids replaces. An archived lead can only be restored."""
    world = call.world
    lead = _lead(call)
    restoring = set(call.body) == {"is_archived"}
    if lead["is_archived"] and not restoring:
        status = int(world.choices["archived_lead_edit"])
        raise ApiError(status, "Archived leads cannot be changed", code="ERR_LEAD_ARCHIVED")
    after = changed_lead(lead, read_changes(call.body, lead, world.book), world.stamp_ms(), world.choices.as_dict())
    if after != lead:
        world.put_lead(lead, after, call.caller.member.id)
    return data_reply(after)


def delete_lead(call: Call) -> Reply:
    """The lead is gone from both lists."""
    deleted = call.world.state.deleted_leads.raw(call.params["id"].lower()) is not None
    if deleted and call.world.choices["second_delete"] == "410":
        raise ApiError(410, "Lead is gone", "Object was deleted.")
    lead = _lead(call)
    call.world.remove_lead(lead, call.caller.member.id)
    return data_reply({"id": lead["id"]})


def get_lead_users(call: Call) -> Reply:
    """The ids of the users who may see the lead."""
    lead = _lead(call)
    members = call.world.members
    plan = call.world.options.plan
    owner = members[lead["owner_id"]]
    return data_reply([viewer.id for viewer in members.values() if sees(viewer, owner, lead["visible_to"], plan)])


def _lead(call: Call) -> dict[str, Any]:
    identity = call.params["id"].lower()
    if not parameters.is_uuid(identity):
        if call.world.choices["malformed_lead_id"] == "400":
            raise InvalidError("id must be a UUID")
        raise not_found("Lead")
    lead = call.world.state.leads.get(identity)
    if lead is None:
        raise not_found("Lead")
    if not sees(call.caller.member, call.world.members[lead["owner_id"]], lead["visible_to"], call.world.options.plan):
        raise not_found("Lead")
    return lead


ENDPOINTS = (
    Endpoint("GET", "/v1/leads", 20, READ, get_leads),
    Endpoint("GET", "/v1/leads/archived", 40, READ, get_archived_leads),
    Endpoint("GET", "/v1/leads/{id}", 2, READ, get_lead),
    Endpoint("POST", "/v1/leads", 10, WRITE, add_lead),
    Endpoint("PATCH", "/v1/leads/{id}", 10, WRITE, update_lead),
    Endpoint("DELETE", "/v1/leads/{id}", 6, WRITE, delete_lead),
    Endpoint("GET", "/v1/leads/{id}/permittedUsers", 10, READ, get_lead_users),
)
