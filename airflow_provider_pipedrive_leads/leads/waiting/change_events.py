"""From changes to events: which changed leads somebody wants to hear of, and what is told of each.

Whatever stands here is decided from values. A poll sees leads as they are now, so nothing is told of deleted ones, of
values before the change, or of how a lead came to be active again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import GET_ARCHIVED_LEADS, GET_LEADS
from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, find_field, from_wire
from airflow_provider_pipedrive_leads.leads.reading.columns import STANDARD_KEYS
from airflow_provider_pipedrive_leads.leads.waiting.change_wishes import json_value
from airflow_provider_pipedrive_leads.leads.waiting.changes import ARCHIVED, Cursor, cursor_at, version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField
    from airflow_provider_pipedrive_leads.leads.waiting.changes import Change

    Lead = dict[str, Any]
    Read = Callable[[Lead], Any]

LABELS = "labels"


class Wishes(msgspec.Struct, frozen=True):
    """Which changes somebody wants to hear of, and what of them.

    :param kinds: out of :data:`leads.waiting.change_wishes.KINDS`.
    :param links: ids that a lead must have, by ``owner_id``, ``person_id``, ``organization_id``.
    :param matches: what else must hold for a lead, as it is after the change.
    :param describe: what is told of a lead.
    """

    kinds: Sequence[str]
    links: Mapping[str, int]
    matches: Callable[[Lead], bool]
    describe: Callable[[Lead], dict[str, Any]]

    def want(self, change: Change) -> bool:
        """Whether a change is to be told."""
        linked = all(change.lead.get(name) == number for name, number in self.links.items())
        return change.kind in self.kinds and linked and self.matches(change.lead)


def tokens_per_poll(kinds: Sequence[str]) -> int:
    """What a poll costs where little happens: a page of each list that it reads."""
    return GET_LEADS.cost + (GET_ARCHIVED_LEADS.cost if ARCHIVED in kinds else 0)


def describer(fields: Sequence[str], catalogue: Callable[[], Catalogue]) -> Callable[[Lead], dict[str, Any]]:
    """Make what tells the given fields of a lead as JSON values; options and ``labels`` by name.

    :param catalogue: asked only if a name is not one that every account has.
    :raises PipedriveValidationError: there is no field of a name; lists near ones.
    """
    readers = {name: _reader(name, catalogue) for name in fields}
    return lambda lead: {name: json_value(read(lead)) for name, read in readers.items()}


def _reader(name: str, catalogue: Callable[[], Catalogue]) -> Read:
    if name == LABELS:
        names = catalogue().labels
        return lambda lead: [names.get(label, label) for label in lead.get("label_ids") or ()]
    if name in STANDARD_KEYS:
        return lambda lead: lead.get(name)
    fields = catalogue().fields
    if not CUSTOM_KEY.fullmatch(name):
        return _custom_reader(find_field(name, fields))
    field = next((field for field in fields if field.key == name), None)
    return (lambda lead: lead.get(name)) if field is None else _custom_reader(field)


def _custom_reader(field: CustomField) -> Read:
    def read(lead: Lead) -> Any:
        try:
            return from_wire(field, lead)
        except (ValueError, ArithmeticError, TypeError):
            return lead.get(field.key)  # told as it is, rather than not at all

    return read


def news(changes: Sequence[Change], cursor: Cursor) -> list[Change]:
    """Pick the changes that are new to one who came as far as a cursor, out of a poll that began further back."""
    bound = cursor.since.removesuffix("Z")
    return [_as_seen_from(change, cursor, bound) for change in changes if _is_new(change.lead, cursor, bound)]


def _is_new(lead: Lead, cursor: Cursor, bound: str) -> bool:
    return lead["update_time"] >= bound and cursor.seen.get(lead["id"]) != version(lead)


def _as_seen_from(change: Change, cursor: Cursor, bound: str) -> Change:
    known = change.lead["id"] in cursor.seen or change.lead["add_time"] < bound
    return msgspec.structs.replace(change, kind="updated") if known and change.kind == "created" else change


def event_id(change: Change) -> str:
    """Name a change: the same whenever it is told again, another one for any other."""
    mark = f"/{ARCHIVED}" if change.kind == ARCHIVED else ""
    return f"{change.lead['id']}@{change.lead['update_time']}{mark}"


def event(told: Sequence[Change], more: int, wishes: Wishes) -> dict[str, Any]:
    """Make the event that tells some changes.

    :param told: at least one, oldest first.
    :param more: how many changes wait to be told after these.
    """
    return {
        "status": "success",
        "leads": [_told(change, wishes) for change in told],
        "count": len(told),
        "more": more,
        "watermark": told[-1].lead["update_time"],
    }


def cursor_before(waiting: Sequence[Change], cursor: Cursor) -> Cursor:
    """The cursor from which a poll tells again what waits to be told, and little else.

    :param cursor: what the polls that brought these changes came to.
    """
    if not waiting:
        return cursor
    # A lead is new only to a cursor that is no later than it.
    oldest = min(change.lead["add_time" if change.kind == "created" else "update_time"] for change in waiting)
    ids = {change.lead["id"] for change in waiting}
    seen = {lead_id: version for lead_id, version in cursor.seen.items() if lead_id not in ids}
    return Cursor(min(cursor.since, cursor_at(oldest).since), seen)


def _told(change: Change, wishes: Wishes) -> dict[str, Any]:
    return {
        "id": change.lead["id"],
        "kind": change.kind,
        "event_id": event_id(change),
        **wishes.describe(change.lead),
    }
