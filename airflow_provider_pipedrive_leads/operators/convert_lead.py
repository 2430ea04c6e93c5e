"""Converting leads to deals, and deals to leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from airflow.sdk import BaseOperator, conf

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.links.deal import PipedriveDealLink
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow.sdk import Context, RetryPolicy

    from airflow_provider_pipedrive_leads.leads.writing.conversion import Conversion, Order


class PipedriveConvertLeadOperator(BaseOperator):
    """Turn a lead into a deal, once for each run of the task however often it is tried, and wait for it.

    The lead is gone afterwards; its notes, files and activities move to the deal. A later try of the task goes on
    waiting for the conversion that an earlier one started. After a time-out, a broken connection or a killed worker
    the deal is looked for before anything is started again; that takes up to ``settle`` seconds. A conversion that
    failed or was rejected is not repeated by retries; clearing the task starts a new one. A start costs 40 API tokens,
    each question 1.

    :param lead_id: the lead.
    :param stage_id: the stage of the new deal; default: the first of the pipeline.
    :param pipeline_id: the pipeline of the new deal, if no stage is given; default: Pipedrive's own.
    :param deferrable: whether to wait without a worker; default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two questions how the conversion stands.
    :param conversion_timeout: seconds from its start within which the conversion must end, tries and waiting included.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the deal's id.
    """

    template_fields: Sequence[str] = (
        "lead_id",
        "stage_id",
        "pipeline_id",
        "poll_interval",
        "conversion_timeout",
        "settle",
        "pipedrive_conn_id",
    )
    operator_extra_links = (PipedriveDealLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        stage_id: int | str | None = None,
        pipeline_id: int | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 5.0,
        conversion_timeout: float | str = 600.0,
        settle: float | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.stage_id = stage_id
        self.pipeline_id = pipeline_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.conversion_timeout = conversion_timeout
        self.settle = settle
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> int:
        """Start the conversion, unless an earlier try did, and wait for it."""
        return int(convert(self, context, self._order()))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> int:
        """Go on with what the trigger found."""
        return int(convert_on(self, context, self._order(), event))

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> int:
        """Go on when the day's budget is back."""
        check_event(event)
        return self.execute(context)

    def _order(self) -> Order:
        from airflow_provider_pipedrive_leads.leads.writing.conversion import order_of

        return order_of(
            "lead", self.lead_id, self.pipedrive_conn_id, stage_id=self.stage_id, pipeline_id=self.pipeline_id
        )


class PipedriveConvertDealOperator(BaseOperator):
    """Turn a deal back into a lead, once for each run of the task however often it is tried, and wait for it.

    The deal is gone afterwards. All else is as in :class:`PipedriveConvertLeadOperator`.

    :param deal_id: the deal.
    :param deferrable: whether to wait without a worker; default: ``[operators] default_deferrable``.
    :param poll_interval: seconds between two questions how the conversion stands.
    :param conversion_timeout: seconds from its start within which the conversion must end, tries and waiting included.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = ("deal_id", "poll_interval", "conversion_timeout", "settle", "pipedrive_conn_id")
    operator_extra_links = (PipedriveLeadLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        deal_id: int | str,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 5.0,
        conversion_timeout: float | str = 600.0,
        settle: float | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.deal_id = deal_id
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.conversion_timeout = conversion_timeout
        self.settle = settle
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> str:
        """Start the conversion, unless an earlier try did, and wait for it."""
        return str(convert(self, context, self._order()))

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Go on with what the trigger found."""
        return str(convert_on(self, context, self._order(), event))

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Go on when the day's budget is back."""
        check_event(event)
        return self.execute(context)

    def _order(self) -> Order:
        from airflow_provider_pipedrive_leads.leads.writing.conversion import order_of

        return order_of("deal", self.deal_id, self.pipedrive_conn_id)


class Converts(Protocol):
    """What the two operators have in common."""

    deferrable: bool
    poll_interval: float | str
    conversion_timeout: float | str
    settle: float | str | None
    pipedrive_conn_id: str
    on_daily_budget: str
    do_xcom_push: bool
    execution_timeout: timedelta | None

    def defer(self, *, trigger: Any, method_name: str, timeout: timedelta | int | float | None = None) -> NoReturn:
        """Airflow's own: leave the worker until the trigger fires."""
        ...


def convert(task: Converts, context: Context, order: Order) -> int | str:
    """Start a conversion unless an earlier try did, and wait for it, here or in a trigger.

    :return: the id of what was made.
    """
    hook = PipedriveLeadsHook(task.pipedrive_conn_id)
    with recorded(task, context, hook, "convert"), daily_budget(task):
        poll_interval = _seconds("poll_interval", task.poll_interval)
        conversion = _conversion(task, context, hook, order)
        conversion.begin()
        if not task.deferrable:
            return conversion.wait(poll_interval)
        target_id = conversion.conclude(conversion.ask())
        if target_id is None:
            _leave(task, conversion, order, poll_interval)
        return target_id


def convert_on(task: Converts, context: Context, order: Order, event: dict[str, Any] | None) -> int | str:
    """Go on with a conversion that a trigger waited for.

    :return: the id of what was made.
    """
    from airflow_provider_pipedrive_leads.leads.writing.conversion import read_verdict

    hook = PipedriveLeadsHook(task.pipedrive_conn_id)
    with recorded(task, context, hook, "convert"), daily_budget(task):
        check_event(event)
        conversion = _conversion(task, context, hook, order)
        target_id = conversion.conclude(read_verdict(event or {}))
        if target_id is None:
            _leave(task, conversion, order, _seconds("poll_interval", task.poll_interval))
        return target_id


def _conversion(task: Converts, context: Context, hook: PipedriveLeadsHook, order: Order) -> Conversion:
    from airflow_provider_pipedrive_leads.leads.writing.conversion import Conversion
    from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory, patience_of

    timeout = _seconds("conversion_timeout", task.conversion_timeout)
    return Conversion(hook, order, TaskMemory(context), patience_of(hook, task.settle), timeout=timeout)


def _leave(task: Converts, conversion: Conversion, order: Order, poll_interval: float) -> NoReturn:
    from airflow_provider_pipedrive_leads.triggers.conversion import PipedriveConversionTrigger

    trigger = PipedriveConversionTrigger(
        source=order.direction.source,
        source_id=order.source_id,
        conversion_id=str(conversion.conversion_id),
        deadline=conversion.deadline.isoformat(),
        poll_interval=poll_interval,
        pipedrive_conn_id=task.pipedrive_conn_id,
    )
    task.defer(trigger=trigger, method_name="execute_complete", timeout=task.execution_timeout)


def _seconds(name: str, value: float | str) -> float:
    from airflow_provider_pipedrive_leads.api.values import number_value, wrong

    seconds = float(number_value(name, value))
    if seconds <= 0:
        raise wrong(name, value, "a number of seconds above 0")
    return seconds
