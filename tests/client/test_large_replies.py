"""A page that is larger than a reply may be is asked for again in smaller ones, and costs no repeats."""

from __future__ import annotations

import json

import pytest

from airflow_provider_pipedrive_leads import client as client_module
from airflow_provider_pipedrive_leads.api import replies
from airflow_provider_pipedrive_leads.api.errors import PipedriveConnectionError, ReplyTooLargeError
from airflow_provider_pipedrive_leads.api.paging import smaller
from airflow_provider_pipedrive_leads.leads.reading.complete import Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages
from tests.answering import Answer, Asked, Leads, client_of, leads, listing

pytestmark = pytest.mark.slow

LARGEST = 200_000


@pytest.fixture(autouse=True)
def small_replies(monkeypatch):
    monkeypatch.setattr(client_module, "MAX_REPLY_BYTES", LARGEST)


@pytest.mark.parametrize("archived", ["include", "exclude", "only"])
def test_a_read_of_large_leads_takes_smaller_pages_and_keeps_to_them(archived):
    long = leads(700, text="x" * 5_000)
    with client_of(Leads(long, long[:90])) as (client, server), LeadPages(client, Selection().filters()) as pages:
        found = [row for batch in Reading(pages, archived=archived).batches() for row in batch]
    limits = [asked.number("limit") for asked in server.asked]
    assert len({json.loads(bytes(row))["id"] for row in found}) == len(found) == (90 if archived == "only" else 700)
    assert limits[:3] == [500, 125, 31]
    assert set(limits[2:]) == {31}


def test_an_iterator_takes_smaller_pages():
    long = leads(30, text="x" * 50_000)
    with client_of(Leads(long)) as (client, server):
        assert [lead["id"] for lead in client.get_leads()] == [lead["id"] for lead in long]
    assert [asked.number("limit") for asked in server.asked[:5]] == [500, 125, 31, 7, 1]


def test_a_page_by_cursor_takes_smaller_ones_from_the_same_place():
    def answer(asked: Asked) -> Answer:
        at, limit = int(asked.query.get("cursor", "0")), asked.number("limit")
        rows = [{"id": row, "text": "x" * 5_000} for row in range(at, min(at + limit, 60))]
        following = str(at + limit) if at + limit < 60 else None
        return Answer({"success": True, "data": rows, "additional_data": {"next_cursor": following}})

    with client_of(answer) as (client, _):
        assert [person["id"] for person in client.get_persons()] == list(range(60))


@pytest.mark.parametrize("page_size", [1, 500])
def test_a_row_that_is_too_large_by_itself_is_an_error(page_size):
    long = leads(3, text="x" * LARGEST)
    with client_of(Leads(long)) as (client, server), pytest.raises(ReplyTooLargeError, match="/v1/leads"):
        list(client.get_leads(page_size=page_size))
    assert len(server.asked) == (1 if page_size == 1 else 5)


def test_a_read_of_leads_that_are_too_large_by_themselves_is_an_error():
    account = Leads(leads(3, text="x" * LARGEST))
    with client_of(account) as (client, _), LeadPages(client, Selection().filters()) as pages:
        batches = Reading(pages).batches()
        with pytest.raises(PipedriveConnectionError):
            list(batches)


def test_what_is_no_page_is_not_asked_for_again():
    users = listing([{"id": 1, "name": "x" * LARGEST}])
    with client_of(lambda _: users) as (client, server), pytest.raises(ReplyTooLargeError):
        client.get_users()
    assert len(server.asked) == 1


@pytest.mark.parametrize(("limit", "least", "fewer"), [(500, 1, 125), (3, 1, 1), (1, 1, None), (7, 2, 2), (2, 2, None)])
def test_pages_get_smaller_to_a_least_one(limit, least, fewer):
    assert smaller(limit, least=least) == fewer


def test_a_page_of_too_many_values_is_asked_for_in_smaller_ones(monkeypatch):
    monkeypatch.setattr(replies, "MAX_VALUES", 2_500)
    wide = leads(300, options=[0] * 60)
    with client_of(Leads(wide)) as (client, server):
        assert [lead["id"] for lead in client.get_leads()] == [lead["id"] for lead in wide]
    assert [asked.number("limit") for asked in server.asked[:4]] == [500, 125, 31, 31]
