"""Waiting for the next day's API budget without a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_pipedrive_leads.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_pipedrive_leads.client import Account


class PipedriveDailyBudgetTrigger(BaseTrigger):
    """Fires when the company has the API tokens again that a task needs.

    It asks with one cheap call just after the moment at which the server said that they are back. Where it did not say,
    or they are not, it asks just after each half hour, for at most 26 hours. All triggers of an account share the call.

    :param pipedrive_conn_id: the Airflow connection.
    :param since: ISO time at which the waiting began; default: now. It outlives restarts of the triggerer.
    :param resets_at: ISO time at which the server said that the budget is full again; None if it did not.
    :param needed: API tokens that the task needs; None if it does not say.
    """

    def __init__(
        self,
        pipedrive_conn_id: str,
        since: str | None = None,
        resets_at: str | None = None,
        needed: int | None = None,
    ) -> None:
        super().__init__()
        self.pipedrive_conn_id = pipedrive_conn_id
        self.since = since or _now().isoformat()
        self.resets_at = resets_at
        self.needed = needed

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        names = ("pipedrive_conn_id", "since", "resets_at", "needed")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"status": "success"}``, or one of :func:`api.error_events.error_event`."""
        from airflow_provider_pipedrive_leads.api.error_events import error_event
        from airflow_provider_pipedrive_leads.api.errors import (
            PipedriveConnectionError,
            PipedriveDailyBudgetError,
            PipedriveError,
            PipedriveRateLimitError,
            PipedriveServerError,
        )
        from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import next_probe

        while (probe := next_probe(_now(), datetime.fromisoformat(self.since), self._told_reset())) is not None:
            await _sleep((probe - _now()).total_seconds())
            try:
                if await self._budget_is_back():
                    yield TriggerEvent({"status": "success"})
                    return
            except (PipedriveConnectionError, PipedriveRateLimitError, PipedriveServerError) as error:
                self.log.info("%s Asking again later.", error)
            except PipedriveError as error:
                yield TriggerEvent(error_event(error))
                return
        message = f"The company's API tokens did not come back within 26 hours{self._enough()}."
        late = PipedriveDailyBudgetError(message, resets_at=self._told_reset(), needed=self.needed)
        yield TriggerEvent(error_event(late))

    def _told_reset(self) -> datetime | None:
        return datetime.fromisoformat(self.resets_at) if self.resets_at else None

    def _enough(self) -> str:
        return f", not the {self.needed} that the task needs" if self.needed else ""

    async def _budget_is_back(self) -> bool:
        account = await in_thread(f"{self.pipedrive_conn_id} budget", self._account)
        from airflow_provider_pipedrive_leads.leads.waiting.budget_probe import told_by
        from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import is_back

        told = await told_by(account)
        if told.resets_at is not None:
            self.resets_at = told.resets_at.isoformat()
        reserve = account.settings.daily_token_reserve
        since = datetime.fromisoformat(self.since)
        return is_back(told, needed=self.needed, reserve=reserve, since=since, now=_now())

    def _account(self) -> Account:
        """Load what the first look of a process needs, too: both take long."""
        import airflow_provider_pipedrive_leads.leads.waiting.budget_probe  # noqa: F401
        from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

        return PipedriveLeadsHook(self.pipedrive_conn_id).account()


def _now() -> datetime:
    return datetime.now(UTC)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
