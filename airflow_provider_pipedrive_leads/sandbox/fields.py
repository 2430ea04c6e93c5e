"""The field catalogue in v1 and v2 dress: standard fields of leads and deals as data, custom fields from the state.

Leads have no custom fields of their own: they are the deal custom fields. Source: section 4 of
``docs/pipedrive-api.md``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox.clock import plain_seconds
from airflow_provider_pipedrive_leads.sandbox.custom_values import COMPANIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]

CREATABLE_TYPES = (
    "varchar",
    "text",
    "double",
    "phone",
    "date",
    "daterange",
    "time",
    "timerange",
    "set",
    "enum",
    "varchar_auto",
    "address",
    "monetary",
    "org",
    "people",
    "user",
)
SEARCHABLE_TYPES = ("address", "varchar", "text", "varchar_auto", "double", "monetary", "phone")
CHANNEL_OPTIONS = (
    {"id": 8, "label": "Marketplace"},
    {"id": 52, "label": "Billboards"},
    {"id": 53, "label": "Trade fair"},
    {"id": 54, "label": "Newsletter"},
)
_SHARED: tuple[tuple[str, str, str], ...] = (
    ("title", "Title", "varchar"),
    ("value", "Value", "monetary"),
    ("expected_close_date", "Expected close date", "date"),
    ("person_id", "Contact person", "people"),
    ("origin", "Source origin", "varchar"),
    ("origin_id", "Source origin ID", "varchar"),
    ("channel", "Source channel", "enum"),
    ("channel_id", "Source channel ID", "varchar"),
    ("add_time", "Created", "date"),
    ("update_time", "Updated", "date"),
    ("visible_to", "Visible to", "visible_to"),
    ("next_activity_id", "Next activity", "activity"),
)
_LEAD_ONLY: tuple[tuple[str, str, str], ...] = (
    ("owner_id", "Owner", "user"),
    ("creator_id", "Creator", "user"),
    ("organization_id", "Organization", "org"),
    ("label_ids", "Labels", "set"),
    ("source_name", "Source", "varchar"),
    ("is_archived", "Archived", "boolean"),
    ("was_seen", "Seen", "boolean"),
)
_DEAL_ONLY: tuple[tuple[str, str, str], ...] = (
    ("owner_id", "Owner", "user"),
    ("org_id", "Organization", "org"),
    ("stage_id", "Stage", "stage"),
    ("pipeline_id", "Pipeline", "int"),
    ("status", "Status", "status"),
    ("source_lead_id", "Source lead", "lead"),
)
_STANDARD = {"lead": _SHARED + _LEAD_ONLY, "deal": _SHARED + _DEAL_ONLY}
_FIRST_CUSTOM_ID = 12_000


def field_key(seed: int, number: int) -> str:
    """The 40 hexadecimal characters that name a custom field."""
    return hashlib.sha1(f"{seed}:{number}".encode(), usedforsecurity=False).hexdigest()


def custom_field(
    key: str, name: str, field_type: str, options: list[Document] | None, *, user: int, now_ms: int
) -> Document:
    """A custom field as the state keeps it, without its number."""
    return {
        "key": key,
        "name": name,
        "field_type": field_type,
        "options": options,
        "description": None,
        "user_id": user,
        "add_ms": now_ms,
        "update_ms": now_ms,
    }


def standard_fields(entity: str, company_ms: int = 0) -> list[Document]:
    """The standard fields of ``lead`` or ``deal`` in the form of :func:`custom_field`, numbered."""
    fields = []
    for number, (key, name, field_type) in enumerate(_STANDARD[entity], start=1):
        options = [dict(option) for option in CHANNEL_OPTIONS] if key == "channel" else None
        fields.append({"id": number, **custom_field(key, name, field_type, options, user=0, now_ms=company_ms)})
    return fields


def numbered_fields(entity: str, custom_fields: Sequence[Document]) -> list[Document]:
    """All fields of ``lead`` or ``deal``, each with the ``number`` by which v1 and filters call it."""
    return [{**field, "number": _number(field)} for field in (*standard_fields(entity), *custom_fields)]


def as_v1(field: Document) -> list[Document]:
    """A field in v1 dress, followed by its sub-fields, which have no id."""
    custom = field["user_id"] != 0
    companions = COMPANIONS.get(field["field_type"], ()) if custom else ()
    parts = [_v1_item(field, part, order) for order, part in enumerate(companions, start=1)]
    main = _v1_item(field, None, 0)
    if parts:
        main["subfields"] = parts
    return [main, *parts]


def _v1_item(field: Document, part: str | None, order: int) -> Document:
    custom = field["user_id"] != 0
    whole = part is None
    return {
        "id": _number(field) if whole else None,
        "key": field["key"] if whole else f"{field['key']}_{part}",
        "name": field["name"] if whole else f"{str(part).replace('_', ' ').capitalize()} of {field['name']}",
        "order_nr": field["id"] + order,
        "field_type": field["field_type"] if whole else _part_type(field, str(part)),
        "add_time": plain_seconds(field["add_ms"]),
        "update_time": plain_seconds(field["update_ms"]),
        "last_updated_by_user_id": field["user_id"] or None,
        "created_by_user_id": field["user_id"] or None,
        "active_flag": True,
        "edit_flag": custom and whole,
        "index_visible_flag": True,
        "details_visible_flag": True,
        "add_visible_flag": field["key"] in ("title", "person_id", "organization_id", "org_id", "value"),
        "important_flag": False,
        "bulk_edit_allowed": whole,
        "searchable_flag": whole and custom and field["field_type"] in SEARCHABLE_TYPES,
        "filtering_allowed": True,
        "sortable_flag": True,
        "mandatory_flag": field["key"] == "title",
        "options": field["options"] if whole else None,
        **({} if whole else {"is_subfield": True}),
    }


def as_v2(field: Document) -> Document:
    """A field in v2 dress."""
    custom = field["user_id"] != 0
    parts = COMPANIONS.get(field["field_type"], ()) if custom else ()
    return {
        "field_name": field["name"],
        "field_code": field["key"],
        "description": field["description"] or "",
        "field_type": field["field_type"],
        "options": field["options"],
        "subfields": [
            {
                "field_code": part,
                "field_name": f"{part.replace('_', ' ').capitalize()} of {field['name']}",
                "field_type": _part_type(field, part),
            }
            for part in parts
        ]
        or None,
        "is_custom_field": custom,
        "is_optional_response_field": False,
    }


def _number(field: Document) -> int:
    number: int = field["id"]
    return number + (_FIRST_CUSTOM_ID if field["user_id"] else 0)


def _part_type(field: Document, part: str) -> str:
    if part == "until":
        return {"daterange": "date"}.get(field["field_type"], "time")
    return "int" if part == "timezone_id" else "varchar"
