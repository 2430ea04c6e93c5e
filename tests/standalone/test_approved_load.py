"""A load that waits for a person, in a whole Airflow: asked and answered over its API, as its interface does."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.leads.loading import keyed, writes
from tests.standalone.running_airflow import running_airflow, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

DAGS = Path(__file__).parents[2] / "example_dags"
LOAD = "example_pipedrive_approved_load"
LEADS = 3


@pytest.fixture
def sandbox():
    with Sandbox(leads=20, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def path(sandbox, tmp_path):
    """A file with new leads."""
    client = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    person_id = client.add_person("Robin Example")["id"]
    client.close()
    rows = [{"origin_id": str(n), "title": f"Lead {n}", "person_id": person_id} for n in range(LEADS)]
    found = tmp_path / "scores.jsonl"
    found.write_text("\n".join(map(json.dumps, rows)))
    return found


@pytest.fixture
def airflow(tmp_path, sandbox):
    home = tmp_path / "airflow"
    home.mkdir()
    with running_airflow(home, DAGS, LocalPipedrive(sandbox.url, sandbox.token)) as running:
        running.switch_on(LOAD)
        yield running


def asked(airflow, path):
    """Start a run, and give its id and the question that it asks."""
    run_id = airflow.ask("POST", f"dags/{LOAD}/dagRuns", logical_date=None, conf={"path": str(path)})["dag_run_id"]
    until(lambda: airflow.try_of(LOAD, run_id, "approve")[0] == "awaiting_input", "the question is asked")
    (question,) = airflow.ask("GET", f"dags/{LOAD}/dagRuns/{run_id}/hitlDetails?response_received=false")[
        "hitl_details"
    ]
    return run_id, question


def answered(airflow, run_id, answer):
    """Answer the question, and give what became of the load."""
    airflow.ask("PATCH", f"dags/{LOAD}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails", chosen_options=[answer])
    until(lambda: run_of(airflow, run_id)["state"] in ("success", "failed"), "the run ends")
    assert run_of(airflow, run_id)["state"] == "success", airflow.log(LOAD, run_id, "load")
    return airflow.try_of(LOAD, run_id, "load")[0]


def run_of(airflow, run_id):
    return airflow.ask("GET", f"dags/{LOAD}/dagRuns/{run_id}")


def test_rejected_nothing_is_written_and_approved_the_leads_are_there(airflow, sandbox, path):
    sandbox.control.reset_counters()
    run_id, question = asked(airflow, path)
    assert question["subject"] == f"Load {path} into Pipedrive?"
    assert f"Of {LEADS} rows, {LEADS} become new leads and 0 change a lead" in question["body"]
    assert answered(airflow, run_id, "Reject") == "skipped"
    assert writes(sandbox) == []

    run_id, _ = asked(airflow, path)
    assert answered(airflow, run_id, "Approve") == "success"
    assert airflow.returned(LOAD, run_id, "load")["created"] == LEADS
    assert sorted(keyed(sandbox, "crm-")) == ["crm-0", "crm-1", "crm-2"]
