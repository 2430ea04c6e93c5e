"""Deleting a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveDeleteLeadOperator(BaseOperator):
    """Delete a lead for good, archived or not.

    A lead that is not there is an error, for the id is most likely wrong; but not where an earlier try of the same task
    may have deleted it.

    :param lead_id: the lead.
    :param ignore_missing: take a lead that is not there for deleted.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = ("lead_id", "ignore_missing", "pipedrive_conn_id")
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        ignore_missing: bool | str = False,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.ignore_missing = ignore_missing
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> str:
        """Delete it, and remember that this was tried."""
        from airflow_provider_pipedrive_leads.api.values import bool_value
        from airflow_provider_pipedrive_leads.leads.writing.deletion import delete_once
        from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "delete"), daily_budget(self):
            lead_id = delete_once(
                hook,
                self.lead_id,
                TaskMemory(context),
                ignore_missing=bool_value("ignore_missing", self.ignore_missing),
            )
        self.log.info("Deleted lead %s.", lead_id)
        return lead_id

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
