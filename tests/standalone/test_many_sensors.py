"""Fifty sensors in a whole Airflow that wait for the price of one, and wake when their leads change.

The sandbox answers a poll when it is told to, and the question about a conversion, which is asked as often, tells that
it would have been polled again meanwhile.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.waiting.waits import FEWEST_TURNS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import RunningAirflow, running_airflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

DAGS = Path(__file__).parent / "waiting_dags"
DAG_ID = "many_sensors"
LEADS, TITLES = 46, 3
SENSORS = LEADS + TITLES + 1
QUIET_QUESTIONS = 2
LIST, STATUS = "/v1/leads", "/convert/status/"
NOT_YET = 100
"""Polls that are held: more than come."""
HOURS = 3_600
TIMEOUT = 600
"""Seconds until a poll that is held would be given up."""


@pytest.fixture
def sandbox():
    """On a plan whose day leaves nothing for more turns by id than there are in any case."""
    with Sandbox(leads=20, seats=1, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox):
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def airflow(tmp_path: Path, sandbox: Sandbox):
    patient = {**sandbox.connection, "extra": {"base_url": sandbox.url, "timeout": TIMEOUT}}
    settings = {
        "AIRFLOW_CONN_PIPEDRIVE_DEFAULT": json.dumps(patient),
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "50",
    }
    with running_airflow(tmp_path, DAGS, LocalPipedrive(sandbox.url, sandbox.token), settings) as running:
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

    airflow.until(lambda: how_many(airflow, run_id, "deferred") == SENSORS)
    sandbox.control.fault("GET", LIST, "hold", times=NOT_YET)
    airflow.until(sandbox.control.held)
    sandbox.control.reset_counters()
    airflow.until(lambda: calls_of(sandbox)[2] >= QUIET_QUESTIONS)
    lists, by_id, _ = calls_of(sandbox)
    assert (sandbox.control.held(), lists) == (1, 0)
    assert by_id <= FEWEST_TURNS
    assert how_many(airflow, run_id, "deferred") == SENSORS

    for number, lead_id in enumerate(lead_ids):
        client.update_lead(lead_id, title=f"Changed {number}")
    for number in range(TITLES):
        client.add_lead(f"Bought {number}", person_id=person_id)
    sandbox.control.advance(HOURS)
    sandbox.control.let_go()  # this one poll: the next is held again
    airflow.until(lambda: how_many(airflow, run_id, "deferred") == 0)

    sandbox.control.clear_faults()
    sandbox.control.let_go()
    airflow.until(lambda: how_many(airflow, run_id, "success") == SENSORS)


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
