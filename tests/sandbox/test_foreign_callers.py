"""The sandbox listens to this machine's own programs: not to web pages, and to no order that would break it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.sandbox.hosts import may_call
from airflow_provider_pipedrive_leads.sandbox.routes.control import CONTROL_ENDPOINTS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

FOREIGN = (
    "evil.test",
    "evil.test:80",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "evil.test@127.0.0.1",
    "127.0.0.1@evil.test",
    "127.0.0.1, evil.test",
    "192.168.1.5",
    "0.0.0.0",
    "[::2]",
    "::1",
    "[::1",
    "",
)
OWN = ("127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8080", "127.8.8.8", "[::1]:8080")
PATHS = ("/", "/v1/users/me", "/oauth/authorize", "/__sandbox__/overview", "/__sandbox__/users/1/token", "/nothing")


def asked(
    sandbox: Sandbox, method: str, path: str, hosts: tuple[str, ...], headers: dict[str, str], content: bytes = b""
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", host) for host in hosts] + list(headers.items()):
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content)
    reply = connection.getresponse()
    told = reply.read().decode()
    connection.close()
    return reply.status, told


@pytest.mark.parametrize("host", FOREIGN)
def test_no_foreign_name_is_answered(api: Any, host: str) -> None:
    """A page whose name was made to lead here could read all that it asks for."""
    for path in PATHS:
        status, told = asked(api.sandbox, "GET", path, (host,), {"x-api-token": api.sandbox.token})
        assert status in (400, 421)
        assert api.sandbox.token not in told
    assert api.control.counters()["calls"] == 0


def test_there_is_one_name(api: Any) -> None:
    for hosts in ((), ("evil.test", "127.0.0.1"), ("127.0.0.1", "evil.test")):
        assert asked(api.sandbox, "GET", "/__sandbox__/overview", hosts, {})[0] in (400, 421)


@pytest.mark.parametrize("host", OWN)
def test_every_name_of_this_machine_is_answered(api: Any, host: str) -> None:
    for path in ("/", "/v1/users/me", "/__sandbox__/overview"):
        assert asked(api.sandbox, "GET", path, (host,), {"x-api-token": api.sandbox.token})[0] == 200


def test_the_name_at_which_it_was_told_to_listen_is_answered() -> None:
    """No test listens beyond this machine."""
    assert may_call(["192.168.1.5:8080"], "192.168.1.5")
    assert may_call(["Sandbox.local"], "sandbox.local")
    assert not may_call(["192.168.1.6"], "192.168.1.5")
    assert not may_call(["evil.test"], "192.168.1.5")


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "text/plain; charset=application/json",
        "application/x-www-form-urlencoded",
        "text/json",
        "multipart/form-data; boundary=json",
    ],
)
def test_orders_that_any_web_page_can_send_are_refused(api: Any, kind: str) -> None:
    """A browser asks before it sends JSON elsewhere, but not before forms and plain texts."""
    before = api.control.now()
    headers = {"content-type": kind} if kind else {}
    for path, order in {"clock/unfreeze": {}, "clock/advance": {"seconds": 1}, "oauth": {}}.items():
        for content in (b"", json.dumps(order).encode()):
            assert asked(api.sandbox, "POST", f"/__sandbox__/{path}", ("127.0.0.1",), headers, content)[0] == 415
    assert asked(api.sandbox, "DELETE", "/__sandbox__/oauth", ("127.0.0.1",), headers)[0] == 415
    assert api.control.now() == before


@pytest.mark.parametrize("kind", ["text/plain; json", "text/plain;charset=json", "multipart/json"])
def test_the_api_takes_no_text_for_json_either(api: Any, kind: str) -> None:
    reply = api.call("POST", "/v1/leads", data='{"title": "x", "person_id": 1}', headers={"content-type": kind})
    assert reply.status_code == 400
    assert api.control.lead_count() == 40


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_is_taken(api: Any, kind: str) -> None:
    order = json.dumps({"seconds": 1}).encode()
    headers = {"content-type": kind}
    assert asked(api.sandbox, "POST", "/__sandbox__/clock/advance", ("localhost",), headers, order)[0] == 200
    assert api.control.now() == "2026-06-01T12:00:01.000Z"


NUMBERS = (1e300, -1e300, -1, 1e18, 10**400, True, "x", "1e300", "nan", "inf", None, [], {})


@pytest.mark.parametrize(
    ("order", "values"),
    [
        (lambda control, value: control.advance(value), NUMBERS),
        (lambda control, value: control.freeze(value), ("0001-01-01", "9999-12-31T23:59:59Z", 5, [1], True)),
        (lambda control, value: control.set_budget(value), (*NUMBERS, 0.5)),
        (lambda control, value: control.set_burst(value), [each for each in NUMBERS if each is not None]),
        (lambda control, value: control.set_burst(1, search=value), [each for each in NUMBERS if each is not None]),
        (lambda control, value: control.set_delay("reply", value), (*NUMBERS, 86_400)),
        (lambda control, value: control.set_delay("conversion", value), NUMBERS),
        (lambda control, value: control.leads(value), (*NUMBERS, 0.5)),
        (lambda control, value: control.leads(1, seed=value), [each for each in NUMBERS if each != -1]),
        (lambda control, value: control.leads(1, spread=value), NUMBERS),
        (lambda control, value: control.leads(1, archived=value), NUMBERS),
        (lambda control, value: control.leads(1, until=value), ("0001-01-01", "9999-12-31", "1970-01-02", 5, [1])),
        (lambda control, value: control.fault("GET", "/*", "delay", seconds=value), NUMBERS),
        (lambda control, value: control.fault("GET", "/*", "close_and_finish", after=value), NUMBERS),
        (lambda control, value: control.fault("GET", "/*", "status", status=value), [1e300, -1, 99, 600, "x", [1]]),
        (lambda control, value: control.fault("GET", "/*", "status", retry_after=value), [1e300, -1, "1\r\nx: y", [1]]),
        (lambda control, value: control.fault("GET", "/*", "status", times=value), NUMBERS),
        (lambda control, value: control.fault(value, "/*", "status"), (5, None, [], "x" * 10_000)),
        (lambda control, value: control.fault("GET", value, "status"), (5, None, {}, "x" * 10_000)),
        (lambda control, value: control.fault("GET", "/*", value), (5, None, [], {})),
        (lambda control, value: control.oauth_grant(user_id=value), (1e300, -1, "x", [1])),
        (lambda control, value: control.oauth_grant(value), ([[1]], [5], [None])),
        (lambda control, value: control.next_conversion(value), (5, None, [], {})),
        (lambda control, value: control.set_profile(value), (5, None, [], {})),
        (lambda control, value: control.set_choice("day_zone", value), (5, None, [], {})),
    ],
)
def test_an_order_out_of_bounds_is_refused_and_breaks_nothing(api: Any, order: Any, values: Any) -> None:
    before = api.control.now()
    for value in values:
        with pytest.raises(ValueError):  # noqa: PT011 - the words differ
            order(api.control, value)
        assert api.get("/v1/users/me").status_code == 200
        assert api.get("/v1/leads", limit=1).status_code == 200
    assert api.control.now() == before
    assert api.control.lead_count() == 40


def test_the_clock_ends_before_dates_do(api: Any) -> None:
    api.control.freeze("8999-12-31T23:59:59Z")
    api.control.advance(1)
    with pytest.raises(ValueError, match="9000"):
        api.control.advance(1)
    api.control.unfreeze()
    api.control.set_delay("conversion", 100 * 365 * 86_400)
    lead = api.new_lead()
    assert api.call("POST", f"/api/v2/leads/{lead['id']}/convert/deal", json={}).ok
    assert api.get("/v1/leads").status_code == 200


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
_NAMES = (  # noqa: SIM905
    "at seconds method path kind times status after retry_after value remaining calls search count seed until spread "
    "archived scopes user_id outcome "
).split()
_LONG = {"seconds", "count"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    endpoint=st.sampled_from(CONTROL_ENDPOINTS),
    body=st.dictionaries(st.sampled_from([name for name in _NAMES if name not in _LONG]), _JSON, max_size=6),
    name=st.sampled_from(["conversion", "search_index", "day_zone", "1", "nothing"]),
)
def test_whatever_is_ordered_later_calls_are_answered(api: Any, endpoint: Any, body: Any, name: str) -> None:
    path = "/__sandbox__/" + endpoint.path.replace("{name}", name).replace("{id}", name)
    content = json.dumps(body).encode()
    status, told = asked(
        api.sandbox, endpoint.method, path, ("localhost",), {"content-type": "application/json"}, content
    )
    assert status < 500, (path, body, told)
    api.control.clear_faults()
    api.control.set_budget(1_000_000)
    api.control.set_burst(1_000_000)
    assert api.get("/v1/users/me").status_code == 200
    assert api.control.overview()["now"]


@pytest.mark.parametrize(
    "options", [{"latency": 1e300}, {"latency": -1}, {"latency": float("nan")}, {"seats": 0}, {"leads": -1}]
)
def test_a_sandbox_that_makes_no_sense_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Sandbox(**options)
