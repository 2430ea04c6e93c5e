"""What cannot work is told before it costs anything."""

from __future__ import annotations

import sys

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.transfers.loads import loading

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")


@pytest.fixture
def sandbox():
    """A few leads under one profile: nothing here depends on what nobody knows."""
    with Sandbox(leads=3, seed=7) as running:
        yield running


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "upsert"}, "mode: 'upsert'"),
        ({"table": "a.b.c"}, "table: 'a.b.c'"),
        ({"conn_id": "leads_nowhere"}, "conn_id: "),
        ({"conn_id": "pipedrive_default"}, "conn_id: "),
        ({"mode": "replace", "incremental": True}, "mode: 'replace'"),
        ({"mode": "replace", "detect_deleted": True}, "mode: 'replace'"),
        ({"archived": "yes"}, "archived: "),
        ({"owner_id": "me"}, "owner_id"),
        ({"incremental": True, "outlets": []}, "watermark_asset: "),
        ({"layout": "flat"}, "layout: 'flat'"),
        ({"expand": ["pets"]}, "expand: 'pets'"),
        ({"on_daily_budget": "borrow"}, "on_daily_budget: 'borrow'"),
        ({"detect_deleted": True, "max_deleted": 3}, "max_deleted: 3"),
    ],
    ids=lambda value: "" if isinstance(value, str) else ",".join(value),
)
def test_what_cannot_work_is_told_before_a_request(run_dag, sandbox, sqlite, monkeypatch, capsys, options, words):
    nowhere = "mysql://someone:hidden-word@127.0.0.1:1/leads?client=mysql-connector-python"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_NOWHERE", nowhere)
    sandbox.control.reset_counters()
    assert run_dag(loading("wrong", sqlite, **options)).tasks["load"] == "failed"
    told = "".join(capsys.readouterr())
    assert words in told
    assert "hidden-word" not in told
    assert sandbox.control.counters()["calls"] == 0
    assert sqlite.tables() == set()


def test_without_the_sql_extra_the_remedy_is_told_before_a_request(run_dag, sandbox, sqlite, monkeypatch, capsys):
    sandbox.control.reset_counters()
    monkeypatch.setitem(sys.modules, "airflow.providers.common.sql", None)
    assert run_dag(loading("bare", sqlite)).tasks["load"] == "failed"
    assert "airflow-provider-pipedrive-leads[sql]" in "".join(capsys.readouterr())
    assert sandbox.control.counters()["calls"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "table: column 'title' of leads is INTEGER"),
        ({"columns": ["id", "titel"]}, "columns: there is no column 'titel'. Did you mean 'title'"),
        ({"columns": ["title"]}, "columns: none has the key 'id'"),
    ],
    ids=["column of another type", "unknown column", "no id"],
)
def test_what_only_the_field_catalogue_can_tell_is_told_before_a_lead_is_read(
    run_dag, sandbox, sqlite, capsys, options, words
):
    sqlite.execute("CREATE TABLE leads (id VARCHAR(36) PRIMARY KEY, title INTEGER)")
    sandbox.control.reset_counters()
    assert run_dag(loading("late", sqlite, **options)).tasks["load"] == "failed"
    assert words in "".join(capsys.readouterr())
    assert {request["path"] for request in sandbox.control.requests()} <= {"/v1/leadFields", "/v1/leadLabels"}
    assert "leads_columns" not in sqlite.tables()
    assert sqlite.fetch("SELECT * FROM leads") == []
