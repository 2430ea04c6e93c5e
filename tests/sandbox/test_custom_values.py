"""Custom field values on leads: the v1 deal formats (section 3.1 of docs/pipedrive-api.md), A in format."""

from __future__ import annotations

from typing import Any

import pytest


def _option(field: dict[str, Any], label: str) -> int:
    return next(int(option["id"]) for option in field["options"] if option["label"] == label)


def _kept(api: Any, name: str, **given: Any) -> dict[str, Any]:
    """What a new lead holds of a field, its key cut off; ``given`` names the companions, ``_`` the value itself."""
    key = api.field(name)["key"]
    lead = api.new_lead(**{key + ("" if part == "_" else part): value for part, value in given.items()})
    return {item.removeprefix(key) or "_": value for item, value in lead.items() if item.startswith(key)}


def test_an_enum_is_a_numeric_string_and_a_set_a_comma_string(api: Any) -> None:
    size, interests = api.field("Company size"), api.field("Interests")
    middle = _option(size, "51-200")
    sensors, training = _option(interests, "Sensors"), _option(interests, "Training")
    assert _kept(api, "Company size", _=middle) == {"_": str(middle)} == _kept(api, "Company size", _=str(middle))
    assert _kept(api, "Interests", _=f"{sensors},{training}") == {"_": f"{sensors},{training}"}
    assert _kept(api, "Interests", _=[training]) == {"_": str(training)}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("Lead score", {"_": 12.5}, {"_": 12.5}),
        ("Lead score", {"_": 0.123456}, {"_": 0.1235}),
        ("Budget", {"_": 99.999, "_currency": "EUR"}, {"_": 100, "_currency": "EUR"}),
        ("Next review", {"_": "2026-02-03"}, {"_": "2026-02-03"}),
        ("Trial period", {"_": "2026-02-03", "_until": "2026-03-03"}, {"_": "2026-02-03", "_until": "2026-03-03"}),
        ("Best time to call", {"_": "09:30"}, {"_": "09:30:00"}),
        ("Office hours", {"_": "09:00:00", "_until": "17:30:00"}, {"_": "09:00:00", "_until": "17:30:00"}),
        ("External ID", {"_": "  A-1 "}, {"_": "A-1"}),
        ("Requirements", {"_": "many\nlines "}, {"_": "many\nlines"}),
        ("Switchboard", {"_": "+49 30 5550"}, {"_": "+49 30 5550"}),
        ("Technical owner", {"_": 11_400_002}, {"_": 11_400_002}),
        ("Partner", {"_": 2}, {"_": 2}),
        ("Recommended by", {"_": 3}, {"_": 3}),
    ],
)
def test_each_type_is_kept_in_its_v1_form(api: Any, name: str, given: Any, kept: Any) -> None:
    assert _kept(api, name, **given) == kept


def test_an_address_is_taken_apart_and_laid_out_anew(api: Any) -> None:
    kept = _kept(api, "Site address", _="Mill  Lane 12 ,10115 Berlin,Germany")
    assert kept["_"] == kept["_formatted_address"] == "Mill Lane 12, 10115 Berlin, Germany"
    assert (kept["_route"], kept["_street_number"]) == ("Mill Lane", "12")
    assert (kept["_postal_code"], kept["_locality"], kept["_country"]) == ("10115", "Berlin", "Germany")
    assert kept["_subpremise"] is None


def test_null_takes_a_value_and_its_companions_away(api: Any) -> None:
    key = api.field("Budget")["key"]
    lead = api.new_lead(**{key: 5, f"{key}_currency": "EUR"})
    changed = api.patch(f"/v1/leads/{lead['id']}", **{key: 7}).json()["data"]
    assert (changed[key], changed[f"{key}_currency"]) == (7, "EUR")
    cleared = api.patch(f"/v1/leads/{lead['id']}", **{key: None}).json()["data"]
    assert not [name for name in cleared if name.startswith(key)]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Company size", {"_": 1}),
        ("Company size", {"_": "1-10"}),
        ("Company size", {"_": [101]}),
        ("Interests", {"_": "101,102"}),
        ("Interests", {"_": {"id": 1}}),
        ("Lead score", {"_": "12"}),
        ("Lead score", {"_": True}),
        ("Budget", {"_": 5}),
        ("Budget", {"_": 5, "_currency": "euro"}),
        ("Budget", {"_currency": "EUR"}),
        ("Budget", {"_": {"amount": 5, "currency": "EUR"}}),
        ("Next review", {"_": "2026-02-30"}),
        ("Next review", {"_": "2026-02-03T00:00:00Z"}),
        ("Trial period", {"_": "2026-02-03"}),
        ("Trial period", {"_": "2026-02-03", "_until": "2026-02-01"}),
        ("Best time to call", {"_": "24:00"}),
        ("Office hours", {"_": "09:00", "_until": 17}),
        ("External ID", {"_": "x" * 256}),
        ("Requirements", {"_": 5}),
        ("Switchboard", {"_": ["+49"]}),
        ("Site address", {"_": " "}),
        ("Technical owner", {"_": 5}),
        ("Partner", {"_": "2"}),
        ("Recommended by", {"_": 10**30}),
    ],
)
def test_what_does_not_fit_the_type_is_refused(api: Any, name: str, given: Any) -> None:
    key = api.field(name)["key"]
    body = {key + ("" if part == "_" else part): value for part, value in given.items()}
    reply = api.post("/v1/leads", title="x", person_id=1, **body)
    assert reply.status_code == 400, reply.text
    assert key in reply.json()["error"]


def test_a_field_made_today_can_be_used_today_and_its_values_vanish_with_it(api: Any) -> None:
    """4, A: v2 creates deal fields, which leads share; 3.1, A: deleted fields vanish and are ignored."""
    made = api.post("/api/v2/dealFields", field_name="Tier", field_type="enum", options=[{"label": "Gold"}])
    field = made.json()["data"]
    code, gold = field["field_code"], field["options"][0]["id"]
    assert api.field("Tier")["options"] == [{"id": gold, "label": "Gold"}]
    assert len(code) == 40
    lead = api.new_lead(**{code: gold})
    assert lead[code] == str(gold)
    assert api.delete(f"/api/v2/dealFields/{code}").status_code == 200
    assert code not in api.data(f"/v1/leads/{lead['id']}")
    assert code not in api.new_lead(**{code: gold})
    assert api.get(f"/api/v2/dealFields/{code}").status_code == 404


def test_lead_fields_and_deal_fields_name_the_same_custom_fields(api: Any) -> None:
    """3.1, A."""

    def custom(path: str) -> list[str]:
        return [item["key"] for item in api.data(path, limit=500) if item["edit_flag"]]

    assert custom("/v1/leadFields") == custom("/v1/dealFields")
    codes = [item["field_code"] for item in api.data("/api/v2/dealFields", limit=500) if item["is_custom_field"]]
    assert codes == custom("/v1/leadFields")


def test_sub_fields_have_no_id(api: Any) -> None:
    """4, A."""
    budget = api.field("Budget")
    part = next(item for item in api.data("/v1/leadFields", limit=500) if item["key"] == f"{budget['key']}_currency")
    assert (part["id"], part["is_subfield"]) == (None, True)
    assert budget["subfields"] == [part]
