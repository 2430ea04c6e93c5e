"""Random operations against the sandbox and against a small model in memory agree, in both profiles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from airflow_provider_pipedrive_leads.sandbox.choices import PROFILES
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
TITLES = st.sampled_from(["alpha", "Beta", "gamma", "Ωmega"])
VALUES = st.none() | st.builds(lambda amount: {"amount": amount, "currency": "EUR"}, st.integers(0, 999))
PEOPLE = st.integers(1, 3)
SORTS = st.sampled_from(
    ["add_time ASC", "add_time DESC", "update_time ASC", "update_time DESC", "title ASC,id DESC", "owner_id,title DESC"]
)


class Leads(RuleBasedStateMachine):
    """The model: leads as dicts in order of creation, and what the profile says of times and shapes."""

    profile = "likely"
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.settings = PROFILES[self.profile]
        self.sandbox = Sandbox(profile=self.profile)
        self.sandbox.__enter__()
        self.sandbox.control.set_burst(1_000_000, search=1_000_000)
        self.now = NOON
        self.sandbox.control.freeze(NOON.isoformat())
        self.session = requests.Session()
        self.session.headers["x-api-token"] = self.sandbox.token
        self.leads: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        assert self.sandbox.control.counters()["failures"] == 0
        self.session.close()
        self.sandbox.__exit__(None, None, None)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.sandbox.url + path, **more)

    def stamp(self) -> str:
        return self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @rule(seconds=st.integers(1, 5000))
    def advance(self, seconds: int) -> None:
        self.now += timedelta(milliseconds=seconds)
        self.sandbox.control.advance(seconds / 1000)

    @rule(target=made, title=TITLES, value=VALUES, person=PEOPLE)
    def create(self, title: str, value: Any, person: int) -> str:
        reply = self.call("POST", "/v1/leads", json={"title": title, "value": value, "person_id": person})
        assert reply.status_code == int(self.settings["lead_created_status"])
        lead: dict[str, Any] = reply.json()["data"]
        assert (lead["title"], lead["value"], lead["person_id"]) == (title, value, person)
        assert lead["add_time"] == lead["update_time"] == self.stamp()
        assert lead["id"] not in self.leads
        self.leads[lead["id"]] = lead
        return str(lead["id"])

    @rule(lead_id=made, title=TITLES, value=VALUES)
    def change(self, lead_id: str, title: str, value: Any) -> None:
        reply = self.call("PATCH", f"/v1/leads/{lead_id}", json={"title": title, "value": value})
        lead = self.leads.get(lead_id)
        if lead is None:
            assert reply.status_code == 404
        elif lead["is_archived"]:
            assert reply.status_code == int(self.settings["archived_lead_edit"])
        else:
            unchanged = (lead["title"], lead["value"]) == (title, value)
            lead |= {"title": title, "value": value}
            if not unchanged or self.settings["unchanged_patch_update_time"] == "moves":
                lead["update_time"] = self.stamp()
            assert reply.json()["data"] == lead

    @rule(lead_id=made, archived=st.booleans())
    def archive_or_restore(self, lead_id: str, archived: bool) -> None:
        reply = self.call("PATCH", f"/v1/leads/{lead_id}", json={"is_archived": archived})
        lead = self.leads.get(lead_id)
        if lead is None:
            assert reply.status_code == 404
            return
        moves = "archiving_update_time" if archived != lead["is_archived"] else "unchanged_patch_update_time"
        if archived != lead["is_archived"]:
            lead["is_archived"] = archived
            plain = self.settings["archive_time_form"] == "plain"
            stamp = self.now.strftime("%Y-%m-%d %H:%M:%S") if plain else self.stamp()
            lead["archive_time"] = stamp if archived else None
        if self.settings[moves] == "moves":
            lead["update_time"] = self.stamp()
        assert reply.json()["data"] == lead

    @rule(lead_id=consumes(made))
    def delete(self, lead_id: str) -> None:
        reply = self.call("DELETE", f"/v1/leads/{lead_id}")
        assert reply.status_code == (200 if self.leads.pop(lead_id, None) else int(self.settings["second_delete"]))

    @rule(lead_id=made)
    def convert(self, lead_id: str) -> None:
        reply = self.call("POST", f"/api/v2/leads/{lead_id}/convert/deal", json={})
        if lead_id not in self.leads:
            assert reply.status_code == 404
            return
        self.advance(2000)
        conversion = reply.json()["data"]["conversion_id"]
        status = self.call("GET", f"/api/v2/leads/{lead_id}/convert/status/{conversion}").json()["data"]
        deal = self.call("GET", f"/api/v2/deals/{status['deal_id']}").json()["data"]
        assert (deal["source_lead_id"], deal["title"]) == (lead_id, self.leads.pop(lead_id)["title"])

    @rule(lead_id=made)
    def get(self, lead_id: str) -> None:
        lead = self.leads.get(lead_id)
        hidden = lead is None or (lead["is_archived"] and self.settings["archived_lead_get"] == "404")
        reply = self.call("GET", f"/v1/leads/{lead_id}")
        assert reply.status_code == (404 if hidden else 200)
        assert hidden or reply.json()["data"] == lead

    @rule(sort=SORTS, archived=st.booleans(), start=st.integers(0, 4), limit=st.integers(1, 4), ago=st.integers(0, 6))
    def page(self, sort: str, archived: bool, start: int, limit: int, ago: int) -> None:
        since = (self.now - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = "/v1/leads/archived" if archived else "/v1/leads"
        params: dict[str, str | int] = {"sort": sort, "start": start, "limit": limit, "updated_since": since}
        reply = self.call("GET", path, params=params).json()
        rows = [lead for lead in self.leads.values() if lead["is_archived"] == archived]
        if not archived or self.settings["archived_updated_since"] == "honoured":
            rows = [lead for lead in rows if lead["update_time"] >= since.replace("Z", ".000Z")]
        rows = self.sorted(rows, sort)
        page = rows[start : start + limit]
        empty = None if self.settings["empty_page"] == "null" else []
        assert reply["data"] == (page or empty)
        more = len(rows) > start + limit
        shown = {"start": start, "limit": limit, "more_items_in_collection": more}
        shown |= {"next_start": start + limit} if more else {}
        nested = self.settings["paging_shape"] == "nested"
        assert reply["additional_data"] == ({"pagination": shown} if nested else shown)

    def sorted(self, rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
        keys = [(part.split()[0], part.upper().endswith(" DESC")) for part in sort.split(",")]
        downwards = keys[0][1] != (self.settings["equal_times_order"] == "reversed")
        rows = rows[::-1] if downwards else rows
        for name, descending in reversed(keys):
            # sorted() keeps equal rows in order even when reversed
            rows = sorted(rows, key=lambda lead: str(lead[name]), reverse=descending)
        return rows

    @invariant()
    def counts_agree(self) -> None:
        archived = sum(lead["is_archived"] for lead in self.leads.values())
        assert self.sandbox.control.lead_count(archived=True) == archived
        assert self.sandbox.control.lead_count() == len(self.leads)


class ContraryLeads(Leads):
    """The same in the contrary world."""

    profile = "contrary"


_SETTINGS = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
TestLikely = Leads.TestCase
TestContrary = ContraryLeads.TestCase
TestLikely.settings = TestContrary.settings = _SETTINGS


@pytest.mark.long
@pytest.mark.parametrize("machine", [Leads, ContraryLeads])
def test_more_orders_of_calls(machine):
    more = settings(_SETTINGS, max_examples=60, derandomize=False, database=None, print_blob=True)
    run_state_machine_as_test(machine, settings=more)
