"""The report of a night names every lead by what became of it since the night before."""

from __future__ import annotations

import pytest

from tests.example_dags.runs import on, read

pytestmark = pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs")


def test_each_difference_is_reported(run_dag, example, clear_and_run, sandbox, client, person_id, tmp_path):
    deleted, converted, edited, put_away = (
        client.add_lead(f"From the day before {number}", person_id=person_id)["id"] for number in range(4)
    )
    first = run_dag(example, **on(1, folder=str(tmp_path))).returned["report"]
    assert first == {"new": sandbox.control.lead_count(), "changed": 0, "deleted": 0, "converted": 0}

    sandbox.control.advance(600)
    client.delete_lead(deleted)
    client.convert_lead_to_deal(converted)
    client.update_lead(edited, title="Edited by day")
    client.update_lead(put_away, is_archived=True)
    new = client.add_lead("Made by day", person_id=person_id)["id"]
    sandbox.control.advance(600)
    second = run_dag(example, **on(2, folder=str(tmp_path))).returned["report"]
    assert second == {"new": 1, "changed": 2, "deleted": 1, "converted": 1}
    found = read(tmp_path / "report-20260103T000000.json")
    expected = {"new": {new}, "changed": {edited, put_away}, "deleted": {deleted}, "converted": {converted}}
    assert {what: set(ids) for what, ids in found.items()} == expected

    third = run_dag(example, **on(3, folder=str(tmp_path))).returned["report"]
    assert set(third.values()) == {0}
    assert clear_and_run(example, on(2)).returned["report"] == second
    assert {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")} == {
        f"{what}-2026010{night}T000000.json{lines}"
        for night in (2, 3, 4)
        for what, lines in (("leads", "l"), ("report", ""))
    }
