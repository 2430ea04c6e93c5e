"""Which of several equal contacts stays, over all orders in which their creators write, look and delete."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.writing.contacts import BREATH, elected
from tests.unhurried import unhurried

LONGEST_COMMIT = 500
"""Milliseconds for which the promise is made."""


class Creator(NamedTuple):
    """One task, in milliseconds: when its contact gets an id, and how long each step takes from there."""

    starts: int
    commit: int
    reply: int
    delete: int


def creators(longest_commit: int) -> st.SearchStrategy[list[Creator]]:
    upto = st.integers(0, 400)
    return st.lists(st.builds(Creator, upto, st.integers(0, longest_commit), upto, upto), min_size=1, max_size=6)


def played(tasks: list[Creator]) -> tuple[set[int], set[int]]:
    """Give the ids that are there in the end, and those that the tasks go on with."""
    tasks = sorted(tasks)  # ids are given in order
    there_from = {number: task.starts + task.commit for number, task in enumerate(tasks)}
    looks = {number: there_from[number] + task.reply + round(BREATH * 1000) for number, task in enumerate(tasks)}
    there_until: dict[int, int] = {}
    taken = set()
    for number, now in sorted(looks.items(), key=lambda look: look[1]):
        seen = [other for other in there_from if there_from[other] <= now <= there_until.get(other, now)]
        winner = elected([number, *seen])
        taken.add(winner)
        if winner != number:
            there_until[number] = now + tasks[number].delete
    return there_from.keys() - there_until.keys(), taken


@unhurried
@given(creators(LONGEST_COMMIT))
def test_exactly_one_stays_and_all_take_it(tasks):
    assert played(tasks) == ({0}, {0})


@unhurried
@given(creators(10 * LONGEST_COMMIT))
def test_one_stays_however_long_a_commit_takes(tasks):
    stays, taken = played(tasks)
    assert 0 in stays
    assert 0 in taken
