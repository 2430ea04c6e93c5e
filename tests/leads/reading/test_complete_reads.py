"""Reads are complete whatever others do meanwhile: every order of events that Hypothesis thinks of, on small pages."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import Order, Page, Question
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.leads.simulated_account import (
    Answer,
    Beginning,
    Create,
    Edit,
    Lead,
    Move,
    ShowAfter,
    SimulatedSource,
    SimulatedTicket,
    Step,
    Wait,
    World,
    at_random,
    beginnings,
    changes,
    schedules,
)

pytestmark = pytest.mark.slow

OVERLAP_SECONDS = 60
STRIKES = 3
SCHEDULES = [range(1_000), pytest.param(None, marks=pytest.mark.long)]
"""By their seeds: the same ones each time, and 3000 others."""
thorough = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
limits = st.integers(2, 4)
aheads = st.lists(st.integers(1, 4), min_size=1, max_size=3)

WRONG_BY = [None, -5, -1, 0, 1, 20]
"""What is believed of the number of active leads is wrong by so many; None: nothing is."""


def expected_of(beginning: list[Beginning], wrong_by: int | None) -> int | None:
    return None if wrong_by is None else max(0, sum(not lead.archived for lead in beginning) + wrong_by)


def rows_of(reading: Reading) -> list[Lead]:
    return [row for batch in reading.batches() for row in batch]


def counts(archived: str, world: World) -> set[str]:
    """The leads that a read has to give: those that could have been read at any moment of it."""
    if archived == "include":
        return set(world.stayed)
    return {
        lead_id
        for lead_id, lead in world.stayed.items()
        if lead.is_archived == (archived == "only") and lead_id not in world.moves
    }


def check_complete(world: World, archived: str, rows: list[Lead]) -> None:
    given_ids = [row.id for row in rows]
    assert len(given_ids) == len(set(given_ids)), "a lead was given twice"
    assert counts(archived, world) <= set(given_ids), "a lead is missing"
    old = [row for row in rows if row.id in world.stayed and row.version < world.stayed[row.id].version]
    assert not old, "a row is older than the read"


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@pytest.mark.parametrize("archived", ["include", "exclude", "only"])
@thorough
@given(beginning=beginnings, schedule=schedules, limit=limits, ahead=aheads, wrong_by=st.sampled_from(WRONG_BY))
def test_every_lead_that_was_there_throughout_is_given_once(
    archived, contrary, beginning, schedule, limit, ahead, wrong_by
):
    expected = expected_of(beginning, wrong_by)
    world = World(beginning, schedule, contrary=contrary, moves_allowed=2)
    world.begin_read()
    reading = Reading(SimulatedSource(world, ahead), archived=archived, limit=limit, expected=expected)
    check_complete(world, archived, rows_of(reading))


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@thorough
@given(beginning=beginnings, schedule=schedules, limit=limits, ahead=aheads, chosen=st.integers(0, 8))
def test_a_read_since_a_second_holds_all_of_that_second(contrary, beginning, schedule, limit, ahead, chosen):
    world = World(beginning, schedule, contrary=contrary, moves_allowed=0)
    world.begin_read()
    times = sorted(lead.update_time for lead in world.stayed.values())
    since = f"{times[chosen % len(times)][:19]}Z"
    rows = rows_of(Reading(SimulatedSource(world, ahead), updated_since=since, limit=limit))
    wanted = {lead_id for lead_id, lead in world.stayed.items() if lead.update_time[:19] >= since[:19]}
    assert wanted <= {row.id for row in rows}
    assert all(row.update_time[:19] >= since[:19] for row in rows)
    assert len(rows) == len({row.id for row in rows})


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@pytest.mark.parametrize(("archived", "share"), [("include", 0.5), ("exclude", 0.1), ("only", 0.9)])
@pytest.mark.parametrize("seeds", SCHEDULES, ids=["the same", "others"])
def test_every_lead_is_given_once_in_thousands_of_schedules_at_random(archived, share, contrary, seeds):
    for seed in seeds or Random().sample(range(2**40), 3_000):
        chance = Random(seed)
        beginning, schedule = at_random(chance, share, late=(0, 1_000, 4_500) if archived == "include" else (0,))
        world = World(beginning, schedule, contrary=contrary, moves_allowed=2)
        world.begin_read()
        source = SimulatedSource(world, [chance.randint(1, 4)])
        options = {"limit": chance.randint(2, 4), "expected": expected_of(beginning, chance.choice(WRONG_BY))}
        rows = rows_of(Reading(source, archived=archived, **options))
        try:
            check_complete(world, archived, rows)
        except AssertionError as problem:
            pytest.fail(f"Random({seed}), {options}: {problem}")


ACTIVE, LATE = Beginning(0, archived=False), Beginning(90_000, archived=False)
ARCHIVED, ARCHIVED_LATE = Beginning(0, archived=True), Beginning(90_000, archived=True)
ODD_SCHEDULES: dict[str, tuple[str, list[Beginning], list[Step], int, dict[str, int]]] = {
    "edited after the last page, archived after all archived ones were read": (
        "include",
        [LATE] * 5,
        [Answer(0), Answer(2), Answer(2), Edit(0), Answer(0), Answer(0), Answer(0), Move(0)],
        4,
        {"limit": 2, "expected": 5},
    ),
    "edited after the last page, when a page between was there already": (
        "include",
        [LATE] * 9,
        [Answer(0), Answer(2), Answer(0), Answer(1), Edit(3), Answer(0), Answer(0), Move(3)],
        3,
        {"limit": 3, "expected": 9},
    ),
    "restored, unseen, to a page of active leads that was read before the archived ones": (
        "include",
        [ARCHIVED_LATE, LATE, LATE, LATE],
        [Answer(1), Move(0), Answer(1), Answer(1), Answer(0), Answer(0), Move(0)],
        1,
        {"limit": 2, "expected": 23},
    ),
    "edited, which showed late, behind a page that took long": (
        "include",
        [LATE] * 6,
        [
            *(Wait(60_000), Answer(0), ShowAfter(3_000), Edit(1), ShowAfter(0), Edit(5)),
            *(Answer(2), Answer(1), Wait(10_000), Create(1), Answer(0)),
        ],
        4,
        {"limit": 3, "expected": 6},
    ),
    "edited and then archived, while one made before showed late": (
        "include",
        [LATE] * 4,
        [
            *(Wait(60_000), Answer(0), ShowAfter(4_000), Create(1), ShowAfter(0)),
            *(Wait(500), Edit(2), Wait(400), Edit(3), Answer(1), Wait(1_000), Edit(1)),
            *(Wait(2_500), Answer(0), Answer(0), Answer(0), Move(1)),
        ],
        4,
        {"limit": 3, "expected": 4},
    ),
    "edited before others that changed in one moment": (
        "include",
        [LATE, LATE, LATE, ACTIVE, ACTIVE],
        [Wait(60_000), Answer(0), Answer(1), Edit(1), Answer(0), Answer(0), Move(1)],
        4,
        {"limit": 3, "expected": 5},
    ),
    "edited while another was restored, unseen, in its stead, and the last page came with the others": (
        "exclude",
        [ARCHIVED, ACTIVE, ACTIVE, ACTIVE, LATE],
        [Answer(1), Edit(7), Move(0)],
        4,
        {"limit": 3, "expected": 20},
    ),
    "edited while another was restored, unseen, in its stead": (
        "exclude",
        [ARCHIVED, ACTIVE, ACTIVE, ACTIVE, LATE],
        [Answer(1), Edit(7), Move(0)],
        4,
        {"limit": 3, "expected": 3},
    ),
}


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@pytest.mark.parametrize("odd", ODD_SCHEDULES)
def test_a_lead_is_found_though_it_was(odd, contrary):
    archived, beginning, schedule, ahead, options = ODD_SCHEDULES[odd]
    world = World(beginning, schedule, contrary=contrary, moves_allowed=2)
    world.begin_read()
    source = SimulatedSource(world, [ahead])
    check_complete(world, archived, rows_of(Reading(source, archived=archived, **options)))


def before(moment: str, seconds: int) -> str:
    at = datetime.fromisoformat(moment[:19]).replace(tzinfo=UTC) - timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("contrary", [False, True], ids=["likely", "contrary"])
@thorough
@given(
    beginning=beginnings,
    reads=st.lists(st.tuples(schedules, changes), min_size=1, max_size=4),
    limit=limits,
    ahead=aheads,
)
def test_incremental_reads_add_up_to_the_account(contrary, beginning, reads, limit, ahead):
    world = World(beginning, (), contrary=contrary, moves_allowed=1_000)
    destination: dict[str, Lead] = {}
    watermark, moves_unseen = None, False
    for meanwhile, between in [*reads, ((), ())]:
        world.steps.clear()
        world.steps.extend(meanwhile)
        source = SimulatedSource(world, ahead)
        since = watermark and before(watermark, OVERLAP_SECONDS)
        reading = Reading(source, changed_since=since, moves_unseen=moves_unseen, limit=limit)
        destination |= {row.id: row for row in rows_of(reading)}
        watermark, moves_unseen = source.first_answer_at, reading.moves_unseen
        for step in between:
            world.play(step)
    held = {lead_id: destination.get(lead_id) for lead_id in world.account.leads}
    assert held == world.account.leads


def quiet_world(active: int, archived: int) -> World:
    beginning = [Beginning(1_000, archived=place < archived) for place in range(active + archived)]
    world = World(beginning, (), contrary=False, moves_allowed=0)
    world.account.pass_time(60_000)
    return world


def pages_asked(world: World, ahead: int, limit: int, **options: Any) -> int:
    source = SimulatedSource(world, [ahead])
    rows = rows_of(Reading(source, limit=limit, **options))
    assert len(rows) == len({row.id for row in rows})
    return source.asked


@pytest.mark.parametrize("ahead", [1, 2, 4])
@pytest.mark.parametrize("archived", [0, 1, 30])
@pytest.mark.parametrize("active", [1, 50, 980, 981, 1_000])
def test_a_quiet_account_whose_size_is_known_is_read_without_a_page_in_vain(active, archived, ahead):
    asked = pages_asked(quiet_world(active, archived), ahead, limit=50, expected=active)
    assert asked == max(1, math.ceil((active - 1) / 49)) + 3


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ({"expected": 300}, 2),
        ({}, 1),
        ({"expected": 200}, 1),
        ({"expected": 300, "moves_unseen": True}, 1),
        ({"expected": 300, "filtered": True}, 1),
    ],
    ids=["many", "nobody knows how many", "few", "many, but moves are unseen", "those of a filter"],
)
def test_the_first_active_leads_are_asked_for_along_with_the_archived_ones_if_there_will_be_many(known, asked):
    source = SimulatedSource(quiet_world(300, 10), [3])
    batches = Reading(source, limit=50, **known).batches()
    assert (next(batches), source.asked) == ([], asked)


@pytest.mark.parametrize(
    ("archived", "others_under_way"), [("include", 2), ("exclude", 0)], ids=["if none can be hidden", "if one can"]
)
def test_the_last_active_leads_are_asked_for_along_with_those_before(archived, others_under_way):
    under_way: dict[int, int] = {}

    class Watched(SimulatedSource):
        def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> SimulatedTicket:
            under_way[question.start] = len(self.outstanding)
            return super().ask(order, question, limit, archived=archived)

    rows_of(Reading(Watched(quiet_world(310, 10), [3]), archived=archived, limit=50, expected=310))
    assert (max(under_way), under_way[max(under_way)]) == (294, others_under_way)


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_where_the_size_is_not_known_few_pages_are_asked_for_in_vain(ahead):
    asked = pages_asked(quiet_world(1_000, 30), ahead, limit=50)
    assert asked <= math.ceil(999 / 49) + 3 + ahead


class Hammer:
    """Changes leads of a sandbox, and remembers which were there throughout.

    Each lead is archived or restored at most twice.
    """

    def __init__(self, api: PipedriveClient, seed: int, spared: str) -> None:
        self._api = api
        self._chance = Random(seed)
        leads = [*api.get_leads(), *api.get_archived_leads()]
        self._archived = {lead["id"]: lead["is_archived"] for lead in leads if lead["id"] != spared}
        self._person = api.add_person("Robin Example")["id"]
        self._moves: dict[str, int] = {}
        self._stayed = {lead["id"]: lead for lead in leads}
        self.done = 0

    def stayed_in(self, archived: str) -> dict[str, str]:
        """The leads that a read has to give, with their ``update_time`` at the start."""
        return {
            lead_id: lead["update_time"]
            for lead_id, lead in self._stayed.items()
            if archived == "include" or (lead["is_archived"] == (archived == "only") and lead_id not in self._moves)
        }

    def strike(self) -> None:
        """Do one thing."""
        lead_id = self._chance.choice(list(self._archived))
        match self._chance.choice(("edit", "edit", "edit", "move", "move", "delete", "create")):
            case "edit" if not self._archived[lead_id]:
                self._api.update_lead(lead_id, title=f"Edit {self.done}")
            case "move" if self._moves.get(lead_id, 0) < 2:
                self._moves[lead_id] = self._moves.get(lead_id, 0) + 1
                self._archived[lead_id] = not self._archived[lead_id]
                self._api.update_lead(lead_id, is_archived=self._archived[lead_id])
            case "delete":
                del self._archived[lead_id]
                self._stayed.pop(lead_id, None)
                self._api.delete_lead(lead_id)
            case "create":
                self._archived[self._api.add_lead("New", person_id=self._person)["id"]] = False
        self.done += 1


def client_of(sandbox: Sandbox) -> PipedriveClient:
    return PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))


@pytest.fixture(params=["likely", "contrary"])
def busy_sandbox(request) -> Iterator[Sandbox]:
    with Sandbox(leads=400, seed=11, profile=request.param, token=secrets.token_hex(20)) as running:
        running.control.set_burst(calls=1_000_000)
        yield running


class HammeredPages(LeadPages):
    """While each page is asked for, a hammer strikes some times, in a thread of its own.

    It begins when the page before is asked for, and may go on until the next one is.
    """

    def __init__(self, api: PipedriveClient, hammer: Hammer, thread: Executor) -> None:
        super().__init__(api, Selection().filters())
        self._hammer = hammer
        self._thread = thread
        self._striking: list[Future[None]] = []

    def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> Future[Page]:
        for strike in self._striking:
            strike.result()
        self._striking = [self._thread.submit(self._hammer.strike) for _ in range(STRIKES)]
        return super().ask(order, question, limit, archived=archived)


def read_while_hammered(
    reader: PipedriveClient, archived: str, hammer: Hammer, expected: int | None
) -> list[dict[str, Any]]:
    with ThreadPoolExecutor(1) as thread, HammeredPages(reader, hammer, thread) as pages:
        batches = list(Reading(pages, archived=archived, limit=10, expected=expected).batches())
    return [msgspec.json.decode(text) for batch in batches for text in batch]


class WatchedPages(LeadPages):
    """Remembers where in the list of active leads pages began."""

    def __init__(self, api: PipedriveClient) -> None:
        super().__init__(api, Selection().filters())
        self.starts: list[int] = []

    def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> Future[Page]:
        if not archived:
            self.starts.append(question.start)
        return super().ask(order, question, limit, archived=archived)


def test_a_quiet_account_of_known_size_is_read_over_http_without_a_page_in_vain():
    with Sandbox(leads=400, seed=11, token=secrets.token_hex(20)) as sandbox:
        sandbox.control.set_burst(calls=1_000_000)
        sandbox.control.advance(3_600)  # so that all rows are old when they are read
        active = sandbox.control.lead_count(archived=False)
        reader = client_of(sandbox)
        with WatchedPages(reader) as pages:
            rows = sum(len(batch) for batch in Reading(pages, limit=10, expected=active).batches())
        reader.close()
        assert rows == sandbox.control.lead_count()
    assert pages.starts == [*range(0, active - 1, 9), 0]


@pytest.mark.parametrize(
    ("archived", "seeds"),
    [
        ("include", range(2)),
        *(pytest.param(name, range(6), marks=pytest.mark.long) for name in ("include", "exclude", "only")),
    ],
)
def test_reads_over_http_are_complete_while_others_write(busy_sandbox, no_waiting, archived, seeds):
    writer, reader = client_of(busy_sandbox), client_of(busy_sandbox)
    evidence = writer.add_lead("Archived late", person_id=writer.add_person("Robin Example")["id"])["id"]
    busy_sandbox.control.advance(3)  # so that an account that leaves update_time alone on archiving shows it
    writer.update_lead(evidence, is_archived=True)
    done = 0
    for seed in seeds:
        hammer = Hammer(writer, seed, spared=evidence)
        expected = len(hammer.stayed_in("exclude")) if seed % 2 else None
        leads = read_while_hammered(reader, archived, hammer, expected)
        read = {lead["id"]: lead for lead in leads}
        assert len(leads) == len(read)
        wanted = hammer.stayed_in(archived)
        assert set(wanted) <= set(read)
        assert not [lead_id for lead_id, time in wanted.items() if read[lead_id]["update_time"] < time]
        done += hammer.done
    assert done > 30
    writer.close()
    reader.close()
