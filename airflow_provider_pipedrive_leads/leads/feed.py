"""One look at an account for all who wait for its leads: in one process, each account is polled by one feed.

A feed begins with the first that waits and ends with the last. Each poll looks at what is waited for in the cheapest
way: single leads by id while they are few, else at the list of what changed. Whoever joins gives the second at which
it last looked itself; the next poll reads from there, and what an earlier poll found does not count for it.

A feed lives in one event loop. Its calls run in threads of its own, so that no account holds up another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
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
from airflow_provider_pipedrive_leads.leads.changes import Cursor, poll
from airflow_provider_pipedrive_leads.leads.daily_budget import next_probe
from airflow_provider_pipedrive_leads.leads.fate import Fate, fate, fate_of
from airflow_provider_pipedrive_leads.leads.incremental import LOOKBACK
from airflow_provider_pipedrive_leads.leads.polling import seconds_between_polls
from airflow_provider_pipedrive_leads.leads.waiting import CONVERTED, ManyLeads, OneLead, Plan, differences, plan

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future, Task
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_pipedrive_leads.client import PipedriveClient
    from airflow_provider_pipedrive_leads.leads.changes import Change
    from airflow_provider_pipedrive_leads.leads.waiting import Terms, Wait

log = logging.getLogger(__name__)

THREADS = 4
UNAUTHORIZED = 401
LATEST = "9999-12-31T23:59:59Z"
PASSING_TROUBLE = (PipedriveConnectionError, PipedriveRateLimitError, PipedriveServerError)
Result = TypeVar("Result")

_feeds: WeakKeyDictionary[AbstractEventLoop, dict[str, Feed]] = WeakKeyDictionary()


async def wait_for(client: PipedriveClient, wait: Wait, terms: Terms) -> list[str]:
    """Wait in the feed of an account until a wait is over.

    :param client: handed over: it is closed here, at once where the account has a feed already.
    :return: the id of the lead, or the ids of the leads that matched.
    :raises PipedriveError: it can never be over, or the account refuses to be asked.
    """
    feeds = _feeds.setdefault(asyncio.get_running_loop(), {})
    account = account_of(client.settings)
    if account in feeds:
        client.close()
    else:
        feeds[account] = Feed(client, when_left=partial(feeds.pop, account, None))
    return await feeds[account].wait_for(wait, terms)


class Waiter:
    """One that waits.

    :ivar since: the second from which on what changed is news to it.
    :ivar found: what ends the wait.
    :ivar fresh: whether no list was read for it yet, so that the next one is to be read from its own ``since`` on.
    :ivar changed: the latest ``update_time`` that its lead was seen with.
    :ivar matching: ids of the leads that match, in the order in which they began to.
    """

    def __init__(self, wait: Wait, terms: Terms) -> None:
        self.wait = wait
        self.terms = terms
        self.since = moment_value("since", wait.since)
        self.found: Future[list[str]] = asyncio.get_running_loop().create_future()
        self.fresh = True
        self.changed = wait.changed if isinstance(wait, OneLead) else None
        self.matching = dict.fromkeys(wait.matching if isinstance(wait, ManyLeads) else ())

    def take_fate(self, seen: Fate) -> None:
        """Look at what became of its lead."""
        if self.found.done() or not isinstance(self.wait, OneLead):
            return
        if seen.lead is not None:
            self.changed = seen.lead["update_time"]
        try:
            if not differences(self.wait, seen):
                self.found.set_result([self.wait.lead_id])
        except PipedriveError as error:
            self.fail(error)

    def take_changes(self, changes: Sequence[Change]) -> None:
        """Look at leads that changed."""
        if self.found.done() or not isinstance(self.wait, ManyLeads):
            return
        for change in changes:
            if self.wait.matches(change.lead):
                self.matching[change.lead["id"]] = None
            else:
                self.matching.pop(change.lead["id"], None)
        if len(self.matching) >= self.wait.min_count:
            self.found.set_result(list(self.matching))

    def fail(self, error: Exception) -> None:
        """End the wait by an error."""
        if not self.found.done():
            self.found.set_exception(error)


class Feed:
    """The feed of one account.

    :param client: its client; closed when the last waiter leaves.
    :param when_left: called then.
    """

    def __init__(self, client: PipedriveClient, when_left: Callable[[], Any]) -> None:
        self._client = client
        self._when_left = when_left
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pipedrive-feed")
        self._waiters: dict[Waiter, None] = {}
        self._task: Task[None] | None = None
        self._hurry = asyncio.Event()
        self._cursors: dict[int | None, Cursor] = {}
        self._deals_since: str | None = None
        self._last_poll = _now()
        self._last_cost = 0
        self._pace = (0.0, "")
        self._spent_since: datetime | None = None
        self._day_was_spent = False

    async def wait_for(self, wait: Wait, terms: Terms) -> list[str]:
        """Join, wait, and leave; see :func:`wait_for`."""
        waiter = Waiter(wait, terms)
        self._waiters[waiter] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif terms.poll_interval < self._pace[0]:
            self._hurry.set()
        try:
            return await waiter.found
        finally:
            del self._waiters[waiter]
            if not self._waiters:
                self._end()

    def _end(self) -> None:
        self._when_left()
        if self._task is not None:
            self._task.cancel()
        self._client.interrupt()  # a thread outlives the cancelling of who waits for it
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                await self._poll()
        except Exception as error:
            log.exception("The polling of an account broke down.")
            for waiter in self._waiters:
                waiter.fail(error)

    async def _until_due(self) -> None:
        while (seconds := (self._due() - _now()).total_seconds()) > 0:
            self._hurry.clear()
            await _pause(self._hurry, seconds)

    def _due(self) -> datetime:
        """When to poll next: at the pace that the most pressing or most generous waiter pays for."""
        cost = max(plan(waiter.wait for waiter in self._waiters).cost, self._last_cost)
        day = self._client.usage.daily_tokens
        terms = {(waiter.terms.poll_interval, waiter.terms.daily_share) for waiter in self._waiters}
        pace = min(seconds_between_polls(interval, cost, day, share) for interval, share in terms)
        if pace != self._pace:
            log.info("%s", pace[1])
        self._pace = pace
        due = self._last_poll + timedelta(seconds=pace[0])
        if self._spent_since is None:
            return due
        probe = next_probe(self._last_poll, self._spent_since)
        return due if probe is None else max(due, probe)

    async def _poll(self) -> None:
        """Look once at all that is waited for; what one look meets is no matter of the others."""
        self._last_poll = _now()
        tokens = self._client.usage.tokens
        waiters = list(self._waiters)
        looks = plan(waiter.wait for waiter in waiters)
        self._day_was_spent = False
        await asyncio.gather(
            *(self._look_by_id(lead_id, those) for lead_id, those in _by_id(waiters, looks).items()),
            *(self._look_at_list(each, looks, _readers(waiters, looks, each)) for each in looks.filters),
            *([self._look_at_deals([each for each in waiters if _deals_tell(each, looks)])] if looks.deals else []),
        )
        self._last_cost = self._client.usage.tokens - tokens
        if not self._day_was_spent:
            self._spent_since = None

    async def _look_by_id(self, lead_id: str, waiters: Sequence[Waiter]) -> None:
        there = min((waiter.since for waiter in waiters if waiter.changed), default=None)
        changed = min((waiter.changed for waiter in waiters if waiter.changed), default=None)
        seen = await self._ask(partial(fate, self._client, lead_id, there=there, changed=changed), waiters)
        for waiter in waiters:
            waiter.fresh = True  # the lists go on meanwhile without it
            if seen is not None:
                waiter.take_fate(seen)

    async def _look_at_list(self, filter_id: int | None, looks: Plan, waiters: Sequence[Waiter]) -> None:
        cursor = self._cursors.get(filter_id)
        fresh = [waiter.since for waiter in waiters if waiter.fresh]
        if cursor is None or fresh:
            cursor = Cursor(min([*fresh, *([cursor.since] if cursor else [])]))
        archived = looks.archived and filter_id is None
        read = await self._ask(partial(poll, self._client, cursor, archived=archived, filter_id=filter_id), waiters)
        if read is None:
            return
        changes, self._cursors[filter_id] = read
        fates = {change.lead["id"]: fate_of(change.lead) for change in changes}
        for waiter in waiters:
            waiter.fresh = False
            if isinstance(waiter.wait, ManyLeads):
                waiter.take_changes(changes)
                await asyncio.sleep(0)  # so that many waiters do not hold up the event loop
            elif waiter.wait.lead_id in fates:
                waiter.take_fate(fates[waiter.wait.lead_id])

    async def _look_at_deals(self, waiters: Sequence[Waiter]) -> None:
        since = min([waiter.since for waiter in waiters if waiter.fresh] + [self._deals_since or LATEST])
        deals = await self._ask(partial(_deals, self._client, since), waiters)
        if deals is None:
            return
        made, self._deals_since = deals
        for waiter in waiters:
            waiter.fresh = False
            deal_id = made.get(_lead_id(waiter))
            if deal_id is not None:
                waiter.take_fate(Fate(CONVERTED, deal_id=deal_id))

    async def _ask(self, work: Callable[[], Result], waiters: Iterable[Waiter]) -> Result | None:
        """Make calls in a thread.

        :return: None where nothing was learned: either the waiters are told why, or the next poll asks again.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except PASSING_TROUBLE as error:
            log.info("%s Asking again later.", error)
        except PipedriveDailyBudgetError as error:
            self._day_is_spent(error)
        except PipedriveError as error:
            refused = isinstance(error, PipedriveAuthError) and error.status == UNAUTHORIZED
            for waiter in tuple(self._waiters) if refused else waiters:
                waiter.fail(error)
        return None

    def _day_is_spent(self, error: PipedriveDailyBudgetError) -> None:
        self._day_was_spent = True
        self._spent_since = self._spent_since or _now()
        over = next_probe(_now(), self._spent_since) is None
        for waiter in self._waiters:
            if over or waiter.terms.on_daily_budget == "fail":
                waiter.fail(error)


def _lead_id(waiter: Waiter) -> str:
    return waiter.wait.lead_id if isinstance(waiter.wait, OneLead) else ""


def _by_id(waiters: Iterable[Waiter], looks: Plan) -> dict[str, list[Waiter]]:
    """Those whose lead is looked at by itself."""
    found = defaultdict[str, list[Waiter]](list)
    for waiter in waiters:
        if _lead_id(waiter) in looks.by_id:
            found[_lead_id(waiter)].append(waiter)
    return found


def _readers(waiters: Iterable[Waiter], looks: Plan, filter_id: int | None) -> list[Waiter]:
    """Those whom the list of changes tells what they wait for."""
    return [waiter for waiter in waiters if looks.reads(waiter.wait) and _filter_id(waiter) == filter_id]


def _filter_id(waiter: Waiter) -> int | None:
    return waiter.wait.filter_id if isinstance(waiter.wait, ManyLeads) else None


def _deals_tell(waiter: Waiter, looks: Plan) -> bool:
    """Whether a list of deals tells what one waits for."""
    return isinstance(waiter.wait, OneLead) and waiter.wait.ends and waiter.wait.lead_id not in looks.by_id


def _deals(client: PipedriveClient, since: str) -> tuple[dict[str, int], str]:
    """Give the deals that changed since a second, by the leads that they were made from, and where to go on."""
    began = _now()
    deals = list(client.get_deals(updated_since=since))
    latest = max((str(deal["update_time"]) for deal in deals), default=since)
    behind = datetime.fromisoformat(latest) - (_now() - began) - timedelta(seconds=LOOKBACK)
    made = {str(deal["source_lead_id"]).lower(): int(deal["id"]) for deal in deals if deal.get("source_lead_id")}
    return made, max(since, moment_value("since", behind))


def _now() -> datetime:
    return datetime.now(UTC)


async def _pause(hurry: asyncio.Event, seconds: float) -> None:
    """Sleep, unless told to hurry."""
    with suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), seconds)
