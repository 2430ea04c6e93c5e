"""Fields of leads and deals.

Vendor operations: getLeadFields; getDealFields, getDealField, addDealField (v1, v2); updateDealField, deleteDealField
(v2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.sandbox import parameters, seed
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.custom_values import companion_keys
from airflow_provider_pipedrive_leads.sandbox.fields import (
    CREATABLE_TYPES,
    as_v1,
    as_v2,
    custom_field,
    field_key,
    standard_fields,
)
from airflow_provider_pipedrive_leads.sandbox.replies import (
    InvalidError,
    Reply,
    data_reply,
    json_reply,
    not_found,
    page_reply,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAD_READ = ("leads:read", "leads:full", "admin")
DEAL_READ = ("deals:read", "deals:full", "deal-fields:full", "admin")
DEAL_WRITE = ("deal-fields:full", "admin")
LONGEST_NAME = 255


def get_lead_fields(call: Call) -> Reply:
    """Lead fields with the deal custom fields, as v1 items."""
    return _v1_list(call, "lead")


def get_deal_fields(call: Call) -> Reply:
    """Deal fields as v1 items."""
    return _v1_list(call, "deal")


def _v1_list(call: Call, entity: str) -> Reply:
    start, limit = parameters.window(call.query)
    items = [item for field in _fields(call, entity) for item in as_v1(field)][start : start + limit + 1]
    rows = [msgspec.json.encode(item) for item in items]
    return page_reply(rows, start, limit, shape=call.world.choices["field_paging_shape"])


def get_deal_field(call: Call) -> Reply:
    """One deal field by number, as a v1 item."""
    for item in (as_v1(field)[0] for field in _fields(call, "deal")):
        if str(item["id"]) == call.params["id"]:
            return data_reply(item)
    raise not_found("Field")


def add_deal_field(call: Call) -> Reply:
    """A new custom field for deals and leads, v1: name, field_type, options as names or labels."""
    return data_reply(as_v1(_add(call, "name"))[0])


def get_deal_fields_v2(call: Call) -> Reply:
    """Deal fields in v2 dress."""
    start, limit = parameters.cursor_window(call.query)
    items = [as_v2(field) for field in _fields(call, "deal")][start : start + limit + 1]
    following = parameters.cursor_at(start + limit) if len(items) > limit else None
    return data_reply(items[:limit], additional_data={"next_cursor": following})


def get_deal_field_v2(call: Call) -> Reply:
    """One deal field by code."""
    return data_reply(as_v2(_by_code(call, _fields(call, "deal"))))


def add_deal_field_v2(call: Call) -> Reply:
    """A new custom field for deals and leads, v2."""
    return data_reply(as_v2(_add(call, "field_name")))


def update_deal_field_v2(call: Call) -> Reply:
    """Another name or description for a custom field."""
    field = _by_code(call, call.world.state.custom_fields.all())
    if "field_name" in call.body:
        field["name"] = parameters.read_text(call.body["field_name"], "field_name", LONGEST_NAME).strip()
    if call.body.get("description") is not None:
        field["description"] = parameters.read_text(call.body["description"], "description")
    field["update_ms"] = call.world.now_ms
    call.world.state.custom_fields.put(field)
    return data_reply(as_v2(field))


def delete_deal_field_v2(call: Call) -> Reply:
    """A custom field goes, and its values vanish from leads and deals."""
    field = _by_code(call, call.world.state.custom_fields.all())
    state = call.world.state
    state.custom_fields.remove(field["id"])
    gone = {field["key"], *companion_keys(field)}
    for lead in state.leads.all("instr(doc, ?)", [field["key"]]):
        state.leads.put({name: value for name, value in lead.items() if name not in gone})
    for deal in state.deals.all("instr(doc, ?)", [field["key"]]):
        deal["custom_fields"].pop(field["key"], None)
        state.deals.put(deal)
    return json_reply({"success": True, "data": as_v2(field)})


def _fields(call: Call, entity: str) -> list[dict[str, Any]]:
    company_ms = seed.ANCHOR - 2 * seed.TWO_YEARS_MS
    return [*standard_fields(entity, company_ms), *call.world.state.custom_fields.all()]


def _by_code(call: Call, fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    for field in fields:
        if field["key"] == call.params["field_code"]:
            return field
    raise not_found()


def _add(call: Call, name_key: str) -> dict[str, Any]:
    body, world = call.body, call.world
    name = parameters.read_text(body.get(name_key), name_key, LONGEST_NAME).strip()
    field_type = body.get("field_type")
    if field_type not in CREATABLE_TYPES:
        raise InvalidError(f"field_type must be one of {', '.join(CREATABLE_TYPES)}")
    options = _options(call, body.get("options")) if field_type in ("enum", "set") else None
    number = world.state.custom_fields.last_number() + 1
    key = field_key(world.options.seed, number)
    return world.state.custom_fields.add(
        custom_field(key, name, str(field_type), options, user=call.caller.member.id, now_ms=world.now_ms)
    )


def _options(call: Call, given: object) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise InvalidError("options are required for this field_type")
    labels = [parameters.read_text(_label(option), "options.label", LONGEST_NAME).strip() for option in given]
    used = [option["id"] for field in call.world.state.custom_fields.all() for option in field["options"] or []]
    first = max(used, default=seed.FIRST_OPTION_ID) + 1
    return [{"id": first + place, "label": label} for place, label in enumerate(labels)]


def _label(option: object) -> object:
    return option.get("label") if isinstance(option, dict) else option


ENDPOINTS = (
    Endpoint("GET", "/v1/leadFields", 20, LEAD_READ, get_lead_fields),
    Endpoint("GET", "/v1/dealFields", 20, DEAL_READ, get_deal_fields),
    Endpoint("GET", "/v1/dealFields/{id}", 2, DEAL_READ, get_deal_field),
    Endpoint("POST", "/v1/dealFields", 10, DEAL_WRITE, add_deal_field),
    Endpoint("GET", "/api/v2/dealFields", 10, DEAL_READ, get_deal_fields_v2),
    Endpoint("GET", "/api/v2/dealFields/{field_code}", 1, DEAL_READ, get_deal_field_v2),
    Endpoint("POST", "/api/v2/dealFields", 5, DEAL_WRITE, add_deal_field_v2),
    Endpoint("PATCH", "/api/v2/dealFields/{field_code}", 5, (*DEAL_WRITE, "deals:full"), update_deal_field_v2),
    Endpoint("DELETE", "/api/v2/dealFields/{field_code}", 3, DEAL_WRITE, delete_deal_field_v2),
)
