"""Persons and organizations, v2.

Vendor operations: getPersons, getPerson, addPerson, updatePerson, deletePerson and the same for organizations. Source:
section 6 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import iso_seconds
from airflow_provider_pipedrive_leads.sandbox.custom_values import address_parts
from airflow_provider_pipedrive_leads.sandbox.deals import update_time_of_new
from airflow_provider_pipedrive_leads.sandbox.replies import (
    ApiError,
    InvalidError,
    Reply,
    data_reply,
    json_reply,
    not_found,
)
from airflow_provider_pipedrive_leads.sandbox.routes.listing import cursor_list
from airflow_provider_pipedrive_leads.sandbox.visibility import sees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_pipedrive_leads.sandbox.state import Documents

Document = dict[str, Any]

READ = ("contacts:read", "contacts:full")
WRITE = ("contacts:full",)
VISIBILITIES = (1, 3, 5, 7)
MARKETING = ("no_consent", "unsubscribed", "subscribed", "archived")
CONTACT_SYNC_ONLY = ("notes", "im", "birthday", "job_title", "postal_address")


@dataclass(frozen=True)
class Kind:
    """What sets persons and organizations apart."""

    name: str
    references: tuple[str, ...]
    read: Callable[[Call, Mapping[str, Any]], Document]
    bare: Document

    def documents(self, call: Call) -> Documents:
        """The collection in the state."""
        documents: Documents = getattr(call.world.state, f"{self.name}s")
        return documents


def list_things(kind: Kind, call: Call) -> Reply:
    """Things not deleted, by ids, owner, organization or time of change; cursor paging."""
    return cursor_list(call, kind.documents(call), ["is_deleted = 0"], [], kind.references)


def get_thing(kind: Kind, call: Call) -> Reply:
    """One person or organization."""
    return data_reply(_thing(kind, call))


def add_thing(kind: Kind, call: Call) -> Reply:
    """A new person or organization; the name is needed."""
    if "name" not in call.body:
        raise InvalidError("name is required")
    time = iso_seconds(call.world.now_ms)
    given = kind.read(call, call.body)
    changed = update_time_of_new(time, call.world.choices.as_dict())
    bare = {**kind.bare, "owner_id": call.caller.member.id, "add_time": time, "update_time": changed}
    thing = kind.documents(call).add({**bare, **given})
    call.world.reindex_later(kind.name, thing["id"])
    return data_reply(thing)


def update_thing(kind: Kind, call: Call) -> Reply:
    """A person or organization changed; absent keys stay."""
    thing = _thing(kind, call)
    after = {**thing, **kind.read(call, call.body)}
    if after != thing:
        after["update_time"] = iso_seconds(call.world.now_ms)
        kind.documents(call).put(after)
        call.world.reindex_later(kind.name, after["id"])
    return data_reply(after)


def delete_thing(kind: Kind, call: Call) -> Reply:
    """A person or organization marked as deleted; leads keep pointing at it."""
    thing = _thing(kind, call)
    kind.documents(call).put({**thing, "is_deleted": True, "update_time": iso_seconds(call.world.now_ms)})
    call.world.reindex_later(kind.name, thing["id"])
    return json_reply({"success": True, "data": {"id": thing["id"]}})


def _thing(kind: Kind, call: Call) -> Document:
    text = call.params["id"]
    number = parameters.integer({"id": text}, "id", least=0)
    thing = kind.documents(call).get(number or 0)
    if thing is None or thing["is_deleted"]:
        raise not_found(kind.name.capitalize())
    owner = call.world.members[thing["owner_id"]]
    if not sees(call.caller.member, owner, str(thing["visible_to"]), call.world.options.plan):
        raise not_found(kind.name.capitalize())
    return thing


def _read_shared(call: Call, body: Mapping[str, Any]) -> Document:
    given: Document = {}
    if "name" in body:
        given["name"] = parameters.read_text(body["name"], "name", 255).strip()
    for name, collection in (("owner_id", "users"), ("org_id", "organizations")):
        if body.get(name) is not None:
            given[name] = parameters.read_integer(body[name], name)
            if not call.world.exists(collection, given[name]):
                raise InvalidError(f"{name} {given[name]} does not exist")
    if body.get("visible_to") is not None:
        if type(body["visible_to"]) is not int or body["visible_to"] not in VISIBILITIES:
            raise InvalidError("visible_to must be a number out of 1, 3, 5, 7")
        given["visible_to"] = body["visible_to"]
    if body.get("label_ids") is not None:
        given["label_ids"] = _list(body, "label_ids", lambda item: parameters.read_integer(item, "label_ids"))
    if body.get("custom_fields") not in (None, {}):
        raise InvalidError("custom_fields: this account has no custom fields for contacts")
    return given


def _read_person(call: Call, body: Mapping[str, Any]) -> Document:
    for name in CONTACT_SYNC_ONLY:
        if name in body:
            raise ApiError(403, f"{name} needs contact sync")
    if body.get("marketing_status", "no_consent") not in MARKETING:
        raise InvalidError(f"marketing_status must be one of {', '.join(MARKETING)}")
    given = _read_shared(call, body)
    if "org_id" in body and body["org_id"] is None:
        given["org_id"] = None
    if "name" in given:
        first, _, last = given["name"].partition(" ")
        given |= {"first_name": first, "last_name": last.strip() or None}
    for name in ("emails", "phones"):
        if body.get(name) is not None:
            given[name] = _list(body, name, lambda item, name=name: _reachable(item, name))  # type: ignore[misc]
    return given


def _read_organization(call: Call, body: Mapping[str, Any]) -> Document:
    given = _read_shared(call, {name: value for name, value in body.items() if name != "org_id"})
    for name in ("website", "linkedin"):
        if name in body:
            given[name] = None if body[name] is None else parameters.read_text(body[name], name)
    for name in ("industry", "annual_revenue", "employee_count"):
        if name in body:
            given[name] = None if body[name] is None else parameters.read_integer(body[name], name)
    if body.get("address") is not None:
        given["address"] = _read_address(body["address"])
    return given


def _read_address(value: object) -> Document:
    text = parameters.read_text(value.get("value") if isinstance(value, dict) else None, "address.value")
    parts = address_parts(text)
    return {"value": parts.pop("formatted_address"), **parts}


def _list(body: Mapping[str, Any], name: str, read: Callable[[Any], Any]) -> list[Any]:
    if not isinstance(body[name], list):
        raise InvalidError(f"{name} must be a list")
    return [read(item) for item in body[name]]


def _reachable(item: object, name: str) -> Document:
    if not isinstance(item, dict):
        raise InvalidError(f"{name} must hold objects of value, primary and label")
    value = parameters.read_text(item.get("value"), f"{name}.value", 255)
    primary = parameters.read_boolean(item.get("primary", False), f"{name}.primary")
    label = parameters.read_text(item.get("label", "work"), f"{name}.label", 255)
    return {"value": value, "primary": primary, "label": label}


PERSON = Kind(
    "person",
    ("owner_id", "org_id"),
    _read_person,
    {
        "name": "",
        "first_name": None,
        "last_name": None,
        "owner_id": 0,
        "org_id": None,
        "add_time": "",
        "update_time": "",
        "emails": [],
        "phones": [],
        "is_deleted": False,
        "visible_to": 7,
        "label_ids": [],
        "picture_id": None,
        "custom_fields": {},
    },
)
ORGANIZATION = Kind(
    "organization",
    ("owner_id",),
    _read_organization,
    {
        "name": "",
        "owner_id": 0,
        "add_time": "",
        "update_time": "",
        "is_deleted": False,
        "visible_to": 7,
        "address": None,
        "label_ids": [],
        "website": None,
        "linkedin": None,
        "industry": None,
        "annual_revenue": None,
        "employee_count": None,
        "custom_fields": {},
    },
)


def _endpoints(kind: Kind, path: str) -> tuple[Endpoint, ...]:
    return (
        Endpoint("GET", path, 10, READ, lambda call: list_things(kind, call)),
        Endpoint("GET", f"{path}/{{id}}", 1, READ, lambda call: get_thing(kind, call)),
        Endpoint("POST", path, 5, WRITE, lambda call: add_thing(kind, call)),
        Endpoint("PATCH", f"{path}/{{id}}", 5, WRITE, lambda call: update_thing(kind, call)),
        Endpoint("DELETE", f"{path}/{{id}}", 3, WRITE, lambda call: delete_thing(kind, call)),
    )


ENDPOINTS = (*_endpoints(PERSON, "/api/v2/persons"), *_endpoints(ORGANIZATION, "/api/v2/organizations"))
