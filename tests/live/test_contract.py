"""The facts of docs/pipedrive-api.md that the provider rests on, asked of a real account."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

import pytest
import requests

from airflow_provider_pipedrive_leads.client import PipedriveClient
from tests.live.account import Account, expect, page_of, rows
from tests.live.belongings import Belongings, lead_path
from tests.live.open_choices import SEARCH_SECONDS, found_by_title

NOBODY = "ffffffff-0000-1000-8000-000000000000"
ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
STANDARD_KEYS = {
    "id", "title", "owner_id", "creator_id", "label_ids", "value", "expected_close_date", "person_id",
    "organization_id", "is_archived", "source_name", "origin", "origin_id", "channel", "channel_id", "was_seen",
    "next_activity_id", "add_time", "update_time", "visible_to", "cc_email",
}  # fmt: skip
LIST_SECONDS = (0.5,) * 10
SECONDS_APART = 5


def refused(reply: requests.Response, *statuses: int) -> dict[str, Any]:
    """The body of a refusal, which must be an envelope."""
    body: dict[str, Any] = expect(reply, *statuses).json()
    assert body["success"] is False
    assert isinstance(body["error"], str)
    assert body.get("data") is None
    return body


def ids(listed: list[dict[str, Any]]) -> list[str]:
    """The ids of rows."""
    return [row["id"] for row in listed]


def mine(own: Belongings, path: str = "/v1/leads", **params: Any) -> list[dict[str, Any]]:
    """The leads of this run's own person in one of the two lists."""
    return rows(own.account.get(path, person_id=own.person_id, **params))


# getting in


def test_the_token_belongs_to_a_user_of_the_company(account: Account) -> None:
    assert {"id", "name", "company_id", "company_domain"} <= set(account.user)


def test_a_wrong_token_is_401(account: Account) -> None:
    reply = account.without_login("/v1/users/me", {"x-api-token": "f" * 40})
    body = expect(reply, 401).json()
    assert (body["success"], body["error"]) == (False, "unauthorized access")


def test_the_provider_gets_in(account: Account) -> None:
    client = PipedriveClient(account.settings)
    try:
        assert client.get_current_user()["id"] == account.user["id"]
    finally:
        client.close()


# one lead


def test_a_lead_comes_back_as_it_was_made(own: Belongings) -> None:
    value = {"amount": 3000, "currency": "EUR"}
    made = own.lead(value=value, expected_close_date="2031-12-31", visible_to="3", was_seen=True)
    assert set(made) >= STANDARD_KEYS
    assert (made["person_id"], made["value"], made["expected_close_date"]) == (own.person_id, value, "2031-12-31")
    assert (made["is_archived"], made["label_ids"], made["source_name"]) == (False, [], "API")
    got = own.account.data(lead_path(made))
    assert {name: got[name] for name in STANDARD_KEYS} == {name: made[name] for name in STANDARD_KEYS}
    listed = next(row for row in mine(own) if row["id"] == made["id"])
    assert {name: listed[name] for name in STANDARD_KEYS} == {name: made[name] for name in STANDARD_KEYS}


def test_times_and_the_id_tell_when_a_lead_was_made(own: Belongings) -> None:
    reply = expect(own.lead_reply(), 200, 201)
    lead = reply.json()["data"]
    assert ISO_MS.fullmatch(lead["add_time"])
    assert ISO_MS.fullmatch(lead["update_time"])
    made = datetime.fromisoformat(lead["add_time"])
    assert abs(datetime.fromisoformat(lead["update_time"]) - made) <= timedelta(seconds=1)
    number = UUID(lead["id"])
    assert number.version == 1
    by_id = datetime(1582, 10, 15, tzinfo=UTC) + timedelta(microseconds=number.time // 10)
    assert abs(by_id - made) <= timedelta(seconds=SECONDS_APART)
    by_header = parsedate_to_datetime(reply.headers["date"])
    assert abs(by_header - made) <= timedelta(seconds=SECONDS_APART)
    apart = (by_header - made.replace(microsecond=0)).total_seconds()
    own.account.measured.append(f"The Date header is {apart:.0f} s later than the add_time of the lead made.")


def test_a_sparse_update_leaves_the_rest(own: Belongings) -> None:
    value = {"amount": 12.5, "currency": "EUR"}
    lead = own.lead(value=value, expected_close_date="2031-12-31")
    own.account.let_time_pass()
    after = expect(own.account.patch(lead_path(lead), title=f"{own.mark} changed"), 200).json()["data"]
    assert after["title"] == f"{own.mark} changed"
    assert (after["value"], after["expected_close_date"]) == (value, "2031-12-31")
    assert after["update_time"] > lead["update_time"]
    unset = expect(own.account.patch(lead_path(lead), value=None), 200).json()["data"]
    assert (unset["value"], unset["expected_close_date"]) == (None, "2031-12-31")
    assert own.account.data(lead_path(lead))["value"] is None


def test_leads_change_by_patch_only(own: Belongings) -> None:
    lead = own.lead()
    expect(own.account.call("PUT", lead_path(lead), json={"title": f"{own.mark} put"}), 404, 405)


def test_a_deleted_lead_is_gone(own: Belongings) -> None:
    lead = own.lead()
    reply = expect(own.account.call("DELETE", lead_path(lead)), 200)
    assert reply.json()["data"] == {"id": lead["id"]}
    refused(own.account.get(lead_path(lead)), 404, 410)
    assert lead["id"] not in ids(mine(own)) + ids(mine(own, "/v1/leads/archived"))


def test_an_origin_id_is_kept_and_cannot_be_changed(own: Belongings) -> None:
    key = f"{own.mark}-key"
    lead = own.lead(origin_id=key)
    assert lead["origin_id"] == key
    own.account.patch(lead_path(lead), origin_id="another")
    assert own.account.data(lead_path(lead))["origin_id"] == key
    assert [row["origin_id"] for row in mine(own) if row["id"] == lead["id"]] == [key]
    expect(own.account.patch(lead_path(lead), is_archived=True), 200)
    assert [row["origin_id"] for row in mine(own, "/v1/leads/archived") if row["id"] == lead["id"]] == [key]


# refusals


def test_a_bad_value_is_400(own: Belongings) -> None:
    refused(own.lead_reply(expected_close_date="soon"), 400)
    refused(own.lead_reply(value={"amount": 5}), 400)


def test_a_lead_needs_a_contact(own: Belongings) -> None:
    refused(own.account.post("/v1/leads", title=f"{own.mark} alone"), 400)


def test_what_is_not_there_is_404(account: Account) -> None:
    refused(account.get(f"/v1/leads/{NOBODY}"), 404)
    refused(account.call("DELETE", f"/v1/leadLabels/{NOBODY}"), 404)
    refused(account.post(f"/api/v2/leads/{NOBODY}/convert/deal"), 404)
    expect(account.get("/v1/noSuchThing"), 404)


# lists


def test_a_list_goes_on_at_next_start(own: Belongings) -> None:
    made = own.leads(3)
    first = own.account.get("/v1/leads", person_id=own.person_id, limit=2)
    assert page_of(first)["more_items_in_collection"] is True
    following = page_of(first)["next_start"]
    second = own.account.get("/v1/leads", person_id=own.person_id, limit=2, start=following)
    assert page_of(second)["more_items_in_collection"] is False
    assert page_of(second).get("next_start") is None
    assert ids(rows(first)) + ids(rows(second)) == made


def test_the_orders_that_an_export_reads_in(own: Belongings) -> None:
    made = own.leads(3)
    own.account.let_time_pass()
    expect(own.account.patch(f"/v1/leads/{made[0]}", title=f"{own.mark} changed last"), 200)
    by_change = [*made[1:], made[0]]
    assert ids(mine(own, sort="update_time ASC, id ASC")) == by_change
    assert ids(mine(own, sort="update_time DESC, id DESC")) == by_change[::-1]
    assert ids(mine(own, sort="add_time DESC, id DESC")) == made[::-1]


def test_updated_since_takes_in_its_own_second_and_nothing_earlier(own: Belongings) -> None:
    lead = own.lead()
    second = datetime.fromisoformat(lead["update_time"]).replace(microsecond=0)
    shown = [(second + timedelta(seconds=later)).strftime("%Y-%m-%dT%H:%M:%SZ") for later in (0, 1)]
    assert lead["id"] in ids(mine(own, updated_since=shown[0]))
    assert lead["id"] not in ids(mine(own, updated_since=shown[1]))


def test_a_change_shows_in_the_list_at_once(own: Belongings) -> None:
    lead = own.lead()
    own.account.look_until(
        "A new lead was in the list",
        lambda: lead["id"] in ids(mine(own, sort="update_time DESC, id DESC", limit=5)),
        LIST_SECONDS,
    )


def test_an_archived_lead_is_in_the_other_list_until_it_is_restored(own: Belongings) -> None:
    lead, archived = own.archived_lead()
    assert archived["is_archived"] is True
    assert lead["id"] not in ids(mine(own))
    listed = [row for row in mine(own, "/v1/leads/archived") if row["id"] == lead["id"]]
    assert [row["is_archived"] for row in listed] == [True]
    own.account.patch(lead_path(lead), title=f"{own.mark} refused")
    restored = expect(own.account.patch(lead_path(lead), is_archived=False), 200).json()["data"]
    assert (restored["is_archived"], restored["title"]) == (False, lead["title"])
    assert restored.get("archive_time") is None
    assert lead["id"] in ids(mine(own))
    assert lead["id"] not in ids(mine(own, "/v1/leads/archived"))


def test_a_filter_chooses_leads(own: Belongings) -> None:
    made = own.lead(title=f"{own.mark} filtered")
    own.lead(title=f"{own.mark} not")
    fields = own.account.data("/v1/leadFields", limit=500)
    title = next(field["id"] for field in fields if field["key"] == "title")
    condition = {"object": "lead", "field_id": str(title), "operator": "=", "value": made["title"], "extra_value": None}
    groups = [{"glue": "and", "conditions": [condition]}, {"glue": "or", "conditions": []}]
    conditions = {"glue": "and", "conditions": groups}
    kept = own.made("/v1/filters", name=f"{own.mark} filter", type="leads", conditions=conditions)
    assert ids(rows(own.account.get("/v1/leads", filter_id=kept["id"]))) == [made["id"]]


# around the lead


def test_labels_come_and_go(own: Belongings) -> None:
    first, second = (own.made("/v1/leadLabels", name=f"{own.mark} {word}", color="green") for word in ("one", "two"))
    assert {first["id"], second["id"]} <= set(ids(own.account.data("/v1/leadLabels")))
    lead = own.lead(label_ids=[first["id"]])
    assert lead["label_ids"] == [first["id"]]
    replaced = expect(own.account.patch(lead_path(lead), label_ids=[second["id"]]), 200).json()["data"]
    assert replaced["label_ids"] == [second["id"]]
    path = f"/v1/leadLabels/{second['id']}"
    renamed = expect(own.account.patch(path, name=f"{own.mark} three"), 200).json()["data"]
    assert (renamed["name"], renamed["color"]) == (f"{own.mark} three", "green")
    expect(own.account.call("DELETE", path), 200)
    assert second["id"] not in ids(own.account.data("/v1/leadLabels"))
    assert own.account.data(lead_path(lead))["label_ids"] == []


def test_a_note_hangs_on_its_lead(own: Belongings) -> None:
    lead = own.lead()
    note = own.made("/v1/notes", content=f"{own.mark} note", lead_id=lead["id"])
    assert ids(rows(own.account.get("/v1/notes", lead_id=lead["id"]))) == [note["id"]]


def test_search_finds_a_new_lead_after_some_seconds(own: Belongings) -> None:
    lead = own.lead(title=f"{own.mark} sought")
    own.account.look_until(
        "Search found a new lead", lambda: lead["id"] in found_by_title(own.account, lead["title"]), SEARCH_SECONDS
    )


def test_a_lead_becomes_a_deal_and_a_lead_again(own: Belongings) -> None:
    account = own.account
    lead = own.lead(title=f"{own.mark} converted", value={"amount": 70, "currency": "EUR"})
    there = f"/api/v2/leads/{lead['id']}"
    deal = account.data(f"/api/v2/deals/{own.conversion(there, 'deal')}", include_fields="source_lead_id")
    assert (deal["title"], deal["source_lead_id"], deal["value"]) == (lead["title"], lead["id"], 70)
    refused(account.get(lead_path(lead)), 404, 410)
    unknown = refused(account.get(f"{there}/convert/status/{NOBODY}"), 404)
    assert unknown["error"] == "Entity was not found"
    back = own.conversion(f"/api/v2/deals/{deal['id']}", "lead")
    returned = account.data(f"/v1/leads/{back}")
    assert (returned["title"], returned["source_deal_id"]) == (lead["title"], deal["id"])


# custom fields


def _organization(own: Belongings) -> int:
    return int(own.made("/api/v2/organizations", name=f"{own.mark} organization")["id"])


def _options(field: dict[str, Any], count: int) -> str:
    return ",".join(str(option["id"]) for option in field["options"][:count])


Value = Callable[[Belongings, dict[str, Any]], dict[str, Any]]
VALUES: dict[str, Value] = {
    "varchar": lambda own, field: {"": "Example"},
    "varchar_auto": lambda own, field: {"": "Example"},
    "text": lambda own, field: {"": "First line\nsecond line"},
    "phone": lambda own, field: {"": "+49 30 5550100"},
    "double": lambda own, field: {"": 12.5},
    "monetary": lambda own, field: {"": 12.5, "_currency": "EUR"},
    "date": lambda own, field: {"": "2031-12-31"},
    "daterange": lambda own, field: {"": "2031-12-30", "_until": "2031-12-31"},
    "time": lambda own, field: {"": "09:30:00"},
    "timerange": lambda own, field: {"": "09:30:00", "_until": "17:00:00"},
    "enum": lambda own, field: {"": _options(field, 1)},
    "set": lambda own, field: {"": _options(field, 2)},
    "user": lambda own, field: {"": own.account.user["id"]},
    "people": lambda own, field: {"": own.person_id},
    "org": lambda own, field: {"": _organization(own)},
    "address": lambda own, field: {"": "Lindenweg 12, 10115 Berlin, Germany"},
}
"""What is written into a field of each type and read back: values by what follows the field's key."""


@pytest.fixture(scope="module")
def custom_fields(account: Account) -> dict[str, dict[str, Any]]:
    """A custom field of each type that the account has already."""
    fields = account.data("/v1/leadFields", limit=500)
    return {field["field_type"]: field for field in fields if re.fullmatch("[0-9a-f]{40}", field["key"])}


def _field_of(own: Belongings, kind: str, present: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A custom field of a type: one of the account's, which is not changed, or one of our own for a moment."""
    if kind in present:
        return present[kind]
    options = {"options": [{"label": "One"}, {"label": "Two"}]} if kind in ("enum", "set") else {}
    reply = own.account.post("/api/v2/dealFields", field_name=f"{own.mark} {kind}", field_type=kind, **options)
    if not reply.ok:
        error = reply.json().get("error", "") if "json" in reply.headers.get("content-type", "") else ""
        pytest.skip(f"the account has no {kind} field, and refused to make one: {reply.status_code} {error}")
    made = reply.json()["data"]
    own.owns(f"/api/v2/dealFields/{made['field_code']}")
    return {"key": made["field_code"], "options": made.get("options")}


@pytest.mark.parametrize("kind", VALUES)
def test_a_custom_value_comes_back(own: Belongings, custom_fields: dict[str, dict[str, Any]], kind: str) -> None:
    field = _field_of(own, kind, custom_fields)
    key = field["key"]
    written = {f"{key}{part}": value for part, value in VALUES[kind](own, field).items()}
    lead = own.lead(**written)
    read = own.account.data(lead_path(lead))
    if kind == "address":
        assert isinstance(read[key], str)
        assert f"{key}_locality" in read
    else:
        assert {name: read.get(name) for name in written} == written
    unset = expect(own.account.patch(lead_path(lead), **{key: None}), 200).json()["data"]
    assert not [name for name in unset if name.startswith(key)]
