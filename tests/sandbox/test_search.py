"""Search, which lags behind (section 5 of docs/pipedrive-api.md)."""

from __future__ import annotations

from typing import Any


def _found(api: Any, term: str, path: str = "/api/v2/leads/search", **params: Any) -> list[str]:
    return [hit["item"].get("title") or hit["item"]["name"] for hit in api.data(path, term=term, **params)["items"]]


def test_search_lags_behind_writes(api: Any) -> None:
    """5, C: the index lags; a lead just deleted is still found."""
    lead = api.new_lead(title="Quick brown fox")
    assert _found(api, "brown") == []
    api.control.advance(1)
    assert _found(api, "brown") == ["Quick brown fox"]
    api.delete(f"/v1/leads/{lead['id']}")
    assert _found(api, "brown") == ["Quick brown fox"]
    api.control.advance(1)
    assert _found(api, "brown") == []


def test_case_does_not_matter_and_exact_means_the_whole_text(api: Any) -> None:
    api.control.set_delay("search_index", 0)
    api.new_lead(title="Überholung")
    assert _found(api, "ÜBERHOL") == _found(api, "überholung", exact_match="true") == ["Überholung"]
    assert _found(api, "überhol", exact_match="true") == []


def test_fields_contact_and_value(api: Any) -> None:
    """3.11 and 5: value is a number with the currency beside it, visible_to an int."""
    api.control.set_delay("search_index", 0)
    key = api.field("External ID")["key"]
    lead = api.new_lead(title="Fields", value={"amount": 7.5, "currency": "USD"}, **{key: "ZZ-77"}, organization_id=2)
    assert _found(api, "zz-77") == _found(api, "ZZ-77", fields="custom_fields") == ["Fields"]
    assert _found(api, "zz-77", fields="title,notes") == []
    assert _found(api, "Fields", person_id=1) == ["Fields"]
    assert _found(api, "Fields", organization_id=9) == []
    item = api.data("/api/v2/leads/search", term="zz-77", include_fields="lead.was_seen")["items"][0]["item"]
    assert (item["value"], item["currency"], item["visible_to"], item["was_seen"]) == (7.5, "USD", 3, False)
    assert (item["person"]["id"], item["organization"]["id"], item["custom_fields"]) == (1, 2, ["ZZ-77"])
    assert item["id"] == lead["id"]
    assert item["emails"]


def test_notes_are_searched(api: Any) -> None:
    api.control.set_delay("search_index", 0)
    lead = api.new_lead(title="Noted")
    api.post("/v1/notes", content="call about the walrus", lead_id=lead["id"])
    assert _found(api, "walrus") == ["Noted"]


def test_an_external_id_is_found_by_its_field_case_and_all(api: Any) -> None:
    """5, A: itemSearch/field is case-sensitive."""
    api.control.set_delay("search_index", 0)
    key, score = api.field("External ID")["key"], api.field("Lead score")["key"]
    api.new_lead(title="Keyed", **{key: "Crm-7", score: 3.5})

    def found(term: str, field: str = key, match: str = "exact") -> list[str]:
        hits = api.data("/api/v2/itemSearch/field", term=term, entity_type="lead", field=field, match=match)
        return [hit["item"]["title"] for hit in hits]

    assert found("Crm-7") == found("Crm", match="beginning") == found("rm-", match="middle") == ["Keyed"]
    assert found("3.5", score) == ["Keyed"]
    assert found("crm-7") == found("Crm") == found("rm-", match="beginning") == []


def test_paging_by_cursor_and_by_start(start: Any) -> None:
    api = start(leads=60)
    seen: list[str] = []
    params: dict[str, Any] = {"term": "er", "limit": 7}
    while True:
        reply = api.get("/api/v2/leads/search", **params).json()
        seen += [hit["item"]["id"] for hit in reply["data"]["items"]]
        if reply["additional_data"]["next_cursor"] is None:
            break
        params["cursor"] = reply["additional_data"]["next_cursor"]
    assert len(seen) == len(set(seen)) > 14
    v1 = api.get("/v1/leads/search", term="er", start=7, limit=7).json()
    assert [hit["item"]["id"] for hit in v1["data"]["items"]] == seen[7:14]
    assert v1["additional_data"]["pagination"]["next_start"] == 14


def test_persons_and_organizations_are_found_by_name_mail_and_phone(api: Any) -> None:
    api.control.set_delay("search_index", 0)
    emails = [{"value": "uma@walrus.example", "primary": True, "label": "work"}]
    api.post("/api/v2/persons", name="Uma Walrus", emails=emails, phones=[{"value": "+1 555 9911"}], org_id=1)
    api.post("/api/v2/organizations", name="Walrus Ltd")
    persons = "/api/v2/persons/search"
    assert _found(api, "uma@walrus.example", persons, fields="email", exact_match="true") == ["Uma Walrus"]
    assert _found(api, "9911", persons, organization_id=1) == ["Uma Walrus"]
    assert _found(api, "walrus", "/api/v2/organizations/search") == ["Walrus Ltd"]
    assert _found(api, "walrus", "/api/v2/itemSearch") == ["Walrus Ltd", "Uma Walrus"]
    assert _found(api, "walrus", "/api/v2/itemSearch", item_types="organization,lead") == ["Walrus Ltd"]


def test_others_leads_are_not_found(api: Any, as_user: Any) -> None:
    api.control.set_delay("search_index", 0)
    _, tomas, aya, *_ = (user["id"] for user in api.data("/v1/users"))
    api.new_lead(title="Hidden walrus", owner_id=aya, visible_to="1")
    assert _found(as_user(api, tomas), "walrus") == []
    assert _found(as_user(api, aya), "walrus") == ["Hidden walrus"]
