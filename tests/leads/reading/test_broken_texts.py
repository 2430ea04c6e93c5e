"""A lead with half an emoji, or bytes that are not UTF-8, is read like any other, and named once in the log."""

from __future__ import annotations

import csv
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.retries import MOST_REPEATS
from airflow_provider_pipedrive_leads.leads.reading.complete import Filters, Selection
from airflow_provider_pipedrive_leads.leads.reading.export import deliver, export_leads
from airflow_provider_pipedrive_leads.leads.reading.lead_rows import rows_for
from airflow_provider_pipedrive_leads.leads.waiting.changes import cursor_at, poll
from airflow_provider_pipedrive_leads.leads.waiting.first_look import look_for_leads
from airflow_provider_pipedrive_leads.sql.loading import loading_table
from tests.answering import Answer, Asked, Leads, client_of, leads, listing

MARK = "BROKEN"
ALL = leads(5)
BROKEN = {**ALL[2], "title": f"Robin {MARK}"}
NOBODY = Filters(owner_id=None, person_id=None, organization_id=None, filter_id=None)


@pytest.fixture(params=[rb"\ud83d", rb"\uDE00", b"\xf0\x9f\x98", b"\xff"], ids=["high", "low", "cut", "no UTF-8"])
def account(request):
    """An account in which one lead's title ends in no character."""
    lists = Leads([*ALL[:2], BROKEN, *ALL[3:]], [{**lead, "is_archived": True} for lead in leads(9)[5:]])

    def answer(asked: Asked) -> Answer:
        if asked.path == f"/v1/leads/{BROKEN['id']}":
            answered = Answer({"success": True, "data": BROKEN})
        elif asked.path.endswith("/search"):
            answered = Answer({"success": True, "data": {"items": [{"item": BROKEN}]}})
        else:
            answered = lists(asked)
        return Answer(answered.body.replace(MARK.encode(), request.param))

    return answer


@pytest.fixture(autouse=True)
def told_once(caplog) -> Iterator[None]:
    """Whatever was done in a test, the log names the lead, once, and shows nothing of it."""
    with caplog.at_level(logging.WARNING):
        yield
    records = caplog.get_records("call")
    told = [record.getMessage() for record in records if record.levelno == logging.WARNING]
    assert [sentence.startswith(f"Lead {BROKEN['id']}: ") for sentence in told] == [True]
    assert not [record for record in records if "Robin" in record.getMessage()]


TITLE = "Robin \ufffd"


def title_in(path: Path) -> str:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        rows = parquet.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(path.read_bytes().decode().splitlines()))
    else:
        rows = [json.loads(line) for line in path.read_bytes().decode().splitlines()]
    assert len(rows) == 9
    return next(row["title"] for row in rows if row["id"] == BROKEN["id"])


@pytest.mark.parametrize(
    ("suffix", "columns"),
    [(".jsonl", "keys"), (".jsonl", "names"), (".csv", "keys"), (".csv", "names"), (".parquet", "names")],
)
def test_an_export_holds_it_in_every_format(account, tmp_path, suffix, columns):
    with client_of(account) as (client, server):
        export_leads(client, Selection(), UPath(tmp_path / f"leads{suffix}"), columns=columns)
        assert client.usage.retries == 0
    assert title_in(tmp_path / f"leads{suffix}") == TITLE
    assert len(server.asked) < MOST_REPEATS + 4


def test_an_export_in_parts_and_another_layout_hold_it(account, tmp_path):
    with client_of(account) as (client, _):
        export_leads(client, Selection(), UPath(tmp_path / "leads.jsonl"), rows_per_file=2, columns="keys")
        export_leads(client, Selection(), UPath(tmp_path / "common.jsonl"), layout="common")
    parts = [
        line for part in (tmp_path / "leads.jsonl").glob("part*") for line in part.read_bytes().decode().splitlines()
    ]
    assert TITLE in [json.loads(line)["title"] for line in parts]
    rows = [json.loads(line) for line in (tmp_path / "common.jsonl").read_bytes().decode().splitlines()]
    assert TITLE in [row["remote_data"]["title"] for row in rows]


def test_a_table_holds_it(account, tmp_path, monkeypatch):
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    file = tmp_path / "leads.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN_TEXTS", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    hook = SqliteHook("broken_texts")
    with (
        client_of(account) as (client, _),
        rows_for(client) as rows,
        loading_table(hook, "leads", rows.layout.table, mode="merge", run_key="x") as load,
    ):
        deliver(client, Selection(), rows.layout.shape, lambda found: load.write(rows.batch(found)))
    with closing(sqlite3.connect(file)) as database:
        ((title,),) = database.execute("SELECT title FROM leads WHERE id = ?", [BROKEN["id"]])
    assert title == TITLE


def test_iterators_and_single_reads_give_it(account):
    with client_of(account) as (client, _):
        assert TITLE in [lead["title"] for lead in client.get_leads()]
        assert client.get_lead(BROKEN["id"])["title"] == TITLE
        assert [hit["title"] for hit in client.search_leads("Robin")] == [TITLE]
        envelope = client.request("GET", f"/v1/leads/{BROKEN['id']}")
        assert envelope["data"]["title"] == TITLE


def test_those_who_wait_see_it(account):
    with client_of(account) as (client, _):
        changes, _ = poll(client, cursor_at("2026-01-30T00:00:00Z"), archived=True)
        assert TITLE in [change.lead["title"] for change in changes]
        wait = look_for_leads(client, 1, NOBODY, updated_since=None, expected={"title": TITLE})
        assert wait.matching == (BROKEN["id"],)


def test_what_hangs_on_leads_is_named_by_its_own_id(account, caplog):
    """The same holds for fields, labels, users and contacts."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/leadLabels":
            return Answer(listing([{"id": "x", "name": MARK}]).body.replace(MARK.encode(), rb"\ud83d"))
        return account(asked)

    with client_of(answer) as (client, _):
        assert client.read_labels() == {"x": "\ufffd"}
    assert "GET /v1/leadLabels, id x: " in caplog.text
    caplog.clear()
    with client_of(account) as (client, _):
        client.get_lead(BROKEN["id"])
