"""Burst, search limit, daily budget and headers, in virtual time (section 8 of docs/pipedrive-api.md)."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox.limits import PLANS, Limits, Window, seconds_to_midnight

ME = "/v1/users/me"


def _statuses(api: Any, count: int, path: str = ME, **params: Any) -> list[int]:
    return [api.get(path, **params).status_code for _ in range(count)]


@pytest.mark.parametrize(("plan", "calls"), [("lite", 20), ("growth", 40), ("premium", 100), ("ultimate", 120)])
def test_the_burst_of_an_api_token_is_the_plan_s(start: Any, plan: str, calls: int) -> None:
    """8.4, A."""
    api = start(plan=plan, choices={"ignored_429s": "nothing"})
    api.control.set_burst(None)
    assert _statuses(api, calls + 2) == [200] * calls + [429] * 2
    api.control.advance(1.9)
    assert _statuses(api, 1) == [429]
    api.control.advance(0.2)
    assert _statuses(api, calls + 1) == [200] * calls + [429]


def test_the_window_rolls(start: Any) -> None:
    """8.4, A: rolling two seconds, not fixed ones."""
    api = start(plan="lite")
    api.control.set_burst(None)
    assert set(_statuses(api, 10)) == {200}
    api.control.advance(1.5)
    assert set(_statuses(api, 10)) == {200}
    api.control.advance(1)
    assert _statuses(api, 11) == [200] * 10 + [429]


def test_an_app_has_a_burst_of_its_own_four_times_as_large(start: Any, as_app: Any) -> None:
    """8.4, A: per access token."""
    api = start(plan="lite")
    app = as_app(api, "base")
    api.control.set_burst(None)
    assert _statuses(app, 81) == [200] * 80 + [429]
    assert _statuses(api, 1) == [200]


@pytest.mark.parametrize("path", ["/v1/leads/search", "/api/v2/leads/search", "/api/v2/itemSearch"])
def test_ten_searches_in_two_seconds(start: Any, path: str) -> None:
    """8.4, A: any auth, on top of the burst."""
    api = start(plan="ultimate")
    api.control.set_burst(None)
    assert _statuses(api, 11, path, term="abc") == [200] * 10 + [429]
    assert _statuses(api, 1) == [200]


def test_live_headers(start: Any) -> None:
    """8.5, L: the figures of the recorded calls: Lite with five seats through an app."""
    api = start(plan="lite", seats=5)
    api.control.set_burst(80)
    headers = api.get(ME).headers
    recorded = {
        "x-ratelimit-limit": "80",
        "x-ratelimit-remaining": "79",
        "x-ratelimit-reset": "2",
        "x-daily-ratelimit-token-limit": "150000",
        "x-daily-ratelimit-token-remaining": "149998",
    }
    assert {name: headers[name] for name in recorded} == recorded
    assert len(headers["x-correlation-id"]) == 36
    assert "retry-after" not in headers


def test_reset_counts_down_in_seconds_from_now(start: Any) -> None:
    """8.5, L."""
    api = start()
    api.control.set_burst(2)
    api.get(ME)
    api.control.advance(1.2)
    assert api.get(ME).headers["x-ratelimit-reset"] == "1"
    assert api.get(ME).headers["x-ratelimit-remaining"] == "0"


def test_a_429_says_so_in_an_envelope(start: Any) -> None:
    """7, C."""
    api = start()
    api.control.set_burst(0)
    reply = api.get(ME)
    assert reply.status_code == 429
    assert (reply.json()["success"], reply.json()["errorCode"]) == (False, 429)


def test_every_call_costs_what_the_index_says_until_the_day_is_spent(start: Any) -> None:
    """2 and 8.3, A: a full list 20, one lead 2, a creation 10."""
    api = start(leads=3, plan="lite", seats=1)
    lead = api.data("/v1/leads", limit=1)[0]
    api.get(f"/v1/leads/{lead['id']}")
    reply = api.post("/v1/leads", title="x", person_id=1)
    assert reply.headers["x-daily-ratelimit-token-remaining"] == str(30_000 - 20 - 2 - 10)
    api.control.set_budget(19)
    refused = api.get("/v1/leads")
    assert refused.status_code == 429
    assert refused.headers["x-daily-ratelimit-token-remaining"] == "0"
    assert api.get(f"/v1/leads/{lead['id']}").status_code == 200


def test_the_budget_is_the_company_s_and_comes_back_at_midnight(start: Any, as_app: Any) -> None:
    """8.3, A: API tokens and apps draw from one budget."""
    api = start()
    app = as_app(api, "base")
    api.control.set_budget(2)
    assert [app.get(ME).status_code, app.get(ME).status_code, api.get(ME).status_code] == [200, 429, 429]
    api.control.advance(12 * 3600 - 1)
    assert api.get(ME).status_code == 429
    api.control.advance(1)
    assert api.get(ME).status_code == 200


def test_refused_calls_cost_nothing_and_unknown_callers_are_not_counted(api: Any) -> None:
    api.control.set_burst(1)
    assert _statuses(api, 3) == [200, 429, 429]
    api.session.headers["x-api-token"] = "0" * 40
    assert _statuses(api, 1) == [401]
    counters = api.control.counters()
    assert (counters["calls"], counters["tokens"], counters["rejected"]) == (4, 2, 2)


def test_who_ignores_429s_meets_a_page_in_html(start: Any) -> None:
    """8.5, A: Cloudflare's 403, for a while."""
    api = start()
    api.control.set_burst(0)
    statuses = _statuses(api, 31)
    assert statuses == [429] * 30 + [403]
    api.control.set_burst(5)
    banned = api.get(ME)
    assert (banned.status_code, banned.headers["content-type"]) == (403, "text/html; charset=utf-8")
    api.control.advance(61)
    assert _statuses(api, 1) == [200]


def test_a_patient_client_is_not_banned(start: Any) -> None:
    api = start()
    api.control.set_burst(1)
    for _ in range(40):
        assert _statuses(api, 2) == [200, 429]
        api.control.advance(2)


def test_no_headers_where_none_are_sent(start: Any) -> None:
    """8.5, A: the rate headers can be missing."""
    api = start(choices={"rate_headers": "absent"})
    assert not [name for name in api.get(ME).headers if "ratelimit" in name.lower()]


def test_plans_are_those_of_the_docs() -> None:
    """8.3 and 8.4, A."""
    assert {name: (plan.multiplier, plan.api_token_burst, plan.oauth_burst) for name, plan in PLANS.items()} == {
        "lite": (1, 20, 80),
        "growth": (2, 40, 160),
        "premium": (5, 100, 400),
        "ultimate": (7, 120, 480),
    }
    assert Limits("premium", 3).daily_limit == 450_000


def test_a_clock_set_back_empties_the_window() -> None:
    window = Window(1)
    window.times.append(100.0)
    window.expire(50.0)
    assert window.remaining() == 1


@pytest.mark.parametrize(("zone", "left"), [("UTC", 12 * 3600), ("America/Los_Angeles", 19 * 3600)])
def test_midnight_depends_on_the_zone(zone: str, left: int) -> None:
    assert seconds_to_midnight(1_780_315_200.0, zone) == left
