"""The quick start: what it leaves in Pipedrive and in the folder, and what the DAG tells that it starts."""

from __future__ import annotations

import csv
from collections import Counter

import pytest

from tests.example_dags.runs import on, read_lines

pytestmark = [
    pytest.mark.parametrize("sandbox", ["likely"], indirect=True),
    pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs"),
]


def test_it_makes_a_lead_exports_all_and_has_them_counted(
    run_dag, example, second_example, clear_and_run, sandbox, tmp_path
):
    before = sandbox.control.lead_count()
    ran = run_dag(example, **on(1, folder=f"{tmp_path}"))
    assert ran.state == "success", ran.tasks
    made = ran.returned["create_lead"]
    (lead,) = [lead for lead in sandbox.control.all_leads() if lead["id"] == made]
    assert (lead["title"], lead["person_name"]) == ("Website inquiry 2026-01-02", "Robin Example")
    assert (lead["labels"], lead["value"]) == (["Hot"], {"amount": 3000, "currency": "EUR"})
    assert lead["expected_close_date"] == "2026-02-01"
    assert (lead["fields"]["Company size"], lead["fields"]["Lead score"]) == ("11-50", 87)
    with (tmp_path / "leads.csv").open(newline="") as file:
        ids = {row["id"] for row in csv.DictReader(file)}
    assert ids == set(read_lines(tmp_path / "leads.jsonl")) == {lead["id"] for lead in sandbox.control.all_leads()}
    counted = run_dag(second_example).returned["count_by_label"]
    labels = Counter(label for lead in sandbox.control.all_leads() for label in lead["labels"] or ["(no label)"])
    assert counted == labels
    assert clear_and_run(example, on(1)).returned["create_lead"] == made
    assert sandbox.control.lead_count() == before + 1
