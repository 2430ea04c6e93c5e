"""Archived leads whose ``archive_time`` is of a form that nobody has seen are read like any other."""

from __future__ import annotations

import csv
import json
import logging

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.leads.reading.archiving import archived_at
from airflow_provider_pipedrive_leads.leads.reading.complete import Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages
from airflow_provider_pipedrive_leads.leads.waiting.changes import cursor_at, poll
from tests.answering import Leads, client_of, leads

ODD = [
    1_769_851_800,
    1.5,
    True,
    "2026-01-31",
    "soon",
    "",
    " ",
    {"time": "2026"},
    ["2026-01-31T09:30:00.000Z"],
    "9" * 40,
]
BEFORE_ALL = "2026-01-30T00:00:00Z"


def account_of(archive_time):
    archived = [{**lead, "is_archived": True, "archive_time": archive_time} for lead in leads(7)[3:]]
    return Leads(leads(3), archived)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("archive_time", ODD, ids=repr)
@pytest.mark.parametrize("columns", ["names", "keys"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_export_goes_on(tmp_path, caplog, suffix, columns, archive_time):
    path = tmp_path / f"leads{suffix}"
    with client_of(account_of(archive_time)) as (client, _):
        assert export_leads(client, Selection(), UPath(path), columns=columns).rows == 7
    if suffix == ".csv":
        told = [row["archive_time"] for row in csv.DictReader(path.read_text().splitlines())]
        assert told == [""] * 7
    if suffix == ".jsonl" and columns == "keys":  # as the API gives them
        assert [json.loads(line)["archive_time"] for line in path.read_text().splitlines()].count(archive_time) == 4
    said = [sentence for sentence in warnings_in(caplog) if sentence.startswith("archive_time ")]
    assert len(said) == 1
    assert str(archive_time) not in said[0] or not str(archive_time).strip()


@pytest.mark.parametrize("archive_time", ODD, ids=repr)
def test_polls_go_on(archive_time):
    with client_of(account_of(archive_time)) as (client, _):
        found, _ = poll(client, cursor_at(BEFORE_ALL), archived=True)
    assert len(found) == 7


@pytest.mark.parametrize(("since", "times"), [(None, 0), (BEFORE_ALL, 1)])
def test_where_it_is_missing_altogether_a_partial_read_says_so_once(caplog, since, times):
    many = [{**lead, "is_archived": True, "archive_time": None} for lead in leads(700)]
    with client_of(Leads(leads(3), many)) as (client, _), LeadPages(client, Selection().filters()) as pages:
        assert sum(map(len, Reading(pages, changed_since=since).batches())) == 700
    said = [sentence for sentence in warnings_in(caplog) if "do not tell their archive_time" in sentence]
    assert len(said) == times


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("2026-01-31T09:30:00.123Z", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31 09:30:00", "2026-01-31T09:30:00+00:00"),
        ("2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00+00:00"),
        *((odd, None) for odd in ODD),
        (None, None),
    ],
    ids=repr,
)
def test_what_is_read_of_it(told, read):
    found = archived_at(told)
    assert (found and found.isoformat()) == read
