"""The v2 way of listing, which persons, organizations and deals share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.sandbox import parameters
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.sandbox.call import Call
    from airflow_provider_pipedrive_leads.sandbox.state import Documents

MOST_IDS = 100
SORTABLE = ("id", "update_time", "add_time")


def cursor_list(
    call: Call, documents: Documents, where: list[str], values: list[Any], references: Sequence[str]
) -> Reply:
    """A page of documents by ids, references and time of change, with ``next_cursor``; both lists are added to."""
    start, limit = parameters.cursor_window(call.query)
    visible, visible_values = call.visible()
    where.append(visible)
    values.extend(visible_values)
    for name in references:
        number = parameters.integer(call.query, name)
        if number is not None:
            where.append(f"{name} = ?")
            values.append(number)
    for name, comparison in (("updated_since", ">="), ("updated_until", "<")):
        bound = parameters.since(call.query, name, "refused")
        if bound is not None:
            where.append(f"update_time {comparison} ?")
            values.append(bound.replace(".000Z", "Z"))
    ids = _ids(call)
    if ids:
        where.append(f"id IN ({', '.join('?' * len(ids))})")
        values.extend(ids)
    rows = documents.rows(" AND ".join(where), values, _order(call), limit + 1, start)
    following = parameters.cursor_at(start + limit) if len(rows) > limit else None
    tail = msgspec.json.encode({"next_cursor": following})
    return Reply(200, b'{"success":true,"data":[' + b",".join(rows[:limit]) + b'],"additional_data":' + tail + b"}")


def _ids(call: Call) -> list[int]:
    parts = [part.strip() for part in call.query.get("ids", "").split(",") if part.strip()]
    if len(parts) > MOST_IDS:
        raise InvalidError(f"ids must be at most {MOST_IDS}")
    return [parameters.integer({"ids": part}, "ids", least=0) or 0 for part in parts]


def _order(call: Call) -> str:
    field = call.query.get("sort_by", "id")
    direction = call.query.get("sort_direction", "asc").lower()
    if field not in SORTABLE or direction not in ("asc", "desc"):
        raise InvalidError(f"sort_by must be one of {', '.join(SORTABLE)}, sort_direction asc or desc")
    return f"{field} {direction}, seq {direction}"
