"""Each run of the hourly export has a file of its own, with what changed since the run before."""

from __future__ import annotations

import pytest

from tests.example_dags.runs import on

pytestmark = pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs")


def leads_in(path):
    import pyarrow.parquet

    return {row["id"]: row for row in pyarrow.parquet.read_table(str(path)).to_pylist()}


def test_files_follow_one_another_without_a_gap(run_dag, example, clear_and_run, sandbox, client, person_id, tmp_path):
    first = run_dag(example, **on(1, folder=str(tmp_path))).returned["export"]
    assert first["path"] == f"{tmp_path}/day=2026-01-02/leads-20260102T000000.parquet"
    everything = leads_in(first["path"])
    assert set(everything) == {lead["id"] for lead in sandbox.control.all_leads()}

    newest = max(sandbox.control.all_leads(), key=lambda lead: lead["update_time"])["id"]
    sandbox.control.advance(600)
    new = client.add_lead("Between two runs", person_id=person_id)["id"]
    put_away = next(lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"])
    client.update_lead(put_away, is_archived=True)
    second = run_dag(example, **on(1, hour=1, folder=str(tmp_path))).returned["export"]
    changes = leads_in(second["path"])
    assert changes[new]["title"] == "Between two runs"
    assert changes[put_away]["is_archived"] is True
    if sandbox.control.choices()["archiving_update_time"] == "moves":
        assert {new, put_away} <= set(changes) <= {new, put_away, newest}  # what was read last comes once more
    assert leads_in(first["path"]) == everything

    sandbox.control.advance(600)
    assert clear_and_run(example, on(1, hour=1)).returned["export"]["path"] == second["path"]
    assert set(changes) <= set(leads_in(second["path"]))

    refreshed = run_dag(example, **on(1, hour=2, folder=str(tmp_path), full_refresh=True)).returned["export"]
    assert set(leads_in(refreshed["path"])) == {lead["id"] for lead in sandbox.control.all_leads()}
