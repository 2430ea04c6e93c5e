"""A create whose process is killed makes one lead, with one contact and one note, once Airflow has tried it again.

Each try is a process of its own that runs the task in a real run with a real database; it is killed with SIGKILL. Time
is the sandbox's, which passes only while a try sleeps.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.kills.obeying import GO_ON, Obeying
from tests.until import until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    # The contrary one alone: each kill takes a second, and the tests without kills play both.
    pytest.mark.parametrize("sandbox", ["contrary"], indirect=True),
]

END = "end"
PERSON, LEAD, NOTE = "POST /api/v2/persons", "POST /v1/leads", "POST /v1/notes"
SETTLE = 30.0
LATE = 29.0
"""Seconds after which the sandbox finishes a call that was given up: just before nobody reckons with it any more."""
FOR_EVER = 3_000.0
"""Real seconds that a reply takes for which no try waits."""
TIMEOUT = 600
"""Real seconds until a try would give up such a reply."""
RANDOM_TASKS = 4
RANDOM_KILLS = 2
STEPS = 14
"""Places that a try may pass, at each of which it may be killed; one that passes fewer is killed at its end."""

numbers = itertools.count()


def pass_time(sandbox: Sandbox, seconds: float) -> None:
    """Let time pass, in which the server finishes what it still had to do."""
    sandbox.control.advance(seconds)
    sandbox.control.let_go()
    until(lambda: not sandbox.control.held())


class Tries:
    """Tries of tasks, one after the other, each in a process that can be killed.

    :param process: that runs them.
    :param sandbox: whose time passes while a try sleeps.
    """

    def __init__(self, process: Obeying, sandbox: Sandbox) -> None:
        self._process = process
        self._sandbox = sandbox
        self._asleep = 0.0

    def start(self, task: Task, held: str | None = None, nth: int = 1, step: int | None = None) -> None:
        """Start the next try of a task.

        :param held: a call or ``END``: where it stands still.
        :param nth: at which time of coming there.
        :param step: the number of the place where it stands still, whichever it is.
        """
        where = {"held": held, "nth": nth, "step": step, "now": self._sandbox.control.now()}
        self._process.order({**task.order, "first": task.tries == 0, **where})
        task.tries += 1

    def wait_for(self, place: str, nth: int = 1) -> None:
        """Wait until the try comes to a place."""
        for _ in range(nth):
            while (told := self._next()) != place:
                assert isinstance(told, str) or "sleep" in told, f"it did not come to {place}: {told}"

    def wait_for_sleep(self) -> None:
        """Wait until the try sleeps; it does so until it is waited for again."""
        while not self._asleep:
            told = self._next()
            assert isinstance(told, str) or "sleep" in told, f"it did not sleep: {told}"

    def wait_for_step(self, step: int, *others: str) -> tuple[int, str]:
        """Wait until the try comes to the place of that number, or before to one of some others; give the place."""
        passed, place = 0, ""
        while passed < step and place not in others:
            told = self._next()
            if isinstance(told, str):
                passed, place = passed + 1, told
        return passed, place

    def kill(self) -> list[str]:
        """Kill the process of the try, which has not ended; give the places it had come to since it was waited for."""
        self._process.signal(signal.SIGKILL)
        *places, end = self._told_until_end(self._process.told)
        assert end == {"status": -signal.SIGKILL}
        return places

    def outcome(self) -> dict[str, Any]:
        """Wait for the end of the try, and give what Airflow knows of it."""
        *_, known, end = self._told_until_end(self._next)
        assert end == {"status": 0}
        return dict(known)

    def _next(self) -> Any:
        """What the try tells next; if it sleeps, time passes."""
        if self._asleep:
            pass_time(self._sandbox, self._asleep)
            self._asleep = 0.0
            self._process.signal(GO_ON)
        told = self._process.told()
        if isinstance(told, dict):
            self._asleep = told.get("sleep", 0.0)
        return told

    def _told_until_end(self, read: Callable[[], Any]) -> list[Any]:
        told = [read()]
        while not (isinstance(told[-1], dict) and "status" in told[-1]):
            told.append(read())
        self._asleep = 0.0
        return told


class Task:
    """A task of a run of its own that creates a lead, its person and its note."""

    def __init__(self, sandbox: Sandbox, client: PipedriveClient) -> None:
        self._sandbox = sandbox
        self._client = client
        self._name = f"Killed {next(numbers)}"
        self.tries = 0
        connection = sandbox.connection
        connection["extra"]["timeout"] = TIMEOUT
        self.order = {
            "dag_id": self._name.replace(" ", "_"),
            "connection": json.dumps(connection),
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
        """Check that all went well, and that there is one of each, when the server has done all it still had to do."""
        pass_time(self._sandbox, LATE)
        assert (outcome["state"], outcome["try"]) == ("success", self.tries)
        assert self.made() == {PERSON: 1, LEAD: 1, NOTE: 1}
        (lead,) = self._leads()
        assert (lead["id"], lead["person_id"]) == (outcome["lead_id"], self._persons()[0])

    def _leads(self) -> list[dict[str, Any]]:
        return [lead for lead in self._sandbox.control.all_leads() if lead["title"] == self._name]

    def _persons(self) -> list[int]:
        return [person["id"] for person in self._client.get_persons() if person["name"] == self._name]


@pytest.fixture(scope="module")
def process() -> Iterator[Obeying]:
    """It remembers nothing of a try but what Airflow's database keeps, where each task has a DAG of its own."""
    from airflow.utils import db

    db.initdb()
    made = Obeying("creates_to_kill", AIRFLOW__API_AUTH__JWT_SECRET="x" * 64)
    yield made
    made.close()


@pytest.fixture
def tries(process: Obeying, sandbox: Sandbox) -> Iterator[Tries]:
    sandbox.control.freeze()
    yield Tries(process, sandbox)
    process.end_child()


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
    fault(sandbox, call, "hold")
    tries.start(task)
    tries.wait_for(call)
    until(sandbox.control.held)
    assert tries.kill() == []
    assert task.made()[call] == 0
    sandbox.control.let_go()
    until(lambda: task.made()[call])
    assert task.made()[call] == 1
    tries.start(task)
    task.check(tries.outcome())


@CALLS
def test_killed_while_the_reply_comes(sandbox: Sandbox, tries: Tries, task: Task, call: str):
    fault(sandbox, call, "slow_body", seconds=FOR_EVER)
    tries.start(task)
    tries.wait_for(call)
    until(lambda: task.made()[call])
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


@CALLS
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
    tries.wait_for_sleep()
    assert task.made()[call] == 0
    task.check(tries.outcome())


def test_killed_after_all_was_done(tries: Tries, task: Task):
    tries.start(task, held=END)
    tries.wait_for(END)
    tries.kill()
    assert task.made() == {PERSON: 1, LEAD: 1, NOTE: 1}
    tries.start(task)
    task.check(tries.outcome())


def test_killed_at_any_moment_again_and_again(sandbox: Sandbox, client: PipedriveClient, tries: Tries):
    """At places drawn over the whole of a try, or while the server works on a call that it finishes later."""
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = Random(seed), [f"KILLS_SEED={seed}"]
    steps = drawn_steps(chance, RANDOM_TASKS * RANDOM_KILLS)
    for _ in range(RANDOM_TASKS):
        task = Task(sandbox, client)
        for step in itertools.islice(steps, RANDOM_KILLS):
            call, kind = chance.choice(list(LOOKS)), chance.choice(["close_after", "close_and_finish", "hold"])
            sandbox.control.clear_faults()
            fault(sandbox, call, kind, after=LATE)
            tries.start(task, held=END, step=step)
            came_to, place = tries.wait_for_step(step, END, *([call] if kind == "hold" else []))
            if came_to < step and place != END:
                until(sandbox.control.held)
            tries.kill()
            story.append(f"{task.order['dag_id']}: {kind} at {call}, killed at {came_to}, {place}: {task.made()}")
        sandbox.control.clear_faults()
        tries.start(task)
        outcome = tries.outcome()
        story.append(f"{outcome}: {task.made()}")
        try:
            task.check(outcome)
        except AssertionError:
            pytest.fail("\n".join(story))


def drawn_steps(chance: Random, count: int) -> Iterator[int]:
    """Numbers of places, one of each part of a try, in any order."""
    steps = [1 + int((number + chance.random()) / count * STEPS) for number in range(count)]
    chance.shuffle(steps)
    return iter(steps)
