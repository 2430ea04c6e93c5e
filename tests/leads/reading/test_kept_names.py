"""Runs that read few leads take names that are kept; a lead that has what these lack makes them ask for new ones."""

from __future__ import annotations

import json

import pytest
import requests
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import FEW_LEADS, Window, export_leads
from tests.leads.loading.loads import load

FEW = Window(expected=60)
FIELDS, LABELS = "GET /v1/leadFields", "GET /v1/leadLabels"


class Colleague:
    """Changes an account behind the back of whoever keeps its names."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def post(self, path, body):
        headers = {"x-api-token": self._sandbox.token}
        reply = requests.post(f"{self._sandbox.url}{path}", json=body, headers=headers)
        reply.raise_for_status()
        return reply.json()["data"]

    def add_field(self, name, field_type="text", options=()):
        listed = {"options": [{"label": option} for option in options]} if options else {}
        found = self.post("/api/v2/dealFields", {"field_name": name, "field_type": field_type, **listed})
        return found["field_code"]

    def add_label(self, name):
        return self.post("/v1/leadLabels", {"name": name, "color": "blue"})["id"]


@pytest.fixture
def colleague(sandbox):
    return Colleague(sandbox)


@pytest.fixture
def asked(sandbox):
    """How often names were asked for since the last time."""

    def count():
        routes = sandbox.control.counters()["routes"]
        sandbox.control.reset_counters()
        return [routes.get(route, {"calls": 0})["calls"] for route in (FIELDS, LABELS)]

    return count


def exported(client, path, window=None, **options):
    export_leads(client, Selection(), UPath(path), window=window or FEW, **options)
    return {row["id"]: row for row in map(json.loads, UPath(path).read_text().splitlines())}


@pytest.mark.parametrize(
    ("window", "calls"),
    [
        (Window(expected=FEW_LEADS), [0, 0]),
        (Window(changed_since="2020-01-01T00:00:00Z"), [0, 0]),
        (Window(expected=FEW_LEADS + 1), [1, 1]),
        (Window(), [1, 1]),
    ],
    ids=["few leads", "changes", "many leads", "nobody knows"],
)
def test_names_that_are_kept_are_not_asked_for_where_few_leads_are_read(client, tmp_path, asked, window, calls):
    before = exported(client, tmp_path / "before.jsonl", Window())
    client.catalogue()
    asked()
    assert exported(client, tmp_path / "leads.jsonl", window) == before
    assert asked() == calls


@pytest.mark.parametrize("new", ["field", "label"])
def test_what_a_lead_has_and_kept_names_lack_is_named_all_the_same(client, person_id, colleague, tmp_path, asked, new):
    client.catalogue()
    if new == "field":
        lead = colleague.post(
            "/v1/leads", {"title": "New", "person_id": person_id, colleague.add_field("Brand new"): "here"}
        )
        column, value = "brand_new", "here"
    else:
        lead = client.add_lead("New", person_id=person_id, label_ids=[colleague.add_label("Brand new")])
        column, value = "labels", ["Brand new"]
    asked()
    assert exported(client, tmp_path / "leads.jsonl", expand=["person"])[lead["id"]][column] == value
    assert asked() == [1, 1]


def test_what_has_no_name_at_all_is_looked_for_once(client, person_id, colleague, tmp_path, asked):
    label = colleague.add_label("Soon gone")
    lead = client.add_lead("Old", person_id=person_id, label_ids=[label])
    client.catalogue()
    client.catalogue().labels.pop(label)
    client.fresh_catalogue = client.catalogue
    asked()
    assert exported(client, tmp_path / "leads.jsonl")[lead["id"]]["labels"] == [label]
    assert asked() == [0, 0]


def test_a_column_is_looked_for_in_new_names(client, colleague, tmp_path, asked):
    client.catalogue()
    colleague.add_field("Brand new")
    asked()
    rows = exported(client, tmp_path / "leads.jsonl", columns=["id", "brand_new"])
    assert all(row == {"id": lead_id, "brand_new": None} for lead_id, row in rows.items())
    assert asked() == [1, 1]
    with pytest.raises(PipedriveValidationError, match="'never_made'"):
        exported(client, tmp_path / "leads.jsonl", columns=["id", "never_made"])


def test_a_load_by_kept_names_asks_for_new_ones_where_they_do_not_suffice(client, person_id, colleague, asked):
    client.catalogue()
    asked()
    rows = [{"title": f"Lead {n}", "person_id": person_id, "origin_id": f"kept-{n}"} for n in range(3)]
    assert load(client, rows)["created"] == 3
    assert asked() == [0, 0]
    colleague.add_field("Size", "enum", ["small", "large"])
    colleague.add_label("Brand new")
    rows[1] |= {"Size": "large"}
    rows[2] |= {"Size": "small", "labels": "Brand new"}
    asked()
    assert load(client, rows)["updated"] == 2
    assert asked() == [1, 1]
    assert load(client, rows)["unchanged"] == 3
