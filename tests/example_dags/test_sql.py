"""The table is as Pipedrive is, after each run; of leads that are gone, after the run of 3 o'clock."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from tests.example_dags.runs import on

pytestmark = [
    pytest.mark.parametrize("sandbox", ["likely"], indirect=True),
    pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs"),
]


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    """Give a function that tells which leads the table holds, and whether they are gone."""
    file = tmp_path / "warehouse.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file)}))

    def rows():
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT id, title, is_archived, is_deleted FROM pipedrive_leads").fetchall()
        return {lead: (title, bool(archived), bool(gone)) for lead, title, archived, gone in found}

    return rows


def in_pipedrive(sandbox):
    return {lead["id"]: (lead["title"], lead["is_archived"], False) for lead in sandbox.control.all_leads()}


def test_the_table_keeps_up(run_dag, example, clear_and_run, sandbox, client, person_id, warehouse):
    doomed = client.add_lead("To be deleted", person_id=person_id)["id"]
    sandbox.control.advance(600)
    run_dag(example, **on(1, hour=1))
    assert warehouse() == in_pipedrive(sandbox)

    sandbox.control.advance(600)
    client.add_lead("Between two runs", person_id=person_id)
    edited = next(lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"])
    client.update_lead(edited, title="Edited between two runs", is_archived=True)
    client.delete_lead(doomed)
    facts = run_dag(example, **on(1, hour=2)).returned["merge"]
    assert warehouse() == {**in_pipedrive(sandbox), doomed: ("To be deleted", False, False)}
    assert facts["rows"] == 2

    at_night = run_dag(example, **on(1, hour=3)).returned["merge"]
    assert at_night["deleted"] == 1
    kept_up = {**in_pipedrive(sandbox), doomed: ("To be deleted", False, True)}
    assert warehouse() == kept_up
    assert clear_and_run(example, on(1, hour=2)).tasks == {"merge": "success"}
    assert warehouse() == kept_up
