"""Lead labels and sources.

Vendor operations: getLeadLabels, addLeadLabel, updateLeadLabel, deleteLeadLabel, getLeadSources.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms
from airflow_provider_pipedrive_leads.sandbox.parameters import is_uuid, read_text
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError, Reply, data_reply, not_found
from airflow_provider_pipedrive_leads.sandbox.routes.leads import READ, WRITE

COLORS = ("blue", "brown", "dark-gray", "gray", "green", "orange", "pink", "purple", "red", "yellow")
SOURCE_NAMES = (
    "Manually created",
    "Deal",
    "Web forms",
    "Prospector",
    "Leadbooster",
    "Live chat",
    "Import",
    "Website visitors",
    "Workflow automation",
    "API",
)


def get_labels(call: Call) -> Reply:
    """All labels, unpaged."""
    return data_reply(call.world.state.labels.all())


def add_label(call: Call) -> Reply:
    """A new label; name and color are needed."""
    changes = _read(call.body)
    if set(changes) != {"name", "color"}:
        raise InvalidError("name and color are required")
    time = iso_ms(call.world.stamp_ms())
    label = {"id": call.world.fresh_lead_id(), **changes, "add_time": time, "update_time": time}
    call.world.state.labels.add(label)
    return data_reply(label)


def update_label(call: Call) -> Reply:
    """Another name or color."""
    label = _label(call)
    changes = _read(call.body)
    if any(label[name] != value for name, value in changes.items()):
        label = {**label, **changes, "update_time": iso_ms(call.world.stamp_ms())}
        call.world.state.labels.put(label)
    return data_reply(label)


def delete_label(call: Call) -> Reply:
    """The label goes, from all leads too."""
    label = _label(call)
    call.world.state.labels.remove(label["id"])
    for lead in call.world.state.leads.all("instr(doc, ?)", [label["id"]]):
        kept = [identity for identity in lead["label_ids"] if identity != label["id"]]
        call.world.state.leads.put({**lead, "label_ids": kept})
    return data_reply({"id": label["id"]})


def get_sources(_: Call) -> Reply:
    """The names of all lead sources."""
    return data_reply([{"name": name} for name in SOURCE_NAMES])


def _label(call: Call) -> dict[str, Any]:
    identity = call.params["id"].lower()
    if not is_uuid(identity):
        raise InvalidError("id must be a UUID")
    label = call.world.state.labels.get(identity)
    if label is None:
        raise not_found("Lead label")
    return label


def _read(body: dict[str, Any]) -> dict[str, str]:
    changes = {}
    if "name" in body:
        changes["name"] = read_text(body["name"], "name", 255).strip()
    if "color" in body:
        if body["color"] not in COLORS:
            raise InvalidError(f"color must be one of {', '.join(COLORS)}")
        changes["color"] = body["color"]
    return changes


ENDPOINTS = (
    Endpoint("GET", "/v1/leadLabels", 10, READ, get_labels),
    Endpoint("POST", "/v1/leadLabels", 10, WRITE, add_label),
    Endpoint("PATCH", "/v1/leadLabels/{id}", 10, WRITE, update_label),
    Endpoint("DELETE", "/v1/leadLabels/{id}", 6, WRITE, delete_label),
    Endpoint("GET", "/v1/leadSources", 2, READ, get_sources),
)
