"""Calls as values: paths, ids, costs."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.endpoints import ENDPOINTS, free_call
from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError

LEAD_ID = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"


def test_the_index_has_no_route_twice():
    assert len({(end.method, end.path) for end in ENDPOINTS}) == len(ENDPOINTS) == 37


def test_only_a_post_is_not_repeatable():
    calls = [free_call(end.method, "/v1/leads") for end in ENDPOINTS]
    assert {call.method for call in calls if not call.repeatable} == {"POST"}


@pytest.mark.parametrize(
    "lead_id",
    ["", "abc", "../users/me", f"{LEAD_ID}/..", f"{LEAD_ID}?x=1", "4d1b0a50", 42, None, True, f"{LEAD_ID}\n5"],
)
def test_a_lead_id_is_a_uuid_before_it_enters_a_path(lead_id):
    with pytest.raises(PipedriveValidationError, match="lead_id"):
        endpoints.GET_LEAD.call(ids={"lead_id": lead_id})


def test_a_lead_id_may_be_written_in_capitals():
    assert endpoints.GET_LEAD.call(ids={"lead_id": f" {LEAD_ID.upper()} "}).path == f"/v1/leads/{LEAD_ID}"


@pytest.mark.parametrize("deal_id", ["0", "-1", "1/2", "x", True, 1.5, None])
def test_other_ids_are_whole_numbers(deal_id):
    with pytest.raises(PipedriveValidationError, match="deal_id"):
        endpoints.CONVERT_DEAL_TO_LEAD.call(ids={"deal_id": deal_id})


@pytest.mark.parametrize(
    ("method", "path", "cost"),
    [
        ("get", "/v1/leads", 20),
        ("GET", "/v1/leads/archived", 40),
        ("GET", f"/api/v1/leads/{LEAD_ID}", 2),
        ("PATCH", f"/v1/leads/{LEAD_ID}", 10),
        ("GET", "/api/v2/leads/search", 20),
        ("GET", "/v1/filters", 20),
        ("GET", "/v1/filters/7", 2),
        ("DELETE", "/v1/notes/7", 6),
        ("PUT", "/v1/notes/7", 10),
        ("GET", "/api/v2/deals", 10),
        ("GET", "/api/v2/persons", 10),
        ("GET", "/api/v2/organizations", 10),
        ("GET", "/v1/users", 20),
        ("GET", "/api/v2/deals/7", 1),
        ("PATCH", "/api/v2/deals/7", 5),
        ("GET", "/api/v2/itemSearch", 20),
        ("GET", "/v1/itemSearch", 40),
    ],
)
def test_every_call_knows_its_cost(method, path, cost):
    assert free_call(method, path).cost == cost


@pytest.mark.parametrize(
    "path", ["leads", "//example.com/v1", "/v1/leads?x=1", "/v1/../x", "https://x/v1/leads", "/v1/", "/v3/x"]
)
def test_a_free_path_stays_inside_the_api(path):
    with pytest.raises(PipedriveValidationError, match="path"):
        free_call("GET", path)


def test_query_values_become_text_and_none_is_left_out():
    call = endpoints.SEARCH_LEADS.call(query={"term": "a b", "exact_match": True, "person_id": 5, "fields": None})
    assert call.query == {"term": "a b", "exact_match": "true", "person_id": "5"}
    assert call.search
