"""A small account in memory, written from the facts about Pipedrive, on which any order of events can be played.

A schedule is a list of steps: others change leads, time passes, the server answers a page that was asked for. Reads
draw on it while they wait; where it is spent, pages are answered as they are waited for.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import msgspec
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.reading.walk import Order, Page, Question

SPREAD_OF_IDS = 0x9E3779B97F4A7C15F39CC0605CEDC835
BEGINNING_MS = 1_769_851_800_000
MOVES_A_READ = 2


@dataclass(frozen=True)
class Lead:
    """A lead at one moment; ``version`` counts its changes."""

    id: str
    add_time: str
    update_time: str
    archive_time: str | None
    version: int = 0

    @property
    def is_archived(self) -> bool:
        return self.archive_time is not None


class Account:
    """Leads, two lists of them, and a clock that moves with everything that happens.

    :param contrary: archiving and restoring leave ``update_time``, ``archive_time`` has no milliseconds, ids compare
        the other way round.
    :ivar late_ms: after which time the changes to come show in the lists.
    :ivar most_rows: rows of a page at most, however many are asked for; None for as many.
    """

    def __init__(self, *, contrary: bool = False) -> None:
        self.contrary = contrary
        self.now_ms = BEGINNING_MS
        self.late_ms = 0
        self.most_rows: int | None = None
        self.leads: dict[str, Lead] = {}
        self._made = 0
        self._unshown: list[tuple[int, str, Lead | None]] = []
        """Until when, what is shown of which lead instead: as it was, or not at all."""

    def now(self) -> str:
        return _iso(self.now_ms)

    def pass_time(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    def create(self, count: int = 1) -> list[str]:
        """One lead, or several at once as an import does: they have one time."""
        self.pass_time(1)
        made = [self._new_id() for _ in range(count)]
        for lead_id in made:
            self._show_late(lead_id)
            self.leads[lead_id] = Lead(lead_id, self.now(), self.now(), None)
        return made

    def update(self, *ids: str) -> None:
        """An edit, or one of several leads at once; archived leads refuse it."""
        self.pass_time(1)
        for lead_id in ids:
            if not self.leads[lead_id].is_archived:
                self._change(lead_id, update_time=self.now())

    def move(self, lead_id: str) -> None:
        """Archive a lead that is active, restore one that is archived."""
        self.pass_time(1)
        restored = self.leads[lead_id].is_archived
        changes = {} if self.contrary else {"update_time": self.now()}
        self._change(lead_id, archive_time=None if restored else self._archive_time(), **changes)

    def delete(self, *ids: str) -> None:
        """Leads that are deleted or converted are gone from both lists."""
        self.pass_time(1)
        for lead_id in ids:
            self._show_late(lead_id)
            del self.leads[lead_id]

    def page(self, order: Order, question: Question, limit: int, *, archived: bool) -> Page:
        """What the server answers now."""
        self.pass_time(1)
        assert not (archived and question.since), "the list of archived leads takes no updated_since"
        shown = [lead for lead in self._shown() if lead.is_archived == archived]
        if question.since:
            assert question.since[19:] == "Z", "whole seconds are taken"
            shown = [lead for lead in shown if lead.update_time[:19] >= question.since[:19]]
        shown.sort(key=lambda lead: lead.id, reverse=self.contrary != order.newest_first)
        shown.sort(key=lambda lead: lead.update_time, reverse=order.newest_first)
        end = question.start + min(limit, self.most_rows or limit)
        return Page(shown[question.start : end], shown[question.start : end], len(shown) > end, None, self.now())

    def _shown(self) -> list[Lead]:
        hidden = [(lead_id, before) for until, lead_id, before in self._unshown if until > self.now_ms]
        shown = {**self.leads, **dict(reversed(hidden))}
        return [lead for lead in shown.values() if lead is not None]

    def _show_late(self, lead_id: str) -> None:
        if self.late_ms:
            self._unshown.append((self.now_ms + self.late_ms, lead_id, self.leads.get(lead_id)))

    def _change(self, lead_id: str, **changes: str | None) -> None:
        self._show_late(lead_id)
        lead = self.leads[lead_id]
        self.leads[lead_id] = dataclasses.replace(lead, version=lead.version + 1, **changes)

    def _archive_time(self) -> str:
        return self.now()[:19].replace("T", " ") if self.contrary else self.now()

    def _new_id(self) -> str:
        self._made += 1
        return str(uuid.UUID(int=self._made * SPREAD_OF_IDS % 2**128))


def _iso(milliseconds: int) -> str:
    at = datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19]
    return f"{at}.{milliseconds % 1000:03d}Z"


class Edit(msgspec.Struct, frozen=True):
    """Someone changes a lead, the one at ``which`` of those that there are."""

    which: int


class Move(msgspec.Struct, frozen=True):
    """Someone archives or restores it."""

    which: int


class Delete(msgspec.Struct, frozen=True):
    """Someone deletes or converts ``count`` leads from there on."""

    which: int
    count: int


class Create(msgspec.Struct, frozen=True):
    """Someone adds leads, at once."""

    count: int


class Wait(msgspec.Struct, frozen=True):
    """Time passes."""

    milliseconds: int


class ShowAfter(msgspec.Struct, frozen=True):
    """From now on, changes show so late."""

    milliseconds: int


class Answer(msgspec.Struct, frozen=True):
    """The server answers one of the pages asked for, counted from the one that is waited for."""

    which: int


Step = Edit | Move | Delete | Create | Wait | ShowAfter | Answer

_which = range(8)
_answers: list[Step] = [Answer(which) for which in range(4)]
_changes: list[Step] = [
    *(Wait(milliseconds) for milliseconds in (1, 400, 1_000, 61_000, 7_200_000)),
    *(Edit(which) for which in _which),
    *(Move(which) for which in _which),
    *(Delete(which, 1 + 3 * (which % 2)) for which in _which),
    *(Edit(which) for which in _which),
    *(Move(which) for which in _which),
    *(Create(count) for count in (1, 4)),
]
changes = st.lists(st.sampled_from(_changes), max_size=6)
schedules = st.lists(st.sampled_from(_answers * 12 + _changes), min_size=15, max_size=40)


class Beginning(msgspec.Struct, frozen=True):
    """A lead that is there before the first read: made so long after the one before, and archived or not."""

    after_ms: int
    archived: bool


_beginnings = [Beginning(after, archived) for archived in (False, True) for after in (1_000, 0, 300, 0, 1, 0, 90_000)]
beginnings = st.lists(st.sampled_from(_beginnings), min_size=4, max_size=9)


def at_random(chance: Random, archived_share: float, late: Sequence[int]) -> tuple[list[Beginning], list[Step]]:
    """A beginning and a schedule, drawn evenly: less apt to shrink than Hypothesis's, and ten times as fast.

    :param late: after how many milliseconds changes may show, in turns.
    """
    times = [beginning.after_ms for beginning in _beginnings]
    beginning = [Beginning(chance.choice(times), chance.random() < archived_share) for _ in range(chance.randint(4, 9))]
    steps = [chance.choice(_answers if chance.random() < 0.5 else _changes) for _ in range(chance.randint(5, 40))]
    for _ in range(3):
        steps.insert(chance.randrange(len(steps)), ShowAfter(chance.choice(late)))
    return beginning, steps


class World:
    """An account, the schedule that is played on it, and what a test has to know of both.

    :param moves_allowed: how often each lead is archived or restored at most.
    """

    def __init__(
        self, beginning: Iterable[Beginning], schedule: Iterable[Step], *, contrary: bool, moves_allowed: int
    ) -> None:
        self.account = Account(contrary=contrary)
        self.steps = deque(schedule)
        self.moves: dict[str, int] = {}
        self.stayed: dict[str, Lead] = {}
        self._moves_allowed = moves_allowed
        self._evidence = self._begin(beginning)

    def _begin(self, beginning: Iterable[Beginning]) -> str | None:
        account = self.account
        evidence = None
        if account.contrary:
            (evidence,) = account.create()
            account.pass_time(3_000)
            account.move(evidence)
        at = account.now_ms
        for lead in beginning:
            at += lead.after_ms
            account.now_ms = at - 1  # so that those that follow by nothing have one time
            (made,) = account.create()
            if lead.archived:
                account.pass_time(5_000 if account.contrary else -1)
                account.move(made)
        account.now_ms = at + 10
        return evidence

    def begin_read(self) -> None:
        """Remember what there is: what stays as it is counts as having been there throughout."""
        self.stayed = dict(self.account.leads)
        self.moves = {}

    def play(self, step: Edit | Move | Delete | Create | Wait | ShowAfter) -> None:
        """Let one thing happen."""
        match step:
            case Create(count):
                self.account.create(count)
            case Wait(milliseconds):
                self.account.pass_time(milliseconds)
            case ShowAfter(milliseconds):
                self.account.late_ms = milliseconds
            case Edit(which):
                self.account.update(*self._leads(which, 1))
            case Move(which):
                for lead_id in self._leads(which, 1):
                    self._move(lead_id)
            case Delete(which, count):
                gone = self._leads(which, count)
                self.account.delete(*gone)
                for lead_id in gone:
                    self.stayed.pop(lead_id, None)

    def _leads(self, which: int, count: int) -> Sequence[str]:
        movable = [lead_id for lead_id in self.account.leads if lead_id != self._evidence]
        first = which % len(movable) if movable else 0
        return movable[first : first + count]

    def _move(self, lead_id: str) -> None:
        moves = self.moves.get(lead_id, 0)
        if moves < self._moves_allowed:
            self.moves[lead_id] = moves + 1
            self.account.move(lead_id)


class SimulatedSource:
    """Gives pages of a world, and lets its schedule run whenever a read waits for one.

    :param ahead: how many pages are worth asking for, one number after the other, over and over.
    """

    def __init__(self, world: World, ahead: Sequence[int]) -> None:
        self.world = world
        self.asked = 0
        self.first_answer_at: str | None = None
        self.outstanding: list[SimulatedTicket] = []
        self._ahead = ahead
        self._looked = 0

    def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> SimulatedTicket:
        self.asked += 1
        ticket = SimulatedTicket(self, order, question, limit, archived=archived)
        self.outstanding.append(ticket)
        return ticket

    def ahead(self) -> int:
        self._looked += 1
        return self._ahead[self._looked % len(self._ahead)]

    def run_until_answered(self, ticket: SimulatedTicket) -> None:
        steps = self.world.steps
        while not ticket.done():
            step = steps.popleft() if steps else Answer(0)
            if isinstance(step, Answer):
                first = self.outstanding.index(ticket)
                self.answer(self.outstanding[(first + step.which) % len(self.outstanding)])
            else:
                self.world.play(step)

    def answer(self, ticket: SimulatedTicket) -> None:
        self.outstanding.remove(ticket)
        ticket.answer()
        self.first_answer_at = self.first_answer_at or self.world.account.now()


class SimulatedTicket:
    """A page that was asked for; it holds what there was at the moment of the answer."""

    def __init__(
        self, source: SimulatedSource, order: Order, question: Question, limit: int, *, archived: bool
    ) -> None:
        self._source = source
        self._asked_for = (order, question, limit)
        self._archived = archived
        self._page: Page | None = None

    def answer(self) -> None:
        self._page = self._source.world.account.page(*self._asked_for, archived=self._archived)

    def done(self) -> bool:
        return self._page is not None

    def result(self) -> Page:
        self._source.run_until_answered(self)
        assert self._page is not None
        return self._page
