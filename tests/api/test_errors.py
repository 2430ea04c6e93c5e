"""Error replies of every shape become the typed error that says what to do."""

from __future__ import annotations

import pickle

import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveDailyBudgetError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
    error_from_reply,
    seconds_to_wait,
)
from airflow_provider_pipedrive_leads.api.replies import read_page, reply_from

CALL = endpoints.GET_LEADS.call()
ENVELOPE = b'{"success":false,"error":"Lead not found","error_info":"Please check","data":null}'
HTML = b"<!DOCTYPE html><title>Access denied</title>"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, ENVELOPE, PipedriveValidationError),
        (401, ENVELOPE, PipedriveAuthError),
        (402, ENVELOPE, PipedriveAuthError),
        (403, ENVELOPE, PipedriveAuthError),
        (403, HTML, PipedriveRateLimitError),
        (404, ENVELOPE, PipedriveNotFoundError),
        (410, ENVELOPE, PipedriveNotFoundError),
        (422, ENVELOPE, PipedriveValidationError),
        (429, ENVELOPE, PipedriveRateLimitError),
        (500, HTML, PipedriveServerError),
        (503, ENVELOPE, PipedriveServerError),
        (503, b"", PipedriveServerError),
    ],
)
def test_kind_by_status(status, body, kind):
    error = error_from_reply(CALL, status, {"x-correlation-id": "abc-1"}, body, connection="connection 'crm'")
    assert type(error) is kind
    assert (error.status, error.method, error.path, error.correlation_id) == (status, "GET", "/v1/leads", "abc-1")
    assert "GET /v1/leads" in str(error)
    assert "abc-1" in str(error)
    if body is ENVELOPE:
        assert error.error == "Lead not found"
        assert "Lead not found; Please check" in str(error)
    assert error.in_doubt is (status >= 500)


def test_a_wrong_token_says_where_to_mend_it():
    error = error_from_reply(CALL, 401, {}, ENVELOPE, connection="connection 'crm'")
    assert "'API token' (Password) of connection 'crm'" in str(error)


def test_a_spent_day_is_told_from_a_burst():
    spent = error_from_reply(CALL, 429, {"x-daily-ratelimit-token-remaining": "19"}, ENVELOPE)
    burst = error_from_reply(CALL, 429, {"x-daily-ratelimit-token-remaining": "20", "x-ratelimit-reset": "1"}, ENVELOPE)
    assert isinstance(spent, PipedriveDailyBudgetError)
    assert spent.resets_at is None
    assert isinstance(burst, PipedriveRateLimitError)
    assert burst.retry_after == 1


def test_a_wait_of_hours_is_a_spent_day_and_says_until_when():
    headers = {"retry-after": "3600", "date": "Sun, 01 Mar 2026 22:59:30 GMT"}
    spent = error_from_reply(CALL, 429, headers, ENVELOPE)
    assert isinstance(spent, PipedriveDailyBudgetError)
    assert spent.resets_at.isoformat() == "2026-03-01T23:59:30+00:00"
    assert "back at 2026-03-01 23:59 UTC" in str(spent)
    assert error_from_reply(CALL, 429, {"retry-after": "3600"}, ENVELOPE).resets_at is None
    assert isinstance(error_from_reply(CALL, 429, {"retry-after": "60"}, ENVELOPE), PipedriveRateLimitError)


def test_errors_of_webhooks_and_strange_bodies():
    assert error_from_reply(CALL, 403, {}, b'{"success":false,"message":"no"}').error == "no"
    odd = error_from_reply(CALL, 404, {}, b'{"status":"error","errors":{"id":["must be a number"]}}')
    assert odd.error == '{"id":["must be a number"]}'
    assert error_from_reply(CALL, 400, {}, b"[]").error is None
    assert len(error_from_reply(CALL, 400, {}, b'{"error":"%s"}' % (b"x" * 5000)).error) == 300


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7", "x-ratelimit-reset": "2"}, 7),
        ({"x-ratelimit-reset": "1"}, 1),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 2),
        ({}, 2),
    ],
)
def test_how_long_the_server_asks_to_wait(headers, seconds):
    assert seconds_to_wait(headers) == seconds


def test_errors_travel_between_processes():
    error = PipedriveRateLimitError("slow", retry_after=9.0, status=429, path="/v1/leads")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.retry_after, again.status, again.path) == ("slow", 9.0, 429, "/v1/leads")


@pytest.mark.parametrize(
    "body", [b"", b'{"success":true,"data":[{"id"', b"<html>", b"[]", b"\xff", b'{"success":false}']
)
def test_a_success_that_is_no_envelope_is_an_error_in_doubt(body):
    with pytest.raises(PipedriveServerError) as raised:
        reply_from(CALL, 200, {}, body)
    assert raised.value.in_doubt


@pytest.mark.parametrize(
    ("additional_data", "way_on"),
    [
        ('{"pagination":{"start":0,"limit":2,"more_items_in_collection":true,"next_start":2}}', {"start": 2}),
        ('{"pagination":{"start":4,"limit":2,"more_items_in_collection":true}}', {"start": 6}),
        ('{"start":0,"limit":2,"more_items_in_collection":true}', {"start": 2}),
        ('{"pagination":{"start":0,"limit":2,"more_items_in_collection":false}}', None),
        ('{"next_cursor":"abc"}', {"cursor": "abc"}),
        ('{"next_cursor":null}', None),
        ("null", None),
    ],
)
def test_every_form_of_paging_is_read(additional_data, way_on):
    body = f'{{"success":true,"data":[{{"id":1}},{{"id":2}}],"additional_data":{additional_data}}}'
    page = read_page(reply_from(CALL, 200, {}, body.encode()))
    assert [item["id"] for item in page.items] == [1, 2]
    assert page.next_query == way_on


def test_an_empty_page_may_be_null():
    assert read_page(reply_from(CALL, 200, {}, b'{"success":true,"data":null}')).items == []


def test_a_change_of_an_archived_lead_says_how_to_make_it():
    call = endpoints.UPDATE_LEAD.call(body={"title": "x"}, ids={"lead_id": "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"})
    body = b'{"success": false, "error": "Archived leads cannot be changed", "code": "ERR_LEAD_ARCHIVED"}'
    for status in (400, 403, 409, 422):
        error = error_from_reply(call, status, {}, body)
        assert "is_archived=False" in str(error)
        assert "restore=True" in str(error)
