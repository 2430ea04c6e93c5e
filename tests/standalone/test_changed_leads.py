"""DAGs that leads start, in a whole Airflow whose triggerer is killed again and again while people edit leads."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive, process
from tests.processes import processes_with
from tests.standalone.running_airflow import running_airflow, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

DAGS = Path(__file__).parent / "watching_dags"
CHANGED, CREATED = "changed", "created"
KILLS = int(os.environ.get("KILLS") or 1)
QUICKER = {
    # how long another triggerer waits until it takes over the triggers of one that was killed; default 30 s
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
}
MOST = 40
"""Leads in an event, as the DAGs have it."""
TITLE = "Confidential"


@pytest.fixture
def sandbox():
    with Sandbox(leads=20, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox):
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def airflow(tmp_path, sandbox):
    with running_airflow(tmp_path, DAGS, LocalPipedrive(sandbox.url, sandbox.token), QUICKER) as running:
        yield running


class Triggerers:
    """The triggerer of an Airflow home: killed, and started again."""

    def __init__(self, home: Path) -> None:
        self._home = f"AIRFLOW_HOME={home}"
        self._started = ExitStack()
        self.killed_at: list[datetime] = []

    def kill_and_start(self) -> None:
        """End it as the kernel does when memory is short, with all its processes; a new one begins at once."""
        pids = self._processes()
        assert pids, "no triggerer runs"
        environ = Path(f"/proc/{pids[0]}/environ").read_bytes().decode().split("\0")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.killed_at.append(datetime.now(UTC))
        until(lambda: not self._processes(), "the triggerer is gone")
        env = dict(line.split("=", 1) for line in environ if "=" in line)
        airflow = Path(env["PATH"].split(":")[0], "airflow")
        with Path(env["AIRFLOW_HOME"], f"triggerer-{len(self.killed_at)}.log").open("wb") as log:
            self._started.enter_context(process(airflow, "triggerer", env=env, stdout=log, stderr=subprocess.STDOUT))

    def end(self) -> None:
        self._started.close()

    def _processes(self) -> list[int]:
        """Pids of this home's triggerer, the eldest first."""
        return [pid for pid, command in processes_with(self._home).items() if "triggerer" in command]


@pytest.fixture
def triggerers(airflow, tmp_path):
    found = Triggerers(tmp_path)
    yield found
    found.end()


class Editing(threading.Thread):
    """People who make, rename and delete leads until they are told to end."""

    def __init__(self, client: PipedriveClient, person_id: int, chance: random.Random) -> None:
        super().__init__()
        self._client, self._person_id = client, person_id
        self._chance = chance
        self._ending = threading.Event()
        self.created: set[str] = set()
        self.touched: set[str] = set()

    def run(self) -> None:
        while not self._ending.wait(self._chance.uniform(0.05, 0.6)):
            self._edit()
        for _ in range(MOST + 3):  # more at once than fit in an event
            self._create()

    def end(self) -> None:
        self._ending.set()
        self.join()

    def _edit(self) -> None:
        what = self._chance.random()
        if what < 0.5 or not self.touched:
            self._create()
        elif what < 0.95:
            lead_id = self._chance.choice(sorted(self.touched))
            self._client.update_lead(lead_id, title=f"{TITLE} {self._chance.random()}")
        else:
            lead_id = self._chance.choice(sorted(self.touched))
            self._client.delete_lead(lead_id)
            self.created.discard(lead_id)
            self.touched.discard(lead_id)

    def _create(self) -> None:
        lead_id = self._client.add_lead(f"{TITLE} new", person_id=self._person_id)["id"]
        self.created.add(lead_id)
        self.touched.add(lead_id)


class Heard:
    """What started the runs of a DAG."""

    def __init__(self, airflow, dag_id: str) -> None:
        self._airflow, self._dag_id = airflow, dag_id

    def payloads(self) -> list[tuple[datetime, dict]]:
        """When each event was stored, and what it told; oldest first."""
        found = {}
        for run in self._airflow.runs(self._dag_id):
            if run["start_date"] is None:  # Airflow 3.3.2 answers 500 for the events of a run that is still queued
                continue
            path = f"dags/{self._dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
            for event in self._airflow.ask("GET", path)["asset_events"]:
                found[event["id"]] = (datetime.fromisoformat(event["timestamp"]), event["extra"]["payload"])
        return [found[number] for number in sorted(found)]

    def leads(self) -> dict[str, list[datetime]]:
        """When each change was told, by event id."""
        times = defaultdict(list)
        for stored, payload in self.payloads():
            for lead in payload["leads"]:
                times[lead["event_id"]].append(stored)
        return times


def test_every_change_starts_a_run_whatever_is_killed(airflow, sandbox, client, triggerers, tmp_path):
    person_id = client.add_person("Robin Example")["id"]
    for dag_id in (CHANGED, CREATED):
        airflow.switch_on(dag_id)
    until(lambda: len(cursors(airflow)) == 2, "both assets have a place to begin from")

    chance = random.Random(11)
    editing = Editing(client, person_id, chance)
    editing.start()
    for _ in range(KILLS):
        polls = len(polls_of(sandbox))
        until(lambda polls=polls: len(polls_of(sandbox)) > polls, "Pipedrive is polled")
        time.sleep(chance.uniform(0, 1.5))  # while events are stored, or cursors kept, or neither
        triggerers.kill_and_start()
    editing.end()

    latest = {
        f"{lead['id']}@{lead['update_time']}" for lead in sandbox.control.all_leads() if lead["id"] in editing.touched
    }
    changed, created = Heard(airflow, CHANGED), Heard(airflow, CREATED)
    until(lambda: latest <= set(changed.leads()), "the latest state of each lead is told")
    until(lambda: editing.created <= {of.partition("@")[0] for of in created.leads()}, "each new lead is told")

    for heard in (changed, created):
        payloads = [payload for _, payload in heard.payloads()]
        assert all(1 <= payload["count"] == len(payload["leads"]) <= MOST for payload in payloads)
        assert any(payload["more"] for payload in payloads)
        for times in heard.leads().values():
            for first, again in pairwise(times):
                assert any(first < killed < again for killed in triggerers.killed_at), (first, again)
    assert {lead["kind"] for _, payload in created.payloads() for lead in payload["leads"]} == {"created"}
    seeded = {lead["id"] for lead in sandbox.control.all_leads()} - editing.touched
    assert not seeded & {of.partition("@")[0] for of in changed.leads()}
    check_the_polls(sandbox)
    check_that_nothing_is_told(tmp_path, sandbox.token)


def cursors(airflow):
    """What the assets' state stores hold."""
    found = []
    for asset in airflow.ask("GET", "assets")["assets"]:
        found += airflow.ask("GET", f"assets/{asset['id']}/state-store")["asset_state_store"]
    return found


def polls_of(sandbox):
    return [seen for seen in sandbox.control.requests() if seen["path"] == "/v1/leads" and seen["method"] == "GET"]


def check_the_polls(sandbox):
    """Both assets shared each poll: they are no closer than an interval, but where a triggerer was started."""
    times = [datetime.fromisoformat(seen["time"]) for seen in polls_of(sandbox)]
    close = [later for earlier, later in pairwise(times) if (later - earlier).total_seconds() < 9]
    assert len(close) <= KILLS, times
    assert not [seen for seen in sandbox.control.requests() if seen["path"] == "/v1/leads/archived"]


def check_that_nothing_is_told(home, token):
    """No log holds a lead's title, and no file the token."""
    for file in home.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert token.encode() not in content, file
            assert not (file.suffix == ".log" and TITLE.encode() in content), file
