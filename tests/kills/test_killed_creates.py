"""A create whose process is killed makes one lead, with one contact and one note, once Airflow has tried it again.

Each try is a process of its own that runs the task in a real run with a real database; it is killed with SIGKILL.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
BEGIN, END = "begin", "end"
PERSON, LEAD, NOTE = "POST /api/v2/persons", "POST /v1/leads", "POST /v1/notes"
SETTLE = 1.5
LATE = 10.0
"""Seconds of the sandbox's own clock, which stands still, after which it finishes a call that was given up."""
FINISHED_AFTER = 0.6
"""Real seconds for which the sandbox works on a call."""
MOMENT = 0.2
"""In which a call to the sandbox surely arrives, and a quick one is over."""
RANDOM_TASKS = 4
RANDOM_KILLS = 2

numbers = itertools.count()


class Tries:
    """Tries of tasks, one after the other, each in a process that can be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "creates_to_kill.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "AIRFLOW__API_AUTH__JWT_SECRET": "x" * 64},
        )
        self._child: int | None = None
        assert self._told() == "ready"

    def start(self, task: Task, held: str | None = None, nth: int = 1) -> None:
        """Start the next try of a task.

        :param held: a call, ``BEGIN`` or ``END``: where it stands still.
        :param nth: at which time of coming there.
        """
        order = {**task.order, "first": task.tries == 0, "held": held, "nth": nth}
        task.tries += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._child = self._told()["pid"]

    def wait_for(self, place: str, nth: int = 1) -> None:
        """Wait until the try comes to a place."""
        for _ in range(nth):
            while (told := self._told()) != place:
                assert isinstance(told, str), f"it did not come to {place}: {told}"

    def kill(self) -> list[str]:
        """Kill the process of the try, which has not ended; give the places it had come to since it was waited for."""
        assert self._child is not None
        os.kill(self._child, signal.SIGKILL)
        *places, end = self._told_until_end()
        assert end == {"status": -signal.SIGKILL}
        return places

    def outcome(self) -> dict[str, Any]:
        """Wait for the end of the try, and give what Airflow knows of it."""
        *_, known, end = self._told_until_end()
        assert end == {"status": 0}
        return dict(known)

    def end(self) -> None:
        """End a try that a failed test left."""
        if self._child is not None:
            self.kill()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _told_until_end(self) -> list[Any]:
        told = [self._told()]
        while not (isinstance(told[-1], dict) and "status" in told[-1]):
            told.append(self._told())
        self._child = None
        return told

    def _told(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class Task:
    """A task of a run of its own that creates a lead, its person and its note."""

    def __init__(self, sandbox: Sandbox, client: PipedriveClient) -> None:
        self._sandbox = sandbox
        self._client = client
        self._name = f"Killed {next(numbers)}"
        self.tries = 0
        self.order = {
            "dag_id": self._name.replace(" ", "_"),
            "connection": json.dumps(sandbox.connection),
            "task": {
                "title": self._name,
                "person": {"name": self._name, "email": f"{self._name.replace(' ', '.')}@acme.example"},
                "note": f"<b>{self._name}</b> &amp; waiting",
                "settle": SETTLE,
            },
        }

    def made(self) -> dict[str, int]:
        """How many persons, leads and notes there are, by the call that makes one."""
        leads = self._leads()
        notes = [note for lead in leads for note in self._client.get_notes(lead_id=lead["id"])]
        return {PERSON: len(self._persons()), LEAD: len(leads), NOTE: len(notes)}

    def check(self, outcome: dict[str, Any]) -> None:
        """Check that all went well in the end, and that there is one of each."""
        assert (outcome["state"], outcome["try"]) == ("success", self.tries)
        assert self.made() == {PERSON: 1, LEAD: 1, NOTE: 1}
        (lead,) = self._leads()
        assert (lead["id"], lead["person_id"]) == (outcome["lead_id"], self._persons()[0])

    def _leads(self) -> list[dict[str, Any]]:
        return [lead for lead in self._sandbox.control.all_leads() if lead["title"] == self._name]

    def _persons(self) -> list[int]:
        return [person["id"] for person in self._client.get_persons() if person["name"] == self._name]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The contrary one alone: each kill takes seconds, and the tests without kills play both."""
    with Sandbox(leads=60, seed=7, profile="contrary") as running:
        yield running


@pytest.fixture(scope="module")
def running() -> Iterator[Tries]:
    from airflow.utils import db

    db.initdb()
    made = Tries()
    yield made
    made.close()


@pytest.fixture
def tries(running: Tries) -> Iterator[Tries]:
    yield running
    running.end()


@pytest.fixture
def task(sandbox: Sandbox, client: PipedriveClient) -> Task:
    return Task(sandbox, client)


CALLS = pytest.mark.parametrize("call", [PERSON, LEAD, NOTE], ids=["person", "lead", "note"])


def fault(sandbox: Sandbox, call: str, kind: str, **options: float) -> None:
    sandbox.control.fault(*call.split(), kind, **options)


@CALLS
def test_killed_before_the_call(tries: Tries, task: Task, call: str):
    tries.start(task, held=call)
    tries.wait_for(call)
    tries.kill()
    assert task.made()[call] == 0
    tries.start(task)
    task.check(tries.outcome())


@CALLS
def test_killed_while_the_server_works_which_then_finishes(sandbox: Sandbox, tries: Tries, task: Task, call: str):
    fault(sandbox, call, "delay", seconds=FINISHED_AFTER)
    tries.start(task)
    tries.wait_for(call)
    time.sleep(MOMENT)
    assert tries.kill() == []
    assert task.made()[call] == 0
    time.sleep(FINISHED_AFTER)
    assert task.made()[call] == 1
    tries.start(task)
    task.check(tries.outcome())


@CALLS
def test_killed_while_the_reply_comes(sandbox: Sandbox, tries: Tries, task: Task, call: str):
    fault(sandbox, call, "slow_body", seconds=5)
    tries.start(task)
    tries.wait_for(call)
    time.sleep(MOMENT)
    assert tries.kill() == []
    assert task.made()[call] == 1
    tries.start(task)
    task.check(tries.outcome())


@dataclass
class Look:
    """A call that looks for what another call made.

    :ivar nth: at which time of coming there it does so for the first time after the call.
    """

    place: str
    nth: int = 1


LOOKS = {PERSON: Look("GET /api/v2/persons", 2), LEAD: Look("GET /v1/leads/archived"), NOTE: Look("GET /v1/notes")}


@pytest.fixture
def still_clock(sandbox: Sandbox) -> Iterator[None]:
    sandbox.control.freeze()
    yield
    sandbox.control.unfreeze()


@CALLS
@pytest.mark.usefixtures("still_clock")
def test_killed_while_it_looks_and_finished_after_the_next_try_looked(
    sandbox: Sandbox, tries: Tries, task: Task, call: str
):
    """What the server finishes latest: after a look of the next try found nothing, and before its second look."""
    fault(sandbox, call, "close_and_finish", after=LATE)
    look = LOOKS[call]
    tries.start(task, held=look.place, nth=look.nth)
    tries.wait_for(look.place, look.nth)
    tries.kill()
    tries.start(task)
    tries.wait_for(look.place)
    time.sleep(MOMENT)
    assert task.made()[call] == 0
    sandbox.control.advance(LATE)
    task.check(tries.outcome())


def test_killed_after_all_was_done(tries: Tries, task: Task):
    tries.start(task, held=END)
    tries.wait_for(END)
    tries.kill()
    assert task.made() == {PERSON: 1, LEAD: 1, NOTE: 1}
    tries.start(task)
    task.check(tries.outcome())


def test_killed_at_any_moment_again_and_again(sandbox: Sandbox, client: PipedriveClient, tries: Tries):
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = Random(seed), [f"KILLS_SEED={seed}"]
    sandbox.control.set_delay("reply", 0.1)
    for _ in range(RANDOM_TASKS):
        task = Task(sandbox, client)
        for _ in range(RANDOM_KILLS):
            call, kind = chance.choice(list(LOOKS)), chance.choice(["close_after", "close_and_finish", "delay"])
            fault(sandbox, call, kind, after=SETTLE / 2, seconds=SETTLE / 2)
            seconds = chance.random() * 2
            tries.start(task, held=END)
            tries.wait_for(BEGIN)
            time.sleep(seconds)
            tries.kill()
            story.append(f"{task.order['dag_id']}: {kind} at {call}, killed after {seconds:.2f} s: {task.made()}")
        sandbox.control.clear_faults()
        tries.start(task)
        outcome = tries.outcome()
        story.append(f"{outcome}: {task.made()}")
        try:
            task.check(outcome)
        except AssertionError:
            pytest.fail("\n".join(story))
    sandbox.control.set_delay("reply", 0)
