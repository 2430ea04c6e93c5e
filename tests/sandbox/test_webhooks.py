"""Webhooks 2.0: subscription, real delivery, retries (section 6 of docs/pipedrive-api.md)."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox import webhooks
from demo.ports import reserve_port
from tests.until import until


class Listener(ThreadingHTTPServer):
    """A small server that keeps what it is told and answers with ``status``."""

    def __init__(self, port: int = 0) -> None:
        self.told: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.status = 200
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook?x=1"


class Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.told.append(({name.lower(): item for name, item in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at what was told."""


@contextmanager
def listening(port: int = 0) -> Iterator[Listener]:
    with Listener(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a listener answer sooner or later."""
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", None)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as server:
        yield server


def _settle(api: Any) -> None:
    """Wait until all that is due by now has been told, and the answers noted."""
    api.control.now()  # lets what is due begin
    until(lambda: not api.sandbox.world.webhooks._running)


def _told(api: Any, listener: Listener) -> list[dict[str, Any]]:
    """The bodies told so far, with all that is due by now."""
    _settle(api)
    return [body for _, body in listener.told]


def _subscribe(api: Any, url: str, **more: Any) -> dict[str, Any]:
    body = {"subscription_url": url, "event_action": "*", "event_object": "lead", "name": "Test", **more}
    reply = api.post("/v1/webhooks", **body)
    assert reply.status_code == 201, reply.text
    webhook: dict[str, Any] = reply.json()["data"]
    return webhook


def test_a_lead_s_life_is_told(api: Any, listener: Listener) -> None:
    """6, A: action, entity, data with nested custom fields, previous with what changed, null data on delete."""
    webhook = _subscribe(api, listener.url, http_auth_user="me", http_auth_password="pw")
    key = api.field("Company size")["key"]
    option = api.field("Company size")["options"][0]["id"]
    lead = api.new_lead(title="Told", **{key: option})
    _told(api, listener)
    api.patch(f"/v1/leads/{lead['id']}", title="Retold")
    _told(api, listener)
    api.delete(f"/v1/leads/{lead['id']}")
    made, changed, gone = _told(api, listener)
    assert listener.told[0][0]["authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()
    meta = made["meta"]
    assert (meta["action"], meta["entity"], meta["entity_id"]) == ("create", "lead", lead["id"])
    assert (meta["version"], meta["attempt"], meta["webhook_id"]) == ("2.0", 1, str(webhook["id"]))
    assert made["data"]["custom_fields"] == {key: option}
    assert not {"visible_to", "cc_email", key} & set(made["data"])
    assert made["previous"] is None
    assert (changed["data"]["title"], changed["previous"]) == ("Retold", {"title": "Told"})
    assert (gone["meta"]["action"], gone["data"]) == ("delete", None)


def test_only_what_was_asked_for_is_told(api: Any, listener: Listener) -> None:
    _subscribe(api, listener.url, event_action="delete")
    _subscribe(api, listener.url, event_object="person")
    lead = api.new_lead()
    api.delete(f"/v1/leads/{lead['id']}")
    assert [body["meta"]["action"] for body in _told(api, listener)] == ["delete"]


def test_a_failure_is_retried_after_3_30_and_150_seconds(api: Any, listener: Listener) -> None:
    """6, A."""
    listener.status = 500
    _subscribe(api, listener.url)
    api.new_lead()
    assert len(_told(api, listener)) == 1
    for count, seconds in enumerate((3, 30, 150), start=2):
        api.control.advance(seconds - 1)
        assert len(_told(api, listener)) == count - 1
        api.control.advance(1)
        assert len(_told(api, listener)) == count
    api.control.advance(10_000)
    assert [body["meta"]["attempt"] for body in _told(api, listener)] == [1, 2, 3, 4]
    assert api.data("/v1/webhooks")[0]["last_http_status"] == 500


def test_ten_failures_pause_for_half_an_hour_and_three_days_without_success_remove(
    api: Any, listener: Listener
) -> None:
    """6, A."""
    listener.status = 503
    webhook = _subscribe(api, listener.url)
    for count in range(1, 11):
        api.new_lead()
        assert len(_told(api, listener)) == count
    api.new_lead()
    assert len(_told(api, listener)) == 10
    api.control.advance(1801)
    assert len(_told(api, listener)) == 10
    api.new_lead()
    assert len(_told(api, listener)) == 11
    assert api.data("/v1/webhooks")[0]["is_active"] == 1
    api.control.advance(4 * 86_400)
    assert len(_told(api, listener)) == 12
    assert api.data("/v1/webhooks")[0]["is_active"] == 0
    api.new_lead()
    assert len(_told(api, listener)) == 12
    assert api.delete(f"/v1/webhooks/{webhook['id']}").json() == {"status": "ok", "success": True}
    assert api.data("/v1/webhooks") == []


def test_nobody_listening_is_a_failure_too(api: Any) -> None:
    """Tried again, as after an answer that is none."""
    port = reserve_port()
    _subscribe(api, f"http://127.0.0.1:{port}/")
    api.new_lead()
    _settle(api)
    assert api.data("/v1/webhooks")[0]["last_http_status"] is None
    with listening(port) as listener:
        api.control.advance(3)
        assert [body["meta"]["attempt"] for body in _told(api, listener)] == [2]
    assert api.data("/v1/webhooks")[0]["last_http_status"] == 200
    assert api.control.counters()["failures"] == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"subscription_url": "http://example.com/hook"}, "subscription_url"),
        ({"subscription_url": "http://127.0.0.1:99999/"}, "subscription_url"),
        ({"subscription_url": 5}, "subscription_url"),
        ({"event_action": "added"}, "event_action"),
        ({"event_object": "activityType"}, "event_object"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"version": "1.0"}, "version"),
        ({"user_id": 5}, "user_id"),
        ({"http_auth_user": 5}, "http_auth_user"),
    ],
)
def test_what_is_wrong_is_named(api: Any, wrong: dict[str, Any], named: str) -> None:
    body = {
        "subscription_url": "http://127.0.0.1:9/",
        "event_action": "*",
        "event_object": "lead",
        "name": "Test",
        **wrong,
    }
    reply = api.post("/v1/webhooks", **body)
    assert reply.status_code == 400
    assert list(reply.json()["errors"]) == [named]


def test_at_most_forty_per_user(api: Any) -> None:
    """6, A."""
    for _ in range(40):
        _subscribe(api, "http://127.0.0.1:9/")
    body = {"subscription_url": "http://127.0.0.1:9/", "event_action": "*", "event_object": "lead", "name": "Test"}
    assert api.post("/v1/webhooks", **body).status_code == 422
