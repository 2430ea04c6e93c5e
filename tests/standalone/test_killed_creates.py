"""Many creates in a whole Airflow whose task processes are killed and whose calls are cut: one lead for each task."""

from __future__ import annotations

import os
import secrets
import signal
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import ENDED, RunningAirflow, running_airflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

DAGS = Path(__file__).parent / "dags"
DAG_ID = "created_once"
LEADS, NOTES = "/v1/leads", "/v1/notes"
NUMBERS = 24
TITLES = Counter(f"Lead {number}" for number in range(NUMBERS))
KILLED_AT = (["begin"], ["lead"], ["lead", "look"], ["note"], ["end"])
"""Where tasks are killed: before they begin, while a call is under way, after all was done. After the look of a task
that was killed while its lead was created, so was the lead."""
CUTS = 12
LATENCY = 0.15
"""Real seconds before each reply."""
LATE = 0.8
"""Seconds after which the sandbox finishes what was given up; the tasks wait 1.5 for it."""
KINDS = ("close_before", "close_after", "close_and_finish", "cut_body", "delay")


@pytest.fixture
def sandbox():
    with Sandbox(leads=20, seed=23, latency=LATENCY, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox):
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def airflow(tmp_path, sandbox):
    settings = {"AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "16"}
    with running_airflow(tmp_path, DAGS, LocalPipedrive(sandbox.url, sandbox.token), settings) as running:
        yield running


class Killer:
    """Kills tasks where they are to be killed: there they stand still.

    :param folder: where that is said.
    :ivar killed: places, in the order of the kills.
    """

    def __init__(self, folder: Path, chance: Random) -> None:
        self.killed: list[str] = []
        self._folder = folder
        for number, places in zip(chance.sample(range(NUMBERS), len(KILLED_AT)), KILLED_AT, strict=True):
            for place in places:
                (folder / f"{number}-{place}").touch()

    def kill(self) -> None:
        """Kill those that stand where they are to be killed."""
        for file in self._folder.glob("*.pid"):
            os.kill(int(file.read_text()), signal.SIGKILL)
            self.killed.append(file.stem)
            file.unlink()


def cut_calls(sandbox: Sandbox, chance: Random) -> None:
    """Let calls that create something fail in some way, with others between them that do not."""
    for number in range(CUTS):
        path = NOTES if number % 3 == 2 else LEADS
        sandbox.control.fault("POST", path, "delay", times=chance.randint(1, 3))
        sandbox.control.fault("POST", path, chance.choice(KINDS), after=LATE, seconds=LATE)


def tries_ended_by_kill(home: Path) -> int:
    """How many tries ended by that signal, as Airflow says in their logs."""
    logs = [file for file in (home / "logs").rglob("attempt=*.log") if f"dag_id={DAG_ID}" in str(file)]
    return sum("SIGKILL" in file.read_text() for file in logs)


def test_killed_tasks_and_cut_calls_make_one_lead_each(
    airflow: RunningAirflow, sandbox: Sandbox, client: PipedriveClient, tmp_path: Path
):
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = Random(seed), f"KILLS_SEED={seed}"
    folder = tmp_path / "places"
    folder.mkdir()
    killer = Killer(folder, chance)
    person_id = client.add_person("Robin Example")["id"]
    cut_calls(sandbox, chance)
    airflow.switch_on(DAG_ID)
    told = {"person_id": person_id, "folder": str(folder)}
    triggered = airflow.ask("POST", f"dags/{DAG_ID}/dagRuns", logical_date=None, conf=told)
    run = f"dags/{DAG_ID}/dagRuns/{triggered['dag_run_id']}"

    def ended() -> bool:
        killer.kill()
        return airflow.ask("GET", run)["state"] in ENDED

    airflow.until(ended)
    made = [lead for lead in sandbox.control.all_leads() if lead["title"] in TITLES]
    notes = [note["lead_id"] for lead in made for note in client.get_notes(lead_id=lead["id"])]
    assert airflow.ask("GET", run)["state"] == "success", story
    assert Counter(lead["title"] for lead in made) == TITLES, story
    assert sorted(notes) == sorted(lead["id"] for lead in made), story
    assert len(killer.killed) == sum(map(len, KILLED_AT)), (story, killer.killed)
    assert tries_ended_by_kill(tmp_path) == len(killer.killed), (story, killer.killed)
