"""Fifty sensors in a whole Airflow that wait for the price of one, and wake when their leads change."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.waiting.waits import FEWEST_TURNS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import RunningAirflow, running_airflow, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "waiting_dags"
DAG_ID = "many_sensors"
LEADS, TITLES = 46, 3
SENSORS = LEADS + TITLES + 1
INTERVAL = 10
"""Seconds between two polls, as the DAG has it."""
QUIET_INTERVALS = 2
LATE = 3
"""Seconds that a busy machine may need from a trigger's event to the database, and from there to here."""
LIST, STATUS = "/v1/leads", "/convert/status/"
HOURS = 3_600
AT_ONCE = {
    "AIRFLOW__CORE__PARALLELISM": "4",
    "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "50",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",  # seconds; on a busy machine the first tasks are answered late
}


@pytest.fixture
def sandbox():
    """On a plan whose day leaves nothing for more turns by id than there are in any case."""
    with Sandbox(leads=20, seats=1) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox):
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def airflow(tmp_path: Path, sandbox: Sandbox):
    with running_airflow(tmp_path, DAGS, LocalPipedrive(sandbox.url, sandbox.token), AT_ONCE) as running:
        yield running


def test_many_sensors_wait_for_the_price_of_one(airflow: RunningAirflow, sandbox: Sandbox, client: PipedriveClient):
    person_id = client.add_person("Robin Example")["id"]
    lead_ids = [client.add_lead(f"Before {number}", person_id=person_id)["id"] for number in range(LEADS)]
    converted = client.add_lead("To be a deal", person_id=person_id)["id"]
    sandbox.control.set_delay("conversion", HOURS)
    conversion_id = client.convert_lead_to_deal(converted)
    airflow.switch_on(DAG_ID)
    wanted = {"lead_ids": lead_ids, "converted": converted, "conversion_id": conversion_id}
    run_id = airflow.ask("POST", f"dags/{DAG_ID}/dagRuns", logical_date=None, conf=wanted)["dag_run_id"]

    until(lambda: how_many(airflow, run_id, "deferred") == SENSORS, "all sensors are deferred", 180)
    sandbox.control.reset_counters()
    until(lambda: calls_of(sandbox)[0], "the list is read", 3 * INTERVAL)
    sandbox.control.reset_counters()
    began = time.monotonic()
    time.sleep(QUIET_INTERVALS * INTERVAL)
    lists, by_id, questions = calls_of(sandbox)
    polls = math.ceil((time.monotonic() - began) / INTERVAL)
    assert 1 <= lists <= polls
    assert by_id <= polls * FEWEST_TURNS
    assert questions <= polls
    assert how_many(airflow, run_id, "deferred") == SENSORS

    for number, lead_id in enumerate(lead_ids):
        client.update_lead(lead_id, title=f"Changed {number}")
    for number in range(TITLES):
        client.add_lead(f"Bought {number}", person_id=person_id)
    sandbox.control.advance(HOURS)
    changed = time.monotonic()
    until(lambda: how_many(airflow, run_id, "deferred") <= 1, "all but that of the conversion are awake")
    assert time.monotonic() - changed < 2 * INTERVAL + LATE

    until(lambda: how_many(airflow, run_id, "success") == SENSORS, "all sensors succeed", 180)


def how_many(airflow: RunningAirflow, run_id: str, state: str) -> int:
    """How many sensors are in a state; the list itself would keep a small machine busy."""
    path = f"dags/{DAG_ID}/dagRuns/{run_id}/taskInstances?state={state}&limit=1"
    return int(airflow.ask("GET", path)["total_entries"])


def calls_of(sandbox: Sandbox) -> tuple[int, int, int]:
    """Lists read, leads looked at by id, and questions about the conversion."""
    paths = [seen["path"] for seen in sandbox.control.requests() if seen["method"] == "GET"]
    lists = sum(path == LIST for path in paths)
    questions = sum(STATUS in path for path in paths)
    others = len(paths) - lists - questions
    return lists, others, questions
