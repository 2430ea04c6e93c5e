"""What the search index keeps of a lead, a person, an organization or a deal.

Source: section 5 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_pipedrive_leads.sandbox.fields import SEARCHABLE_TYPES
from airflow_provider_pipedrive_leads.sandbox.search_index import Entry

Document = Mapping[str, Any]


def lead_entry(
    lead: Document,
    person: Document | None,
    organization: Document | None,
    notes: Sequence[str],
    fields: Sequence[Document],
) -> Entry:
    """The index entry of a lead with its contact and notes."""
    customs = [str(lead[field["key"]]) for field in _searchable(fields) if field["key"] in lead]
    value = lead["value"] or {"amount": None, "currency": None}
    hit = {
        "id": lead["id"],
        "type": "lead",
        "title": lead["title"],
        "owner": {"id": lead["owner_id"]},
        "person": _named(person),
        "organization": _named(organization),
        "phones": _values(person, "phones"),
        "emails": _values(person, "emails"),
        "custom_fields": customs,
        "notes": list(notes),
        "value": value["amount"],
        "currency": value["currency"],
        "visible_to": int(lead["visible_to"]),
        "is_archived": lead["is_archived"],
    }
    texts = {"name": [lead["title"]], "custom_fields": customs, "notes": list(notes)}
    return Entry(
        "lead",
        lead["id"],
        {"shown": hit, "was_seen": lead["was_seen"]},
        texts,
        lead,
        lead["owner_id"],
        lead["visible_to"],
        lead["person_id"],
        lead["organization_id"],
        lead["is_archived"],
    )


def person_entry(person: Document, organization: Document | None, notes: Sequence[str]) -> Entry:
    """The index entry of a person."""
    emails, phones = _values(person, "emails"), _values(person, "phones")
    hit = {
        "id": person["id"],
        "type": "person",
        "name": person["name"],
        "phones": phones,
        "emails": emails,
        "visible_to": person["visible_to"],
        "owner": {"id": person["owner_id"]},
        "organization": None if organization is None else {**_name(organization), "address": _address(organization)},
        "custom_fields": [],
        "notes": list(notes),
    }
    texts = {"name": [person["name"]], "email": emails, "phone": phones, "notes": list(notes)}
    keys = {
        "name": str(person["name"]),
        "email": emails[0] if emails else "",
        "phone": phones[0] if phones else "",
    }
    return Entry(
        "person",
        person["id"],
        {"shown": hit},
        texts,
        keys,
        person["owner_id"],
        str(person["visible_to"]),
        organization_id=person["org_id"],
    )


def organization_entry(organization: Document, notes: Sequence[str]) -> Entry:
    """The index entry of an organization."""
    address = _address(organization)
    hit = {
        "id": organization["id"],
        "type": "organization",
        "name": organization["name"],
        "address": address,
        "visible_to": organization["visible_to"],
        "owner": {"id": organization["owner_id"]},
        "custom_fields": [],
        "notes": list(notes),
    }
    texts = {"name": [organization["name"]], "address": [address] if address else [], "notes": list(notes)}
    keys = {"name": organization["name"], "address": address or ""}
    return Entry(
        "organization",
        organization["id"],
        {"shown": hit},
        texts,
        keys,
        organization["owner_id"],
        str(organization["visible_to"]),
    )


def deal_entry(deal: Document, person: Document | None, organization: Document | None) -> Entry:
    """The index entry of a deal."""
    hit = {
        "id": deal["id"],
        "type": "deal",
        "title": deal["title"],
        "value": deal["value"],
        "currency": deal["currency"],
        "status": deal["status"],
        "visible_to": deal["visible_to"],
        "owner": {"id": deal["owner_id"]},
        "stage": {"id": deal["stage_id"], "name": f"Stage {deal['stage_id']}"},
        "person": _named(person),
        "organization": _named(organization),
        "custom_fields": [],
        "notes": [],
        "is_archived": deal["is_archived"],
    }
    texts = {"name": [deal["title"]]}
    return Entry(
        "deal",
        deal["id"],
        {"shown": hit},
        texts,
        {"title": deal["title"]},
        deal["owner_id"],
        str(deal["visible_to"]),
        deal["person_id"],
        deal["org_id"],
    )


def _searchable(fields: Sequence[Document]) -> list[Document]:
    return [field for field in fields if field["field_type"] in SEARCHABLE_TYPES]


def _name(thing: Document) -> dict[str, Any]:
    return {"id": thing["id"], "name": thing["name"]}


def _named(thing: Document | None) -> dict[str, Any] | None:
    return None if thing is None else _name(thing)


def _values(person: Document | None, name: str) -> list[str]:
    return [item["value"] for item in (person or {}).get(name) or []]


def _address(organization: Document) -> str | None:
    return (organization.get("address") or {}).get("value")
