"""What an operator or sensor does when the company's API tokens of the day are spent."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_pipedrive_leads.api.error_events import error_in
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveDailyBudgetError, PipedriveError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

CHOICES = ("fail", "wait")


class SpendsBudget(Protocol):
    """An operator or sensor with the parameters that matter here."""

    pipedrive_conn_id: str
    on_daily_budget: str

    def defer(self, *args: Any, **kwargs: Any) -> Any:
        """Airflow's own: leave the worker until the trigger fires."""


@contextmanager
def daily_budget(
    task: SpendsBudget, deadline: str | None = None, *, hook: PipedriveLeadsHook | None = None
) -> Iterator[None]:
    """Run a block of API calls; on a spent day fail, or leave the worker and go on with ``execute_next_day``.

    :param hook: makes the calls of a block that has to begin anew, and so needs at least what it has spent so far.
    :param deadline: ISO time until which the task waits, given to ``execute_next_day``; None for an operator.
    :raises PipedriveConfigError: ``on_daily_budget`` is neither ``fail`` nor ``wait``.
    """
    if task.on_daily_budget not in CHOICES:
        raise PipedriveConfigError(f"on_daily_budget: {task.on_daily_budget!r} is neither 'fail' nor 'wait'.")
    try:
        yield
    except PipedriveDailyBudgetError as error:
        if task.on_daily_budget == "fail":
            raise
        from airflow_provider_pipedrive_leads.triggers.daily_budget import PipedriveDailyBudgetTrigger

        left = None if deadline is None else max(timedelta(0), datetime.fromisoformat(deadline) - datetime.now(UTC))
        resets_at = error.resets_at.isoformat() if error.resets_at else None
        needed = max(error.needed or 0, hook.usage.tokens if hook else 0) or None
        task.defer(
            trigger=PipedriveDailyBudgetTrigger(task.pipedrive_conn_id, resets_at=resets_at, needed=needed),
            method_name="execute_next_day",
            kwargs=None if deadline is None else {"deadline": deadline},
            timeout=left,
        )


def check_event(event: Mapping[str, Any] | None) -> None:
    """Read the event that woke a task.

    :raises PipedriveError: the typed error that the trigger met, or that there is no event that can be understood.
    """
    event = event or {}
    status = event.get("status")
    if status == "success":
        return
    if status != "error":
        raise PipedriveError(f"The trigger woke the task with an event that cannot be understood: {status!r}.")
    raise error_in(event)
