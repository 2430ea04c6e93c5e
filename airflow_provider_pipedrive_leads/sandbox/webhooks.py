"""Webhooks 2.0 for leads: what is told to whom, and delivery over HTTP with Basic auth and retries.

Retried after 3, 30 and 150 s; ten failed first attempts pause a webhook for 30 minutes; three days without success
remove it. Only loopback addresses are called. Source: section 6 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from airflow_provider_pipedrive_leads.sandbox.clock import Agenda, iso_ms, parse_time, to_ms
from airflow_provider_pipedrive_leads.sandbox.hosts import is_this_machine

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.sandbox.state import Documents

Document = dict[str, Any]
Post = Callable[[Document, bytes], int]

ANSWER_SECONDS = 10
RETRY_SECONDS = (3, 30, 150)
FAILURES_TO_PAUSE = 10
PAUSE_SECONDS = 1_800
GIVE_UP_MS = 3 * 86_400_000
MOST_PER_USER = 40


class Webhooks:
    """Delivers events to the subscriptions in force."""

    def __init__(self, subscriptions: Documents, agenda: Agenda) -> None:
        self._subscriptions = subscriptions
        self._agenda = agenda
        self._failures: dict[int, int] = defaultdict(int)
        self._paused_until: dict[int, float] = {}
        self._running: set[asyncio.Future[Any]] = set()

    def announce(self, event: Document) -> None:
        """Tell every subscription that asks for this event; ``event`` is the body but for what names the webhook."""
        meta = event["meta"]
        for webhook in self._subscriptions.all():
            wanted = (
                webhook["is_active"] == 1
                and webhook["event_action"] in (meta["action"], "*")
                and webhook["event_object"] in (meta["entity"], "*")
            )
            if wanted:
                named = {"webhook_id": str(webhook["id"]), "webhook_owner_id": str(webhook["owner_id"])}
                self._later(0, webhook["id"], {**event, "meta": {**meta, **named}}, 1)

    def _later(self, seconds: float, webhook_id: int, event: Document, attempt: int) -> None:
        self._agenda.add(seconds, lambda: self._attempt(webhook_id, event, attempt))

    def _attempt(self, webhook_id: int, event: Document, attempt: int) -> None:
        webhook = self._subscriptions.get(webhook_id)
        if webhook is None or webhook["is_active"] != 1:
            return
        if self._paused_until.get(webhook_id, 0) > self._agenda.now():
            return
        body = msgspec.json.encode({**event, "meta": {**event["meta"], "attempt": attempt}})
        delivery = asyncio.get_running_loop().run_in_executor(None, post, webhook, body)
        self._running.add(delivery)
        delivery.add_done_callback(lambda done: self._note(webhook_id, event, attempt, done))

    def _note(self, webhook_id: int, event: Document, attempt: int, delivery: asyncio.Future[int]) -> None:
        self._running.discard(delivery)
        webhook = self._subscriptions.get(webhook_id)
        if webhook is None or delivery.cancelled():
            return
        status, now = delivery.result(), self._agenda.now()
        noted = {**webhook, "last_http_status": status or None}
        if 200 <= status < 300:
            self._failures[webhook_id] = 0
            noted["last_delivery_time"] = iso_ms(to_ms(now))
        else:
            self._failed(noted, event, attempt, now)
        self._subscriptions.put(noted)

    def _failed(self, webhook: Document, event: Document, attempt: int, now: float) -> None:
        identity = webhook["id"]
        if attempt == 1:
            self._failures[identity] += 1
        if self._failures[identity] >= FAILURES_TO_PAUSE:
            self._failures[identity] = 0
            self._paused_until[identity] = now + PAUSE_SECONDS
        last = to_ms(parse_time(webhook["last_delivery_time"] or webhook["add_time"]))
        if to_ms(now) - last > GIVE_UP_MS:
            webhook |= {"is_active": 0, "remove_time": iso_ms(to_ms(now)), "remove_reason": "no successful delivery"}
        elif attempt <= len(RETRY_SECONDS):
            self._later(RETRY_SECONDS[attempt - 1], identity, event, attempt + 1)


def lead_event(
    action: str,
    lead_id: str,
    data: Document | None,
    previous: Document | None,
    about: Mapping[str, Any],
) -> Document:
    """The body of a lead event; ``about`` adds company, user, time, source and the users who may see the lead."""
    meta = {
        "action": action,
        "entity": "lead",
        "entity_id": lead_id,
        "is_bulk_edit": False,
        "type": "general",
        "version": "2.0",
        **about,
    }
    return {"meta": meta, "data": data, "previous": previous}


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, the only place the sandbox calls."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and is_this_machine(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False


def post(webhook: Mapping[str, Any], body: bytes) -> int:
    """Deliver once; the status, or 0 if nobody answered in time."""
    parts = urlsplit(webhook["subscription_url"])
    headers = {"content-type": "application/json"}
    if webhook["http_auth_user"]:
        pair = f"{webhook['http_auth_user']}:{webhook['http_auth_password'] or ''}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=ANSWER_SECONDS)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    finally:
        connection.close()
