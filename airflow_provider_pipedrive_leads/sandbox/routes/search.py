"""Search. Vendor operations: searchLeads (v1, v2), searchPersons, searchOrganization, searchItem, searchItemByField."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply, data_reply

if TYPE_CHECKING:
    from collections.abc import Sequence

LEADS = ("leads:read", "leads:full", "search:read")
CONTACTS = ("contacts:read", "contacts:full", "search:read")
SEARCH = ("search:read",)
ITEM_TYPES = ("deal", "person", "organization", "product", "lead", "file", "mail_attachment", "project")
ENTITY_TYPES = ("deal", "lead", "person", "organization", "product", "project")
MATCHES = ("exact", "beginning", "middle")
ITEM_FIELDS = ("address", "code", "custom_fields", "email", "name", "notes", "phone", "title", "description")
MOST_ITEMS = 100
SHORTEST_TERM = 2
# What the API calls a field and what the index calls it.
_INDEXED = {"title": "name", "name": "name", "code": "name", "description": "name"}


@dataclass(frozen=True)
class Scope:
    """Where a search looks: kinds of things, the fields that may be named, further conditions."""

    kinds: tuple[str, ...]
    fields: tuple[str, ...]
    references: tuple[str, ...] = ()


LEAD_SCOPE = Scope(("lead",), ("custom_fields", "notes", "title"), ("person_id", "organization_id"))
PERSON_SCOPE = Scope(("person",), ("custom_fields", "email", "notes", "phone", "name"), ("organization_id",))
ORGANIZATION_SCOPE = Scope(("organization",), ("address", "custom_fields", "notes", "name"))


def search_leads_v1(call: Call) -> Reply:
    """Leads by text, start/limit paging, at twice the cost of v2."""
    start, limit = parameters.window(call.query)
    hits = _find(call, LEAD_SCOPE, start, limit)
    page: dict[str, Any] = {"start": start, "limit": limit, "more_items_in_collection": len(hits) > limit}
    if len(hits) > limit:
        page["next_start"] = start + limit
    return data_reply({"items": hits[:limit]}, additional_data={"pagination": page})


def search_leads(call: Call) -> Reply:
    """Leads by text, cursor paging."""
    return _search_v2(call, LEAD_SCOPE)


def search_persons(call: Call) -> Reply:
    """Persons by text."""
    return _search_v2(call, PERSON_SCOPE)


def search_organizations(call: Call) -> Reply:
    """Organizations by text."""
    return _search_v2(call, ORGANIZATION_SCOPE)


def search_items(call: Call) -> Reply:
    """Things of several types by text, at most 100 a page."""
    kinds = parameters.names(call.query, "item_types", ITEM_TYPES)
    parameters.boolean(call.query, "search_for_related_items")
    start, limit = parameters.cursor_window(call.query, MOST_ITEMS)
    hits = _find(call, Scope(kinds, ITEM_FIELDS), start, limit)
    data = {"items": hits[:limit], "related_items": []}
    return data_reply(data, additional_data={"next_cursor": _following(hits, start, limit)})


def search_items_by_field(call: Call) -> Reply:
    """Things by the value of one field, case and all: the way to find a lead by an external id."""
    entity, key = call.query.get("entity_type", ""), call.query.get("field", "")
    match = call.query.get("match", "exact")
    if entity not in ENTITY_TYPES:
        raise InvalidError(f"entity_type must be one of {', '.join(ENTITY_TYPES)}")
    if not re.fullmatch(r"\w{1,64}", key, re.ASCII):
        raise InvalidError("field must be the key of a field")
    if match not in MATCHES:
        raise InvalidError(f"match must be one of {', '.join(MATCHES)}")
    term = _term(call, shortest=1 if match == "exact" else SHORTEST_TERM)
    start, limit = parameters.cursor_window(call.query)
    where, values = call.visible()
    found = call.world.index.find_by_value(
        entity, key, term, match, where=where, values=values, start=start, limit=limit
    )
    items = [{"result_score": 1, "item": hit["shown"]} for hit in found]
    following = _following(items, start, limit)
    return data_reply(items[:limit], additional_data={"next_cursor": following})


def _search_v2(call: Call, scope: Scope) -> Reply:
    start, limit = parameters.cursor_window(call.query)
    hits = _find(call, scope, start, limit)
    return data_reply({"items": hits[:limit]}, additional_data={"next_cursor": _following(hits, start, limit)})


def _find(call: Call, scope: Scope, start: int, limit: int) -> list[dict[str, Any]]:
    exact = parameters.boolean(call.query, "exact_match")
    term = _term(call, shortest=1 if exact else SHORTEST_TERM)
    fields = parameters.names(call.query, "fields", scope.fields)
    visible, values = call.visible()
    where = [visible]
    for name in scope.references:
        number = parameters.integer(call.query, name)
        if number is not None:
            where.append(f"{name} = ?")
            values.append(number)
    if call.world.choices["search_archived"] == "left_out":
        where.append("archived = 0")
    hits = call.world.index.find(
        scope.kinds,
        term,
        tuple(dict.fromkeys(_INDEXED.get(field, field) for field in fields)),
        exact=exact,
        where=" AND ".join(where),
        values=values,
        start=start,
        limit=limit,
    )
    seen = "lead.was_seen" in call.query.get("include_fields", "")
    return [{**hit, "item": _shown(hit["item"], seen)} for hit in hits]


def _shown(stored: dict[str, Any], seen: bool) -> dict[str, Any]:
    shown: dict[str, Any] = stored["shown"]
    return {**shown, "was_seen": stored["was_seen"]} if seen and "was_seen" in stored else shown


def _term(call: Call, shortest: int) -> str:
    term = call.query.get("term", "").strip()
    if len(term) < shortest:
        raise InvalidError(f"term must have at least {shortest} characters")
    return term


def _following(hits: Sequence[object], start: int, limit: int) -> str | None:
    return parameters.cursor_at(start + limit) if len(hits) > limit else None


ENDPOINTS = (
    Endpoint("GET", "/v1/leads/search", 40, LEADS, search_leads_v1, search=True),
    Endpoint("GET", "/api/v2/leads/search", 20, LEADS, search_leads, search=True),
    Endpoint("GET", "/api/v2/persons/search", 20, CONTACTS, search_persons, search=True),
    Endpoint("GET", "/api/v2/organizations/search", 20, CONTACTS, search_organizations, search=True),
    Endpoint("GET", "/api/v2/itemSearch", 20, SEARCH, search_items, search=True),
    Endpoint("GET", "/api/v2/itemSearch/field", 20, SEARCH, search_items_by_field, search=True),
)
