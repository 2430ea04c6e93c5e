"""What the sensors share: leaving the worker, a time-out that counts from the first look on, and spent days."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator

from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError, PipedriveError
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class PipedriveSensor(BaseSensorOperator):
    """Waits by poking, or in the triggerer.

    A subclass has ``poke`` for the one, and for the other ``look_or_leave``, and ``execute_complete`` for what comes
    after it.

    :ivar deferrable: whether to wait without a worker.
    :ivar pipedrive_conn_id: the Airflow connection.
    :ivar on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    """

    deferrable: bool
    pipedrive_conn_id: str
    on_daily_budget: str

    def execute(self, context: Context) -> Any:
        """Look until the wait is over, here or in a trigger."""
        deadline = self.time_out_at(context)
        with daily_budget(self, deadline), self.never_failing():
            return self.look_or_leave(deadline) if self.deferrable else super().execute(context)

    def look_or_leave(self, deadline: str) -> Any:
        """Look once, and :meth:`leave_for` unless the wait is over."""
        raise NotImplementedError

    def execute_next_day(
        self, context: Context, event: dict[str, Any] | None = None, deadline: str | None = None
    ) -> Any:
        """Go on when the day's budget is back."""
        check_event(event)
        if deadline is not None and self._rescheduled_at(context) is None:  # else Airflow keeps count
            left = datetime.fromisoformat(deadline) - datetime.now(UTC)
            self.timeout = max(0.0, left.total_seconds())
        return self.execute(context)

    def time_out_at(self, context: Context) -> str:
        """Give the ISO time of a time-out that begins now, or began when Airflow first rescheduled the sensor."""
        began = self._rescheduled_at(context) or datetime.now(UTC)
        return (began + timedelta(seconds=self.timeout)).isoformat()

    def _rescheduled_at(self, context: Context) -> datetime | None:
        """When Airflow first rescheduled it; None if it did not."""
        return context["ti"].get_first_reschedule_date(context) if self.reschedule else None

    def leave_for(self, trigger: BaseTrigger, deadline: str) -> NoReturn:
        """Wait in the triggerer, until a deadline at most."""
        left = datetime.fromisoformat(deadline) - datetime.now(UTC)
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"deadline": deadline},
            timeout=max(left, timedelta(0)),
        )

    @contextmanager
    def never_failing(self) -> Iterator[None]:
        """Do with errors what ``never_fail`` asks for, as Airflow does where it pokes; but wait out a spent day."""
        from airflow.sdk.exceptions import AirflowSkipException

        try:
            yield
        except AirflowSkipException as skipped:
            spent = skipped.__cause__
            if isinstance(spent, PipedriveDailyBudgetError) and self.on_daily_budget == "wait":
                raise spent from None
            raise
        except PipedriveError as error:
            waits = isinstance(error, PipedriveDailyBudgetError) and self.on_daily_budget == "wait"
            if waits or not self.never_fail:
                raise
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
