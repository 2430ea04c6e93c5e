"""One poll of an account's changes for all triggers of this triggerer that watch it.

Airflow gives the one that polls nothing but a trigger's parameters, so the triggers of a stream meet here: each enters
as a :class:`Watcher` with its own cursor. A poll begins at the oldest of these cursors, and each trigger takes what is
new to it. A cursor is kept when Airflow has stored all events that came out of a poll; until then a restart begins
where it was, and tells the same again under the same event ids.

A trigger of an asset that ends is started again within a second, so nothing here ever ends by itself: whatever goes
wrong is logged, and asked again at a pace that fits.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from airflow.triggers.shared_stream import SharedStreamProducer

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.waiting.allowance import Allowance
from airflow_provider_pipedrive_leads.leads.waiting.change_events import cursor_before, event, news, tokens_per_poll
from airflow_provider_pipedrive_leads.leads.waiting.changes import ARCHIVED, Change, Cursor, before_all, cursor_at, poll
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import next_probe
from airflow_provider_pipedrive_leads.leads.waiting.pace import Pace
from airflow_provider_pipedrive_leads.leads.waiting.polling import SHORTEST_INTERVAL
from airflow_provider_pipedrive_leads.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_pipedrive_leads.api.budget import Usage
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.leads.waiting.change_events import Wishes

GATHERING = 2.0
"""Seconds that the first poll waits for the other triggers of a triggerer that has just started."""
UNAUTHORIZED = 401
AFTER_REFUSAL = 900.0
"""Seconds until something that people must mend, such as a refused token, is tried again."""
BETWEEN_EVENTS = SHORTEST_INTERVAL
"""Seconds between two events of an asset: Airflow 3.3 starts a run with the first of several events that are stored
before its scheduler looks, and lets the others wait until something else changes."""
HOOK_LIFE = 3600.0
"""Seconds after which the connection, and names of fields and options, are read anew."""

log = logging.getLogger(__name__)


class Watcher:
    """A trigger's place in a stream.

    :param name: for the log.
    :param kinds: which changes it wants to hear of.
    :param read_wishes: asks the account what the trigger's fields and expected values mean.
    :param cursor: how far it has come; None where it begins now.
    :param keep: stores a cursor for later lives of the trigger.
    :param pace: the trigger's poll_interval in seconds and daily_share.
    """

    def __init__(
        self,
        name: str,
        *,
        kinds: Sequence[str],
        read_wishes: Callable[[PipedriveLeadsHook], Wishes],
        cursor: Cursor | None,
        keep: Callable[[Cursor], Awaitable[None]],
        pace: tuple[float, float],
    ) -> None:
        self.name = name
        self.kinds = kinds
        self.cursor = cursor
        self.pace = pace
        self.wishes: Wishes | None = None
        self._read_wishes = read_wishes
        self._read_with: PipedriveLeadsHook | None = None
        self._store = keep
        self._stored = cursor
        self.waiting: list[Change] = []

    def next_event(self, batch: Batch, max_leads: int) -> dict[str, Any] | None:
        """Take what is new out of a batch, and make an event of what waits longest; None if nothing does."""
        if self.cursor is None or self.wishes is None:
            return None
        self.waiting += [change for change in news(batch.changes, self.cursor) if self.wishes.want(change)]
        self.cursor = batch.after or self.cursor
        told, self.waiting = self.waiting[:max_leads], self.waiting[max_leads:]
        return event(told, len(self.waiting), self.wishes) if told else None

    def reached(self) -> Cursor | None:
        """Up to where all is told."""
        return self.cursor and cursor_before(self.waiting, self.cursor)

    def prepare(self, hook: PipedriveLeadsHook, *, names_may_have_changed: bool) -> bool:
        """Learn what the trigger's names mean in the account; False if that cannot be learned through this hook."""
        known = self._read_with is hook or (self.wishes is not None and not names_may_have_changed)
        if not known:
            self._read_with, self.wishes = hook, self._learn(hook)
        return self.wishes is not None

    def _learn(self, hook: PipedriveLeadsHook) -> Wishes | None:
        try:
            return self._read_wishes(hook)
        except (PipedriveValidationError, PipedriveNotFoundError, PipedriveAuthError) as error:
            if error.status == UNAUTHORIZED:
                raise
            log.error("Nothing is told to %s until this is mended; it is tried again hourly. %s", self.name, error)  # noqa: TRY400
            return None

    async def keep(self, cursor: Cursor) -> None:
        """Store a cursor; if Airflow cannot now, a later one will do."""
        if cursor == self._stored:
            return
        try:
            await self._store(cursor)
        except Exception as error:  # noqa: BLE001 - whatever Airflow's store raises, the events are out
            log.warning("How far %s has come was not stored (%s); it will be with a later poll.", self.name, error)
        else:
            self._stored = cursor


class Batch(msgspec.Struct, frozen=True):
    """What one poll brought; or nothing, to let watchers go on with what waits.

    :param begun: the watchers that it is for: a poll covers their cursors.
    :param changes: oldest first.
    :param after: how far the poll came.
    :param handled: up to where all is told, for those that handled it.
    :param number: counts the batches of a producer.
    """

    begun: list[Watcher]
    changes: list[Change] = []
    after: Cursor | None = None
    handled: dict[Watcher, Cursor | None] = {}
    number: int = 0


class Stream:
    """The watchers of one account in this process, and when it may be polled again.

    :ivar due: when the next poll is, by the clock that only grows, as all times here.
    :ivar not_before: until when something stands against polling.
    """

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.pace = Pace(_clock())
        self.polled_at = -math.inf
        self.due = 0.0
        self.not_before = 0.0
        self.called = asyncio.Event()

    def enter(self, watcher: Watcher) -> None:
        """Take part. One that begins now is placed at once, the others with the next poll."""
        self.watchers.append(watcher)
        if watcher.cursor is None or len(self.watchers) == 1:
            self.called.set()

    def leave(self, watcher: Watcher) -> None:
        """Take no part any more."""
        if watcher in self.watchers:
            self.watchers.remove(watcher)

    def hasten(self) -> None:
        """Place who begins now, after others may have come, too; whoever comes back has no earlier poll for it."""
        begins = any(watcher.cursor is None for watcher in self.watchers)
        soonest = self.polled_at + SHORTEST_INTERVAL if begins else self.due
        self.due = max(_clock() + GATHERING, soonest, self.not_before)


_streams: dict[Hashable, Stream] = {}


def stream_of(key: Hashable) -> Stream:
    """The one stream of a key."""
    return _streams.setdefault(key, Stream())


class LeadsProducer(SharedStreamProducer):
    """Polls for all watchers of a stream.

    :param pipedrive_conn_id: the Airflow connection.
    :param stream: where the watchers meet.
    """

    def __init__(self, pipedrive_conn_id: str, stream: Stream) -> None:
        self._conn_id = pipedrive_conn_id
        self._stream = stream
        stream.called = asyncio.Event()  # an event belongs to the loop that waits for it
        if stream.watchers:
            stream.called.set()
        self._hook: PipedriveLeadsHook | None = None
        self._hook_since = 0.0
        self._usage: Usage | None = None
        self._spent_before = 0
        self._batches = 0
        self._not_stored: dict[Watcher, int] = {}
        self._daily_tokens: int | None = None
        self._spent_since: datetime | None = None
        self._ended = False

    async def open_stream(self) -> AsyncIterator[tuple[Batch, Batch]]:
        """Yield what each poll brings, for ever."""
        while True:
            await self._until_due()
            watchers = list(self._stream.watchers)
            if not watchers or (batch := await self._look(watchers)) is None:
                continue
            busy = bool(batch.changes) or any(watcher.waiting for watcher in watchers)
            yield batch, batch
            while busy:
                await self._until_due(at_most=BETWEEN_EVENTS)
                late = [watcher for watcher in self._stream.watchers if watcher.waiting]
                busy = bool(late) and self._stream.due > _clock()
                if busy:
                    batch = Batch(late, number=self._next_number())
                    yield batch, batch

    def _next_number(self) -> int:
        self._batches += 1
        return self._batches

    async def _until_due(self, at_most: float = math.inf) -> None:
        """Wait for the next poll; for a watcher that is to begin now, only until others may have come, too.

        :param at_most: seconds.
        """
        stream, longest = self._stream, _clock() + at_most
        while True:
            if stream.called.is_set():
                stream.called.clear()
                stream.hasten()
            left = min(stream.due, longest) - _clock() if stream.watchers else None
            if left is not None and left <= 0:
                return
            with suppress(TimeoutError):
                await _wait(stream.called, left)

    async def _look(self, watchers: list[Watcher]) -> Batch | None:
        """Poll, and decide when to do so again; None if it failed."""
        stream, began, before = self._stream, _clock(), self._spent()
        stream.polled_at = began
        cost = tokens_per_poll(sorted({kind for watcher in watchers for kind in watcher.kinds}))
        batch = None
        try:
            unplaced = [watcher for watcher in watchers if watcher.cursor is None]
            begun = await in_thread(f"{self._conn_id} changes", self._place, unplaced)
            for watcher, cursor in begun.items():
                await watcher.keep(cursor)
            batch = await in_thread(f"{self._conn_id} changes", self._poll, watchers)
        except Exception as error:  # noqa: BLE001 - see the module: nothing ends by itself
            stream.not_before = _clock() + self._after_failure(error, watchers)
            self._drop_hook()
        else:
            self._spent_since = None
        stream.pace.polled(began, self._spent() - before, cost)
        stream.pace.choose([Allowance(each[0], self._day(), each[1]) for each in {one.pace for one in watchers}], cost)
        stream.due = max(stream.pace.due, stream.not_before)
        return batch

    def _day(self) -> int | None:
        told = self._usage.daily_tokens if self._usage else None
        self._daily_tokens = told or self._daily_tokens
        return self._daily_tokens

    def _spent(self) -> int:
        """API tokens, through all hooks."""
        return self._spent_before + (self._usage.tokens if self._usage else 0)

    def _place(self, watchers: list[Watcher]) -> dict[Watcher, Cursor]:
        """Let watchers begin now, by Pipedrive's clock (2 tokens)."""
        from airflow_provider_pipedrive_leads.leads.waiting.one_look import OneLook

        if not watchers:
            return {}
        look = OneLook(self._live_hook())
        look.get_current_user()
        cursor = cursor_at(look.answered_at or _now().isoformat())
        for watcher in watchers:
            watcher.cursor = cursor
        return dict.fromkeys(watchers, cursor)

    def _poll(self, watchers: list[Watcher]) -> Batch | None:
        """Read from the oldest cursor on; None if there is no watcher that could be told."""
        hook = self._live_hook()
        able = [watcher for watcher in watchers if watcher.prepare(hook, names_may_have_changed=False)]
        cursors = [watcher.cursor for watcher in able if watcher.cursor is not None]
        if not cursors:
            return None
        changes, after = poll(hook, before_all(cursors), archived=any(ARCHIVED in watcher.kinds for watcher in able))
        if changes:
            able = [watcher for watcher in able if watcher.prepare(hook, names_may_have_changed=True)]
        return Batch(able, changes, after, number=self._next_number())

    def _live_hook(self) -> PipedriveLeadsHook:
        from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

        if self._hook is not None and _clock() - self._hook_since > HOOK_LIFE:
            self._drop_hook()
        if self._hook is None:
            self._hook, self._hook_since = PipedriveLeadsHook(self._conn_id), _clock()
        self._usage = self._hook.get_conn().usage
        if self._ended:
            self._hook.interrupt()
        return self._hook

    def _drop_hook(self) -> None:
        if self._hook is not None:
            self._spent_before = self._spent()
            self._hook.close()
        self._hook = self._usage = None

    def _after_failure(self, error: Exception, watchers: list[Watcher]) -> float:
        """Log what went wrong, and decide in how many seconds to ask again."""
        interval = min(watcher.pace[0] for watcher in watchers)
        level = logging.WARNING
        if isinstance(error, PipedriveDailyBudgetError):
            seconds = self._seconds_to_next_day(error.resets_at)
        elif isinstance(error, PipedriveRateLimitError):
            seconds = max(interval, error.retry_after)
        elif isinstance(error, PipedriveConnectionError | PipedriveServerError):
            seconds = interval
        else:
            seconds, level = max(interval, AFTER_REFUSAL), logging.ERROR
        what = str(error) if isinstance(error, PipedriveError) else f"{type(error).__name__}: {error}"
        log.log(level, "Connection %r was not polled. %s Asking again in %.0f s.", self._conn_id, what, seconds)
        return seconds

    def _seconds_to_next_day(self, resets_at: datetime | None) -> float:
        now = _now()
        self._spent_since = self._spent_since or now
        probe = next_probe(now, self._spent_since, resets_at)
        if probe is None:  # one day on
            self._spent_since = now
            probe = next_probe(now, now)
        return (probe - now).total_seconds() if probe else AFTER_REFUSAL

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Airflow has stored the events of these polls: keep how far the watchers came.

        If one was not stored, what was made before that is known says nothing of how far its watchers came.
        """
        reached: dict[Watcher, Cursor] = {}
        for item in batch:
            made: Batch = item.broker_payload
            if item.outcome.failed:
                self._not_stored |= dict.fromkeys(made.begun, self._batches)
            else:
                reached |= {
                    watcher: cursor
                    for watcher, cursor in made.handled.items()
                    if cursor and made.number > self._not_stored.get(watcher, 0)
                }
        for watcher, cursor in reached.items():
            await watcher.keep(cursor)

    async def aclose(self) -> None:
        """End the call under way: a thread outlives the cancelling of who waits for it."""
        self._ended = True
        if self._hook is not None:
            self._hook.interrupt()
            self._hook.close()


def _now() -> datetime:
    return datetime.now(UTC)


def _clock() -> float:
    return time.monotonic()


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    await asyncio.wait_for(event.wait(), seconds)
