"""Waiting for a conversion without a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_pipedrive_leads.triggers.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIRST_WAIT = 10.0
"""Seconds: a trigger that fires while the worker is still leaving the task loses its event in Airflow 3.3."""


class PipedriveConversionTrigger(BaseTrigger):
    """Fires when a conversion has ended, or is late.

    Each question costs 1 API token; the first comes after 10 seconds. The longer it lasts, the rarer they are: at most
    one for each tenth of the time so far, until they are 15 minutes apart.

    :param source: what is converted: ``lead`` or ``deal``.
    :param source_id: the lead or deal.
    :param conversion_id: Pipedrive's id of the conversion.
    :param deadline: ISO time from which on it is late.
    :param poll_interval: seconds between two questions, at first.
    :param pipedrive_conn_id: the Airflow connection.
    """

    def __init__(
        self,
        *,
        source: str,
        source_id: str,
        conversion_id: str,
        deadline: str,
        poll_interval: float = 5.0,
        pipedrive_conn_id: str = "pipedrive_default",
    ) -> None:
        super().__init__()
        self.source = source
        self.source_id = source_id
        self.conversion_id = conversion_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.pipedrive_conn_id = pipedrive_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what rebuilds this trigger; it holds no secret."""
        names = ("source", "source_id", "conversion_id", "deadline", "poll_interval", "pipedrive_conn_id")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event.

        It is ``{"status": "success"}`` with the parts of a :class:`leads.writing.conversion.Verdict`, whose
        outcome is ``wait`` if the conversion is late; or one of :func:`api.error_events.error_event`.
        """
        import msgspec

        from airflow_provider_pipedrive_leads.api.error_events import error_event
        from airflow_provider_pipedrive_leads.api.errors import PipedriveError
        from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
        from airflow_provider_pipedrive_leads.leads.writing.conversion import DIRECTIONS, ask, seconds_to_next_question

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        question = (DIRECTIONS[self.source], self.source_id, self.conversion_id)
        deadline = datetime.fromisoformat(self.deadline)
        wait, waited = max(FIRST_WAIT, self.poll_interval), 0.0
        try:
            client = await in_thread(f"{self.pipedrive_conn_id} connection", hook.get_conn)
            while True:
                await _sleep(wait)
                waited += wait
                verdict = await in_thread(f"{self.pipedrive_conn_id} conversions", ask, client, *question)
                left = (deadline - _now()).total_seconds()
                if verdict.outcome != "wait" or left <= 0:
                    break
                pause = seconds_to_next_question(self.poll_interval, waited, verdict.again_after)
                wait = min(pause, left)
            yield TriggerEvent({"status": "success", **msgspec.to_builtins(verdict)})
        except PipedriveError as error:
            yield TriggerEvent(error_event(error))
        finally:
            hook.interrupt()  # a thread outlives the cancelling of who waits for it
            hook.close()


def _now() -> datetime:
    return datetime.now(UTC)


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
