"""Each kind of failure that can be ordered, and what has been done when it is over."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

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
    api = start()
    api.control.unfreeze()
    api.control.fault("POST", LEADS, "close_and_finish", after=0.2)
    with pytest.raises(requests.ConnectionError):
        _post(api)
    assert _made(api) == 0
    time.sleep(0.4)
    assert _made(api) == 1


def test_a_body_cut_off(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "cut_body")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        _post(api)
    assert _made(api) == 1


def test_a_slow_body(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "slow_body", seconds=0.5)
    begun = time.monotonic()
    assert _post(api).status_code == 201
    assert time.monotonic() - begun >= 0.4
    api.control.fault("GET", LEADS, "slow_body", seconds=3)
    with pytest.raises((requests.Timeout, requests.ConnectionError), match="timed out"):
        api.session.get(api.sandbox.url + LEADS, timeout=0.05)


def test_broken_json(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "broken_json")
    reply = _post(api)
    assert reply.status_code == 201
    with pytest.raises(requests.JSONDecodeError):
        reply.json()
    assert _made(api) == 1


def test_a_delay(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "delay", seconds=0.3)
    begun = time.monotonic()
    assert _post(api).status_code == 201
    assert time.monotonic() - begun >= 0.3


def test_a_client_that_gives_up_waiting_has_its_lead_made_all_the_same(start: Any) -> None:
    api = start()
    api.control.fault("POST", LEADS, "delay", seconds=0.3)
    with pytest.raises(requests.Timeout):
        api.session.post(api.sandbox.url + LEADS, json={"title": "x", "person_id": 1}, timeout=0.1)
    assert _made(api) == 0
    time.sleep(0.5)
    assert _made(api) == 1


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
    assert requests.get(api.sandbox.url + LEADS, timeout=5).status_code == 401
    assert api.get(LEADS).status_code == 500


def test_token_requests_can_fail_too(start: Any) -> None:
    api = start()
    api.control.fault("POST", "/oauth/token", "status", status=503)
    assert requests.post(api.sandbox.url + "/oauth/token", {}, timeout=5).status_code == 503


@pytest.mark.parametrize(
    "order", [{"kind": "strange"}, {"kind": "status", "status": 42}, {"kind": "status", "colour": "red"}]
)
def test_an_order_that_makes_no_sense_is_refused(start: Any, order: dict[str, Any]) -> None:
    api = start()
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the sandbox's
        api.control.fault("GET", LEADS, **order)
