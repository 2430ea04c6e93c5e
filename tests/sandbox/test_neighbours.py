"""Persons, organizations, notes, filters and users (section 6 of docs/pipedrive-api.md)."""

from __future__ import annotations

from typing import Any

import pytest


def test_users_me_names_the_company(api: Any, as_user: Any) -> None:
    me = api.data("/v1/users/me")
    assert me["is_you"]
    assert me["company_domain"] == "brightwater-sandbox"
    other = as_user(api, 11_400_003)
    assert other.data("/v1/users/me")["id"] == 11_400_003
    assert [user["is_you"] for user in other.data("/v1/users")] == [False, False, True, False, False]


def test_a_person_is_made_listed_changed_and_deleted(api: Any) -> None:
    emails = [{"value": "q@r.example", "primary": True, "label": "work"}]
    made = api.post("/api/v2/persons", name="Quinn van Row", org_id=1, emails=emails, visible_to=3).json()["data"]
    assert (made["first_name"], made["last_name"], made["emails"]) == ("Quinn", "van Row", emails)
    path = f"/api/v2/persons/{made['id']}"
    api.control.advance(5)
    assert api.patch(path, name="Quinn Row").json()["data"]["update_time"] == "2026-06-01T12:00:05Z"
    assert [person["id"] for person in api.data("/api/v2/persons", ids=f"{made['id']},1")] == [1, made["id"]]
    assert api.data("/api/v2/persons", updated_since="2026-06-01T12:00:05Z")[0]["name"] == "Quinn Row"
    assert api.data("/api/v2/persons", updated_since="2026-06-01T12:00:06Z") == []
    newest = api.data("/api/v2/persons", sort_by="update_time", sort_direction="desc", limit=1)
    assert newest[0]["id"] == made["id"]
    assert made["id"] in [person["id"] for person in api.data("/api/v2/persons", org_id=1)]
    assert api.delete(path).json()["data"] == {"id": made["id"]}
    assert api.get(path).status_code == 404
    assert api.post("/v1/leads", title="x", person_id=made["id"]).status_code == 400


def test_lists_go_on_by_cursor(api: Any) -> None:
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        reply = api.get("/api/v2/persons", limit=10, **cursor).json()
        seen += [person["id"] for person in reply["data"]]
        if not reply["additional_data"]["next_cursor"]:
            break
        cursor = {"cursor": reply["additional_data"]["next_cursor"]}
    assert seen == list(range(1, 25))


def test_an_organization_has_an_address(api: Any) -> None:
    made = api.post("/api/v2/organizations", name="Row & Co", address={"value": "Mill Lane 4, 10115 Berlin, Germany"})
    assert made.json()["data"]["address"]["locality"] == "Berlin"


def test_contact_sync_fields_are_refused(api: Any) -> None:
    """6, A: 403 unless contact sync is on."""
    assert api.post("/api/v2/persons", name="x", job_title="y").status_code == 403


def test_a_note_s_life(api: Any) -> None:
    """6, L: POST gives 201, times without zone, changed by PUT, DELETE gives true."""
    lead = api.new_lead()
    reply = api.post("/v1/notes", content="<b>One</b>", lead_id=lead["id"], pinned_to_lead_flag=1)
    assert reply.status_code == 201
    note = reply.json()["data"]
    assert note["add_time"] == "2026-06-01 12:00:00"
    assert (note["lead_id"], note["pinned_to_lead_flag"], note["deal_id"]) == (lead["id"], True, None)
    path = f"/v1/notes/{note['id']}"
    assert api.call("PATCH", path, json={"content": "x"}).status_code == 404
    assert api.call("PUT", path, json={"content": "Two"}).json()["data"]["content"] == "Two"
    assert [found["id"] for found in api.data("/v1/notes", lead_id=lead["id"], pinned_to_lead_flag=1)] == [note["id"]]
    assert api.data("/v1/notes", lead_id=lead["id"], pinned_to_lead_flag=0) == []
    assert api.data("/v1/notes", start_date="2026-06-02") == []
    assert api.delete(path).json()["data"] is True
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x"},
        {"lead_id": "ffffffff-0000-1000-8000-000000000000", "content": "x"},
        {"person_id": 1},
        {"person_id": 1, "content": "x", "pinned_to_person_flag": 2},
        {"person_id": 1, "content": "x", "pinned_to_person_flag": [1]},
        {"person_id": 1, "content": "x", "add_time": "yesterday"},
        {"project_id": 1, "content": "x"},
        {"person_id": 1, "content": "x", "user_id": 7},
    ],
)
def test_a_note_that_makes_no_sense_is_refused(api: Any, body: dict[str, Any]) -> None:
    assert api.post("/v1/notes", **body).status_code == 400


def _filter(api: Any, *all_of: Any, any_of: Any = ()) -> int:
    groups = [
        {
            "glue": glue,
            "conditions": [dict(zip(("field_id", "operator", "value"), each, strict=False)) for each in part],
        }
        for glue, part in (("and", all_of), ("or", any_of))
    ]
    reply = api.post("/v1/filters", name="F", type="leads", conditions={"glue": "and", "conditions": groups})
    assert reply.status_code == 200, reply.text
    return int(reply.json()["data"]["id"])


def test_a_filter_keeps_what_it_says_and_wins_over_owner(api: Any) -> None:
    """3.2, A: filter_id wins over owner_id, person_id and organization_id."""
    key = api.field("Lead score")["key"]
    low = api.new_lead(title="Walrus one", **{key: 5})
    high = api.new_lead(title="Walrus two", **{key: 50})
    bare = api.new_lead(title="Walrus_three", value={"amount": 10, "currency": "EUR"})
    walrus = ("title", "LIKE '$%'", "Walrus")

    def kept(*all_of: Any, any_of: Any = (), **params: Any) -> list[str]:
        found = api.data("/v1/leads", filter_id=_filter(api, *all_of, any_of=any_of), limit=500, **params)
        return [lead["id"] for lead in found]

    assert kept(walrus) == [low["id"], high["id"], bare["id"]]
    assert kept(walrus, (key, ">", "9")) == [high["id"]]
    assert kept(walrus, (key, "IS NULL")) == kept(("title", "LIKE '%$%'", "_th")) == [bare["id"]]
    assert kept(walrus, any_of=[(key, "=", "5"), ("value", ">=", 10)]) == [low["id"], bare["id"]]
    assert kept(walrus, owner_id=1) == [low["id"], high["id"], bare["id"]]
    assert kept(("title", "NOT LIKE '%$%'", "a"), walrus) == []
    label = api.data("/v1/leadLabels")[0]["id"]
    api.patch(f"/v1/leads/{low['id']}", label_ids=[label])
    assert kept(walrus, ("label_ids", "=", label)) == [low["id"]]
    assert api.get("/v1/leads", filter_id=999).status_code == 404


@pytest.mark.parametrize(
    "conditions",
    [
        None,
        {"glue": "or", "conditions": []},
        {"glue": "and", "conditions": []},
        {"glue": "and", "conditions": [5]},
        {"glue": "and", "conditions": [{"glue": "and", "conditions": [{"field_id": "nothing", "operator": "="}]}]},
        {"glue": "and", "conditions": [{"glue": "and", "conditions": [{"field_id": "title", "operator": "~"}]}]},
        {"glue": "and", "conditions": [{"glue": "and", "conditions": [{"field_id": "title", "operator": "="}]}]},
        {
            "glue": "and",
            "conditions": [{"glue": "and", "conditions": [{"field_id": "title", "operator": "IS NULL"}] * 17}],
        },
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(api: Any, conditions: Any) -> None:
    assert api.post("/v1/filters", name="F", type="leads", conditions=conditions).status_code == 400
