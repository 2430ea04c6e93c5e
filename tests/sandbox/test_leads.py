"""Leads as recorded live (mark L of docs/pipedrive-api.md) and as documented; each test names its section."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

LIVE_ORDER = (  # noqa: SIM905
    "id title owner_id creator_id label_ids value expected_close_date person_id organization_id is_archived "
    "archive_time source_name source_deal_id origin origin_id channel channel_id was_seen next_activity_id add_time "
    "update_time visible_to cc_email"
).split()


def _titles(api: Any, path: str = "/v1/leads", **params: Any) -> list[str]:
    return [lead["title"] for lead in api.data(path, **params)]


def test_a_new_lead_has_the_live_fields_in_the_live_order_null_or_not(api: Any) -> None:
    """3.1, L: all standard fields are there, in this order."""
    assert list(api.new_lead()) == LIVE_ORDER


def test_ids_are_uuids_of_version_1(api: Any) -> None:
    """3.1, L."""
    ids = [lead["id"] for lead in api.data("/v1/leads")] + [api.new_lead()["id"] for _ in range(3)]
    assert {uuid.UUID(lead_id).version for lead_id in ids} == {1}
    assert len(set(ids)) == len(ids)


def test_cc_email_holds_the_id_to_base_36(api: Any) -> None:
    """3.1, L: recomputed exactly on two recorded leads."""
    lead = api.new_lead()
    match = re.fullmatch(r"([\w-]+)\+(\d+)\+lead([0-9a-z]+)@pipedrivemail\.com", lead["cc_email"])
    assert match
    me = api.data("/v1/users/me")
    assert (match[1], int(match[2])) == (me["company_domain"], me["company_id"])
    assert int(match[3], 36) == uuid.UUID(lead["id"]).int


def test_times_are_utc_with_milliseconds_and_equal_at_creation(api: Any) -> None:
    """3.1, L."""
    lead = api.new_lead()
    assert lead["add_time"] == lead["update_time"] == "2026-06-01T12:00:00.000Z"


def test_custom_fields_not_set_are_absent(api: Any) -> None:
    """3.1: absent, not null."""
    assert not [name for name in api.new_lead() if len(name) >= 40]


def test_the_list_nests_its_page_object_and_tells_next_start_only_if_there_is_more(api: Any) -> None:
    """3.2, L."""
    first = api.get("/v1/leads", limit=10).json()
    assert first["additional_data"] == {
        "pagination": {"start": 0, "limit": 10, "more_items_in_collection": True, "next_start": 10}
    }
    last = api.get("/v1/leads", start=30, limit=100).json()["additional_data"]["pagination"]
    assert last == {"start": 30, "limit": 100, "more_items_in_collection": False}


def test_one_lead_comes_without_additional_data(api: Any) -> None:
    """3.4, L."""
    assert set(api.get(f"/v1/leads/{api.new_lead()['id']}").json()) == {"success", "data"}


def test_sort_by_update_time_with_limit_and_start_works(api: Any) -> None:
    """3.2, L."""
    times = [lead["update_time"] for lead in api.data("/v1/leads", sort="update_time ASC", limit=500)]
    assert times == sorted(times)
    part = api.data("/v1/leads", sort="update_time ASC", limit=5, start=3)
    assert [lead["update_time"] for lead in part] == times[3:8]


def test_both_base_paths_answer_on_a_company_host(api: Any) -> None:
    """1, L: /api/v1/leads/{id} and /v1/leads were recorded working."""
    lead = api.new_lead()
    assert api.data(f"/api/v1/leads/{lead['id']}") == api.data(f"/v1/leads/{lead['id']}") == lead


def test_a_token_makes_leads_of_origin_api_without_channel(api: Any) -> None:
    """3.1, L: origin API and channel null for a token."""
    lead = api.new_lead()
    assert (lead["origin"], lead["source_name"], lead["channel"]) == ("API", "API", None)


def test_an_oauth_app_leaves_its_marks(api: Any, as_app: Any) -> None:
    """3.1, L: Marketplace, 16 hexadecimal characters, a channel, the app's name."""
    lead = as_app(api, "leads:full").new_lead()
    assert lead["origin"] == "Marketplace"
    assert re.fullmatch("[0-9a-f]{16}", lead["origin_id"])
    assert (lead["channel"], lead["channel_id"]) == (8, "Sandbox App")


def test_leads_come_by_add_time_unless_asked_otherwise(api: Any) -> None:
    """3.2, A."""
    times = [lead["add_time"] for lead in api.data("/v1/leads", limit=500)]
    assert times == sorted(times)


def test_several_sort_keys(api: Any) -> None:
    """3.2, A: a comma list of field ASC / field DESC."""
    leads = api.data("/v1/leads", sort="owner_id DESC, title ASC", limit=500)
    keys = [(-lead["owner_id"], lead["title"]) for lead in leads]
    assert keys == sorted(keys)


def test_active_and_archived_leads_are_apart(api: Any) -> None:
    """1.1, A."""
    assert {lead["is_archived"] for lead in api.data("/v1/leads", limit=500)} == {False}
    archived = api.data("/v1/leads/archived", limit=500)
    assert {lead["is_archived"] for lead in archived} == {True}
    assert all(lead["archive_time"] for lead in archived)
    assert api.control.lead_count(archived=True) == len(archived)
    assert api.control.lead_count() == 40


@pytest.mark.parametrize("name", ["owner_id", "person_id", "organization_id"])
def test_reference_filters(api: Any, name: str) -> None:
    """3.2, A."""
    wanted = api.data("/v1/leads")[0][name]
    found = api.data("/v1/leads", **{name: wanted}, limit=500)
    assert found
    assert {lead[name] for lead in found} == {wanted}


def test_updated_since_includes_its_bound(api: Any) -> None:
    """3.2, A."""
    lead = api.new_lead(title="At noon")
    api.control.advance(10)
    api.new_lead(title="Later")
    assert _titles(api, updated_since="2026-06-01T12:00:00Z") == ["At noon", "Later"]
    assert _titles(api, updated_since="2026-06-01T14:00:00+02:00") == ["At noon", "Later"]
    assert _titles(api, updated_since="2026-06-01T12:00:01Z") == ["Later"]
    assert lead["update_time"] == "2026-06-01T12:00:00.000Z"


def test_pages_drift_when_rows_come_and_go(api: Any) -> None:
    """9.5: offset pages count rows, so a deletion before the offset makes the reader skip one."""
    before = api.data("/v1/leads", limit=20)
    api.delete(f"/v1/leads/{before[0]['id']}")
    after = api.data("/v1/leads", start=10, limit=10)
    assert after[0]["id"] == before[11]["id"]


def test_null_unsets_and_absent_leaves_alone(api: Any) -> None:
    """3.6, A."""
    lead = api.new_lead(value={"amount": 5, "currency": "EUR"}, expected_close_date="2026-07-01", organization_id=1)
    changed = api.patch(f"/v1/leads/{lead['id']}", value=None, person_id=None).json()["data"]
    assert (changed["value"], changed["person_id"]) == (None, None)
    assert (changed["expected_close_date"], changed["organization_id"]) == ("2026-07-01", 1)


def test_label_ids_replaces_the_whole_set(api: Any) -> None:
    """3.6, C."""
    hot, cold, warm = (label["id"] for label in api.data("/v1/leadLabels"))
    lead = api.new_lead(label_ids=[hot, cold])
    assert api.patch(f"/v1/leads/{lead['id']}", label_ids=[warm]).json()["data"]["label_ids"] == [warm]


def test_a_change_moves_update_time_and_not_add_time(api: Any) -> None:
    """3.6."""
    lead = api.new_lead()
    api.control.advance(61.5)
    changed = api.patch(f"/v1/leads/{lead['id']}", title="Other").json()["data"]
    assert changed["update_time"] == "2026-06-01T12:01:01.500Z"
    assert changed["add_time"] == lead["add_time"]


def test_an_archived_lead_can_only_be_restored(api: Any) -> None:
    """1.1, A; 3.6: one repository names ERR_LEAD_ARCHIVED."""
    lead = api.new_lead()
    path = f"/v1/leads/{lead['id']}"
    archived = api.patch(path, is_archived=True).json()["data"]
    assert (archived["is_archived"], archived["archive_time"]) == (True, "2026-06-01T12:00:00.000Z")
    assert api.patch(path, title="No").json()["code"] == "ERR_LEAD_ARCHIVED"
    assert api.patch(path, title="No", is_archived=False).status_code == 400
    restored = api.patch(path, is_archived=False).json()["data"]
    assert (restored["is_archived"], restored["archive_time"]) == (False, None)
    assert api.patch(path, title="Yes").json()["data"]["title"] == "Yes"


def test_delete_gives_the_id_then_404(api: Any) -> None:
    """3.7, L."""
    lead = api.new_lead()
    assert api.delete(f"/v1/leads/{lead['id']}").json() == {"success": True, "data": {"id": lead["id"]}}
    gone = api.delete(f"/v1/leads/{lead['id']}")
    assert gone.status_code == 404
    assert gone.json() == {
        "success": False,
        "error": "Lead not found",
        "error_info": "Object was not found.",
        "data": None,
        "additional_data": None,
    }


def test_put_is_no_method_of_leads(api: Any) -> None:
    """7, C: 404."""
    lead = api.new_lead()
    assert api.call("PUT", f"/v1/leads/{lead['id']}", json={"title": "x"}).status_code == 404
    assert api.get("/v1/nothing").status_code == 404
    assert api.get("/api/v2/leads").status_code == 404
    assert api.get(f"/v1/leadLabels/{lead['id']}").status_code == 404


def test_a_body_that_is_no_json_is_refused(api: Any) -> None:
    """1, A: form bodies are not taken."""
    reply = api.call("POST", "/v1/leads", data={"title": "x", "person_id": 1})
    assert (reply.status_code, reply.json()["success"]) == (400, False)


def test_an_origin_id_is_set_once(api: Any) -> None:
    """3.5, A: settable on POST only."""
    lead = api.new_lead(origin_id="run-7")
    assert lead["origin_id"] == "run-7"
    assert api.patch(f"/v1/leads/{lead['id']}", origin_id="run-8").json()["data"]["origin_id"] == "run-7"


def test_labels_can_be_made_changed_and_removed_everywhere(api: Any) -> None:
    """4, A."""
    labels = api.data("/v1/leadLabels")
    assert {(label["name"], label["color"]) for label in labels} == {
        ("Hot", "red"),
        ("Cold", "blue"),
        ("Warm", "yellow"),
    }
    new = api.post("/v1/leadLabels", name="Big", color="purple").json()["data"]
    lead = api.new_lead(label_ids=[new["id"]])
    api.control.advance(1)
    changed = api.patch(f"/v1/leadLabels/{new['id']}", color="pink").json()["data"]
    assert (changed["name"], changed["color"], changed["update_time"]) == ("Big", "pink", "2026-06-01T12:00:01.000Z")
    assert api.delete(f"/v1/leadLabels/{new['id']}").json()["data"] == {"id": new["id"]}
    assert api.data(f"/v1/leads/{lead['id']}")["label_ids"] == []
    assert len(api.data("/v1/leadSources")) == 10


def test_what_a_token_may_not_see_is_silently_missing(start: Any, as_user: Any) -> None:
    """3.1 and 8.1, A: by owner, group, sub-group, company."""
    api = start(plan="ultimate")
    maren, tomas, aya, leo, _ = (user["id"] for user in api.data("/v1/users"))
    for level in ("1", "3", "5", "7"):
        api.new_lead(title=f"Aya's at {level}", owner_id=aya, visible_to=level)
        api.new_lead(title=f"Tomas's at {level}", owner_id=tomas, visible_to=level)
    assert _titles(as_user(api, leo)) == ["Aya's at 7", "Tomas's at 7"]
    seen_by_aya = _titles(as_user(api, aya))
    assert seen_by_aya == ["Aya's at 1", "Aya's at 3", "Aya's at 5", "Tomas's at 5", "Aya's at 7", "Tomas's at 7"]
    assert len(_titles(api)) == 8
    hidden = next(lead for lead in api.data("/v1/leads") if lead["title"] == "Tomas's at 3")
    assert as_user(api, leo).get(f"/v1/leads/{hidden['id']}").status_code == 404
    assert api.data(f"/v1/leads/{hidden['id']}/permittedUsers") == [maren, tomas]


def test_lower_plans_know_two_levels(start: Any, as_user: Any) -> None:
    """3.1, A: 1 owner, 3 whole company."""
    api = start(plan="lite")
    _, tomas, aya, leo, _ = (user["id"] for user in api.data("/v1/users"))
    api.new_lead(title="All", owner_id=aya, visible_to="3")
    api.new_lead(title="Own", owner_id=aya, visible_to="1")
    assert _titles(as_user(api, leo)) == _titles(as_user(api, tomas)) == ["All"]


def test_the_same_seed_gives_the_same_data_byte_for_byte() -> None:
    def everything(seed: int) -> bytes:
        with Sandbox(leads=300, seed=seed) as sandbox:
            return b"\n".join(sandbox.world.state.leads.rows() + sandbox.world.state.persons.rows())

    assert everything(5) == everything(5) != everything(6)


def test_seeded_leads_are_a_company_s(start: Any) -> None:
    api = start(leads=400)
    archived, active = (api.data(path, limit=500) for path in ("/v1/leads/archived", "/v1/leads"))
    assert 0.1 < len(archived) / 400 < 0.2
    times = [lead["add_time"] for lead in active]
    assert min(times) < "2024-02"
    assert "2025-12" < max(times) < "2026-01-01"
    assert {lead["value"]["currency"] for lead in active if lead["value"]} >= {"EUR", "USD", "GBP", "SEK"}
    assert len({name for lead in active for name in lead if len(name) == 40}) == 15
    assert all(lead["update_time"] >= lead["add_time"] for lead in active)
    persons = api.data("/api/v2/persons", limit=500)
    assert all(re.fullmatch(r"[^@]+@[a-z]+\.example", person["emails"][0]["value"]) for person in persons)
