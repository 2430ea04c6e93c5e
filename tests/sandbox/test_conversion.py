"""Conversion both ways (section 5 of docs/pipedrive-api.md)."""

from __future__ import annotations

from typing import Any


def _convert(api: Any, lead: dict[str, Any], **body: Any) -> str:
    reply = api.post(f"/api/v2/leads/{lead['id']}/convert/deal", **body)
    assert reply.json().keys() == {"success", "data", "additional_data"}
    return f"/api/v2/leads/{lead['id']}/convert/status/{reply.json()['data']['conversion_id']}"


def test_a_conversion_goes_through_its_statuses(api: Any) -> None:
    lead = api.new_lead()
    status = _convert(api, lead)
    assert api.data(status)["status"] == "not_started"
    assert "deal_id" not in api.data(status)
    api.control.advance(0.6)
    assert api.data(status)["status"] == "running"
    assert api.get(f"/v1/leads/{lead['id']}").status_code == 200
    api.control.advance(0.6)
    done = api.data(status)
    assert (done["status"], done["deal_id"]) == ("completed", 1)


def test_the_lead_is_gone_and_the_deal_carries_it_on(api: Any) -> None:
    """5, A: notes move over, source_lead_id; C: custom values too."""
    size, budget = api.field("Company size"), api.field("Budget")["key"]
    option = size["options"][0]["id"]
    given = {size["key"]: option, budget: 5, f"{budget}_currency": "EUR"}
    lead = api.new_lead(title="Big", value={"amount": 900, "currency": "USD"}, organization_id=2, **given)
    note = api.post("/v1/notes", content="Hello", lead_id=lead["id"]).json()["data"]
    status = _convert(api, lead, stage_id=7, pipeline_id=1)
    api.control.advance(2)
    deal = api.data(f"/api/v2/deals/{api.data(status)['deal_id']}")
    assert (deal["title"], deal["value"], deal["currency"], deal["org_id"]) == ("Big", 900, "USD", 2)
    assert (deal["stage_id"], deal["pipeline_id"], deal["source_lead_id"]) == (7, 2, lead["id"])
    assert deal["custom_fields"] == {size["key"]: option, budget: {"value": 5, "currency": "EUR"}}
    assert api.get(f"/v1/leads/{lead['id']}").status_code == 404
    assert api.data("/v1/leads", updated_since="2026-06-01T12:00:00Z") == []
    moved = api.data(f"/v1/notes/{note['id']}")
    assert (moved["lead_id"], moved["deal_id"]) == (None, deal["id"])


def test_a_deal_becomes_a_lead_again(api: Any) -> None:
    size = api.field("Company size")
    interests = api.field("Interests")
    given = {
        size["key"]: str(size["options"][1]["id"]),
        interests["key"]: ",".join(str(option["id"]) for option in interests["options"][:2]),
        api.field("Trial period")["key"]: "2026-01-01",
        api.field("Trial period")["key"] + "_until": "2026-02-01",
        api.field("Site address")["key"]: "Mill Lane 3, 10115 Berlin, Germany",
        api.field("Lead score")["key"]: 4.5,
        api.field("Best time to call")["key"]: "09:30:00",
    }
    lead = api.new_lead(title="There and back", **given)
    _convert(api, lead)
    api.control.advance(2)
    begun = api.post("/api/v2/deals/1/convert/lead").json()["data"]["conversion_id"]
    api.control.advance(2)
    back_id = api.data(f"/api/v2/deals/1/convert/status/{begun}")["lead_id"]
    back = api.data(f"/v1/leads/{back_id}")
    assert (back["source_deal_id"], back["source_name"], back["title"]) == (1, "Deal", "There and back")

    def customs(thing: dict[str, Any]) -> dict[str, Any]:
        return {name: item for name, item in thing.items() if len(name) >= 40}

    assert customs(back) == customs(lead)
    deal = api.data("/api/v2/deals/1")
    assert (deal["is_deleted"], deal["status"]) == (True, "deleted")
    assert api.data("/api/v2/deals") == []


def test_a_conversion_can_fail(api: Any) -> None:
    for outcome in ("failed", "rejected"):
        lead = api.new_lead()
        api.control.next_conversion(outcome)
        status = _convert(api, lead)
        api.control.advance(2)
        assert api.data(status)["status"] == outcome
        assert api.get(f"/v1/leads/{lead['id']}").status_code == 200


def test_a_deleted_deal_is_marked_and_not_listed(api: Any) -> None:
    _convert(api, api.new_lead())
    api.control.advance(2)
    assert api.delete("/api/v2/deals/1").json() == {"success": True, "data": {"id": 1}}
    assert api.data("/api/v2/deals/1")["status"] == "deleted"
    assert api.data("/api/v2/deals") == []
    assert api.delete("/api/v2/deals/1").status_code == 404


def test_a_lead_deleted_meanwhile_cannot_be_converted(api: Any) -> None:
    lead = api.new_lead()
    status = _convert(api, lead)
    api.delete(f"/v1/leads/{lead['id']}")
    api.control.advance(2)
    assert api.data(status)["status"] == "failed"


def test_statuses_are_kept_for_some_days(api: Any) -> None:
    """5: a few days, then 404."""
    status = _convert(api, api.new_lead())
    api.control.advance(2 * 86_400)
    assert api.get(status).status_code == 200
    api.control.advance(2 * 86_400)
    gone = api.get(status)
    assert (gone.status_code, gone.json()["error"]) == (404, "Entity was not found")


def test_only_stage_and_pipeline_may_be_given(api: Any) -> None:
    path = f"/api/v2/leads/{api.new_lead()['id']}/convert/deal"
    assert api.post(path, owner_id=1).status_code == 400
    assert api.post(path, stage_id=99).status_code == 400
    assert api.post(path, pipeline_id=9).status_code == 400
    assert api.post(path, pipeline_id=2).status_code == 200
    api.control.advance(2)
    assert api.data("/api/v2/deals")[0]["stage_id"] == 6


def test_the_status_belongs_to_its_lead(api: Any) -> None:
    first, second = api.new_lead(), api.new_lead()
    status = _convert(api, first)
    assert api.get(status.replace(first["id"], second["id"])).status_code == 404
    assert api.get(status.replace("leads", "deals")).status_code == 400
