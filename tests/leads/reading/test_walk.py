"""The rules of a walk, one schedule each."""

from __future__ import annotations

from itertools import pairwise

import pytest

from airflow_provider_pipedrive_leads.leads.reading.complete import Reading
from airflow_provider_pipedrive_leads.leads.reading.walk import (
    BY_CHANGE,
    LATEST_CHANGE_FIRST,
    Frontier,
    Page,
    Question,
    Ticket,
    Walk,
)
from tests.leads.simulated_account import (
    Answer,
    Beginning,
    Delete,
    Edit,
    Lead,
    Move,
    SimulatedSource,
    SimulatedTicket,
    Step,
    Wait,
    World,
)


def lead(lead_id: str, update_time: str) -> Lead:
    return Lead(lead_id, update_time, update_time, None)


def page(*heads: Lead, more: bool = True) -> Page:
    return Page(heads, heads, more)


@pytest.mark.parametrize(
    ("asked_at", "is_old"), [("2026-01-31T09:00:15Z", False), ("2026-01-31T09:00:16Z", True), (None, False)]
)
def test_a_row_is_old_if_what_changed_before_it_must_have_shown_when_the_page_was_asked_for(asked_at, is_old):
    assert Page((), (), more=True, asked_at=asked_at).is_old(lead("a", TEN)) is is_old


def frontier_after(*heads: Lead, order=BY_CHANGE) -> Frontier:
    frontier = Frontier(order)
    frontier.advance(heads)
    return frontier


NINE, TEN, ELEVEN = (f"2026-01-31T09:00:{second}.000Z" for second in ("09", "10", "11"))


@pytest.mark.parametrize(
    ("first", "touches"),
    [
        (lead("seen", TEN), True),
        (lead("tied", TEN), True),
        (lead("any", NINE), True),
        (lead("other", TEN), False),
        (lead("any", ELEVEN), False),
        (lead("seen", ELEVEN), False),
    ],
    ids=["last taken", "tied with it", "before it", "tied but unseen", "after it", "taken, but edited since"],
)
def test_a_page_is_taken_only_if_nothing_can_lie_before_it(first, touches):
    frontier = frontier_after(lead("one", NINE), lead("tied", TEN), lead("seen", TEN))
    assert frontier.touches(page(first)) is touches
    assert not frontier.touches(page())


def test_a_frontier_falls_along_a_list_with_the_latest_change_first():
    frontier = frontier_after(lead("one", ELEVEN), lead("two", TEN), order=LATEST_CHANGE_FIRST)
    assert frontier.touches(page(lead("any", ELEVEN)))
    assert not frontier.touches(page(lead("any", NINE)))


def test_a_page_that_lies_behind_does_not_move_the_frontier_back():
    frontier = frontier_after(lead("one", TEN))
    frontier.advance([lead("two", NINE)])
    assert (frontier.time, frontier.second) == (TEN, "2026-01-31T09:00:10Z")


def active_world(count: int, *schedule: Step, after_ms: int = 1_000) -> World:
    world = World([Beginning(after_ms, archived=False)] * count, schedule, contrary=False, moves_allowed=2)
    world.begin_read()
    return world


def read_active(world: World, limit: int, ahead: int = 1, expected: int | None = None) -> tuple[list[Lead], int]:
    source = SimulatedSource(world, [ahead])
    rows = [
        row for batch in Reading(source, archived="exclude", limit=limit, expected=expected).batches() for row in batch
    ]
    assert len({row.id for row in rows}) == len(rows)
    assert set(world.stayed) <= {row.id for row in rows}
    return rows, source.asked


def test_a_gap_left_by_deleted_leads_is_bridged():
    rows, _ = read_active(active_world(9, Answer(0), Delete(0, 2)), limit=3)
    assert len(rows) == 9  # the deleted two had been read


def test_a_bulk_delete_larger_than_a_page_is_bridged():
    rows, _ = read_active(active_world(40, *[Answer(0)] * 6, Delete(0, 10)), limit=3)
    assert len(rows) == 40


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_second_that_holds_more_leads_than_a_page_is_read_through(ahead):
    read_active(active_world(30, Answer(0), Answer(0), Delete(0, 3), after_ms=0), limit=4, ahead=ahead)


@pytest.mark.parametrize("ahead", [1, 4])
def test_a_list_that_shrinks_to_nothing_ends_the_walk(ahead):
    rows, asked = read_active(active_world(12, Answer(0), Delete(0, 12)), limit=3, ahead=ahead)
    assert (len(rows), asked <= 2 + ahead) == (3, True)


def test_archived_leads_that_were_restored_leave_a_gap_that_is_bridged():
    schedule = [*[Answer(0)] * 3, *[Move(which) for which in range(4)]]
    world = World([Beginning(1_000, archived=True)] * 9, schedule, contrary=False, moves_allowed=2)
    world.begin_read()
    source = SimulatedSource(world, [1])
    rows = [row for batch in Reading(source, archived="only", limit=2).batches() for row in batch]
    assert {lead_id for lead_id in world.stayed if lead_id not in world.moves} <= {row.id for row in rows}


def test_rows_of_one_time_that_were_edited_are_not_mistaken_for_the_place_where_the_walk_stopped():
    read_active(active_world(4, Answer(0), Edit(0), Edit(1), after_ms=0), limit=3)


def test_a_lead_that_moved_to_the_end_after_the_last_page_was_answered_is_found():
    read_active(active_world(3, Answer(1), Edit(0)), limit=2, ahead=2, expected=30)


def test_a_lead_that_moved_to_the_end_while_a_gap_was_bridged_is_found():
    schedule = [*[Answer(0)] * 4, Delete(0, 3), Answer(0), Edit(2)]
    read_active(active_world(8, *schedule), limit=2)


def test_a_lead_edited_behind_an_early_last_page_and_then_archived_is_found():
    schedule = [Answer(0), Answer(1), Edit(0), Answer(0), Answer(0), Answer(0), Move(0)]
    world = active_world(3, *schedule)
    source = SimulatedSource(world, [2])
    rows = [row for batch in Reading(source, limit=2, expected=30).batches() for row in batch]
    assert set(world.stayed) <= {row.id for row in rows}


def test_a_lead_that_moved_behind_the_last_page_while_an_earlier_one_did_not_fit_is_found():
    """All pages before the last one were there when it was asked for, but one of them had left a gap to be bridged."""
    schedule = [Answer(1), Edit(3), Edit(2), Answer(1), Answer(1), Edit(7)]
    read_active(active_world(8, *schedule, after_ms=0), limit=4, ahead=3, expected=9)


def test_pages_are_asked_for_ahead_only_while_the_list_is_likely_to_go_on():
    asked: list[Question] = []
    world = active_world(10)
    source = SimulatedSource(world, [1])

    def ask(question: Question):
        asked.append(question)
        return source.ask(BY_CHANGE, question, 4, archived=False)

    list(Walk(ask, BY_CHANGE, limit=4, ahead=lambda: 8, expected=10).pages())
    assert [question.start for question in asked] == [0, 3, 6]


class AtHand:
    """A page that is there as soon as it was asked for."""

    def __init__(self, ticket: Ticket) -> None:
        self._page = ticket.result()

    def done(self) -> bool:
        return True

    def result(self) -> Page:
        return self._page


def test_the_last_page_is_asked_for_when_all_others_are_there_though_they_are_still_worked_on():
    source = SimulatedSource(active_world(10), [1])
    asked: list[int] = []

    def ask(question: Question):
        asked.append(question.start)
        return AtHand(source.ask(BY_CHANGE, question, 4, archived=False))

    walk = Walk(ask, BY_CHANGE, limit=4, ahead=lambda: 2, expected=10)
    assert [list(asked) for _ in walk.pages()] == [[0, 3], [0, 3, 6], [0, 3, 6]]


@pytest.mark.parametrize(
    ("grows_at_end_only", "after_ms", "expected", "at_once", "starts"),
    [
        (True, 10_000, 10, [0, 4, 8], [0, 4, 8]),
        (True, 1_000, 10, [0, 4, 8], [0, 4, 8, 9]),
        (True, 10_000, 9, [0, 4], [0, 4, 8]),
        (False, 10_000, 10, [0, 4], [0, 4, 8]),
    ],
    ids=["old rows", "new ones, before which others may show late", "hardly a last page", "rows may come in anywhere"],
)
def test_the_last_page_is_asked_for_with_others_if_they_will_tell_whether_a_row_left(
    grows_at_end_only, after_ms, expected, at_once, starts
):
    source = SimulatedSource(active_world(10, after_ms=after_ms), [1])
    asked: list[int] = []

    def ask(question: Question) -> SimulatedTicket:
        asked.append(question.start)
        return source.ask(BY_CHANGE, question, 5, archived=False)

    walk = Walk(ask, BY_CHANGE, limit=5, ahead=lambda: 4, expected=expected)
    walk.grows_at_end_only = grows_at_end_only
    pages = walk.pages()
    next(pages)
    assert asked == at_once
    list(pages)
    assert asked == starts


@pytest.mark.parametrize(
    ("count", "after_ms", "quiet_ms", "starts"),
    [(10, 10_000, 0, [0, 4, 8]), (10, 100, 0, [0, 0, 4, 8]), (3, 10_000, 0, [0, 0]), (3, 10_000, 60_000, [0, 0])],
    ids=["old rows", "new ones, before which others may show late", "all there is", "all there is, and old"],
)
def test_a_page_asked_for_beforehand_is_taken_if_the_list_can_only_have_changed_behind_it(
    count, after_ms, quiet_ms, starts
):
    world = active_world(count, after_ms=after_ms)
    world.account.pass_time(quiet_ms)
    source = SimulatedSource(world, [1])
    asked: list[int] = []

    def ask(question: Question) -> SimulatedTicket:
        asked.append(question.start)
        return source.ask(BY_CHANGE, question, 5, archived=False)

    walk = Walk(ask, BY_CHANGE, limit=5, ahead=lambda: 1, expected=10)
    walk.begin()
    rows = [row for page in walk.pages() if page is not None for row in page.rows]
    assert asked == starts
    assert len({row.id for row in rows}) == count


def test_while_the_next_page_is_awaited_there_is_time_for_the_one_before():
    source = SimulatedSource(active_world(10), [1])

    def ask(question: Question):
        return source.ask(BY_CHANGE, question, 4, archived=False)

    walk = Walk(ask, BY_CHANGE, limit=4, ahead=lambda: 1, expected=10)
    assert [page and len(page.rows) for page in walk.pages()] == [None, 4, None, 4, None, 4]


def test_overlap_grows_where_gaps_are_found_and_shrinks_when_it_is_calm():
    world = active_world(150, Answer(0), Answer(0), Delete(0, 1), Wait(1))
    source = SimulatedSource(world, [1])
    asked: list[int] = []

    def ask(question: Question):
        asked.append(question.start)
        return source.ask(BY_CHANGE, question, 8, archived=False)

    list(Walk(ask, BY_CHANGE, limit=8, ahead=lambda: 1).pages())
    steps = [later - earlier for earlier, later in pairwise(asked)]
    assert steps[0] == 7
    assert steps.count(5) >= 10  # three rows of overlap after the gap
    assert steps[-1] in {6, 7}
