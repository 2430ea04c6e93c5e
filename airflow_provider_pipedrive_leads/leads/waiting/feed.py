"""One look at an account for all who wait for its leads: in one process, each account is polled by one feed.

A feed begins with the first that waits and ends with the last. Each poll looks at what is waited for in the cheapest
way: single leads by id while they are few, else at the list of what changed. Whoever joins gives the second at which
it last looked itself; the next poll reads from there, and what an earlier poll found does not count for it.

No list tells that a lead is gone. So those that a list tells of are looked at by id in turns, a few at each poll. That
a lead was deleted, or a login refused, is believed when two polls in a row say so.

A feed lives in one event loop. Its calls run in threads of its own, so that no account holds up another one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
)
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.client import account_of
from airflow_provider_pipedrive_leads.leads.waiting.allowance import Allowance
from airflow_provider_pipedrive_leads.leads.waiting.fate import Fate, fate_of
from airflow_provider_pipedrive_leads.leads.waiting.looks import THREADS, Looks
from airflow_provider_pipedrive_leads.leads.waiting.pace import Pace, Trouble
from airflow_provider_pipedrive_leads.leads.waiting.waits import (
    CONVERTED,
    DELETED,
    ManyLeads,
    OneLead,
    differences,
    plan,
    whose_turn,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Awaitable, Callable, Container, Iterable, Sequence

    from airflow_provider_pipedrive_leads.client import Account
    from airflow_provider_pipedrive_leads.leads.waiting.changes import Change
    from airflow_provider_pipedrive_leads.leads.waiting.waits import Plan, Terms, Wait

log = logging.getLogger(__name__)

UNAUTHORIZED = 401
PASSING_TROUBLE = (PipedriveConnectionError, PipedriveRateLimitError, PipedriveServerError)
Result = TypeVar("Result")

_paces: WeakKeyDictionary[AbstractEventLoop, dict[str, Pace]] = WeakKeyDictionary()
_feeds: WeakKeyDictionary[AbstractEventLoop, dict[str, Feed]] = WeakKeyDictionary()


async def wait_for(account: Account, wait: Wait, terms: Terms) -> list[str]:
    """Wait in the feed of an account until a wait is over.

    :return: the id of the lead, or the ids of the leads that matched.
    :raises PipedriveError: it can never be over, or the account refuses to be asked.
    """
    waiter = Waiter(wait, terms)
    loop, name = asyncio.get_running_loop(), account_of(account.settings)
    feeds = _feeds.setdefault(loop, {})
    if name not in feeds:
        pace = _paces.setdefault(loop, {}).setdefault(name, Pace(_clock()))
        feeds[name] = Feed(Looks(account.connect()), pace, is_over=lambda feed: _forget(feeds, name, feed))
    return await feeds[name].wait_for(waiter)


def _forget(feeds: dict[str, Feed], name: str, feed: Feed) -> None:
    if feeds.get(name) is feed:
        del feeds[name]


class Waiter:
    """One that waits.

    :raises PipedriveValidationError: it was last looked at a time that is none.
    :ivar since: the second from which on what changed is news to it; for a single lead, when it was last seen by id.
    :ivar found: what ends the wait.
    :ivar changed: the latest ``update_time`` that its lead was seen with.
    :ivar suspected: whether its lead was not there at the last look.
    :ivar matching: ids of the leads that match, in the order in which they began to.
    """

    def __init__(self, wait: Wait, terms: Terms) -> None:
        self.wait = wait
        self.terms = terms
        self.lead_id = wait.lead_id if isinstance(wait, OneLead) else ""
        self.since = moment_value("since", wait.since)
        self.found: Future[list[str]] = asyncio.get_running_loop().create_future()
        self.changed = wait.changed if isinstance(wait, OneLead) else None
        self.suspected = False
        self.matching = dict.fromkeys(wait.matching if isinstance(wait, ManyLeads) else ())

    def take_fate(self, seen: Fate) -> None:
        """Look at what became of its lead."""
        if self.found.done() or not isinstance(self.wait, OneLead):
            return
        if seen.lead is not None:
            self.changed = seen.lead["update_time"]
        suspected, self.suspected = self.suspected, seen.outcome == DELETED
        if suspected or not self.suspected:
            self._decide(lambda wait: not differences(wait, seen), self.wait)

    def _decide(self, is_over: Callable[[OneLead], bool], wait: OneLead) -> None:
        try:
            if is_over(wait):
                self.found.set_result([wait.lead_id])
        except Exception as error:  # noqa: BLE001 - it is this waiter's alone
            self.fail(error)

    def take_changes(self, changes: Sequence[Change]) -> None:
        """Look at leads that changed."""
        if self.found.done() or not isinstance(self.wait, ManyLeads):
            return
        try:
            for change in changes:
                if self.wait.matches(change.lead):
                    self.matching[change.lead["id"]] = None
                else:
                    self.matching.pop(change.lead["id"], None)
        except Exception as error:  # noqa: BLE001 - it is this waiter's alone
            self.fail(error)
        else:
            if len(self.matching) >= self.wait.min_count:
                self.found.set_result(list(self.matching))

    def fail(self, error: Exception) -> None:
        """End the wait by an error."""
        if not self.found.done():
            self.found.set_exception(error)


class Feed:
    """The feed of one account.

    :param looks: at the account; ended when the last waiter leaves.
    :param pace: of this account, with what earlier feeds owe.
    :param is_over: called with the feed then, or when it breaks down.
    """

    def __init__(self, looks: Looks, pace: Pace, is_over: Callable[[Feed], None]) -> None:
        self._looks = looks
        self._is_over = is_over
        self._waiters: dict[Waiter, None] = {}
        self._task: Task[None] | None = None
        self._hurry = asyncio.Event()
        self._pace = pace
        self._pace.begin_again(_clock())
        self._places = asyncio.Semaphore(THREADS)
        self._looked_at: dict[str, float] = {}
        self._trouble = Trouble()

    async def wait_for(self, waiter: Waiter) -> list[str]:
        """Join, wait, and leave; see :func:`wait_for`."""
        self._waiters[waiter] = None
        if waiter.lead_id:
            self._looked_at.setdefault(waiter.lead_id, _clock())  # who joins has just looked
        if self._trouble.day_error is not None and waiter.terms.on_daily_budget == "fail":
            waiter.fail(self._trouble.day_error)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif waiter.terms.poll_interval < self._pace.seconds:
            self._hurry.set()
        try:
            return await waiter.found
        finally:
            del self._waiters[waiter]
            if not self._waiters:
                self._end()

    def _end(self) -> None:
        self._is_over(self)
        if self._task is not None:
            self._task.cancel()
        self._looks.end()

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                await self._poll()
        except Exception as error:
            log.exception("The polling of an account broke down.")
            self._is_over(self)  # whoever joins now gets another feed
            for waiter in self._waiters:
                waiter.fail(error)

    async def _until_due(self) -> None:
        while (seconds := self._seconds_left()) > 0:
            self._hurry.clear()
            await _pause(self._hurry, seconds)

    def _seconds_left(self) -> float:
        """Until the next poll, at the pace that the most pressing or most generous waiter pays for."""
        cost = self._plan().cost
        self._pace.choose(self._allowances(), cost)
        return max(self._pace.due - _clock(), self._trouble.seconds_left(_now()))

    def _allowances(self) -> list[Allowance]:
        day = self._looks.usage.daily_tokens
        terms = {(waiter.terms.poll_interval, waiter.terms.daily_share) for waiter in self._waiters}
        return [Allowance(interval, day, share) for interval, share in terms]

    def _plan(self) -> Plan:
        suspected = (waiter.lead_id for waiter in self._waiters if waiter.suspected)
        return plan((waiter.wait for waiter in self._waiters), suspected)

    async def _poll(self) -> None:
        """Look once at all that is waited for; what one look meets is no matter of the others."""
        looks, waiters, before = self._plan(), list(self._waiters), self._looks.usage.tokens
        self._looks.keep_only(looks.filters, deals=looks.deals)
        self._trouble.begin_poll()
        began = _clock()
        turns = whose_turn(looks, self._pace.allowance.tokens_a_poll(looks.cost), self._looked_at)
        by_id = _by_lead(waiters, looks.by_id.union(turns))
        known = {each: when for each, when in self._looked_at.items() if each in looks.listed}
        self._looked_at = known | dict.fromkeys(by_id, began)
        await asyncio.gather(
            *(self._look_at_lead(lead_id, those) for lead_id, those in by_id.items()),
            *(self._look_at_changes(each, looks, waiters) for each in looks.filters),
            *([self._look_at_deals(looks, waiters)] if looks.deals else []),
        )
        self._pace.polled(began, self._looks.usage.tokens - before, looks.cost)
        self._trouble.end_poll()

    async def _look_at_lead(self, lead_id: str, waiters: Sequence[Waiter]) -> None:
        there = min((waiter.since for waiter in waiters if waiter.changed), default=None)
        changed = min((waiter.changed for waiter in waiters if waiter.changed), default=None)
        looked = await self._ask(partial(self._looks.at_lead, lead_id, there=there, changed=changed), waiters)
        if looked is None:
            return
        seen, unseen_since = looked
        for waiter in waiters:
            if seen.lead is not None:
                waiter.since = max(waiter.since, unseen_since)
            waiter.take_fate(seen)

    async def _look_at_changes(self, filter_id: int | None, looks: Plan, waiters: Sequence[Waiter]) -> None:
        told = [each for each in waiters if looks.reads(each.wait) and _filter_id(each) == filter_id]
        since = {waiter: waiter.since for waiter in told}
        archived = looks.archived and filter_id is None
        changes = await self._ask(partial(self._looks.at_changes, filter_id, since, archived=archived), told)
        if changes is None:
            return
        fates = {change.lead["id"]: fate_of(change.lead) for change in changes}
        for waiter in told:
            if isinstance(waiter.wait, ManyLeads):
                waiter.take_changes(changes)
                await asyncio.sleep(0)  # so that many waiters do not hold up the event loop
            elif waiter.lead_id in fates:
                waiter.take_fate(fates[waiter.lead_id])

    async def _look_at_deals(self, looks: Plan, waiters: Sequence[Waiter]) -> None:
        told = [each for each in waiters if isinstance(each.wait, OneLead) and looks.deals_tell(each.wait)]
        made = await self._ask(partial(self._looks.at_deals, {waiter: waiter.since for waiter in told}), told)
        for waiter in told:
            deal_id = (made or {}).get(waiter.lead_id)
            if deal_id is not None:
                waiter.take_fate(Fate(CONVERTED, deal_id=deal_id))

    async def _ask(self, look: Callable[[], Awaitable[Result]], waiters: Iterable[Waiter]) -> Result | None:
        """Give what a look found; None if nothing: the waiters are told why, or the next poll asks again."""
        try:
            async with self._places:
                if self._trouble.stands_against_more:
                    return None
                found = await look()
        except PASSING_TROUBLE as error:
            self._trouble.passing(error, _now())
        except PipedriveDailyBudgetError as error:
            over = self._trouble.day_spent(error, _now())
            _fail((each for each in self._waiters if over or each.terms.on_daily_budget == "fail"), error)
        except PipedriveAuthError as error:
            if error.status != UNAUTHORIZED:
                _fail(waiters, error)
            elif self._trouble.refused(error):
                _fail(self._waiters, error)
        except PipedriveError as error:
            _fail(waiters, error)
        except Exception as error:
            log.exception("A look at an account broke down.")
            _fail(waiters, error)
        else:
            self._trouble.answered = True
            return found
        return None


def _fail(waiters: Iterable[Waiter], error: Exception) -> None:
    for waiter in tuple(waiters):
        waiter.fail(error)


def _by_lead(waiters: Iterable[Waiter], lead_ids: Container[str]) -> dict[str, list[Waiter]]:
    found = defaultdict[str, list[Waiter]](list)
    for waiter in waiters:
        if waiter.lead_id in lead_ids:
            found[waiter.lead_id].append(waiter)
    return found


def _filter_id(waiter: Waiter) -> int | None:
    return waiter.wait.filter_id if isinstance(waiter.wait, ManyLeads) else None


def _now() -> datetime:
    return datetime.now(UTC)


def _clock() -> float:
    return time.monotonic()


async def _pause(hurry: asyncio.Event, seconds: float) -> None:
    """Sleep, unless told to hurry."""
    with suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)
