"""One file for each company; what fails for one does not keep the others from theirs."""

from __future__ import annotations

import csv
import json

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.example_dags.runs import on

pytestmark = [
    pytest.mark.parametrize("sandbox", ["likely"], indirect=True),
    pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs"),
]


@pytest.fixture
def acme(monkeypatch):
    with Sandbox(leads=5, seed=1) as found:
        monkeypatch.setenv("AIRFLOW_CONN_CRM_ACME", json.dumps(found.connection))
        yield found


def ids_in(path):
    with path.open(newline="") as file:
        return {row["id"] for row in csv.DictReader(file)}


def test_a_company_that_fails_stops_no_other_and_is_made_up_for(run_dag, example, sandbox, acme, tmp_path, monkeypatch):
    parameters = on(1, folder=str(tmp_path), accounts=["crm_acme", "pipedrive_default"])
    monkeypatch.setenv("AIRFLOW_CONN_CRM_ACME", json.dumps({**acme.connection, "password": "f" * 40}))
    ran = run_dag(example, **parameters)
    assert (ran.state, ran.tasks["export", 0], ran.tasks["export", 1]) == ("failed", "failed", "success")
    assert [file.name for file in tmp_path.iterdir()] == ["pipedrive_default.csv"]

    monkeypatch.setenv("AIRFLOW_CONN_CRM_ACME", json.dumps(acme.connection))
    ran = run_dag(example, **parameters)
    assert ran.state == "success"
    companies = {"pipedrive_default": sandbox, "crm_acme": acme}
    assert ran.returned["count"] == {
        f"{tmp_path}/{name}.csv": box.control.lead_count() for name, box in companies.items()
    }
    assert {file.stem: ids_in(file) for file in tmp_path.iterdir()} == {
        name: {lead["id"] for lead in box.control.all_leads()} for name, box in companies.items()
    }


def test_as_it_stands_it_exports_one_company(run_dag, example, sandbox, tmp_path):
    ran = run_dag(example, **on(2, folder=str(tmp_path)))
    assert ran.returned["count"] == {f"{tmp_path}/pipedrive_default.csv": sandbox.control.lead_count()}
