"""Conversions between leads and deals: begun at once, done after the delay ``conversion``, remembered for some days.

Source: section 5 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox.clock import to_ms
from airflow_provider_pipedrive_leads.sandbox.deals import deal_from_lead, lead_from_deal

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.sandbox.world import World

Document = dict[str, Any]

KEPT_SECONDS = 3 * 86_400
OPEN = ("not_started", "running")
OUTCOMES = ("completed", "failed", "rejected")


def begin(world: World, kind: str, source_id: int | str, user: int, stage_id: int | None = None) -> Document:
    """Start converting a ``lead`` or a ``deal``; half of the delay later it runs, after all of it it is done."""
    outcome = world.conversion_outcomes.pop(0) if world.conversion_outcomes else "completed"
    conversion = {
        "id": world.fresh_uuid(),
        "kind": kind,
        "source_id": source_id,
        "target_id": None,
        "stage_id": stage_id,
        "user_id": user,
        "status": "not_started",
        "outcome": outcome,
        "begun_ms": world.now_ms,
        "due_ms": world.now_ms + to_ms(world.delays["conversion"]),
    }
    world.state.conversions.add(conversion)
    _schedule(world, conversion)
    return conversion


def resume(world: World) -> None:
    """Take up the conversions that a former process left open."""
    for conversion in world.state.conversions.all("status IN (?, ?)", OPEN):
        _schedule(world, conversion)


def find(world: World, kind: str, source_id: int | str, identity: str) -> Document | None:
    """The conversion of this source with this id, if it is still remembered."""
    conversion = world.state.conversions.get(identity)
    if conversion is None or (conversion["kind"], conversion["source_id"]) != (kind, source_id):
        return None
    forgotten = conversion["due_ms"] + to_ms(KEPT_SECONDS) < world.now_ms
    return None if forgotten else conversion


def _schedule(world: World, conversion: Document) -> None:
    left = max(0, conversion["due_ms"] - world.now_ms) / 1000
    world.agenda.add(left / 2, lambda: _run(world, conversion["id"]))
    world.agenda.add(left, lambda: _finish(world, conversion["id"]))


def _run(world: World, identity: str) -> None:
    conversion = world.state.conversions.get(identity)
    if conversion and conversion["status"] == "not_started":
        world.state.conversions.put({**conversion, "status": "running"})


def _finish(world: World, identity: str) -> None:
    conversion = world.state.conversions.get(identity)
    if conversion is None or conversion["status"] not in OPEN:
        return
    with world.state.transaction():
        target = None
        if conversion["outcome"] == "completed":
            target = _to_deal(world, conversion) if conversion["kind"] == "lead" else _to_lead(world, conversion)
        failed = "failed" if conversion["outcome"] == "completed" else conversion["outcome"]
        status = failed if target is None else "completed"
        world.state.conversions.put({**conversion, "status": status, "target_id": target})


def _to_deal(world: World, conversion: Document) -> int | None:
    lead = world.state.leads.get(conversion["source_id"])
    if lead is None:
        return None
    fields = world.state.custom_fields.all()
    deal = world.state.deals.add(
        deal_from_lead(
            lead,
            conversion["stage_id"],
            company=world.company,
            now_ms=world.stamp_ms(),
            fields=fields,
            settings=world.choices.as_dict(),
        )
    )
    for note in world.state.notes.all("lead_id = ?", [lead["id"]]):
        world.state.notes.put({**note, "lead_id": None, "deal_id": deal["id"]})
    world.remove_lead(lead, conversion["user_id"])
    world.reindex_later("deal", deal["id"])
    return int(deal["id"])


def _to_lead(world: World, conversion: Document) -> str | None:
    deal = world.state.deals.get(conversion["source_id"])
    if deal is None or deal["is_deleted"]:
        return None
    fields = world.state.custom_fields.all()
    lead = lead_from_deal(
        deal,
        world.fresh_lead_id(),
        user=conversion["user_id"],
        company=world.company,
        now_ms=world.stamp_ms(),
        fields=fields,
    )
    world.add_lead(lead, conversion["user_id"])
    world.state.deals.put({**deal, "is_deleted": True, "status": "deleted"})
    for note in world.state.notes.all("deal_id = ?", [deal["id"]]):
        world.state.notes.put({**note, "lead_id": lead["id"], "deal_id": None})
    world.reindex_later("deal", deal["id"])
    return str(lead["id"])
