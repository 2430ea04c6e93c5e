"""A load that is killed again and again ends as wanted: nothing twice, and the last try names every row.

Each try is a process of its own, killed with SIGKILL while it plans, waits, writes, settles doubts or publishes parts:
at a place that it tells, however long it takes to come there. While a try waits, the sandbox finishes what it still had
to do.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.kills.obeying import GO_ON, Obeying
from tests.leads.loading.loads import keyed, load
from tests.until import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

READ, CREATE, CHANGE, PUBLISH, WAIT, SETTLE = "read", "create", "change", "publish", "wait", "settle"
WRITES = {CREATE: ("POST", "/v1/leads"), CHANGE: ("PATCH", "/v1/leads/*")}
SECONDS_TO_SETTLE = 2.0
LATE = 1.9
"""Seconds of the sandbox's clock, at most, after which it finishes a call whose client is gone."""
LATE_AT_KILL = 3
"""Late calls among those that are sent just before a kill."""
LATENCY = 0.02
"""Real seconds before each reply, so that calls overlap."""
LOADS = 2
PRESENT = 220
ARCHIVED = 40
NEW = 150
UPDATED = 80
RESTORED = 25
MISSING = 12
TWICE = 4
BAD = 5
REFUSED = 3
ROWS_OF_PART = 40
MOST_TRIES = 8
NOBODY = 99_999_999
"""A person that is not there: Pipedrive refuses the lead."""
PREFIX = "kill-"
PARAMETERS = {"key": "origin_id", "key_prefix": PREFIX, "on_missing": "archive", "max_missing": 0.5, "restore": True}


@dataclass
class Kill:
    """When to kill a try.

    :ivar place: at which place.
    :ivar nth: at which time of coming there.
    :ivar stands_still: whether it goes no further, but for calls that are under way.
    """

    place: str
    nth: int
    stands_still: bool = True


@dataclass
class Tried:
    """What came of a try: of one that was killed only the places it came to."""

    places: list[str]
    outcome: dict[str, Any] | None
    under_way: int = 0

    @property
    def phase(self) -> str:
        """How far it had come."""
        last = self.places[-1] if self.places else READ
        if last in (WAIT, SETTLE, PUBLISH):
            return last
        return "write" if set(self.places) & set(WRITES) else "plan"


class Tries:
    """Tries of loads, one after the other, each in a process that can be killed."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._process = Obeying("loads_to_kill")
        self._began = sandbox.control.now()

    def run(self, kill: Kill | None, **order: Any) -> Tried:
        """Run a try until it is killed, or ends before."""
        stands = {"held": kill.place, "nth": kill.nth} if kill and kill.stands_still else {"held": None, "nth": 0}
        server = {"server": self._sandbox.url, "token": self._sandbox.token, "now": self._began}
        self._process.order({**order, **server, **stands, "settle": SECONDS_TO_SETTLE, "rows_of_part": ROWS_OF_PART})
        tried = Tried([], None)
        while True:
            told = self._process.told()
            if isinstance(told, str):
                tried.places.append(told)
                if kill is not None and told == kill.place and tried.places.count(told) == kill.nth:
                    self._strike(kill, tried)
            elif "wait" in told:
                self.settle(told["wait"])
                self._process.signal(GO_ON)
            elif "status" in told:
                assert told["status"] == (-signal.SIGKILL if tried.outcome is None else 0)
                return tried
            else:
                tried.outcome = told

    def settle(self, seconds: float) -> None:
        """Let time pass, in which the server finishes what it still had to do."""
        self._sandbox.control.advance(seconds)
        self._sandbox.control.let_go()
        until(lambda: self._sandbox.control.counters()["in_flight"] == 0)

    def close(self) -> None:
        self._process.close()

    def _strike(self, kill: Kill, tried: Tried) -> None:
        if kill.place in WRITES:
            until(self._sandbox.control.held)
        self._process.signal(signal.SIGKILL)
        tried.under_way = self._sandbox.control.counters()["in_flight"]


@dataclass
class Wanted:
    """Rows, and what they come to.

    :ivar leads: the leads as they are to be in the end, by key; in short, see ``shown``.
    :ivar outcomes: of the rows that cannot go in, by number.
    :ivar refused: numbers of the rows that only Pipedrive finds bad.
    """

    leads: dict[str, tuple[Any, ...]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    outcomes: dict[int, str] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)

    def add(self, row: dict[str, Any], outcome: str = "") -> None:
        """Add a row that goes in, or one that comes to something else."""
        self.rows.append(row)
        if outcome:
            self.outcomes[len(self.rows)] = outcome
        else:
            archived = bool(row.get("is_archived"))
            self.leads[PREFIX + row["origin_id"]] = (row["title"], row["was_seen"], row["Lead score"], archived)

    def write(self, path: Path, without: set[int] = frozenset()) -> str:
        """Write the rows into a file."""
        lines = [json.dumps(row) for number, row in enumerate(self.rows, 1) if number not in without]
        path.write_text("\n".join(lines) + "\n")
        return str(path)


def shown(lead: dict[str, Any]) -> tuple[Any, ...]:
    """Of a lead what rows say."""
    return lead["title"], lead["was_seen"], lead["fields"].get("Lead score"), lead["is_archived"]


def all_shown(sandbox: Sandbox) -> dict[str, tuple[Any, ...]]:
    return {key: shown(lead) for key, lead in keyed(sandbox, PREFIX).items()}


def row_of(key: str, lead: tuple[Any, ...], person: int) -> dict[str, Any]:
    title, was_seen, score, _ = lead
    origin_id = key.removeprefix(PREFIX)
    return {"origin_id": origin_id, "person_id": person, "title": title, "was_seen": was_seen, "Lead score": score}


def changed(row: dict[str, Any], version: str, chance: Random) -> dict[str, Any]:
    change = {"title": f"{row['origin_id']} {version}", "Lead score": chance.randint(101, 1_000_000)}
    names = chance.sample(sorted(change), chance.randint(1, 2))
    return {**row, **{name: change[name] for name in names}}


def drawn(chance: Random, present: dict[str, tuple[Any, ...]], person: int, version: str) -> Wanted:
    """Draw what a load is to do to the present leads."""
    active = [row_of(key, lead, person) for key, lead in present.items() if not lead[3]]
    archived = [row_of(key, lead, person) for key, lead in present.items() if lead[3]]
    chance.shuffle(active)
    chance.shuffle(archived)
    wanted = Wanted(dict(present))
    new = [fresh_row(f"{version}-{number}", number, person) for number in range(NEW)]
    take = iter(active)
    for row in itertools.islice(take, MISSING):
        key = PREFIX + row["origin_id"]
        wanted.leads[key] = (*present[key][:3], True)
    for row in [*itertools.islice(take, TWICE), *(fresh_row(f"{version}-two-{n}", n, person) for n in range(TWICE))]:
        for _ in range(2):
            wanted.add(changed(row, version, chance), "conflict")
    for row in [*itertools.islice(take, BAD), *(fresh_row(f"{version}-bad-{n}", n, person) for n in range(BAD))]:
        wanted.add({**row, "Company size": "huge"}, "failed")
    for number in range(REFUSED):
        wanted.add(fresh_row(f"{version}-no-{number}", number, NOBODY), "failed")
        wanted.refused.add(len(wanted.rows))
    updated = [changed(row, version, chance) for row in itertools.islice(take, UPDATED)]
    restored = [changed(row, version, chance) for row in archived[:RESTORED]]
    for row in [*new, *updated, *restored, *take]:
        wanted.add(row)
    return wanted


def fresh_row(origin_id: str, number: int, person: int) -> dict[str, Any]:
    row = {**row_of(origin_id, (origin_id, number % 2 == 0, number % 100, False), person)}
    return row | ({"is_archived": True} if number % 10 == 9 else {})


def order_faults(sandbox: Sandbox, chance: Random, kill: Kill | None) -> None:
    """Let a call in fourteen or so be late, or lose its reply.

    Where a try is killed while it writes, the writes just then are late, the first of them with a client that waits for
    it; and an early creation is surely never done, where it is not then that the try is killed: so there is a doubt to
    settle.
    """
    sandbox.control.clear_faults()
    if kill is not None and kill.place in WRITES:
        method, path = WRITES[kill.place]
        sandbox.control.fault(method, path, "delay", times=kill.nth - LATE_AT_KILL)
        for kind in ["hold", *chance.choices(["hold", "close_and_finish"], k=LATE_AT_KILL - 1)]:
            sandbox.control.fault(method, path, kind, after=LATE)
        sandbox.control.fault(method, path, "hold", times=NEW)  # it does not get far until it is killed
    if kill is None or kill.place != CREATE:
        sandbox.control.fault("POST", "/v1/leads", "delay", times=chance.randint(REFUSED + 1, 12))
        sandbox.control.fault("POST", "/v1/leads", "close_before")
    for (method, path), count in ((WRITES[CREATE], 10), (WRITES[CHANGE], 6)):
        for _ in range(count):
            kind = chance.choice(["delay", "close_after", "close_before", "close_and_finish", "close_and_finish"])
            late = chance.uniform(LATE / 4, LATE)
            sandbox.control.fault(method, path, kind, seconds=late / 4, after=late)
            sandbox.control.fault(method, path, "delay", times=chance.randint(1, 25))


def drawn_kills(chance: Random) -> list[Kill]:
    """Moments to kill one load at, to all of which it comes."""
    first = REFUSED + 1 + LATE_AT_KILL
    creating, changing = (Kill(each, chance.randint(first, 40), chance.random() < 0.5) for each in WRITES)
    publishing = Kill(PUBLISH, chance.randint(1, 8))
    reading = Kill(READ, chance.randint(1, 2))
    waiting = Kill(WAIT, 1)
    settling = Kill(SETTLE, chance.randint(1, int(SECONDS_TO_SETTLE)))
    if chance.random() < 0.5:
        return [changing, creating, publishing, settling]
    return [creating, *chance.sample([chance.choice([reading, waiting]), publishing], 2), settling]


def outcomes_of(folder: Path, label: str) -> list[dict[str, Any]]:
    """What a try told in parts that can be seen; each is whole."""
    told = []
    for part in sorted(folder.glob(f"{label}-*")):
        text = part.read_text()
        assert text.endswith("\n"), f"{part.name} is cut"
        told += [json.loads(line) for line in text.splitlines()]
    named = Counter(outcome["row"] for outcome in told if outcome["row"] is not None)
    assert not [row for row, times in named.items() if times > 1], "a row has two outcomes in one try"
    return told


def check_told(sandbox: Sandbox, told: list[dict[str, Any]], wanted: Wanted) -> None:
    """Check that what was told is so: the lead is there, and as it is to be."""
    leads = keyed(sandbox, PREFIX)
    for outcome in told:
        if outcome["outcome"] in ("created", "updated", "unchanged", "archived"):
            lead = leads[outcome["key"]]
            assert (lead["id"], shown(lead)) == (outcome["lead_id"], wanted.leads[outcome["key"]])
        else:
            assert outcome["outcome"] == wanted.outcomes.get(outcome["row"], "failed")


def check_ended(sandbox: Sandbox, folder: Path, label: str, wanted: Wanted) -> None:
    """Check the account, and that the last try named every row once."""
    assert all_shown(sandbox) == wanted.leads
    told = outcomes_of(folder, label)
    check_told(sandbox, told, wanted)
    assert sorted(each["row"] for each in told if each["row"]) == list(range(1, len(wanted.rows) + 1))
    assert {each["row"]: each["outcome"] for each in told if each["row"] in wanted.outcomes} == wanted.outcomes
    assert {each["outcome"] for each in told if each["row"] is None} <= {"archived"}
    assert not list(folder.glob(f".{label}-*"))


@pytest.fixture
def tries(sandbox: Sandbox) -> Iterator[Tries]:
    made = Tries(sandbox)
    yield made
    made.close()


class Account:
    """An account in which loads are killed, and what was seen of it.

    :ivar phases: how many kills fell into which phase.
    :ivar under_way: calls that were under way when a writing try was killed.
    :ivar story: a line for each try.
    """

    def __init__(self, sandbox: Sandbox, tries: Tries, folder: Path, chance: Random) -> None:
        self.phases: Counter[str] = Counter()
        self.under_way = 0
        self.story: list[str] = []
        self._sandbox = sandbox
        self._tries = tries
        self._folder = folder
        self._chance = chance

    def load(self, wanted: Wanted, name: str) -> None:
        """Load under kills and faults until a try ends well; check what is told at each kill, and all in the end."""
        results, kills = self._folder / name, drawn_kills(self._chance)
        order = self._order(name, wanted.write(self._folder / f"{name}.jsonl"), len(wanted.outcomes))
        tried = kill = None
        for label in (f"try-{number}" for number in range(1, MOST_TRIES + 1)):
            kill = kills.pop(0) if kills else None
            order_faults(self._sandbox, self._chance, kill)
            tried = self._tries.run(kill, **order, label=label)
            self.story.append(
                f"{name}, {label}, {kill}: {tried.phase}, {tried.under_way} calls under way, {tried.outcome}"
            )
            if tried.outcome is None:
                self._note(tried)
                check_told(self._sandbox, outcomes_of(results, label), wanted)
            elif "counts" in tried.outcome:
                break
        self._sandbox.control.clear_faults()
        self._tries.settle(LATE)
        assert tried is not None
        assert tried.outcome is not None
        assert "counts" in tried.outcome
        check_ended(self._sandbox, results, label, wanted)
        assert kill is None, "the load ended before it came to where it was to be killed"

    def load_again(self, wanted: Wanted, name: str) -> list[str]:
        """Load the same rows in a new run, but for those that Pipedrive refuses; give the places passed."""
        rows = wanted.write(self._folder / f"{name}.jsonl", without=wanted.refused)
        tried = self._tries.run(None, **self._order(name, rows, len(wanted.outcomes)), label="again")
        assert tried.outcome is not None
        assert "counts" in tried.outcome
        return tried.places

    def _order(self, name: str, rows: str, max_failed: int) -> dict[str, Any]:
        return {
            "rows": rows,
            "results": str(self._folder / name),
            "memory": str(self._folder / f"{name}.json"),
            "load": {**PARAMETERS, "max_failed": max_failed},
        }

    def _note(self, killed: Tried) -> None:
        self.phases[killed.phase] += 1
        if killed.phase == "write":
            self.under_way += killed.under_way


@pytest.mark.usefixtures("no_waiting")
def test_a_load_killed_again_and_again_ends_as_wanted(
    sandbox: Sandbox, client: PipedriveClient, person_id: int, tries: Tries, tmp_path: Path
):
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance = Random(seed)
    sandbox.control.set_burst(100_000, 100_000)
    present = [fresh_row(f"present-{number}", number, person_id) for number in range(PRESENT)]
    present = [row | {"is_archived": number < ARCHIVED} for number, row in enumerate(present)]
    load(client, present, key_prefix=PREFIX)
    others = sandbox.control.lead_count() - PRESENT
    sandbox.control.set_delay("reply", LATENCY)
    account = Account(sandbox, tries, tmp_path, chance)
    try:
        for number in range(LOADS):
            wanted = drawn(chance, all_shown(sandbox), person_id, f"load{number}")
            account.load(wanted, f"load{number}")
            assert sandbox.control.lead_count() == others + len(wanted.leads)
            assert not set(account.load_again(wanted, f"again{number}")) & set(WRITES)
    except (AssertionError, KeyError) as problem:
        problem.add_note("\n".join([f"KILLS_SEED={seed}", *account.story]))
        raise
    finally:
        sandbox.control.set_delay("reply", 0)
    assert account.phases["write"] >= LOADS, account.story
    assert account.phases["settle"] >= 1, account.story
    assert account.under_way > 0, account.story
