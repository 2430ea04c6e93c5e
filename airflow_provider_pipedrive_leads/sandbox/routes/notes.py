"""Notes, v1: changed by PUT, times in UTC without saying so.

Vendor operations: getNotes, getNote, addNote, updateNote, deleteNote.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import parse_time, plain_seconds, to_ms
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply, data_reply, not_found, page_reply

Document = dict[str, Any]

READ = ("deals:read", "deals:full", "contacts:read", "contacts:full")
WRITE = ("deals:full", "contacts:full")
PINS = ("lead", "deal", "organization", "person", "project", "task")
NUMBERED = ("deal_id", "person_id", "org_id", "project_id", "task_id")
COLLECTIONS = {
    "lead_id": "leads",
    "deal_id": "deals",
    "person_id": "persons",
    "org_id": "organizations",
    "user_id": "users",
}
SORTABLE = ("id", "user_id", "deal_id", "person_id", "org_id", "content", "add_time", "update_time")
LONGEST_CONTENT = 100_000


def get_notes(call: Call) -> Reply:
    """Notes by what they hang on, pins and times; start/limit paging."""
    start, limit = parameters.window(call.query, call.world.choices["limit_over_500"])
    where, values = _conditions(call)
    pairs = parameters.order(call.query, SORTABLE, "id ASC")
    order = ", ".join(f"{_column(field)} {direction}" for field, direction in pairs)
    rows = call.world.state.notes.rows(" AND ".join(where), values, f"{order}, seq", limit + 1, start)
    shown = [msgspec.json.encode(_shown(call, msgspec.json.decode(row))) for row in rows]
    return page_reply(shown, start, limit)


def get_note(call: Call) -> Reply:
    """One note."""
    return data_reply(_shown(call, _note(call)))


def add_note(call: Call) -> Reply:
    """A note on a lead, deal, person or organization."""
    given = _read(call)
    if "content" not in given:
        raise InvalidError("content is required")
    if not any(given.get(name) is not None for name in ("lead_id", *NUMBERED)):
        raise InvalidError("a note needs something to hang on, such as lead_id")
    time = plain_seconds(call.world.now_ms)
    bare: Document = {
        "user_id": call.caller.member.id,
        **dict.fromkeys(("lead_id", *NUMBERED)),
        "content": "",
        "add_time": time,
        "update_time": time,
        "active_flag": True,
        **{f"pinned_to_{name}_flag": False for name in PINS},
        "last_update_user_id": None,
    }
    note = call.world.state.notes.add({**bare, **given})
    _reindex(call, note)
    return data_reply(_shown(call, note), 201)


def update_note(call: Call) -> Reply:
    """A note changed."""
    note = {
        **_note(call),
        **_read(call),
        "update_time": plain_seconds(call.world.now_ms),
        "last_update_user_id": call.caller.member.id,
    }
    call.world.state.notes.put(note)
    _reindex(call, note)
    return data_reply(_shown(call, note))


def delete_note(call: Call) -> Reply:
    """The note is gone; the reply's data is ``true``."""
    note = _note(call)
    call.world.state.notes.remove(note["id"])
    _reindex(call, note)
    return data_reply(True)


def _conditions(call: Call) -> tuple[list[str], list[Any]]:
    where, values = ["1"], list[Any]()
    if call.query.get("lead_id"):
        where.append("lead_id = ?")
        values.append(parameters.read_uuid(call.query["lead_id"], "lead_id"))
    for name in ("user_id", *NUMBERED):
        number = parameters.integer(call.query, name)
        if number is not None:
            where.append(f"{_column(name)} = ?")
            values.append(number)
    for pin in PINS:
        flag = parameters.integer(call.query, f"pinned_to_{pin}_flag", least=0)
        if flag is not None:
            where.append(f"json_extract(doc, '$.pinned_to_{pin}_flag') = ?")
            values.append(flag)
    for name, comparison in (("start_date", ">="), ("end_date", "<=")):
        if call.query.get(name):
            where.append(f"substr(add_time, 1, 10) {comparison} ?")
            values.append(parameters.read_date(call.query[name], name))
    bound = parameters.since(call.query, "updated_since", "accepted")
    if bound is not None:
        where.append("update_time >= ?")
        values.append(bound[:19].replace("T", " "))
    return where, values


def _column(name: str) -> str:
    return f"json_extract(doc, '$.{name}')" if name in ("content", "project_id", "task_id") else name


def _read(call: Call) -> Document:
    body = call.body
    given: Document = {}
    if "content" in body:
        given["content"] = parameters.read_text(body["content"], "content", LONGEST_CONTENT)
    for name in ("lead_id", *NUMBERED, "user_id"):
        if body.get(name) is not None:
            given[name] = _reference(call, name)
    for name in (f"pinned_to_{pin}_flag" for pin in PINS):
        if name in body:
            given[name] = _flag(body[name], name)
    if body.get("add_time") is not None:
        given["add_time"] = _time(body["add_time"])
    return given


def _flag(value: object, name: str) -> bool:
    if value not in (0, 1):
        raise InvalidError(f"{name} must be 0 or 1")
    return bool(value)


def _time(value: object) -> str:
    try:
        return plain_seconds(to_ms(parse_time(str(value))))
    except (ValueError, OverflowError):
        raise InvalidError("add_time must be a time in the form YYYY-MM-DD HH:MM:SS") from None


def _reference(call: Call, name: str) -> int | str:
    value = call.body[name]
    identity = parameters.read_uuid(value, name) if name == "lead_id" else parameters.read_integer(value, name)
    collection = COLLECTIONS.get(name)
    if collection is None or getattr(call.world.state, collection).raw(identity) is None:
        raise InvalidError(f"{name} names nothing")
    return identity


def _note(call: Call) -> Document:
    note = call.world.state.notes.get(parameters.integer(call.params, "id", least=0) or 0)
    if note is None:
        raise not_found("Note")
    return note


def _shown(call: Call, note: Document) -> Document:
    state = call.world.state
    deal = state.deals.get(note["deal_id"]) if note["deal_id"] else None
    person = state.persons.get(note["person_id"]) if note["person_id"] else None
    organization = state.organizations.get(note["org_id"]) if note["org_id"] else None
    user = state.users.get(note["user_id"]) or {}
    return {
        **note,
        "deal": deal and {"title": deal["title"]},
        "person": person and {"name": person["name"]},
        "organization": organization and {"name": organization["name"]},
        "user": {
            "email": user.get("email"),
            "name": user.get("name"),
            "icon_url": user.get("icon_url"),
            "is_you": note["user_id"] == call.caller.member.id,
        },
    }


def _reindex(call: Call, note: Document) -> None:
    for kind, name in (("lead", "lead_id"), ("person", "person_id"), ("organization", "org_id")):
        if note[name] is not None:
            call.world.reindex_later(kind, note[name])


ENDPOINTS = (
    Endpoint("GET", "/v1/notes", 20, READ, get_notes),
    Endpoint("GET", "/v1/notes/{id}", 2, READ, get_note),
    Endpoint("POST", "/v1/notes", 10, WRITE, add_note),
    Endpoint("PUT", "/v1/notes/{id}", 10, WRITE, update_note),
    Endpoint("DELETE", "/v1/notes/{id}", 6, WRITE, delete_note),
)
