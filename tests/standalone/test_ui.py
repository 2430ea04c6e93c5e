"""``make ui``: a whole Airflow with scheduler, worker and API, driven as the web interface drives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import requests

from demo import ui
from tests.processes import KEEPS_THE_MARK, processes_with
from tests.standalone.running_airflow import BETWEEN_LOOKS, ENDED, NO_HURRY
from tests.until import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
HERE_AND_IN_NO_HURRY = f"""
import sys
from pathlib import Path
from demo import ui
usual = ui.airflow_environment
ui.airflow_environment = lambda *stage: {{**usual(*stage), **{NO_HURRY}}}
ui.FOLDER = Path(".ui").absolute()
ui.LOG = ui.FOLDER / "airflow.log"
ui.SECONDS_TO_START = 3600
sys.exit(ui.main())
"""
"""What ``make ui`` runs, but in the folder ``.ui`` of where it is run: others may run it meanwhile."""
EXAMPLE, BY_LABEL = "example_pipedrive_leads", "example_pipedrive_leads_by_label"


class Interface:
    """A running ``make ui``.

    :param printed: what it has told the person in front of it.
    :param folder: where it keeps its files.
    """

    def __init__(self, printed: str, folder: Path) -> None:
        self.folder = folder
        words = dict(line.split(maxsplit=1) for line in printed.splitlines() if " " in line)
        self.address = words["Airflow"].strip()
        login = {"username": words["user"].strip(), "password": words["password"].strip()}
        token = requests.post(f"{self.address}/auth/token", json=login).json()["access_token"]
        self.session = requests.Session()
        self.session.headers["Connection"] = "close"  # a kept one the server may close just as it is used again
        self.session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method, path, **body):
        reply = self.session.request(method, f"{self.address}/api/v2/{path}", json=body or None)
        reply.raise_for_status()
        return reply.json()

    def wait_for_run(self, dag_id):
        """Wait for the one run of a DAG, and give its state and id."""

        def ended():
            runs = self.ask("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]
            return [(run["state"], run["dag_run_id"]) for run in runs if run["state"] in ENDED]

        (found,) = until(ended, BETWEEN_LOOKS)
        return found

    def wait_for_dag(self, dag_id):
        def is_parsed():
            errors = self.ask("GET", "importErrors")["import_errors"]
            assert not errors, errors
            return self.session.get(f"{self.address}/api/v2/dags/{dag_id}").ok

        until(is_parsed, BETWEEN_LOOKS)


@pytest.fixture(scope="module")
def mark():
    """A variable that all processes inherit which these tests begin, and no others."""
    return f"STARTED_BY={uuid.uuid4()}"


@pytest.fixture(scope="module")
def interface(mark, tmp_path_factory):
    """One for all tests of this file: none of them changes what another one looks at."""
    folder = tmp_path_factory.mktemp("ui")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= {"PYTHONPATH": str(ROOT), **dict([mark.split("=")]), **KEEPS_THE_MARK}
    running = subprocess.Popen(
        [sys.executable, "-c", HERE_AND_IN_NO_HURRY], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    printed = ""
    try:
        while "Ctrl-C" not in printed:
            line = running.stdout.readline()
            assert line, printed
            printed += line
        yield Interface(printed, folder / ".ui")
    finally:
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate()
    assert running.returncode == 0
    assert "nothing is left running" in rest
    until(lambda: not processes_with(mark))


@pytest.fixture(scope="module")
def example(interface):
    """What came of the example DAG, and of the one that its asset starts: the state and id of each run."""
    for dag_id in (EXAMPLE, BY_LABEL):
        interface.wait_for_dag(dag_id)
        interface.ask("PATCH", f"dags/{dag_id}", is_paused=False)
    leads = {"folder": (interface.folder / "leads").as_uri()}
    interface.ask("POST", f"dags/{EXAMPLE}/dagRuns", logical_date=None, conf=leads)
    first = interface.wait_for_run(EXAMPLE)
    return first, (interface.wait_for_run(BY_LABEL) if first[0] == "success" else None)


def test_its_folder_is_in_the_checkout():
    assert ui.FOLDER == ROOT / ".ui"
    assert ui.LOG.parent == ui.FOLDER


def test_the_example_runs_and_its_asset_starts_the_second_dag(interface, example):
    (state, run_id), by_label = example
    tasks = interface.ask("GET", f"dags/{EXAMPLE}/dagRuns/{run_id}/taskInstances")["task_instances"]
    assert state == "success", {task["task_id"]: task["state"] for task in tasks}
    assert len((interface.folder / "leads/leads.jsonl").read_text().splitlines()) == 1001
    state, run_id = by_label
    assert state == "success"
    returned = interface.ask(
        "GET", f"dags/{BY_LABEL}/dagRuns/{run_id}/taskInstances/count_by_label/xcomEntries/return_value"
    )
    counts = returned["value"] if isinstance(returned["value"], dict) else json.loads(returned["value"])
    assert counts["Hot"] > 0


def test_the_test_button_answers_in_one_sentence(interface):
    wrong = {"connection_id": "crm", "conn_type": "pipedrive", "password": "f" * 40, "host": "no such company"}
    answer = interface.ask("POST", "connections/test", **wrong)
    assert answer["status"] is False
    assert "Company domain" in answer["message"]


def test_the_form_offers_the_fields(interface):
    reply = interface.session.get(f"{interface.address}/ui/connections/hook_meta").json()
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


@pytest.mark.usefixtures("example")
def test_no_token_is_in_any_log(interface, mark):
    (command,) = [command for command in processes_with(mark).values() if "pipedrive-sandbox --leads" in command]
    token = command.split("--token ")[1].split()[0]
    files = [file for file in interface.folder.rglob("*") if file.is_file()]
    assert any("task_id=create_lead" in str(file) for file in files)
    for file in files:
        assert token.encode() not in file.read_bytes(), file
