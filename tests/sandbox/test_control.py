"""The clock, the counters, the list of requests, seeding: the sandbox under control."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.clock import Agenda, Clock
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from tests.until import until


def test_the_clock_stands_moves_and_runs(api: Any) -> None:
    control = api.control
    assert control.now() == "2026-06-01T12:00:00.000Z"
    control.advance(0.25)
    assert control.now() == "2026-06-01T12:00:00.250Z"
    control.freeze("2026-07-01T00:00:00+02:00")
    assert control.now() == "2026-06-30T22:00:00.000Z"
    control.unfreeze()
    assert control.now() >= "2026-06-30T22:00:00.000Z"
    control.advance(3600)
    control.freeze()
    assert control.now() >= "2026-06-30T23:00:00.000Z"
    assert control.now() == control.now()


def test_late_work_takes_place_at_its_own_time_and_in_order() -> None:
    clock = Clock()
    clock.freeze(1000.0)
    agenda = Agenda(clock)
    done: list[tuple[str, float]] = []
    agenda.add(20, lambda: done.append(("late", agenda.now())))
    agenda.add(10, lambda: agenda.add(5, lambda: done.append(("nested", agenda.now()))))
    agenda.run_due()
    assert done == []
    clock.advance(100)
    agenda.run_due()
    assert done == [("nested", 1015.0), ("late", 1020.0)]
    assert agenda.now() == 1100.0


def test_counters_per_route(api: Any) -> None:
    lead = api.new_lead()
    api.control.reset_counters()
    api.get("/v1/leads")
    api.get(f"/v1/leads/{lead['id']}")
    api.get(f"/api/v1/leads/{lead['id']}")
    api.get("/v1/nothing")
    counters = api.control.counters()
    assert (counters["calls"], counters["tokens"], counters["rejected"]) == (4, 24, 0)
    assert counters["routes"] == {
        "GET /v1/leads": {"calls": 1, "tokens": 20},
        "GET /v1/leads/{id}": {"calls": 2, "tokens": 4},
        "(unknown route)": {"calls": 1, "tokens": 0},
    }


def test_peak_concurrency(api: Any, late: Any) -> None:
    api.control.reset_counters()
    api.control.set_delay("reply", 0.2)
    threads = [threading.Thread(target=api.get, args=("/v1/users/me",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    until(lambda: api.control.counters()["in_flight"] == 5)
    late.release()
    for thread in threads:
        thread.join()
    assert late.seconds == [0.2] * 5
    assert api.control.counters()["in_flight"] == 0
    assert api.control.counters()["peak_concurrency"] == 5


def test_requests_are_listed_without_secrets(api: Any, as_app: Any) -> None:
    api.control.reset_counters()
    api.get("/v1/leads", limit=2, api_token="very-secret")
    api.post("/v1/leads", title="Shown", person_id=1)
    hook = {"subscription_url": "http://127.0.0.1:9/", "event_action": "*", "event_object": "lead", "name": "x"}
    api.post("/v1/webhooks", **hook, http_auth_user="me", http_auth_password="very-secret")
    as_app(api, "base").get("/v1/users/me")
    listed = api.control.requests()
    assert "secret" not in str(listed)
    assert api.sandbox.token not in str(listed)
    assert [(one["method"], one["path"], one["status"], one["auth"]) for one in listed] == [
        ("GET", "/v1/leads", 200, "api_token"),
        ("POST", "/v1/leads", 201, "api_token"),
        ("POST", "/v1/webhooks", 201, "api_token"),
        ("POST", "/oauth/token", 200, "open"),
        ("GET", "/v1/users/me", 200, "oauth"),
    ]
    assert listed[0]["query"] == {"limit": "2", "api_token": "***"}
    assert listed[1]["json"] == {"title": "Shown", "person_id": 1}


def test_more_leads_can_be_seeded_where_and_when_wanted(api: Any) -> None:
    api.control.leads(25, until="2026-06-01T12:00:00Z", spread=60, archived=0)
    fresh = api.data("/v1/leads", updated_since="2026-06-01T11:59:00Z", limit=500)
    assert len(fresh) == 25
    assert api.control.lead_count() == 65
    assert len({lead["id"] for lead in api.data("/v1/leads", limit=500)}) == api.control.lead_count(archived=False)
    with pytest.raises(ValueError, match="count"):
        api.control.leads(-1)


def test_an_overview_for_people(api: Any) -> None:
    api.get("/v1/users/me")
    overview = api.control.overview()
    assert overview["leads"]["active"] + overview["leads"]["archived"] == 40
    assert overview["budget"]["limit"] - overview["budget"]["remaining"] == 2
    assert {label["name"] for label in overview["labels"]} == {"Hot", "Cold", "Warm"}
    assert overview["newest_leads"][0]["organization_name"]
    assert overview["requests"][-1]["path"] == "/v1/users/me"
    page = requests.get(api.sandbox.url + "/")
    assert page.headers["content-type"].startswith("text/html")


def test_orders_that_make_no_sense_are_refused_in_words(api: Any) -> None:
    control = api.control
    for order in (
        lambda: control.freeze("yesterday"),
        lambda: control.set_delay("nothing", 1),
        lambda: control.next_conversion("perhaps"),
        lambda: control.token_for(5),
        lambda: control.oauth_grant(user_id=5),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the words differ
            order()
    assert requests.get(api.sandbox.url + "/__sandbox__/nothing").status_code == 404


def test_importing_the_package_or_the_control_client_brings_no_server() -> None:
    heavy = "starlette", "uvicorn", "msgspec", "pendulum", "airflow.models", "requests"
    code = (
        "import sys, airflow_provider_pipedrive_leads.sandbox, airflow_provider_pipedrive_leads.sandbox.control;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert SandboxControl("http://127.0.0.1:1")


def test_more_leads_can_be_seeded_among_contacts_of_all_kinds(api: Any) -> None:
    """Persons without an organization, and some that are gone."""
    for number in range(40):
        assert api.post("/api/v2/persons", name=f"Free {number}").ok
    api.control.leads(300)


def test_all_leads_with_the_names_of_what_they_refer_to(api: Any) -> None:
    size, interests, score = (api.field(name) for name in ("Company size", "Interests", "Lead score"))
    label = api.data("/v1/leadLabels")[0]
    values = {
        size["key"]: str(size["options"][1]["id"]),
        interests["key"]: ",".join(str(option["id"]) for option in interests["options"][:2]),
        score["key"]: 87,
    }
    made = api.new_lead(title="The newest", label_ids=[label["id"]], **values)
    api.control.reset_counters()
    leads = api.control.all_leads()
    assert api.control.counters()["calls"] == 0
    assert len(leads) == 41
    assert sum(lead["is_archived"] for lead in leads) == api.control.lead_count(archived=True)
    assert made.items() <= leads[-1].items()
    assert leads[-1]["labels"] == [label["name"]]
    assert leads[-1]["person_name"]
    assert leads[-1]["organization_name"] is None
    assert leads[-1]["fields"] == {"Company size": "11-50", "Interests": ["Sensors", "Service"], "Lead score": 87}


def test_replies_tell_the_time_of_the_sandboxes_own_clock(api: Any) -> None:
    api.control.freeze("2031-07-01T00:00:00Z")
    assert api.get("/v1/users/me").headers["date"] == "Tue, 01 Jul 2031 00:00:00 GMT"
