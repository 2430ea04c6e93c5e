"""One look whether an account's budget is back, for all who wait for it in one event loop.

Pipedrive bans clients that go on asking, and a spent day may have hundreds of tasks waiting.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError
from airflow_provider_pipedrive_leads.client import account_of
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import Told

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from airflow_provider_pipedrive_leads.client import Account, PipedriveClient

MAX_ANSWER_AGE = 60.0
"""Seconds for which an answer holds for those who ask a little later."""

_probes: WeakKeyDictionary[AbstractEventLoop, dict[str, Probe]] = WeakKeyDictionary()


async def told_by(account: Account) -> Told:
    """Ask an account, once for all who want to know at about the same time.

    :raises PipedriveError: it cannot be asked, or something else is wrong than a spent day.
    """
    probes, name = _probes.setdefault(asyncio.get_running_loop(), {}), account_of(account.settings)
    probe = probes.get(name)
    if probe is None or probe.is_over:
        probe = probes[name] = Probe(account)
    return await probe.answer()


class Probe:
    """One cheap call (``getCurrentUser``, 2 tokens) for all who wait for its answer; begun at once.

    :param account: of the first who asks.
    """

    def __init__(self, account: Account) -> None:
        self._client = account.connect()
        self._asking = 0
        self._given_up = False
        self._answered_at: float | None = None
        self._task = asyncio.create_task(self._ask())
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen, if all have left

    @property
    def is_over(self) -> bool:
        """Whether its answer is not, or no longer, good for others."""
        return self._given_up or (self._answered_at is not None and _clock() - self._answered_at > MAX_ANSWER_AGE)

    async def answer(self) -> Told:
        """Wait for the answer; the last one who is cancelled meanwhile ends the call."""
        self._asking += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._asking -= 1
            if not self._asking and not self._task.done():
                self._given_up = True
                self._client.interrupt()  # a thread outlives the cancelling of who waits for it

    async def _ask(self) -> Told:
        thread = ThreadPoolExecutor(1, thread_name_prefix="pipedrive-budget")
        try:
            ask = partial(copy_context().run, _ask, self._client)  # as ``asyncio.to_thread`` does
            return await asyncio.get_running_loop().run_in_executor(thread, ask)
        finally:
            self._answered_at = _clock()
            thread.shutdown(wait=False)


def _ask(client: PipedriveClient) -> Told:
    try:
        client.get_current_user()
    except PipedriveDailyBudgetError as spent:
        return Told(passes=False, resets_at=spent.resets_at)
    finally:
        client.close()
    return Told(passes=True, left=client.usage.daily_tokens_left, size=client.usage.daily_tokens)


def _clock() -> float:
    return time.monotonic()
