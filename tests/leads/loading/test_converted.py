"""Rows whose lead has become a deal: told as such, and not made again."""

from __future__ import annotations

import uuid

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from tests.leads.loading.loads import load, writes

pytestmark = pytest.mark.usefixtures("no_waiting")
KEYS = ["origin_id", "External ID"]


@pytest.fixture(autouse=True)
def calm(sandbox):
    sandbox.control.set_burst(100_000, 100_000)


@pytest.fixture
def prefix():
    """Of this test's leads alone."""
    return f"t{uuid.uuid4().hex[:8]}-"


@pytest.fixture
def convert(sandbox, client):
    """Let a lead become a deal, and give the deal's id."""

    def convert(lead_id):
        conversion = client.convert_lead_to_deal(lead_id)
        sandbox.control.advance(60)
        return client.get_lead_conversion_status(lead_id, conversion)["deal_id"]

    return convert


def rows_of(key, person_id, *numbers):
    return [{key: number, "title": f"Lead {number}", "person_id": person_id} for number in numbers]


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_a_lead_that_became_a_deal_is_not_made_again(sandbox, client, person_id, prefix, convert, key, archived):
    rows = rows_of(key, person_id, "1", "2")
    made = {result["key"]: result["lead_id"] for result in load(client, rows, key=key, key_prefix=prefix)["results"]}
    deal_id = convert(made[f"{prefix}1"])
    if archived:
        client.request("PATCH", f"/api/v2/deals/{deal_id}", json={"is_archived": True})
    rows += rows_of(key, person_id, "3")
    for created, unchanged in ((1, 1), (0, 2)):
        facts = load(client, rows, key=key, key_prefix=prefix)
        assert (facts["created"], facts["converted"], facts["unchanged"]) == (created, 1, unchanged)
        (told,) = [result for result in facts["results"] if result["outcome"] == "converted"]
        assert (told["row"], told["key"], told["deal_id"], told["lead_id"]) == (1, f"{prefix}1", deal_id, None)


@pytest.mark.parametrize("key", KEYS)
def test_it_is_made_again_on_demand_and_no_deal_is_read_then(sandbox, client, person_id, prefix, convert, key):
    rows = rows_of(key, person_id, "1")
    (made,) = load(client, rows, key=key, key_prefix=prefix)["results"]
    convert(made["lead_id"])
    sandbox.control.reset_counters()
    facts = load(client, rows, key=key, key_prefix=prefix, on_converted="create")
    assert (facts["created"], facts["converted"]) == (1, 0)
    assert not [call for call in sandbox.control.requests() if "/deals" in call["path"]]


def test_by_its_id_it_is_told_too(client, sandbox, person_id, convert):
    lead_id = client.add_lead("By its id", person_id=person_id)["id"]
    deal_id = convert(lead_id)
    sandbox.control.reset_counters()
    facts = load(client, [{"id": lead_id, "title": "Other"}], key="id")
    assert (facts["converted"], facts["failed"]) == (1, 0)
    assert facts["results"][0]["deal_id"] == deal_id
    assert writes(sandbox) == []


def test_a_deal_that_never_was_a_lead_takes_no_row_away(client, person_id, prefix, monkeypatch):
    key = next(field.key for field in client.catalogue().fields if field.name == "External ID")
    deal = {"id": 7, "source_lead_id": None, "origin_id": f"{prefix}1", "custom_fields": {key: f"{prefix}1"}}
    monkeypatch.setattr(client, "get_deals", lambda **_: iter([deal]))
    for field in KEYS:
        facts = load(client, rows_of(field, person_id, "1"), key=field, key_prefix=prefix)
        assert (facts["created"], facts["converted"]) == (1, 0)


def test_deals_are_read_only_where_a_row_has_no_lead(client, sandbox, person_id, prefix):
    rows = rows_of("origin_id", person_id, "1")
    load(client, rows, key_prefix=prefix)
    sandbox.control.reset_counters()
    assert load(client, rows, key_prefix=prefix)["unchanged"] == 1
    assert not [call for call in sandbox.control.requests() if "/deals" in call["path"]]


def test_a_token_that_may_not_read_deals_is_told_before_anything_is_written(client, sandbox, person_id, prefix):
    rows = rows_of("origin_id", person_id, "1")
    sandbox.control.reset_counters()
    sandbox.control.fault("GET", "/api/v2/deals", "status", status=403)
    with pytest.raises(PipedriveConfigError, match=r"^on_converted: .*deals:read.*'create'"):
        load(client, rows, key_prefix=prefix)
    assert writes(sandbox) == []


def test_other_words_are_refused(client):
    with pytest.raises(PipedriveConfigError, match=r"^on_converted: 'keep' is neither 'skip' nor 'create'"):
        load(client, [], on_converted="keep")
