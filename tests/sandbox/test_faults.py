"""Each kind of failure that can be ordered, and what has been done when it is over."""

from __future__ import annotations

import http.client
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.until import until

LEADS = "/v1/leads"


def _post(api: Any) -> requests.Response:
    return api.post(LEADS, title="Maybe", person_id=1)  # type: ignore[no-any-return]


def _made(api: Any) -> int:
    return int(api.control.lead_count())


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_status(start: Any, status: int) -> None:
    api = start()
    api.control.fault("POST", LEADS, "status", status=status, retry_after=7)
    reply = _post(api)
    assert (reply.status_code, reply.json()["success"], reply.headers["retry-after"]) == (status, False, "7")
    assert _made(api) == 0
    assert _post(api).status_code == 201


def test_html(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "html")
    reply = _post(api)
    assert reply.status_code == 403
    assert reply.text.startswith("<!DOCTYPE html>")
    assert _made(api) == 0


@pytest.mark.parametrize(("kind", "made"), [("close_before", 0), ("close_after", 1)])
def test_a_connection_closed_before_or_after_the_work(start: Any, kind: str, made: int) -> None:
    api = start()
    api.control.fault("POST", LEADS, kind)
    with pytest.raises(requests.ConnectionError):
        _post(api)
    assert _made(api) == made


def test_a_connection_closed_and_the_work_done_later(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "close_and_finish", after=30)
    with pytest.raises(requests.ConnectionError):
        _post(api)
    api.control.advance(29)
    assert _made(api) == 0
    api.control.advance(60)
    assert _made(api) == 1
    assert api.data(LEADS)[0]["add_time"] == "2026-06-01T12:00:30.000Z"


def test_late_work_takes_place_by_itself_in_real_time(start: Any) -> None:
    """Nobody calls meanwhile, for every call does first what is due."""
    api = start()
    api.control.unfreeze()
    api.control.fault("POST", LEADS, "close_and_finish", after=0.2)
    ordered = datetime.fromisoformat(api.control.now())
    with pytest.raises(requests.ConnectionError):
        _post(api)
    until(api.sandbox.world.state.leads.count)
    (lead,) = api.data(LEADS)
    assert datetime.fromisoformat(lead["add_time"]) >= ordered + timedelta(seconds=0.2)
    assert api.control.now() >= lead["add_time"]


def test_a_body_cut_off(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "cut_body")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        _post(api)
    assert _made(api) == 1


def test_a_slow_body(start: Any, late: Any) -> None:
    api = start()
    late.release()
    api.control.fault("POST", LEADS, "slow_body", seconds=0.5)
    assert _post(api).status_code == 201
    assert set(late.seconds) == {0.05}
    assert sum(late.seconds) == pytest.approx(0.5)


def test_a_body_that_is_slower_than_a_client_is_patient(start: Any, late: Any) -> None:
    api = start()
    api.control.fault("GET", LEADS, "slow_body", seconds=3)
    with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
        api.session.get(api.sandbox.url + LEADS, timeout=(None, 0.1))


def test_broken_json(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "broken_json")
    reply = _post(api)
    assert reply.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        reply.json()
    assert _made(api) == 1


def test_a_success_that_is_none(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "no_success")
    reply = _post(api)
    assert (reply.status_code, reply.json()["success"], bool(reply.json()["error"])) == (200, False, True)
    assert _made(api) == 1


def test_a_success_without_data(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "no_data")
    reply = _post(api)
    assert (reply.status_code, reply.json()["success"], "data" in reply.json()) == (201, True, False)
    assert _made(api) == 1


def test_a_delay(start: Any, late: Any) -> None:
    api = start()
    late.release()
    api.control.fault("POST", LEADS, "delay", seconds=0.3)
    assert _post(api).status_code == 201
    assert late.seconds == [0.3]
    assert _made(api) == 1


def test_a_client_that_gives_up_waiting_has_its_lead_made_all_the_same(start: Any, late: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "delay", seconds=0.3)
    client = http.client.HTTPConnection(urlsplit(api.sandbox.url).netloc)
    client.request("POST", LEADS, json.dumps({"title": "x", "person_id": 1}), dict(api.session.headers))
    until(lambda: late.seconds)
    client.close()
    assert _made(api) == 0
    late.release()
    assert until(lambda: _made(api)) == 1


def test_method_path_and_times_decide_which_calls_fail(start: Any) -> None:
    api = start()
    lead = api.new_lead()
    api.control.fault("*", "/v1/leads/*", "status", status=503, times=2)
    assert api.get(LEADS).status_code == 200
    statuses = [api.get(f"/v1/leads/{lead['id']}").status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    api.control.fault("DELETE", LEADS, "status")
    assert api.get(LEADS).status_code == 200
    api.control.fault("GET", LEADS, "status", times=100)
    assert api.get(LEADS).status_code == 500
    api.control.clear_faults()
    assert api.get(LEADS).status_code == 200


def test_a_refused_caller_uses_up_no_fault(start: Any) -> None:
    api = start()
    api.control.fault("GET", LEADS, "status")
    assert requests.get(api.sandbox.url + LEADS).status_code == 401
    assert api.get(LEADS).status_code == 500


def test_token_requests_can_fail_too(start: Any) -> None:
    api = start()
    api.control.fault("POST", "/oauth/token", "status", status=503)
    assert requests.post(api.sandbox.url + "/oauth/token", {}).status_code == 503


@pytest.mark.parametrize(
    "order", [{"kind": "strange"}, {"kind": "status", "status": 42}, {"kind": "status", "colour": "red"}]
)
def test_an_order_that_makes_no_sense_is_refused(start: Any, order: dict[str, Any]) -> None:
    api = start()
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the sandbox's
        api.control.fault("GET", LEADS, **order)
