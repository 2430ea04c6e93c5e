"""``make ui``: a whole Airflow with scheduler, worker and API, driven as the web interface drives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest
import requests

from tests.processes import KEEPS_THE_MARK, left_of, processes_with

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]
SECONDS_TO_START = 180
SECONDS_TO_RUN = 180


class Interface:
    """A running ``make ui``."""

    def __init__(self, printed: str) -> None:
        words = dict(line.split(maxsplit=1) for line in printed.splitlines() if " " in line)
        self.address = words["Airflow"].strip()
        login = {"username": words["user"].strip(), "password": words["password"].strip()}
        token = requests.post(f"{self.address}/auth/token", json=login, timeout=30).json()["access_token"]
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method, path, **body):
        reply = self.session.request(method, f"{self.address}/api/v2/{path}", json=body or None, timeout=60)
        reply.raise_for_status()
        return reply.json()

    def run_state(self, dag_id):
        runs = self.ask("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
        return (runs[-1]["state"], runs[-1]["dag_run_id"]) if runs else (None, None)

    def wait_for_run(self, dag_id):
        deadline = time.monotonic() + SECONDS_TO_RUN
        while time.monotonic() < deadline:
            state, run_id = self.run_state(dag_id)
            if state in ("success", "failed"):
                return state, run_id
            time.sleep(0.5)
        raise AssertionError(f"{dag_id} did not end: {self.run_state(dag_id)}")

    def wait_for_dag(self, dag_id):
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            if self.session.get(f"{self.address}/api/v2/dags/{dag_id}", timeout=60).status_code == 200:
                return
            time.sleep(0.5)
        raise AssertionError(self.ask("GET", "importErrors"))


@pytest.fixture(scope="module")
def mark():
    """A variable that all processes inherit which these tests begin, and no others."""
    return f"STARTED_BY={uuid.uuid4()}"


@pytest.fixture(scope="module")
def interface(mark):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {**dict([mark.split("=")]), **KEEPS_THE_MARK}
    running = subprocess.Popen(
        [sys.executable, "-m", "demo.ui"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    guard = threading.Timer(SECONDS_TO_START, running.kill)
    guard.start()
    printed = ""
    for line in running.stdout:
        printed += line
        if "Ctrl-C" in line:
            break
    guard.cancel()
    try:
        yield Interface(printed)
    finally:
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "nothing is left running" in rest
    assert left_of(mark) == {}


def test_the_example_runs_and_its_asset_starts_the_second_dag(interface):
    for dag_id in ("example_pipedrive_leads", "example_pipedrive_leads_by_label"):
        interface.wait_for_dag(dag_id)
        interface.ask("PATCH", f"dags/{dag_id}", is_paused=False)
    folder = (ROOT / ".ui" / "leads").as_uri()
    reply = interface.session.post(
        f"{interface.address}/api/v2/dags/example_pipedrive_leads/dagRuns",
        json={"logical_date": None, "conf": {"folder": folder}},
        timeout=60,
    )
    reply.raise_for_status()
    state, run_id = interface.wait_for_run("example_pipedrive_leads")
    tasks = interface.ask("GET", f"dags/example_pipedrive_leads/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert state == "success", {task["task_id"]: task["state"] for task in tasks}
    assert len((ROOT / ".ui/leads/leads.jsonl").read_text().splitlines()) == 1001
    state, run_id = interface.wait_for_run("example_pipedrive_leads_by_label")
    assert state == "success"
    returned = interface.ask(
        "GET",
        f"dags/example_pipedrive_leads_by_label/dagRuns/{run_id}/taskInstances/count_by_label/xcomEntries/return_value",
    )
    counts = returned["value"] if isinstance(returned["value"], dict) else json.loads(returned["value"])
    assert counts["Hot"] > 0


def test_the_test_button_answers_in_one_sentence(interface):
    wrong = {"connection_id": "crm", "conn_type": "pipedrive", "password": "f" * 40, "host": "no such company"}
    answer = interface.ask("POST", "connections/test", **wrong)
    assert answer["status"] is False
    assert "Company domain" in answer["message"]


def test_the_form_offers_the_fields(interface):
    reply = interface.session.get(f"{interface.address}/ui/connections/hook_meta", timeout=60).json()
    (form,) = [entry for entry in reply if entry["connection_type"] == "pipedrive"]
    assert form["hook_name"] == "Pipedrive"
    assert form["standard_fields"]["password"]["title"] == "API token"
    assert list(form["extra_fields"]) == [
        "client_id",
        "client_secret",
        "refresh_token",
        "timeout",
        "daily_token_reserve",
        "burst_limit",
        "base_url",
    ]


def test_no_token_is_in_any_log(interface, mark):
    (command,) = [command for command in processes_with(mark).values() if "pipedrive-sandbox --leads" in command]
    token = command.split("--token ")[1].split()[0]
    files = [file for file in (ROOT / ".ui").rglob("*") if file.is_file()]
    assert any("task_id=create_lead" in str(file) for file in files)
    for file in files:
        assert token.encode() not in file.read_bytes(), file
