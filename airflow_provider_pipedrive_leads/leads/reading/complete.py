"""Reading many leads: each that was there from start to end, once, whatever others do meanwhile.

A lead can be edited (it moves to the end of its list), archived or restored (it moves to the other list) or deleted
while the lists are read. Passes over both lists, in this order, find every lead that moves at most twice:

1. archived leads, latest change first; the first page tells how new the newest is;
2. active leads by change, to the end of the list as it is then;
3. archived leads again, down to the newest of pass 1: those that were archived meanwhile;
4. active leads again, from where pass 2 ended, or from when it began if that is earlier: those that were edited or
   restored meanwhile, though that may show late.

An incremental read needs passes 1 and 2 only: what changes while it runs belongs to the next one. Pass 1 must be over
before the last page of pass 2 is asked for, but not before the first: a lead that is restored meanwhile goes to the end
of the active ones.

All this takes for granted that archiving and restoring move a lead's ``update_time``. Where an archived lead shows
that they do not (its ``archive_time`` is later), passes 3 and 4 read everything, and the log says so. An account that
has no archived lead to show it cannot be told from one in which they do. Nor can a lead be told that comes to light
among old ones, unchanged, since the token's rights grew: in the moment of the last pages it can stand in for one that
is edited just then, and is lost if it is archived at once.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.operations import lead_filters
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.archiving import ArchiveTimes
from airflow_provider_pipedrive_leads.leads.reading.walk import (
    BY_CHANGE,
    LATEST_CHANGE_FIRST,
    SECONDS_TO_APPEAR,
    Order,
    Page,
    Question,
    Walk,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from airflow_provider_pipedrive_leads.leads.reading.walk import Head, Ticket

log = logging.getLogger(__name__)

ARCHIVED_CHOICES = ("include", "exclude", "only")
LARGEST_PAGE = 500
MOST_AHEAD = 8
MOST_AHEAD_UNSIZED = 6
"""Pages asked for at once while the size of the list is not known: all but one behind its end are in vain."""
MANY_PAGES = 4
"""A list that had more pages than this will still have a second one."""


class Filters(TypedDict):
    """The filters that both lists of leads take."""

    owner_id: int | str | None
    person_id: int | str | None
    organization_id: int | str | None
    filter_id: int | str | None


class Selection(msgspec.Struct, frozen=True):
    """Which leads to read. Ids may be texts; None means any.

    :param filter_id: a saved filter of type leads; the API lets it win over the three ids.
    :param updated_since: lower bound of ``update_time``, inclusive, whole seconds.
    :param archived: ``include``, ``exclude`` or ``only``.
    """

    owner_id: int | str | None = None
    person_id: int | str | None = None
    organization_id: int | str | None = None
    filter_id: int | str | None = None
    updated_since: datetime | str | None = None
    archived: str = "include"

    def checked(self) -> Selection:
        """Check what can be checked without asking the server.

        :raises PipedriveConfigError: ``archived`` is no choice.
        :raises PipedriveValidationError: ``updated_since`` is no time, or a filter no id.
        """
        if self.archived not in ARCHIVED_CHOICES:
            raise PipedriveConfigError(f"archived: {self.archived!r} is none of {', '.join(ARCHIVED_CHOICES)}.")
        lead_filters(**self.filters())
        since = None if self.updated_since in (None, "") else moment_value("updated_since", self.updated_since)
        return msgspec.structs.replace(self, updated_since=since)

    def filters(self) -> Filters:
        """The part that the server filters active and archived leads by."""
        return Filters(
            owner_id=self.owner_id,
            person_id=self.person_id,
            organization_id=self.organization_id,
            filter_id=self.filter_id,
        )


class Source(Protocol):
    """Where pages come from."""

    def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> Ticket:
        """Ask for a page of the active or the archived leads, and return at once."""

    def ahead(self) -> int:
        """How many pages are worth having asked for at once."""


class Reading:
    """One read of many leads.

    :param source: where pages come from.
    :param archived: ``include``, ``exclude`` or ``only``.
    :param updated_since: only leads with this ``update_time`` or a later one.
    :param changed_since: all leads that changed since then; older ones too in an account that does not tell.
    :param moves_unseen: whether the account is known not to move ``update_time`` when a lead is archived or restored.
    :param expected: about how many active leads there are, if known.
    :param filtered: whether a filter chooses the leads: one can then come in without a change of its own.
    :param limit: leads a page, at least 2; the server may give fewer.
    :ivar pages: pages taken so far.
    :ivar active: leads found in the list of active ones.
    :ivar updated_until: the latest ``update_time`` among the leads given.
    :ivar ids: of all leads given, in the form of :func:`id_number`.
    """

    def __init__(
        self,
        source: Source,
        *,
        archived: str = "include",
        updated_since: str | None = None,
        changed_since: str | None = None,
        moves_unseen: bool = False,
        expected: int | None = None,
        filtered: bool = False,
        limit: int = LARGEST_PAGE,
    ) -> None:
        self.moves_unseen = moves_unseen
        self.pages = 0
        self.active = 0
        self.updated_until: str | None = None
        self.ids: set[int | str] = set()
        self._source = source
        self._archived_choice = archived
        self._updated_since = updated_since
        self._changed_since = changed_since
        self._expected = expected if self._since is None else None
        self._filtered = filtered
        self._limit = limit
        self._archive_times = ArchiveTimes(partly=self._since is not None)

    @property
    def _since(self) -> str | None:
        """Where the lists begin."""
        return self._updated_since or (None if self.moves_unseen else self._changed_since)

    def batches(self) -> Iterator[list[Any]]:
        """Yield the leads in batches of at most a page, each lead once; an empty one while the next page is awaited."""
        if self._archived_choice == "exclude":
            yield from self._active(self._active_from(self._since, self._expected))
            return
        active = self._active_from(self._since, self._expected)
        if self._active_grow_at_end_only() and (self._expected or 0) > MANY_PAGES * self._limit:
            active.begin()
        newest = yield from self._archived(self._since)
        end = None
        if self._archived_choice != "only":
            if self.moves_unseen:  # known only now: leads may have come into the page that was asked for beforehand
                active = self._active_from(self._since, self._expected)
            end = yield from self._active(active)
        if self._changed_since is not None:
            return
        yield from self._archived(self._again_from(newest))
        if self._archived_choice != "only":
            yield from self._active(self._active_from(self._again_from(end)))

    def _active_grow_at_end_only(self) -> bool:
        """Whether active leads come in only at the end of their list, as far as archived ones have told.

        They tell where all of them are read, which is so where a size is expected: then the read has no lower bound.
        """
        were_read = self._archived_choice == "include" and self._expected is not None
        return were_read and not self.moves_unseen and not self._filtered

    def _again_from(self, time: str | None) -> str | None:
        """Where the second pass over a list begins, if the first came upon this time last or latest."""
        if self.moves_unseen or time is None:
            return self._since
        return max(_earlier(time), self._since or "")

    def _active(self, walk: Walk) -> Generator[list[Any], None, str | None]:
        """Read the active leads; give the second before which all that changed is among them."""
        walk.grows_at_end_only = self._active_grow_at_end_only()
        began = None
        for page in walk.pages():
            if page is None:
                yield []
                continue
            self.pages += 1
            began = _earliest(began, page.asked_at)
            known = len(self.ids)
            yield self._new(page)
            self.active += len(self.ids) - known
        return _earliest(began, walk.frontier.second)

    def _archived(self, down_to: str | None) -> Generator[list[Any], None, str | None]:
        """Read the archived leads, latest change first, down to a time; give the time of the first."""
        newest = None
        for page in self._walk(LATEST_CHANGE_FIRST, archived=True).pages():
            if page is None:
                yield []
                continue
            self.pages += 1
            if not page.heads:
                break
            newest = newest or page.heads[0].update_time
            if not self.moves_unseen and self._archive_times.look(page.heads):
                self._say_moves_are_unseen()
                down_to = self._updated_since
            within = _not_before(page, down_to)
            yield self._new(within)
            if len(within.heads) < len(page.heads):
                break
        return newest

    def _active_from(self, since: str | None, expected: int | None = None) -> Walk:
        return self._walk(BY_CHANGE, since, expected, archived=False)

    def _walk(self, order: Order, since: str | None = None, expected: int | None = None, *, archived: bool) -> Walk:
        def ask(question: Question) -> Ticket:
            return self._source.ask(order, question, self._limit, archived=archived)

        def ahead() -> int:
            return min(self._source.ahead(), MOST_AHEAD_UNSIZED if expected is None else MOST_AHEAD)

        return Walk(ask, order, since=since, limit=self._limit, ahead=ahead, expected=expected)

    def _new(self, page: Page) -> list[Any]:
        """The rows that were not given yet."""
        if not page.heads:
            return []
        self.updated_until = max(self.updated_until or "", page.heads[0].update_time, page.heads[-1].update_time)
        keys = [id_number(head.id) for head in page.heads] if page.keys is None else page.keys
        new = dict(zip(keys, page.rows, strict=True))
        for known in self.ids.intersection(new):
            del new[known]
        self.ids.update(new)
        return list(new.values())

    def _say_moves_are_unseen(self) -> None:
        self.moves_unseen = True
        if self._updated_since is not None:
            log.warning(
                "This account does not change update_time when a lead is archived or restored: leads of which nothing"
                " else changed since %s are not found.",
                self._updated_since,
            )
        else:
            log.warning(
                "This account does not change update_time when a lead is archived or restored: to find such leads,"
                " everything has to be read, at the cost in API tokens of a full export%s. With archived='exclude'"
                " only what is active is read.",
                " twice" if self._changed_since is None else "",
            )


def id_number(lead_id: str) -> int | str:
    """Give an id its smallest form: a number takes half the memory of a text."""
    try:
        return int(lead_id.replace("-", ""), 16)
    except ValueError:
        return lead_id


def _not_before(page: Page, since: str | None) -> Page:
    """The part of a page, latest change first, down to a second or a time."""
    if since is None:
        return page
    bound = since.removesuffix("Z")  # so that a whole second compares as less than its milliseconds
    kept = sum(head.update_time >= bound for head in page.heads)
    if kept == len(page.heads):
        return page
    return Page(page.heads[:kept], page.rows[:kept], page.more, None if page.keys is None else page.keys[:kept])


def _earliest(*times: str | None) -> str | None:
    return min((time for time in times if time is not None), default=None)


def _earlier(time: str) -> str:
    """Step back, to a whole second, by the time that changes may take to show."""
    return moment_value("time", datetime.fromisoformat(time) - timedelta(seconds=SECONDS_TO_APPEAR))


def is_in_order(heads: Sequence[Head], order: Order) -> bool:
    """Whether a page came sorted as it was asked for, as far as its first, middle and last rows tell."""
    times = [heads[place].update_time for place in (0, len(heads) // 2, -1)] if heads else []
    return times == sorted(times, reverse=order.newest_first)
