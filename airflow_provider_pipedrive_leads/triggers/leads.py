"""Waiting for leads without a worker: all triggers of one process share one feed for each account."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_pipedrive_leads.leads.waiting.polling import DAILY_SHARE, POLL_INTERVAL
from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger
from airflow_provider_pipedrive_leads.triggers.threads import in_thread

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow_provider_pipedrive_leads.client import Account

__all__ = ["PipedriveLeadTrigger", "PipedriveLeadsChangedTrigger", "PipedriveLeadsTrigger"]

FIRST_WAIT = 10.0
"""Seconds: a trigger that fires while the worker is still leaving the task loses its event in Airflow 3.3."""

LONGEST_SHARED = 30.0
"""Seconds for which a lookup is waited for by those who begin later: one that hangs shall not hold up all."""

_lookups: WeakKeyDictionary[AbstractEventLoop, dict[str, Task[Account]]] = WeakKeyDictionary()


class PipedriveLeadTrigger(BaseTrigger):
    """Fires when a lead is as expected, or gone.

    :param lead_id: the lead.
    :param expected: values by API name or custom-field key, as the API gives them; or ``deleted`` or ``converted``.
    :param since: ISO time by Pipedrive's clock at which the lead was last looked at; it outlives restarts.
    :param changed: the ``update_time`` that the lead had then; None if it was not there.
    :param poll_interval: seconds between two polls.
    :param daily_share: the part of the company's day of API tokens that polling may take; the slower of the two wins.
    :param on_daily_budget: on a spent day ``fail``, or ``wait`` for the next one.
    :param pipedrive_conn_id: the Airflow connection.
    """

    def __init__(
        self,
        *,
        lead_id: str,
        expected: Mapping[str, Any] | str,
        since: str,
        changed: str | None = None,
        poll_interval: float = POLL_INTERVAL,
        daily_share: float = DAILY_SHARE,
        on_daily_budget: str = "fail",
        pipedrive_conn_id: str = "pipedrive_default",
    ) -> None:
        super().__init__()
        self.wait = {"lead_id": lead_id, "expected": expected, "since": since, "changed": changed}
        self.terms = {"poll_interval": poll_interval, "daily_share": daily_share, "on_daily_budget": on_daily_budget}
        self.pipedrive_conn_id = pipedrive_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, {**self.wait, **self.terms, "pipedrive_conn_id": self.pipedrive_conn_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"status": "success", "lead_ids": [id]}``, or an :func:`api.error_events.error_event`."""
        yield await _event(self)


class PipedriveLeadsTrigger(BaseTrigger):
    """Fires when enough leads match.

    Leads that are deleted meanwhile go on counting: whoever is woken looks once more.

    :param min_count: how many have to match.
    :param since: ISO time by Pipedrive's clock at which leads were last looked for; it outlives restarts.
    :param matching: ids of those that matched then.
    :param owner_id: only leads of this user.
    :param person_id: only leads of this person.
    :param organization_id: only leads of this organization.
    :param filter_id: only leads of this saved filter; it wins over the three ids.
    :param updated_since: only leads with this ``update_time`` or a later one, whole seconds.
    :param expected: values by API name or custom-field key, as the API gives them.
    :param poll_interval: seconds between two polls.
    :param daily_share: the part of the company's day of API tokens that polling may take; the slower of the two wins.
    :param on_daily_budget: on a spent day ``fail``, or ``wait`` for the next one.
    :param pipedrive_conn_id: the Airflow connection.
    """

    def __init__(
        self,
        *,
        min_count: int,
        since: str,
        matching: Sequence[str] = (),
        owner_id: int | None = None,
        person_id: int | None = None,
        organization_id: int | None = None,
        filter_id: int | None = None,
        updated_since: str | None = None,
        expected: Mapping[str, Any] | None = None,
        poll_interval: float = POLL_INTERVAL,
        daily_share: float = DAILY_SHARE,
        on_daily_budget: str = "fail",
        pipedrive_conn_id: str = "pipedrive_default",
    ) -> None:
        super().__init__()
        self.wait = {
            "min_count": min_count,
            "since": since,
            "matching": list(matching),
            "owner_id": owner_id,
            "person_id": person_id,
            "organization_id": organization_id,
            "filter_id": filter_id,
            "updated_since": updated_since,
            "expected": expected,
        }
        self.terms = {"poll_interval": poll_interval, "daily_share": daily_share, "on_daily_budget": on_daily_budget}
        self.pipedrive_conn_id = pipedrive_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, {**self.wait, **self.terms, "pipedrive_conn_id": self.pipedrive_conn_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"status": "success", "lead_ids": […]}``, or an :func:`api.error_events.error_event`."""
        yield await _event(self)


async def _event(trigger: PipedriveLeadTrigger | PipedriveLeadsTrigger) -> TriggerEvent:
    from airflow_provider_pipedrive_leads.api.error_events import error_event
    from airflow_provider_pipedrive_leads.api.errors import PipedriveError

    soonest = _clock() + FIRST_WAIT
    found: dict[str, Any]
    try:
        account = await _account(trigger.pipedrive_conn_id)
        found = {"status": "success", "lead_ids": await _found(trigger, account)}
    except PipedriveError as error:
        found = error_event(error)
    await _sleep(soonest - _clock())  # the feed may have found it for others a moment after this one joined
    return TriggerEvent(found)


async def _account(pipedrive_conn_id: str) -> Account:
    """Look a connection up once for all triggers that begin meanwhile: a triggerer may start a thousand at once."""
    loop = asyncio.get_running_loop()
    under_way = _lookups.setdefault(loop, {})
    lookup = under_way.get(pipedrive_conn_id)
    if lookup is None:
        lookup = loop.create_task(in_thread(f"{pipedrive_conn_id} connection", _looked_up, pipedrive_conn_id))
        under_way[pipedrive_conn_id] = lookup
        forget = partial(_forget, under_way, pipedrive_conn_id, lookup)
        lookup.add_done_callback(forget)
        loop.call_later(LONGEST_SHARED, forget, lookup)
    return await asyncio.shield(lookup)


def _forget(under_way: dict[str, Task[Account]], conn_id: str, lookup: Task[Account], _: object) -> None:
    if under_way.get(conn_id) is lookup:
        del under_way[conn_id]
    if lookup.done() and not lookup.cancelled():
        lookup.exception()  # seen, even if all who waited have left


def _looked_up(pipedrive_conn_id: str) -> Account:
    """Load what the first wait of a process needs, too: both take long."""
    import airflow_provider_pipedrive_leads.leads.waiting.feed  # noqa: F401
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

    return PipedriveLeadsHook(pipedrive_conn_id).account()


async def _found(trigger: PipedriveLeadTrigger | PipedriveLeadsTrigger, account: Account) -> list[str]:
    import msgspec

    from airflow_provider_pipedrive_leads.leads.waiting.feed import wait_for
    from airflow_provider_pipedrive_leads.leads.waiting.waits import ManyLeads, OneLead, Terms

    is_one = isinstance(trigger, PipedriveLeadTrigger)
    wait = msgspec.convert(trigger.wait, OneLead) if is_one else msgspec.convert(trigger.wait, ManyLeads)
    return await wait_for(account, wait, msgspec.convert(trigger.terms, Terms))


def _clock() -> float:
    return time.monotonic()


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
