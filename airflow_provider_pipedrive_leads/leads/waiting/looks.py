"""The calls of an account's polls, in threads of their own, and how far each list was read."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import active_deals_of_leads
from airflow_provider_pipedrive_leads.leads.waiting.changes import Cursor, poll
from airflow_provider_pipedrive_leads.leads.waiting.fate import fate
from airflow_provider_pipedrive_leads.leads.waiting.one_look import OneLook
from airflow_provider_pipedrive_leads.leads.writing.settling import CLOCKS_APART

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_pipedrive_leads.api.budget import Usage
    from airflow_provider_pipedrive_leads.client import PipedriveClient
    from airflow_provider_pipedrive_leads.leads.waiting.changes import Change
    from airflow_provider_pipedrive_leads.leads.waiting.fate import Fate

THREADS = 4
Reader = TypeVar("Reader")
Place = TypeVar("Place", Cursor, str)
Result = TypeVar("Result")


class Series(msgspec.Struct, Generic[Place], frozen=True):
    """A list that is read at each poll.

    :param place: where the next poll goes on.
    :param readers: for whom it was read so far.
    """

    place: Place
    readers: frozenset[Any]


class Looks:
    """Looks at an account.

    Whoever reads a list brings the second from which on its changes are news to it: for those who join, a list is read
    from there once more.

    :param client: closed at the end.
    """

    def __init__(self, client: PipedriveClient) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pipedrive-feed")
        self._changes: dict[int | None, Series[Cursor]] = {}
        self._deals: Series[str] | None = None

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self._client.usage

    def end(self) -> None:
        """End all calls under way, without waiting for their threads."""
        self._client.interrupt()  # a thread outlives the cancelling of who waits for it
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def keep_only(self, filters: frozenset[int | None], *, deals: bool) -> None:
        """Forget how far lists were read that a poll does without."""
        self._changes = {each: series for each, series in self._changes.items() if each in filters}
        self._deals = self._deals if deals else None

    async def at_lead(self, lead_id: str, *, there: str | None, changed: str | None) -> tuple[Fate, str]:
        """Look at a lead by its id; see :func:`leads.waiting.fate.fate`.

        :return: what became of it, and the second from which on that may be different.
        """
        look = OneLook(self._client)
        seen = await self._in_thread(partial(fate, look, lead_id, there=there, changed=changed))
        return seen, look.unseen_since

    async def at_changes(self, filter_id: int | None, readers: Mapping[Reader, str], *, archived: bool) -> list[Change]:
        """Read what changed, oldest first.

        :param readers: who reads, and from which second on.
        """
        series = self._changes.get(filter_id)
        joining = [since for reader, since in readers.items() if series is None or reader not in series.readers]
        if series is None or joining:
            cursor = Cursor(min([*joining, *([series.place.since] if series else [])]))
        else:
            cursor = series.place
        found, cursor = await self._in_thread(
            partial(poll, self._client, cursor, archived=archived, filter_id=filter_id)
        )
        self._changes[filter_id] = Series(cursor, frozenset(readers))
        return found

    async def at_deals(self, readers: Mapping[Reader, str]) -> dict[str, int]:
        """Read which leads became deals, and give the ids of the deals by those of the leads.

        :param readers: who reads, and from which second on.
        """
        series = self._deals
        joining = [since for reader, since in readers.items() if series is None or reader not in series.readers]
        since = min([*joining, *([series.place] if series else [])])
        made, place = await self._in_thread(partial(_deals_made, self._client, since))
        self._deals = Series(place, frozenset(readers))
        return made

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _deals_made(client: PipedriveClient, since: str) -> tuple[dict[str, int], str]:
    look = OneLook(client)
    made = active_deals_of_leads(look, datetime.fromisoformat(since))
    behind = datetime.fromisoformat(look.unseen_since) - CLOCKS_APART
    return made, max(since, moment_value("since", behind))
