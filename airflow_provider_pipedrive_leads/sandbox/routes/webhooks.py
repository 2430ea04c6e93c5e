"""Webhooks, v1 path and payload 2.0; their errors have a shape of their own.

Vendor operations: getWebhooks, addWebhook, deleteWebhook.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms
from airflow_provider_pipedrive_leads.sandbox.replies import Reply, json_reply
from airflow_provider_pipedrive_leads.sandbox.webhooks import MOST_PER_USER, is_loopback

READ = ("webhooks:read", "webhooks:full", "admin")
WRITE = ("webhooks:full", "admin")
ACTIONS = ("create", "change", "delete", "*")
OBJECTS = (
    "activity",
    "deal",
    "lead",
    "note",
    "organization",
    "person",
    "pipeline",
    "product",
    "stage",
    "user",
    "*",
)
LONGEST_NAME = 255


def get_webhooks(call: Call) -> Reply:
    """All webhooks of the company."""
    return json_reply({"status": "ok", "success": True, "data": call.world.state.webhooks.all()})


def add_webhook(call: Call) -> Reply:
    """A new subscription; only loopback addresses can be reached from here."""
    body, world, user = call.body, call.world, call.caller.member.id
    errors = _errors(call)
    if errors:
        return _refused(400, errors)
    mine = world.state.webhooks.count(
        "json_extract(doc, '$.owner_id') = ? AND json_extract(doc, '$.is_active')", [user]
    )
    if mine >= MOST_PER_USER:
        return _refused(422, {"webhooks": [f"at most {MOST_PER_USER} per user"]})
    webhook = world.state.webhooks.add(
        {
            "company_id": world.company.id,
            "owner_id": user,
            "user_id": body.get("user_id") or user,
            "event_action": body["event_action"],
            "event_object": body["event_object"],
            "subscription_url": body["subscription_url"],
            "version": body.get("version", "2.0"),
            "is_active": 1,
            "add_time": iso_ms(world.now_ms),
            "remove_time": None,
            "type": "general" if call.caller.kind == "api_token" else "application",
            "http_auth_user": body.get("http_auth_user"),
            "http_auth_password": body.get("http_auth_password"),
            "remove_reason": None,
            "last_delivery_time": None,
            "last_http_status": None,
            "admin_id": user,
            "name": body["name"],
        }
    )
    return json_reply({"status": "ok", "success": True, "data": webhook}, 201)


def delete_webhook(call: Call) -> Reply:
    """The subscription is gone."""
    text = call.params["id"]
    if not (text.isascii() and text.isdigit() and call.world.state.webhooks.remove(int(text[:18]))):
        return _refused(404, {"id": ["not found"]})
    return json_reply({"status": "ok", "success": True})


def _refused(status: int, errors: dict[str, list[str]]) -> Reply:
    return json_reply({"status": "error", "success": False, "errors": errors}, status)


def _errors(call: Call) -> dict[str, list[str]]:
    body = call.body
    version = body.get("version", "2.0")
    user = body.get("user_id")
    good: dict[str, tuple[bool, str]] = {
        "subscription_url": (
            _is_text(body, "subscription_url") and is_loopback(body["subscription_url"]),
            "unreachable",
        ),
        "event_action": (body.get("event_action") in ACTIONS, f"one of {', '.join(ACTIONS)}"),
        "event_object": (body.get("event_object") in OBJECTS, f"one of {', '.join(OBJECTS)}"),
        "name": (_is_text(body, "name") and len(body["name"]) <= LONGEST_NAME, f"1 to {LONGEST_NAME} characters"),
        "version": (version in ("1.0", "2.0"), "1.0 or 2.0"),
        "user_id": (user is None or (type(user) is int and user in call.world.members), "not found"),
    }
    for name in ("http_auth_user", "http_auth_password"):
        good[name] = (body.get(name) is None or _is_text(body, name), "a string")
    if version == "1.0" and body.get("event_object") == "lead":
        good["version"] = (False, "lead events exist only in 2.0")
    return {name: [message] for name, (is_good, message) in good.items() if not is_good}


def _is_text(body: dict[str, Any], name: str) -> bool:
    return isinstance(body.get(name), str) and bool(body[name].strip())


ENDPOINTS = (
    Endpoint("GET", "/v1/webhooks", 10, READ, get_webhooks),
    Endpoint("POST", "/v1/webhooks", 10, WRITE, add_webhook),
    Endpoint("DELETE", "/v1/webhooks/{id}", 6, WRITE, delete_webhook),
)
