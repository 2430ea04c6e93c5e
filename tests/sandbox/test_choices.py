"""Every open choice, both ways (section 10 of docs/pipedrive-api.md): each probe tells the two settings apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES, PROFILES, Choices
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

Probe = Callable[[Any, Any], object]
PROBES: dict[str, tuple[Probe, object, object]] = {}


def probe(likely: object, contrary: object) -> Callable[[Probe], Probe]:
    """Registers what a choice named like the function shows in its likely and contrary setting."""

    def register(function: Probe) -> Probe:
        PROBES[function.__name__] = (function, likely, contrary)
        return function

    return register


def _archived(api: Any) -> str:
    path = f"/v1/leads/{api.new_lead(title='Archived one')['id']}"
    api.control.advance(60)
    api.patch(path, is_archived=True)
    return path


@probe(201, 200)
def lead_created_status(api: Any, _: Any) -> object:
    return api.post("/v1/leads", title="x", person_id=1).status_code


@probe(["pagination"], ["start", "limit", "more_items_in_collection"])
def paging_shape(api: Any, _: Any) -> object:
    return list(api.get("/v1/leads").json()["additional_data"])


@probe(["pagination"], ["start", "limit", "more_items_in_collection"])
def field_paging_shape(api: Any, _: Any) -> object:
    return list(api.get("/v1/leadFields").json()["additional_data"])


@probe((200, 500), (400, None))
def limit_over_500(api: Any, _: Any) -> object:
    reply = api.get("/v1/leads", limit=501)
    return reply.status_code, (reply.json()["additional_data"]["pagination"]["limit"] if reply.ok else None)


@probe([], None)
def empty_page(api: Any, _: Any) -> object:
    return api.data("/v1/leads", start=1000)


@probe(400, 404)
def malformed_lead_id(api: Any, _: Any) -> object:
    return api.get("/v1/leads/17").status_code


@probe(200, 404)
def archived_lead_get(api: Any, _: Any) -> object:
    return api.get(_archived(api)).status_code


@probe(400, 403)
def archived_lead_edit(api: Any, _: Any) -> object:
    return api.patch(_archived(api), title="No").status_code


@probe("2026-06-01T12:01:00.000Z", "2026-06-01 12:01:00")
def archive_time_form(api: Any, _: Any) -> object:
    return api.data(_archived(api))["archive_time"]


@probe(("2026-06-01T12:01:00.000Z", "2026-06-01T12:02:00.000Z"), ("2026-06-01T12:00:00.000Z",) * 2)
def archiving_update_time(api: Any, _: Any) -> object:
    path = _archived(api)
    archived = api.data(path)["update_time"]
    api.control.advance(60)
    return archived, api.patch(path, is_archived=False).json()["data"]["update_time"]


@probe("2026-06-01T12:00:00.000Z", "2026-06-01T12:01:00.000Z")
def unchanged_patch_update_time(api: Any, _: Any) -> object:
    lead = api.new_lead()
    api.control.advance(60)
    return api.patch(f"/v1/leads/{lead['id']}", title=lead["title"]).json()["data"]["update_time"]


@probe(1, 7)
def archived_updated_since(api: Any, _: Any) -> object:
    api.sandbox.world.state.connection.execute("DELETE FROM leads")
    api.control.leads(6, archived=1)
    _archived(api)
    return len(api.data("/v1/leads/archived", updated_since="2026-06-01T12:00:00Z"))


@probe(400, 200)
def updated_since_fractions(api: Any, _: Any) -> object:
    return api.get("/v1/leads", updated_since="2026-01-01T00:00:00.500Z").status_code


@probe(200, 400)
def archived_status_parameter(api: Any, _: Any) -> object:
    return api.get("/v1/leads", archived_status="all").status_code


@probe(["one", "two"], ["two", "one"])
def equal_times_order(api: Any, _: Any) -> object:
    for title in ("one", "two"):
        api.new_lead(title=title)
    return [lead["title"] for lead in api.data("/v1/leads", updated_since="2026-06-01T12:00:00Z")]


@probe(201, 400)
def unknown_keys(api: Any, _: Any) -> object:
    return api.post("/v1/leads", title="x", person_id=1, note="y").status_code


@probe(True, False)
def validation_error(api: Any, _: Any) -> object:
    return api.post("/v1/leads", person_id=1).json()["error"].startswith("ERR_SCHEMA_VALIDATION_FAILED: ")


@probe(400, 200)
def null_title(api: Any, _: Any) -> object:
    return api.patch(f"/v1/leads/{api.new_lead()['id']}", title=None).status_code


@probe(400, 200)
def unlink_last_contact(api: Any, _: Any) -> object:
    return api.patch(f"/v1/leads/{api.new_lead()['id']}", person_id=None).status_code


@probe(0, 1)
def empty_label_ids(api: Any, _: Any) -> object:
    lead = api.new_lead(label_ids=[api.data("/v1/leadLabels")[0]["id"]])
    return len(api.patch(f"/v1/leads/{lead['id']}", label_ids=[]).json()["data"]["label_ids"])


@probe("mine", "3561366536343632")
def oauth_origin_id(api: Any, as_app: Any) -> object:
    return as_app(api, "leads:full").new_lead(origin_id="mine")["origin_id"]


@probe(("x", 10.13), (" x ", 10.125))
def stored_values(api: Any, _: Any) -> object:
    lead = api.new_lead(title=" x ", value={"amount": 10.125, "currency": "EUR"})
    return lead["title"], lead["value"]["amount"]


@probe(404, 410)
def second_delete(api: Any, _: Any) -> object:
    path = f"/v1/leads/{api.new_lead()['id']}"
    api.delete(path)
    return api.delete(path).status_code


@probe(1, 0)
def search_archived(api: Any, _: Any) -> object:
    _archived(api)
    api.control.advance(5)
    return len(api.data("/api/v2/leads/search", term="Archived one")["items"])


@probe(None, "of its making")
def new_record_update_time(api: Any, _: Any) -> object:
    person = api.post("/api/v2/persons", name="Kim Example").json()["data"]
    deal = _converted(api)
    assert (person["update_time"] is None) == (deal["update_time"] is None)
    later = api.patch(f"/api/v2/persons/{person['id']}", name="Kim").json()["data"]
    assert later["update_time"]
    listed = {each["id"] for each in api.data("/api/v2/deals", updated_since="2020-01-01T00:00:00Z")}
    assert (deal["id"] in listed) == (deal["update_time"] is not None)
    return "of its making" if person["update_time"] == person["add_time"] else person["update_time"]


@probe("the conversion's", "the lead's")
def converted_deal_add_time(api: Any, _: Any) -> object:
    lead = api.new_lead()
    api.control.advance(60)
    deal = _converted(api, lead)
    return "the lead's" if deal["add_time"][:19] == lead["add_time"][:19] else "the conversion's"


def _converted(api: Any, lead: Any = None) -> Any:
    there = f"/api/v2/leads/{(lead or api.new_lead())['id']}"
    begun = api.post(f"{there}/convert/deal").json()["data"]["conversion_id"]
    api.control.advance(5)
    deal_id = api.data(f"{there}/convert/status/{begun}")["deal_id"]
    return api.data(f"/api/v2/deals/{deal_id}")


@probe(200, 404)
def api_v1_prefix(api: Any, _: Any) -> object:
    return api.get("/api/v1/leads").status_code


@probe(200, 401)
def query_token(api: Any, _: Any) -> object:
    del api.session.headers["x-api-token"]
    return api.get("/v1/users/me", api_token=api.sandbox.token).status_code


@probe(True, False)
def rate_headers(api: Any, _: Any) -> object:
    return "x-ratelimit-limit" in api.get("/v1/users/me").headers


def _overrun(api: Any) -> Any:
    api.control.set_burst(1)
    api.get("/v1/users/me")
    return api.get("/v1/users/me")


@probe(None, "2")
def retry_after(api: Any, _: Any) -> object:
    return _overrun(api).headers.get("retry-after")


@probe("application/json; charset=utf-8", "text/plain")
def rate_limit_body(api: Any, _: Any) -> object:
    return _overrun(api).headers["content-type"]


@probe(403, 429)
def ignored_429s(api: Any, _: Any) -> object:
    _overrun(api)
    for _number in range(30):
        last = api.get("/v1/users/me")
    return last.status_code


@probe(200, 429)
def day_zone(api: Any, _: Any) -> object:
    api.get("/v1/users/me")
    api.control.set_budget(0)
    api.control.advance(12 * 3600 + 1)
    return api.get("/v1/users/me").status_code


@pytest.mark.parametrize("name", PROBES)
def test_both_settings_show(start: Any, as_app: Any, name: str) -> None:
    function, likely, contrary = PROBES[name]
    choice = CHOICES[name]
    shown = [function(start(leads=3, choices={name: value}), as_app) for value in (choice.likely, choice.contrary)]
    assert shown == [likely, contrary]


def test_every_choice_has_a_probe_and_a_home_in_both_profiles() -> None:
    assert set(PROBES) == set(CHOICES) == set(PROFILES["likely"]) == set(PROFILES["contrary"])
    for choice in CHOICES.values():
        assert choice.likely != choice.contrary
        assert {choice.likely, choice.contrary} <= set(choice.values)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [("archived_lead_edit", 409, 409), ("archived_updated_since", "refused", 400), ("archive_time_form", "null", 200)],
)
def test_third_settings(api: Any, name: str, value: object, status: int) -> None:
    api.control.set_choice(name, value)
    path = _archived(api)
    shown = {
        "archived_lead_edit": lambda: api.patch(path, title="No"),
        "archived_updated_since": lambda: api.get("/v1/leads/archived", updated_since="2026-01-01T00:00:00Z"),
        "archive_time_form": lambda: api.get(path),
    }[name]()
    assert shown.status_code == status
    if name == "archive_time_form":
        assert shown.json()["data"]["archive_time"] is None


def test_a_profile_plays_all_choices_and_a_switch_stands_above_it(api: Any) -> None:
    api.control.set_profile("contrary")
    assert api.control.choices() == PROFILES["contrary"]
    api.control.set_choice("lead_created_status", 201)
    assert api.control.choices() == {**PROFILES["contrary"], "lead_created_status": "201"}


@pytest.mark.parametrize("name", ["nothing", "paging_shape"])
def test_an_unknown_choice_or_value_is_named(api: Any, name: str) -> None:
    with pytest.raises(ValueError, match=r"one of|is one of"):
        api.control.set_choice(name, "sideways")
    with pytest.raises(ValueError, match="profile"):
        Choices("strange")
    with pytest.raises(ValueError, match="plan"):
        Sandbox(plan="free")
