"""The way through a list, page by page: by what was served, and to an end.

A server may give fewer rows a page than it was asked for, say that a list goes on when it does not, or lead back to
where one was. So each step goes by what the last page held, and a way that leads nowhere is an error, not a loop: each
page costs API tokens, and the day has only so many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.api.endpoints import Call
    from airflow_provider_pipedrive_leads.api.replies import Page

MAX_STEPS_IN_VAIN = 2
"""Pages in a row that hold what the page before held, at another place, until a list counts as endless."""
MIN_ROWS_IN_VAIN = 20
"""Rows that these steps cover at least: others who add as many rows as a step has move the same page to the next place,
which for small pages is likely."""
SMALLER_BY = 4
"""How many times smaller a page is when the one before was too large: each try costs what it takes to send it."""


class InVain:
    """Counts steps through a list that bring nothing new."""

    def __init__(self) -> None:
        self._rows: object = None
        self._steps = 0
        self._covered = 0

    def go_on(self, rows: object, step: int) -> bool:
        """Look at a page behind which the list is said to go on; give whether it leads nowhere.

        :param rows: what the page holds, to be compared with the page before.
        :param step: by how many rows it begins behind the page before; 0 for one that may well be the same.
        """
        same = rows == self._rows and step > 0
        self._rows = rows
        self._steps = self._steps + 1 if same else 0
        self._covered = self._covered + step if same else 0
        return self._steps >= MAX_STEPS_IN_VAIN and self._covered >= MIN_ROWS_IN_VAIN


class Steps:
    """Remembers the way so far, and says where the next page begins."""

    def __init__(self) -> None:
        self._start = 0
        self._cursors: set[str] = set()
        self._same = InVain()
        self._empty = 0

    def after(self, call: Call, page: Page) -> Mapping[str, int | str] | None:
        """Give the query parameters of the page behind one that came; None if that was the last.

        :raises PipedriveServerError: the list leads nowhere.
        """
        if page.next_query is None:
            return None
        self._empty = 0 if page.items else self._empty + 1
        if self._empty >= MAX_STEPS_IN_VAIN or self._same.go_on(page.items, len(page.items)):
            raise endless(call, "it brings no other rows")
        if "cursor" in page.next_query:
            return self._by_cursor(call, str(page.next_query["cursor"]))
        return self._by_start(call, int(page.next_query["start"]), len(page.items))

    def _by_cursor(self, call: Call, cursor: str) -> Mapping[str, int | str]:
        if cursor in self._cursors:
            raise endless(call, "its cursor leads back to where it was")
        self._cursors.add(cursor)
        return {"cursor": cursor}

    def _by_start(self, call: Call, told: int, rows: int) -> Mapping[str, int | str]:
        following = told if told > self._start else self._start + rows
        if following <= self._start:
            raise endless(call, "not where")
        self._start = following
        return {"start": following}


def endless(call: Call, why: str) -> PipedriveServerError:
    """The error for a list that says that it goes on, and does not."""
    return PipedriveServerError(
        f"{call.method} {call.path}: Pipedrive says that the list goes on, but {why}.",
        method=call.method,
        path=call.path,
    )


def smaller(limit: int, *, least: int = 1) -> int | None:
    """How many rows to ask for where a page of so many was too large; None if there is no smaller page."""
    return None if limit <= least else max(least, limit // SMALLER_BY)
