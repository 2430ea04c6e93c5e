"""``make demo`` as a person runs it: exit code, summary, files, no token in any log, nothing left running."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from demo import run
from tests.processes import KEEPS_THE_MARK, processes_with
from tests.until import until

ROOT = Path(__file__).parents[2]
TOKEN = "c0ffee" * 6 + "beef"
IN_THIS_FOLDER = """
import sys
from pathlib import Path
from demo import run
run.FOLDER = Path(".demo").absolute()
run.LOG = run.FOLDER / "airflow.log"
"""
MAIN = "sys.exit(run.main())"

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def mark():
    """A variable that all processes inherit which these tests begin, and no others."""
    return f"STARTED_BY={uuid.uuid4()}"


@pytest.fixture(scope="module")
def environment(mark):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**clean, "COLUMNS": "100", "PYTHONPATH": str(ROOT), **dict([mark.split("=")]), **KEEPS_THE_MARK}


def command(code=""):
    """The demo, but that it works in the folder ``.demo`` of where it is run: others may run it meanwhile."""
    return [sys.executable, "-c", IN_THIS_FOLDER + code + MAIN]


def nothing_is_left(mark):
    """Wait until it is so: a killed process takes a moment to go."""
    return until(lambda: not processes_with(mark))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(environment, folder):
    known_token = f"import secrets; secrets.token_hex = lambda _: {TOKEN!r}\n"
    return subprocess.run(command(known_token), cwd=folder, env=environment, capture_output=True, text=True)


def test_its_folder_is_in_the_checkout():
    assert run.FOLDER == ROOT / ".demo"
    assert run.LOG.parent == run.FOLDER


def test_it_succeeds_and_says_so(demo):
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert re.search(r"Lead +[0-9a-f-]{36}", demo.stdout)
    assert re.search(r"API +\d+ requests, \d+ tokens", demo.stdout)
    assert "1,001 leads to .demo/leads/leads.jsonl" in demo.stdout
    assert ".demo/airflow.log" in demo.stdout


def test_its_files_hold_every_lead_once(demo, folder):
    lead_id = re.search(r"Lead +([0-9a-f-]{36})", demo.stdout)[1]
    lines = [json.loads(line) for line in (folder / ".demo/leads/leads.jsonl").read_text().splitlines()]
    with (folder / ".demo/leads/leads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for leads in (lines, rows):
        assert len(leads) == len({lead["id"] for lead in leads}) == 1001
        assert lead_id in {lead["id"] for lead in leads}
    assert {line["is_archived"] for line in lines} == {True, False}
    (made,) = [line for line in lines if line["id"] == lead_id]
    assert (made["labels"], made["value_amount"], made["company_size"], made["lead_score"]) == (
        ["Hot"],
        3000,
        "11-50",
        87,
    )


def test_no_token_is_in_any_file(demo, folder, mark):
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert any(file.name == "airflow.log" for file in files)
    for file in files:
        content = file.read_bytes()
        assert b"api_token=" not in content, file
        assert TOKEN.encode() not in content, file
    assert TOKEN not in demo.stdout
    assert nothing_is_left(mark)


def while_airflow_makes_its_database(running, folder):
    log = folder / ".demo" / "airflow.log"
    until(lambda: log.exists() and log.stat().st_size)


def while_a_dag_runs(running, folder):
    next(line for line in running.stdout if "found or created the person" in line)


@pytest.mark.parametrize("wait", [while_airflow_makes_its_database, while_a_dag_runs])
def test_ctrl_c_leaves_nothing_running(environment, mark, tmp_path, wait):
    with subprocess.Popen(command(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as running:
        try:
            wait(running, tmp_path)
            assert len(processes_with(mark)) >= 3  # the demo itself, the local Pipedrive, Airflow
            running.send_signal(signal.SIGINT)
            output, _ = running.communicate()
        finally:
            running.kill()
    assert running.returncode == 130
    assert "nothing is left running" in output
    assert nothing_is_left(mark)


BROKEN_DATABASE = """
environment = run.airflow_environment
nowhere = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/at/all.db"}
run.airflow_environment = lambda *stage: {**environment(*stage), **nowhere}
"""


def test_a_failure_names_the_log_and_exits_with_an_error(environment, mark, tmp_path):
    ran = subprocess.run(command(BROKEN_DATABASE), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "The demo failed." in ran.stdout
    assert ".demo/airflow.log" in ran.stdout
    assert nothing_is_left(mark)
