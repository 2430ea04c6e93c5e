"""Many creates in a whole Airflow whose task processes are killed and whose calls are cut: one lead for each task."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import ENDED, RunningAirflow, running_airflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

DAGS = Path(__file__).parent / "dags"
DAG_ID = "created_once"
LEADS, NOTES = "/v1/leads", "/v1/notes"
TITLES = Counter(f"Lead {number}" for number in range(24))
LEAST_KILLS = 6
LEAST_IN_CALLS = 4
"""How many of the kills are to hit a task that has begun to call Pipedrive."""
SHARE_AIMED = 0.8
"""How often, of the moments for a kill, it is aimed at such tasks only."""
SHARE_CUT = 0.4
"""How often, of the moments between two kills, a call is ordered to be cut."""
SECONDS_BETWEEN = 0.5
SECONDS_TO_RUN = 240
LATENCY = 0.15
LATE = 0.8
"""Seconds after which the sandbox finishes what was given up; the tasks wait 1.5 for it."""
KINDS = ("close_before", "close_after", "close_and_finish", "cut_body", "delay")


@pytest.fixture
def sandbox():
    with Sandbox(leads=20, seed=23, latency=LATENCY) as running:
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


def task_processes() -> list[int]:
    """The processes below this one that run a task, without those that supervise one."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
    return [
        pid
        for pid, title in titles.items()
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title and _is_below(pid, parents)
    ]


def _is_below(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


def calls_pipedrive(pid: int, port: int) -> bool:
    """Whether a process has a connection to this port."""
    try:
        open_files = {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
        connections = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return False
    return any(f"socket:[{each[9]}]" in open_files for each in connections if each[2].endswith(f":{port:04X}"))


class Killer:
    """Kills processes that run tasks, until it has killed enough of them.

    :ivar kills: for each, whether it had begun to call Pipedrive.
    """

    def __init__(self, sandbox: Sandbox, chance: Random) -> None:
        self._port = urlsplit(sandbox.url).port or 0
        self._chance = chance
        self.kills: list[bool] = []

    def has_enough(self) -> bool:
        return len(self.kills) >= LEAST_KILLS and sum(self.kills) >= LEAST_IN_CALLS

    def kill(self) -> None:
        """Kill one, if there is one."""
        running = {pid: calls_pipedrive(pid, self._port) for pid in task_processes()}
        aims = self._chance.random() < SHARE_AIMED
        candidates = [pid for pid, calls in running.items() if calls or not aims]
        if candidates:
            pid = self._chance.choice(candidates)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills.append(running[pid])


def cut_call(sandbox: Sandbox, chance: Random) -> None:
    """Let the next call that creates something fail in some way."""
    kind, path = chance.choice(KINDS), chance.choice([LEADS, LEADS, NOTES])
    sandbox.control.fault("POST", path, kind, after=LATE, seconds=LATE)


def tries_ended_by_kill(home: Path) -> int:
    """How many tries ended by that signal, as Airflow says in their logs."""
    logs = [file for file in (home / "logs").rglob("attempt=*.log") if f"dag_id={DAG_ID}" in str(file)]
    return sum("SIGKILL" in file.read_text() for file in logs)


def test_killed_tasks_and_cut_calls_make_one_lead_each(
    airflow: RunningAirflow, sandbox: Sandbox, client: PipedriveClient, tmp_path: Path
):
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = Random(seed), f"KILLS_SEED={seed}"
    killer = Killer(sandbox, chance)
    person_id = client.add_person("Robin Example")["id"]
    airflow.switch_on(DAG_ID)
    triggered = airflow.ask("POST", f"dags/{DAG_ID}/dagRuns", logical_date=None, conf={"person_id": person_id})
    run = f"dags/{DAG_ID}/dagRuns/{triggered['dag_run_id']}"
    deadline = time.monotonic() + SECONDS_TO_RUN
    while (state := airflow.ask("GET", run)["state"]) not in ENDED:
        assert time.monotonic() < deadline, story
        if not killer.has_enough():
            killer.kill()
        if chance.random() < SHARE_CUT:
            cut_call(sandbox, chance)
        time.sleep(chance.random() * 2 * SECONDS_BETWEEN)
    sandbox.control.clear_faults()
    made = [lead for lead in sandbox.control.all_leads() if lead["title"] in TITLES]
    notes = [note["lead_id"] for lead in made for note in client.get_notes(lead_id=lead["id"])]
    assert state == "success", story
    assert Counter(lead["title"] for lead in made) == TITLES, story
    assert sorted(notes) == sorted(lead["id"] for lead in made), story
    assert killer.has_enough(), story
    assert tries_ended_by_kill(tmp_path) >= LEAST_KILLS, story
