"""``make demo`` as a person runs it: exit code, summary, files, no token in any log, nothing left running."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.processes import KEEPS_THE_MARK, left_of, processes_with

ROOT = Path(__file__).parents[2]
DEMO = ROOT / ".demo"
TOKEN = "c0ffee" * 6 + "beef"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def mark():
    """A variable that all processes inherit which these tests begin, and no others."""
    return f"STARTED_BY={uuid.uuid4()}"


@pytest.fixture(scope="module")
def environment(mark):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {**clean, "COLUMNS": "100", **dict([mark.split("=")]), **KEEPS_THE_MARK}


@pytest.fixture(scope="module")
def demo(environment):
    code = f"import secrets, sys; secrets.token_hex = lambda _: {TOKEN!r}; from demo.run import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_it_succeeds_and_says_so(demo):
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert re.search(r"Lead +[0-9a-f-]{36}", demo.stdout)
    assert re.search(r"API +\d+ requests, \d+ tokens", demo.stdout)
    assert "1,001 leads to .demo/leads/leads.jsonl" in demo.stdout
    assert ".demo/airflow.log" in demo.stdout


def test_its_files_hold_every_lead_once(demo):
    lead_id = re.search(r"Lead +([0-9a-f-]{36})", demo.stdout)[1]
    lines = [json.loads(line) for line in (DEMO / "leads/leads.jsonl").read_text().splitlines()]
    with (DEMO / "leads/leads.csv").open(newline="") as file:
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


def test_no_token_is_in_any_file(demo, mark):
    files = [file for file in DEMO.rglob("*") if file.is_file()]
    assert any(file.name == "airflow.log" for file in files)
    for file in files:
        content = file.read_bytes()
        assert b"api_token=" not in content, file
        assert TOKEN.encode() not in content, file
    assert TOKEN not in demo.stdout
    assert left_of(mark) == {}


def test_ctrl_c_leaves_nothing_running(environment, mark):
    running = subprocess.Popen(
        [sys.executable, "-m", "demo.run"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(processes_with(mark)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(3)
    assert len(processes_with(mark)) >= 2
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "nothing is left running" in output
    assert left_of(mark) == {}


BROKEN_DATABASE = """
import sys, demo.run
environment = demo.run.airflow_environment
nowhere = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nowhere/at/all.db"}
demo.run.airflow_environment = lambda *stage: {**environment(*stage), **nowhere}
sys.exit(demo.run.main())
"""


def test_a_failure_names_the_log_and_exits_with_an_error(environment, mark):
    ran = subprocess.run(
        [sys.executable, "-c", BROKEN_DATABASE], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "The demo failed." in ran.stdout
    assert ".demo/airflow.log" in ran.stdout
    assert left_of(mark) == {}
