"""Walking a list that others change meanwhile, page after page, without losing a row.

Offsets drift: when a row leaves the list, all later ones move up, and the page asked for next begins after a row that
no page held. So a page is taken only if it starts at offset 0, or if its first row does not come after the last row
taken (the frontier): then nothing lies between. Pages overlap by a row for that. Where one does not fit, the walk goes
back and bridges the gap, then takes what it had already asked for.

The last page counts only if no row can have left an earlier page for the end behind its back: it was asked for when all
others were there; or, where rows come in at the end only, it and those that were under way with it meet exactly: a row
that both hold has the same place in the list, and is so old that none can show up before it, so none before it had left
in between. What is decided here is decided from pages alone; who asks for them, and how many at once, is the caller's
matter.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import dropwhile
from typing import Any, NamedTuple, Protocol

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError
from airflow_provider_pipedrive_leads.api.paging import InVain

LARGEST_OVERLAP = 100
CALM_PAGES = 16
"""Pages without a gap after which the overlap is halved."""
SECONDS_TO_APPEAR = 5
"""How long a change may take to show in the list after the time that it is stamped with."""
MAX_WAYS_BACK = 20
"""How often in a row a walk goes back without having come any further; each time it goes twice as far."""
LEAST_ROWS = 2
"""Rows of a page that goes on: one that the page before held, and one more."""
LIKELY_PART = 0.2
"""The part of a last page that, if it should be full, is asked for with the others: lists seldom shrink by more."""


class Head(Protocol):
    """What the walk looks at in a row. Times are the API's texts, so that they compare as texts."""

    id: str
    update_time: str
    archive_time: Any


class Order(msgspec.Struct, frozen=True):
    """An order of a list.

    :param sort: as the API takes it; ties are broken by id, however the server compares ids.
    :param newest_first: whether times fall along the list.
    :param anchored: whether the list can begin at a given second (``updated_since``).
    """

    sort: str
    newest_first: bool
    anchored: bool

    def before(self, one: str, other: str) -> bool:
        """Whether a row of one time stands before every row of the other."""
        return one > other if self.newest_first else one < other


BY_CHANGE = Order("update_time ASC, id ASC", newest_first=False, anchored=True)
"""The order of active leads: an edit moves a lead to the end, ahead of the walk, so nothing can hide behind it."""
LATEST_CHANGE_FIRST = Order("update_time DESC, id DESC", newest_first=True, anchored=False)
"""The order of archived leads: they do not change while archived, and those that come are first."""


class Question(msgspec.Struct, frozen=True):
    """One page to ask for: an offset in the list that begins at a second (None: the whole list)."""

    since: str | None
    start: int


class Page(msgspec.Struct, frozen=True):
    """The answer.

    :param heads: one for each row.
    :param rows: what the caller wants of each lead.
    :param more: whether the list goes on behind it.
    :param keys: what tells each row from all others, where that is at hand without the heads.
    :param asked_at: the server's clock when it was asked for the page, or a little before; None if it does not tell.
    """

    heads: Sequence[Head]
    rows: Sequence[Any]
    more: bool
    keys: Sequence[int | str] | None = None
    asked_at: str | None = None

    def is_old(self, row: Head) -> bool:
        """Whether all that changed before this row was in the list: in one that grows at its end, none comes before."""
        if self.asked_at is None:
            return False
        return moment(self.asked_at) - moment(row.update_time) > timedelta(seconds=SECONDS_TO_APPEAR)


class Ticket(Protocol):
    """A page that was asked for."""

    def done(self) -> bool:
        """Whether it is there."""

    def result(self) -> Page:
        """Wait for it."""


Ask = Callable[[Question], Ticket]


class _Asked(NamedTuple):
    """A page that was asked for.

    :param must_meet: how many pages, up to this one, have to meet the one before exactly if this one is to be the last:
        as many as were asked for before it, from the first one on that was still under way; infinite if a gap before
        it was read only later.
    """

    question: Question
    ticket: Ticket
    must_meet: float


class _LastRow(NamedTuple):
    """The last row taken, as its page had it."""

    question: Question
    """For a page that would begin with it."""
    head: Head
    was_old: bool


class Frontier:
    """How far a walk has come: the time of the last row taken, and which rows of that time it has."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.time: str | None = None
        self._tied: set[str] = set()

    def touches(self, page: Page) -> bool:
        """Whether nothing lies between the frontier and the first row of a page."""
        if not page.heads or self.time is None:
            return False
        first = page.heads[0]
        if first.update_time == self.time:
            return first.id in self._tied
        return self.order.before(first.update_time, self.time)

    def advance(self, heads: Sequence[Head]) -> None:
        """Move to the last row of a page that was taken, unless that is behind."""
        if not heads:
            return
        last = heads[-1].update_time
        if self.time is not None and self.order.before(last, self.time):
            return
        if last != self.time:
            self.time, self._tied = last, set()
        for place in range(len(heads) - 1, -1, -1):
            if heads[place].update_time != last:
                break
            self._tied.add(heads[place].id)

    @property
    def place(self) -> tuple[str | None, int]:
        """What changes whenever the frontier moves."""
        return self.time, len(self._tied)

    @property
    def second(self) -> str | None:
        """The second of the frontier, as ``updated_since`` takes it."""
        return None if self.time is None else f"{self.time[:19]}Z"


class Walk:
    """One pass over a list.

    :param ask: asks for a page and returns at once.
    :param order: how the list is sorted.
    :param since: the second at which the list begins, for an anchored order.
    :param limit: rows a page; the server may give fewer, and goes on behind those.
    :param ahead: how many pages are worth having asked for at once.
    :param expected: about how many rows there are, if known: what may lie behind the end waits until all others are
        there.
    :ivar grows_at_end_only: whether rows are known to come in nowhere else; to be set before the pages are read.
    """

    def __init__(
        self,
        ask: Ask,
        order: Order,
        *,
        since: str | None = None,
        limit: int,
        ahead: Callable[[], int],
        expected: int | None = None,
    ) -> None:
        self.frontier = Frontier(order)
        self.grows_at_end_only = False
        self._ask = ask
        self._since = since
        self._served = _Served(limit)
        self._ahead = ahead
        self._expected = expected
        self._taken = 0
        self._overlap = 1
        self._calm = 0
        self._next_start = 0
        self._ending = False
        self._asked: deque[_Asked] = deque()
        self._begun: Ticket | None = None
        self._last: _LastRow | None = None
        self._met = 0
        """How many pages in a row, up to the last one taken, met the one before exactly."""
        self._progress = _Progress()

    def begin(self) -> None:
        """Ask for the first page now, though something is to be read before :meth:`pages`.

        Only for a list that grows at its end. The page is asked for again if it proves to be the only one or too fresh.
        """
        self._begun = self._ask(Question(self._since, 0))

    def pages(self) -> Iterator[Page | None]:
        """Yield the pages in order, whole: rows repeat where pages overlap or rows moved on.

        None says that the next page was asked for and is not there yet: there is time for other work.
        """
        more = True
        if self._begun is not None:
            yield from self._take_begun()
        while more:
            self._ask_ahead()
            question, ticket, must_meet = self._asked.popleft()
            if not ticket.done():
                yield None
            page = ticket.result()
            rows = self._served.rows
            if self._fits(question, page):
                self._narrow_overlap()
                self._met = self._met + 1 if self._meets(question, page) else 0
            else:
                self._widen_overlap()
                last = yield from self._bridge(question, page)
                page, must_meet = last, math.inf if last is page else 0
                self._met = 0
                self._doubt_what_was_asked()
            is_final = must_meet <= self._met or self.frontier.order.newest_first
            more = yield from self._take(question, page)
            if self._served.rows < rows:
                self._step_anew(question)
            if not more and not is_final:
                self._look_again(question, page)
                more = True
            del page, ticket  # a page can have megabytes, and the next one may be long in coming

    def _take_begun(self) -> Iterator[Page]:
        """Take the page that was asked for beforehand, if it still counts."""
        begun, self._begun = self._begun, None
        if begun is not None and _is_good_for_long(page := begun.result()):
            yield from self._take(Question(self._since, 0), page)
            self._next_start = self._behind(Question(self._since, 0))

    def _meets(self, question: Question, page: Page) -> bool:
        """Whether the last row taken stands at the same place in this page's list, with the same rows before it.

        As many could be others, if one left and one came in: not where rows come in at the end, and this one is old.
        """
        if self._last is None or not self.grows_at_end_only:
            return False
        place, last, was_old = self._last
        at = place.start - question.start
        if place.since != question.since or not 0 <= at < len(page.heads):
            return False
        here = page.heads[at]
        is_same = (here.id, here.update_time) == (last.id, last.update_time)
        return is_same and was_old and page.is_old(here)

    def _look_again(self, question: Question, page: Page) -> None:
        """Ask for the end once more: a row can have moved behind it after this page, and away before an earlier one.

        Where the newest comes first that is not needed: rows that stay in the list stay in their places.
        """
        self._ending = True
        self._asked.clear()
        self._next_start = question.start + max(0, len(page.heads) - 1)

    def _step_anew(self, question: Question) -> None:
        """Go on behind the rows that were served: there are gaps between the pages that were asked for already."""
        self._asked.clear()
        self._next_start = self._behind(question)

    def _behind(self, question: Question) -> int:
        """Where the page after one that was just taken begins."""
        return question.start + self._step()

    def _step(self) -> int:
        return max(1, self._served.rows - self._overlap)

    def _take(self, question: Question, page: Page) -> Generator[Page, None, bool]:
        if page.more:
            self._progress.check(question, page)
            self._served.learn(len(page.heads))
            self._overlap = min(self._overlap, self._served.rows // 2)
        self.frontier.advance(page.heads)
        self._taken += 1
        if page.heads:
            place, last = Question(question.since, question.start + len(page.heads) - 1), page.heads[-1]
            self._last = _LastRow(place, last, page.is_old(last))
        yield page
        return page.more

    def _fits(self, question: Question, page: Page) -> bool:
        return question.start == 0 or self.frontier.touches(page)

    def _ask_ahead(self) -> None:
        """Ask for the next page, and for as many behind it as are worth it and likely to exist."""
        while not self._asked or (len(self._asked) < self._most_ahead() and self._likely_goes_on()):
            question = Question(self._since, self._next_start)
            must_meet = sum(1 for _ in dropwhile(lambda asked: asked.ticket.done(), self._asked))
            self._asked.append(_Asked(question, self._ask(question), must_meet))
            self._next_start += self._step()

    def _most_ahead(self) -> int:
        """Of a list whose size nobody knows, no more pages than it has given so far: behind its end all are in vain."""
        return self._ahead() if self._expected is not None else min(self._ahead(), self._taken)

    def _likely_goes_on(self) -> bool:
        if self._ending:
            return False
        known = [asked.ticket.result().more for asked in self._asked if asked.ticket.done()]
        rows = self._served.rows
        margin = int(rows * LIKELY_PART) if self.grows_at_end_only else rows
        near_the_end = self._expected is not None and -margin <= self._next_start - self._expected < 2 * rows
        return all(known) and (len(known) == len(self._asked) or not near_the_end)

    def _bridge(self, beyond: Question, page: Page) -> Generator[Page, None, Page]:
        """Read from the frontier on until a page asked for earlier touches it or the list ends; give the last page."""
        rows = self._served.rows
        question = self._way_back(beyond, rows)
        while True:
            between = self._ask(question).result()
            if not self._fits(question, between):
                rows *= 2
                question = self._way_back(question, rows)
                continue
            rows = self._served.rows
            if not between.more:
                self._asked.clear()
                return between
            yield from self._take(question, between)
            if self.frontier.touches(page):
                return page
            question = Question(question.since, self._behind(question))

    def _way_back(self, question: Question, rows: int) -> Question:
        """A place that is surely, or more likely, not behind the frontier."""
        self._progress.go_back(self.frontier)
        if self.frontier.order.anchored and self.frontier.time is not None:
            return Question(self.frontier.second, 0)
        return Question(question.since, max(0, question.start - rows))

    def _doubt_what_was_asked(self) -> None:
        """What was read only now lies before the pages asked for: none of them can be final."""
        self._asked = deque(asked._replace(must_meet=math.inf) for asked in self._asked)

    def _widen_overlap(self) -> None:
        self._calm, self._overlap = 0, min(2 * self._overlap + 1, LARGEST_OVERLAP, self._served.rows // 2)

    def _narrow_overlap(self) -> None:
        self._calm += 1
        if self._calm % CALM_PAGES == 0:
            self._overlap = max(1, self._overlap // 2)


class _Served:
    """How many rows a page holds behind which the list goes on: what the server gives, whatever it was asked for."""

    def __init__(self, limit: int) -> None:
        self.rows = limit
        self._fuller: list[int] = []

    def learn(self, rows: int) -> None:
        """Take a shorter page for the measure at once, longer ones when there were many in a row."""
        self._fuller = [*self._fuller, rows] if rows > self.rows else []
        if rows < self.rows or len(self._fuller) == CALM_PAGES:
            self.rows = min([rows, *self._fuller])
            self._fuller = []


class _Progress:
    """Tells a walk that others hold up from one that the server leads in circles."""

    def __init__(self) -> None:
        self._steps = InVain()
        self._begins_at: Question | None = None
        self._place: tuple[str | None, int] | None = None
        self._ways_back = 0

    def check(self, question: Question, page: Page) -> None:
        """Look at a page behind which the list goes on.

        :raises PipedriveServerError: it leads nowhere.
        """
        if len(page.heads) < LEAST_ROWS:
            raise _endless(f"after a page of {len(page.heads)} leads, behind which nothing can be seen to fit")
        before, self._begins_at = self._begins_at, question
        step = question.start - before.start if before is not None and before.since == question.since else 0
        if self._steps.go_on((page.heads[0].id, page.heads[-1].id, len(page.heads)), step):
            raise _endless("with the same leads over and over")

    def go_back(self, frontier: Frontier) -> None:
        """Take note that a walk goes back.

        :raises PipedriveServerError: it did so too often without having come any further.
        """
        self._ways_back = self._ways_back + 1 if frontier.place == self._place else 0
        self._place = frontier.place
        if self._ways_back >= MAX_WAYS_BACK:
            raise _endless("but its pages do not follow on each other")


def _endless(how: str) -> PipedriveServerError:
    return PipedriveServerError(
        f"Pipedrive says that the list of leads goes on, {how}. A complete read cannot be promised."
    )


def _is_good_for_long(first: Page) -> bool:
    """Whether a first page still counts when time has passed: the list goes on, and no row can come before that."""
    return first.more and bool(first.heads) and first.is_old(first.heads[-1])


def moment(text: str) -> datetime:
    """Read a time in either of the API's forms, to the second (docs/pipedrive-api.md, "The object").

    :raises PipedriveServerError: it is none.
    """
    try:
        return datetime.fromisoformat(text[:19]).replace(tzinfo=UTC)
    except ValueError:
        raise PipedriveServerError("Pipedrive gave a lead a time that cannot be read.") from None
