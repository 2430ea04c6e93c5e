"""DAGs that leads start, in a whole Airflow whose triggerer is killed again and again while people edit leads."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive, process
from tests.processes import processes_with
from tests.standalone.running_airflow import BETWEEN_LOOKS, RunningAirflow, running_airflow
from tests.until import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

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
MOST_EDITS = 8
"""Between two polls: fewer than fit in an event, so that no machine falls behind."""
NOT_YET = 100
"""Polls that are held: more than come."""
TIMEOUT = 600
"""Seconds until a poll that is held would be given up."""
TITLE = "Confidential"
LEADS = "/v1/leads"


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
    patient = {**sandbox.connection, "extra": {"base_url": sandbox.url, "timeout": TIMEOUT}}
    settings = {**QUICKER, "AIRFLOW_CONN_PIPEDRIVE_DEFAULT": json.dumps(patient)}
    with running_airflow(tmp_path, DAGS, LocalPipedrive(sandbox.url, sandbox.token), settings) as running:
        yield running


class Triggerers:
    """The triggerer of an Airflow home: killed, and started again.

    :ivar stored: for each that was killed, how many events were stored by then.
    """

    def __init__(self, airflow: RunningAirflow, home: Path) -> None:
        self._airflow = airflow
        self._home = f"AIRFLOW_HOME={home}"
        self._started = ExitStack()
        self.stored: list[int] = []

    def kill_and_start(self) -> None:
        """End it as the kernel does when memory is short, with all its processes; a new one begins at once."""
        pids = self._processes()
        assert pids, "no triggerer runs"
        environ = Path(f"/proc/{pids[0]}/environ").read_bytes().decode().split("\0")
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self._processes())
        self.stored.append(last_event(self._airflow))
        env = dict(line.split("=", 1) for line in environ if "=" in line)
        airflow = Path(env["PATH"].split(":")[0], "airflow")
        with Path(env["AIRFLOW_HOME"], f"triggerer-{len(self.stored)}.log").open("wb") as log:
            self._started.enter_context(process(airflow, "triggerer", env=env, stdout=log, stderr=subprocess.STDOUT))

    def end(self) -> None:
        self._started.close()

    def _processes(self) -> list[int]:
        """Pids of this home's triggerer, the eldest first."""
        return [pid for pid, command in processes_with(self._home).items() if "triggerer" in command]


@pytest.fixture
def triggerers(airflow, tmp_path):
    found = Triggerers(airflow, tmp_path)
    yield found
    found.end()


class Editing(threading.Thread):
    """People who make, rename and delete leads between polls while the context is open."""

    def __init__(self, sandbox: Sandbox, client: PipedriveClient, person_id: int, chance: random.Random) -> None:
        super().__init__()
        self._sandbox, self._client, self._person_id = sandbox, client, person_id
        self._chance = chance
        self._ending = threading.Event()
        self.created: set[str] = set()
        self.touched: set[str] = set()

    def run(self) -> None:
        seen = 0
        while not self._ending.is_set():
            polls = len(polls_of(self._sandbox))
            if polls > seen:
                seen = polls
                for _ in range(self._chance.randint(1, MOST_EDITS)):
                    self._edit()
            self._ending.wait(BETWEEN_LOOKS)

    def __enter__(self) -> Editing:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.join()

    def create_many(self) -> None:
        """Make more leads than fit in an event, with no poll between them."""
        self._sandbox.control.fault("GET", LEADS, "hold", times=NOT_YET)
        for _ in range(MOST + 3):
            self._create()
        self._sandbox.control.clear_faults()
        self._sandbox.control.let_go()

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

    def payloads(self) -> list[tuple[int, dict]]:
        """The number of each event, and what it told; in the order in which they were stored."""
        found = {}
        for run in self._airflow.runs(self._dag_id):
            if run["start_date"] is None:  # Airflow 3.3.2 answers 500 for the events of a run that is still queued
                continue
            path = f"dags/{self._dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
            for event in self._airflow.ask("GET", path)["asset_events"]:
                found[event["id"]] = event["extra"]["payload"]
        return sorted(found.items())

    def leads(self) -> dict[str, list[int]]:
        """By which events each change was told, by its event id."""
        numbers = defaultdict(list)
        for number, payload in self.payloads():
            for lead in payload["leads"]:
                numbers[lead["event_id"]].append(number)
        return numbers

    def lead_ids(self) -> set[str]:
        return {of.partition("@")[0] for of in self.leads()}


def test_every_change_starts_a_run_whatever_is_killed(airflow, sandbox, client, triggerers, tmp_path):
    person_id = client.add_person("Robin Example")["id"]
    for dag_id in (CHANGED, CREATED):
        airflow.switch_on(dag_id)
    airflow.until(lambda: len(cursors(airflow)) == 2)

    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = random.Random(seed), f"KILLS_SEED={seed}"
    with Editing(sandbox, client, person_id, random.Random(seed + 1)) as editing:
        for _ in range(KILLS):
            another_time(airflow, lambda: len(polls_of(sandbox)))
            another_time(airflow, chance.choice(moments(airflow, sandbox)))
            triggerers.kill_and_start()
    editing.create_many()

    latest = {
        f"{lead['id']}@{lead['update_time']}" for lead in sandbox.control.all_leads() if lead["id"] in editing.touched
    }
    changed, created = Heard(airflow, CHANGED), Heard(airflow, CREATED)
    airflow.until(lambda: latest <= set(changed.leads()))
    airflow.until(lambda: editing.created <= created.lead_ids())

    for heard in (changed, created):
        payloads = [payload for _, payload in heard.payloads()]
        assert all(1 <= payload["count"] == len(payload["leads"]) <= MOST for payload in payloads)
        assert any(payload["more"] for payload in payloads)
        for numbers in heard.leads().values():
            for first, again in pairwise(numbers):
                killed_between = [stored for stored in triggerers.stored if first <= stored < again]
                assert killed_between, (first, again, triggerers.stored, story)
    assert {lead["kind"] for _, payload in created.payloads() for lead in payload["leads"]} == {"created"}
    seeded = {lead["id"] for lead in sandbox.control.all_leads()} - editing.touched
    assert not seeded & changed.lead_ids()
    check_that_they_share_a_poll(airflow, sandbox, client, person_id, (changed, created))
    check_that_nothing_is_told(tmp_path, sandbox.token)


def moments(airflow, sandbox) -> list[Callable[[], object]]:
    """What tells how far a triggerer is: it has polled, has stored an event, or has kept how far it came."""
    return [lambda: len(polls_of(sandbox)), lambda: last_event(airflow), lambda: cursors(airflow)]


def another_time(airflow, seen: Callable[[], object]) -> None:
    """Wait until something is not what it was."""
    before = seen()
    airflow.until(lambda: seen() != before)


def cursors(airflow):
    """What the assets' state stores hold."""
    found = []
    for asset in airflow.ask("GET", "assets")["assets"]:
        found += airflow.ask("GET", f"assets/{asset['id']}/state-store")["asset_state_store"]
    return found


def last_event(airflow) -> int:
    """The number of the event that was stored last."""
    events = airflow.ask("GET", "assets/events?order_by=-timestamp")["asset_events"]
    return max((event["id"] for event in events), default=0)


def polls_of(sandbox):
    return [seen for seen in sandbox.control.requests() if seen["path"] == LEADS and seen["method"] == "GET"]


def check_that_they_share_a_poll(airflow, sandbox, client, person_id, all_heard):
    """Of two polls that each belong to one asset, one would stay without an answer."""
    sandbox.control.fault("GET", LEADS, "hold", times=NOT_YET)
    airflow.until(sandbox.control.held)
    lead_id = client.add_lead(f"{TITLE} last", person_id=person_id)["id"]
    assert sandbox.control.held() == 1
    sandbox.control.let_go()  # this one poll: the next is held again
    for heard in all_heard:
        airflow.until(lambda heard=heard: lead_id in heard.lead_ids())
    assert sandbox.control.held() <= 1
    assert not [seen for seen in sandbox.control.requests() if seen["path"] == f"{LEADS}/archived"]


def check_that_nothing_is_told(home, token):
    """No log holds a lead's title, and no file the token."""
    for file in home.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert token.encode() not in content, file
            assert not (file.suffix == ".log" and TITLE.encode() in content), file
