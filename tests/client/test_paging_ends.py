"""Lists are read to their end, in whatever pages they are served, and a list without an end is an error."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from tests.answering import Answer, Answering, Asked, Leads, client_of, leads, listing

MOST_ASKED = 5
"""Pages that a list without an end may cost."""

Read = Callable[[PipedriveClient], Any]
BY_START: dict[str, Read] = {
    "get_leads": lambda client: list(client.get_leads()),
    "get_archived_leads": lambda client: list(client.get_archived_leads()),
    "get_notes": lambda client: list(client.get_notes()),
    "get_lead_fields": lambda client: client.get_lead_fields(),
    "get_lead_labels": lambda client: client.get_lead_labels(),
    "get_lead_sources": lambda client: client.get_lead_sources(),
    "get_users": lambda client: client.get_users(),
    "get_webhooks": lambda client: client.get_webhooks(),
}
BY_CURSOR: dict[str, Read] = {
    "search_leads": lambda client: list(client.search_leads("term")),
    "search_persons": lambda client: list(client.search_persons("term")),
    "search_organizations": lambda client: list(client.search_organizations("term")),
    "get_persons": lambda client: list(client.get_persons()),
    "get_organizations": lambda client: list(client.get_organizations()),
    "get_deals": lambda client: list(client.get_deals()),
}


def rows(first: int, number: int) -> list[dict[str, Any]]:
    """Rows that will do for any list."""
    return [{"id": row, "key": f"k{row}", "name": f"n{row}"} for row in range(first, first + number)]


def by_cursor(items: list[Any], cursor: str | None) -> Answer:
    return Answer({"success": True, "data": items, "additional_data": {"next_cursor": cursor}})


ENDLESS_BY_START: dict[str, Answering] = {
    "empty pages": lambda asked: listing([], start=asked.number("start"), more=True),
    "empty pages that lead on": lambda asked: listing([], more=True, next_start=asked.number("start") + 500),
    "one page over and over": lambda asked: listing(rows(0, 500), more=True, next_start=asked.number("start") + 500),
    "one page, whatever the start": lambda _: listing(rows(0, 500), more=True, next_start=500),
    "no word of where": lambda _: Answer(
        {"success": True, "data": None, "additional_data": {"more_items_in_collection": True}}
    ),
}


@pytest.mark.parametrize("operation", BY_START)
@pytest.mark.parametrize("answer", ENDLESS_BY_START.values(), ids=list(ENDLESS_BY_START))
def test_a_list_without_an_end_is_an_error_that_costs_little(operation, answer):
    with client_of(answer) as (client, server), pytest.raises(PipedriveServerError, match="list goes on, but"):
        BY_START[operation](client)
    assert len(server.asked) <= MOST_ASKED


def circling(asked: Asked) -> Answer:
    there = asked.query.get("cursor", "")
    return by_cursor(rows({"": 0, "b": 500, "c": 1000}[there], 500), {"": "b", "b": "c", "c": "b"}[there])


def with_new_cursors(items: list[Any]) -> Answering:
    numbers = count()
    return lambda _: by_cursor(items, f"c{next(numbers)}")


ENDLESS_BY_CURSOR: dict[str, Callable[[], Answering]] = {
    "the same cursor": lambda: lambda _: by_cursor(rows(0, 500), "a"),
    "the same cursor, other rows": lambda: lambda asked: by_cursor(rows(id(asked), 500), "a"),
    "a circle": lambda: circling,
    "new cursors, the same rows": lambda: with_new_cursors(rows(0, 500)),
    "new cursors, no rows": lambda: with_new_cursors([]),
}


@pytest.mark.parametrize("operation", BY_CURSOR)
@pytest.mark.parametrize("answer", ENDLESS_BY_CURSOR.values(), ids=list(ENDLESS_BY_CURSOR))
def test_cursors_that_lead_nowhere_are_an_error_that_costs_little(operation, answer):
    with client_of(answer()) as (client, server), pytest.raises(PipedriveServerError, match="list goes on, but"):
        BY_CURSOR[operation](client)
    assert len(server.asked) <= MOST_ASKED


@pytest.mark.parametrize("told", ["next_start", "limit", "nothing", "a next_start that does not advance"])
@pytest.mark.parametrize("most", [1, 7, 100, 250])
def test_every_row_comes_once_though_pages_are_shorter_than_asked_for(no_waiting, most, told):
    def answer(asked: Asked) -> Answer:
        start = asked.number("start")
        end = min(start + most, 260)
        paging = {
            "next_start": {"next_start": end},
            "limit": {"limit": asked.number("limit")},
            "nothing": {},
            "a next_start that does not advance": {"next_start": 0},
        }[told]
        return listing(rows(start, end - start), start=start, more=end < 260, **paging)

    with client_of(answer) as (client, _):
        assert [note["id"] for note in client.get_notes()] == list(range(260))
        assert [field["id"] for field in client.get_lead_fields()] == list(range(260))
        assert [user["id"] for user in client.get_users()] == list(range(260))


def test_an_empty_page_in_the_midst_of_a_list_is_passed_over():
    def answer(asked: Asked) -> Answer:
        start = asked.number("start")
        return listing([] if start == 500 else rows(start, 500), start=start, more=start < 1000, next_start=start + 500)

    with client_of(answer) as (client, server):
        assert len(list(client.get_notes())) == 1000
    assert len(server.asked) == 3


def test_rows_that_move_by_a_page_once_are_not_taken_for_a_list_without_an_end():
    """Somebody adds as many rows as a page holds, before those that were read."""
    pages = iter([rows(0, 50), rows(0, 50), rows(50, 50)])

    def answer(asked: Asked) -> Answer:
        return listing(next(pages), start=asked.number("start"), more=asked.number("start") < 100)

    with client_of(answer) as (client, _):
        assert len(list(client.get_notes(page_size=50))) == 150


def test_pages_of_one_row_may_repeat_it_while_others_add_rows():
    def answer(asked: Asked) -> Answer:
        start = asked.number("start")
        return listing(rows(max(0, start - 9), 1), start=start, more=start < 12)

    with client_of(answer) as (client, _):
        assert len(list(client.get_notes(page_size=1))) == 13


def test_leads_come_from_lists_of_whatever_pages():
    account = Leads(leads(60), most=7)
    with client_of(account) as (client, _):
        assert [lead["id"] for lead in client.get_leads()] == [lead["id"] for lead in leads(60)]
