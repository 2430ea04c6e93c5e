"""Reads are complete, and end, whatever a server makes of the size of a page that it was asked for."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError
from airflow_provider_pipedrive_leads.leads.reading.complete import Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.export import Window, export_leads
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages
from tests.answering import Answer, Asked, Leads, client_of, leads, listing
from tests.leads.reading.test_complete_reads import check_complete, expected_of, rows_of
from tests.leads.simulated_account import SimulatedSource, World, at_random

MOST_ASKED = 60
"""Pages that a list without an end may cost: some are asked for at once."""


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@pytest.mark.parametrize(("archived", "share"), [("include", 0.5), ("exclude", 0.1), ("only", 0.9)])
def test_every_lead_is_given_once_though_pages_are_shorter_than_asked_for(archived, share, contrary):
    first_seed = Random().randrange(2**40)
    for seed in range(first_seed, first_seed + 500):
        chance = Random(seed)
        beginning, schedule = at_random(chance, share, late=(0,))
        world = World(beginning, schedule, contrary=contrary, moves_allowed=2)
        world.account.most_rows = chance.randint(2, 4)
        world.begin_read()
        options = {"limit": chance.randint(3, 8), "expected": expected_of(beginning, chance.choice([None, 0, 20]))}
        rows = rows_of(Reading(SimulatedSource(world, [chance.randint(1, 4)]), archived=archived, **options))
        try:
            check_complete(world, archived, rows)
        except AssertionError as problem:
            pytest.fail(f"Random({seed}), {world.account.most_rows} rows a page, {options}: {problem}")


@pytest.mark.parametrize("expected", [None, 1_000])
@pytest.mark.parametrize("most", [100, 250, 499])
def test_an_export_from_short_pages_is_whole_and_costs_little_more(tmp_path, most, expected):
    with client_of(Leads(leads(1_000), leads(1_300)[1_000:], most=most)) as (client, server):
        path = UPath(tmp_path / "leads.jsonl")
        exported = export_leads(client, Selection(), path, columns="keys", window=Window(expected=expected))
    assert exported.rows == 1_300
    assert len({json.loads(line)["id"] for line in path.read_text().splitlines()}) == 1_300
    least = math.ceil(999 / (most - 1)) + math.ceil(299 / (most - 1))
    assert len(server.asked) <= least + 20


def test_where_pages_vary_in_length_most_are_still_asked_for_once():
    """As if the server left out what the user may not see after it had counted."""
    all_leads = leads(3_000)

    def answer(asked: Asked) -> Answer:
        start = asked.number("start")
        if asked.path != "/v1/leads" or asked.query.get("updated_since"):
            return listing([])
        shown = all_leads[start : start + 500 - start % 7]
        return listing(shown, start=start, more=start + 500 < len(all_leads))

    with client_of(answer) as (client, server), LeadPages(client, Selection().filters()) as pages:
        found = [row for batch in Reading(pages, archived="exclude", expected=3_000).batches() for row in batch]
    assert len(found) == 3_000
    assert len(server.asked) < 25


def empty(_: Asked) -> Answer:
    return listing([], more=True)


def same_page(_: Asked) -> Answer:
    return listing(leads(500), more=True)


def empty_after_the_first(asked: Asked) -> Answer:
    return listing([] if asked.number("start") else leads(500), start=asked.number("start"), more=True)


def one_row(asked: Asked) -> Answer:
    start = asked.number("start")
    return listing(leads(9)[start : start + 1], start=start, more=start < 8)


def places_mean_nothing(asked: Asked) -> Answer:
    """Another time zone of the list at each place: nothing ever follows on what was there."""
    start = asked.number("start")
    return listing(leads(4_000)[start * 3 : start * 3 + 400] or leads(4_000)[-400:], start=start, more=True)


@pytest.mark.parametrize("expected", [None, 5_000])
@pytest.mark.parametrize("archived", ["include", "exclude", "only"])
@pytest.mark.parametrize("answer", [empty, same_page, empty_after_the_first, one_row, places_mean_nothing])
def test_a_list_without_an_end_is_an_error_and_leaves_the_file_as_it_was(tmp_path, answer, archived, expected):
    path = UPath(tmp_path / "leads.jsonl")
    path.write_text("yesterday\n")

    def backwards(asked: Asked) -> Answer:
        answered = answer(asked)
        if "DESC" in asked.query.get("sort", ""):
            answered.content["data"].reverse()
        return answered

    with client_of(backwards) as (client, server), pytest.raises(PipedriveServerError, match="goes on"):
        export_leads(client, Selection(archived=archived), path, columns="keys", window=Window(expected=expected))
    assert len(server.asked) <= MOST_ASKED
    assert path.read_text() == "yesterday\n"
    assert [file.name for file in tmp_path.iterdir()] == ["leads.jsonl"]


@pytest.mark.parametrize("content", [{"success": True}, {"success": True, "data": 7}, {"success": False}], ids=str)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_reply_without_leads_that_says_nothing_of_them_leaves_the_file_as_it_was(tmp_path, suffix, content):
    path = UPath(tmp_path / f"leads{suffix}")
    path.write_text("yesterday\n")

    def answer(asked: Asked) -> Answer:
        return Answer(content) if asked.path.startswith("/v1/leads") else listing([])

    with client_of(answer) as (client, _), pytest.raises(PipedriveServerError):
        export_leads(client, Selection(), path, columns="names")
    assert path.read_text() == "yesterday\n"


@pytest.mark.parametrize(
    "spoiled", [{"id": None}, {"id": 7}, {"update_time": None}, {"update_time": "soon"}, {"update_time": 7}], ids=str
)
@pytest.mark.parametrize("columns", ["keys", "names"])
def test_a_lead_that_does_not_say_which_it_is_or_when_it_changed_is_a_server_error(tmp_path, spoiled, columns):
    broken = [*leads(3), {**leads(4)[3], **spoiled}]

    def answer(asked: Asked) -> Answer:
        return listing(broken) if asked.path == "/v1/leads" else listing([])

    with client_of(answer) as (client, _), pytest.raises(PipedriveServerError):
        export_leads(client, Selection(), UPath(tmp_path / "leads.jsonl"), columns=columns)
    assert not list(tmp_path.iterdir())
