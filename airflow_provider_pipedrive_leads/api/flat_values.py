"""Values of a lead in the flat form of v1, whatever form they come in.

v1 puts a custom field's parts beside its value (``…_currency``), sets as ``"87,88"`` and ids as numbers. v2 and
webhooks give the same as objects and lists: ``{"value": 5, "currency": "EUR"}``, ``{"id": 5}``, ``[87, 88]``
(docs/pipedrive-api.md, "Custom fields").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import JSON

MAIN_PARTS = ("value", "id", "from")


def plain(value: JSON) -> JSON:
    """Give the main part of an object; anything else, and objects without one, as they are."""
    if isinstance(value, dict):
        return next((value[name] for name in MAIN_PARTS if name in value), value)
    return value


def part_of(value: JSON, name: str) -> JSON:
    """Give a further part of an object, such as ``currency``; None of anything else."""
    return value.get(name) if isinstance(value, dict) else None


def option_ids(value: JSON) -> list[str]:
    """Give the ids of the options that a value names: of a list, a text with commas between, an object or a number."""
    if value is None or value == "":
        return []
    items = value if isinstance(value, list) else [value]
    plain_items = [plain(item) for item in items]
    return [
        option.strip()
        for item in plain_items
        for option in (item.split(",") if isinstance(item, str) else [_id(item)])
        if option.strip()
    ]


def _id(value: JSON) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
