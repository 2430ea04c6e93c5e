"""Waiting for the next day's API budget without a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_pipedrive_leads.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PipedriveDailyBudgetTrigger(BaseTrigger):
    """Fires when the company's API tokens of the day are back.

    It asks with one cheap call just after midnight UTC, then every 30 minutes, for at most 26 hours.

    :param pipedrive_conn_id: the Airflow connection.
    :param since: ISO time at which the waiting began; default: now. It outlives restarts of the triggerer.
    """

    def __init__(self, pipedrive_conn_id: str, since: str | None = None) -> None:
        super().__init__()
        self.pipedrive_conn_id = pipedrive_conn_id
        self.since = since or _now().isoformat()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        path = f"{type(self).__module__}.{type(self).__name__}"
        return path, {"pipedrive_conn_id": self.pipedrive_conn_id, "since": self.since}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"status": "success"}``, or ``"error"`` with ``error`` and ``message``."""
        from airflow_provider_pipedrive_leads.api.errors import (
            PipedriveConnectionError,
            PipedriveError,
            PipedriveRateLimitError,
            PipedriveServerError,
        )
        from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import next_probe

        since = datetime.fromisoformat(self.since)
        while (probe := next_probe(_now(), since)) is not None:
            await _sleep((probe - _now()).total_seconds())
            try:
                if await in_thread(f"{self.pipedrive_conn_id} budget", self._budget_is_back):
                    yield TriggerEvent({"status": "success"})
                    return
            except (PipedriveConnectionError, PipedriveRateLimitError, PipedriveServerError) as error:
                self.log.info("%s Asking again later.", error)
            except PipedriveError as error:
                yield TriggerEvent({"status": "error", "error": type(error).__name__, "message": str(error)})
                return
        message = "The company's API tokens did not come back within 26 hours."
        yield TriggerEvent({"status": "error", "error": "PipedriveDailyBudgetError", "message": message})

    def _budget_is_back(self) -> bool:
        from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
        from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import budget_is_back

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        try:
            return budget_is_back(hook.get_conn())
        finally:
            hook.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
