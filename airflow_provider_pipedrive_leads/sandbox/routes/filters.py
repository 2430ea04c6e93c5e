"""Filters of type leads, v1.

Vendor operations: getFilters, getFilter, addFilter, updateFilter, deleteFilter, getFilterHelpers.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import plain_seconds
from airflow_provider_pipedrive_leads.sandbox.fields import numbered_fields
from airflow_provider_pipedrive_leads.sandbox.lead_filters import OPERATORS, read_conditions
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply, data_reply, not_found

Document = dict[str, Any]

READ = ("deals:read", "deals:full", "activities:read", "activities:full", "contacts:read", "contacts:full")
WRITE = ("deals:full", "activities:full", "contacts:full")
TYPES = ("deals", "leads", "org", "people", "products", "activity", "projects")


def get_filters(call: Call) -> Reply:
    """All filters, or those of one type, without their conditions."""
    where, values = "1", list[str]()
    if call.query.get("type"):
        where, values = "type = ?", [parameters.names(call.query, "type", TYPES)[0]]
    filters = call.world.state.filters.all(where, values)
    return data_reply([{name: item for name, item in each.items() if name != "conditions"} for each in filters])


def get_filter(call: Call) -> Reply:
    """One filter with its conditions; ``include_field_code`` adds the key of each field."""
    return _shown(call, _filter(call))


def add_filter(call: Call) -> Reply:
    """A new filter of type leads."""
    if call.body.get("type") != "leads":
        raise InvalidError("type must be leads: the sandbox has no other filters")
    time = plain_seconds(call.world.now_ms)
    added = call.world.state.filters.add(
        {
            **_read(call, ("name", "conditions")),
            "type": "leads",
            "filter_code": None,
            "is_editable": True,
            "active_flag": True,
            "temporary_flag": None,
            "user_id": call.caller.member.id,
            "add_time": time,
            "update_time": time,
            "visible_to": "7",
            "last_used_time": None,
            "custom_view_id": None,
        }
    )
    return _shown(call, added)


def update_filter(call: Call) -> Reply:
    """Another name or other conditions."""
    changed = {
        **_filter(call),
        **_read(call, tuple(name for name in ("name", "conditions") if name in call.body)),
        "update_time": plain_seconds(call.world.now_ms),
    }
    call.world.state.filters.put(changed)
    return _shown(call, changed)


def delete_filter(call: Call) -> Reply:
    """The filter is gone."""
    gone = _filter(call)
    call.world.state.filters.remove(gone["id"])
    return data_reply({"id": gone["id"]})


def get_filter_helpers(_: Call) -> Reply:
    """The operators that this sandbox evaluates."""
    return data_reply({"operators": OPERATORS})


def _read(call: Call, names: tuple[str, ...]) -> Document:
    given: Document = {}
    if "name" in names:
        given["name"] = parameters.read_text(call.body.get("name"), "name", 255)
    if "conditions" in names:
        fields = numbered_fields("lead", call.world.state.custom_fields.all())
        given["conditions"] = read_conditions(call.body.get("conditions"), fields)
    return given


def _filter(call: Call) -> Document:
    found = call.world.state.filters.get(parameters.integer(call.params, "id", least=0) or 0)
    if found is None:
        raise not_found("Filter")
    return found


def _shown(call: Call, found: Document) -> Reply:
    if parameters.boolean(call.query, "include_field_code"):
        return data_reply(found)
    groups = [
        {
            **group,
            "conditions": [
                {name: item for name, item in condition.items() if name != "field_code"}
                for condition in group["conditions"]
            ],
        }
        for group in found["conditions"]["conditions"]
    ]
    return data_reply({**found, "conditions": {**found["conditions"], "conditions": groups}})


ENDPOINTS = (
    Endpoint("GET", "/v1/filters/helpers", 20, READ, get_filter_helpers),
    Endpoint("GET", "/v1/filters", 20, READ, get_filters),
    Endpoint("GET", "/v1/filters/{id}", 2, READ, get_filter),
    Endpoint("POST", "/v1/filters", 10, WRITE, add_filter),
    Endpoint("PUT", "/v1/filters/{id}", 10, WRITE, update_filter),
    Endpoint("DELETE", "/v1/filters/{id}", 6, WRITE, delete_filter),
)
