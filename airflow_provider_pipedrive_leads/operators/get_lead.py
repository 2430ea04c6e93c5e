"""Fetching a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveGetLeadOperator(BaseOperator):
    """Fetch a lead, active or archived. An archived one may be out of reach: not every account gives it by id.

    :param lead_id: the lead.
    :param columns: ``names`` adds each custom field by the name that people see in Pipedrive: options by label, numbers
        and dates as texts, None where it is not set. A field that shares its name stays under its key. ``keys`` gives
        the lead as the API has it, and never asks for the names of fields (20 tokens, once in ten minutes).
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead.
    """

    template_fields: Sequence[str] = ("lead_id", "columns", "pipedrive_conn_id")
    operator_extra_links = (PipedriveLeadLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        columns: str = "names",
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.columns = columns
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch it."""
        from airflow_provider_pipedrive_leads.leads.reading.one_lead import read_lead

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "get"), daily_budget(self):
            return read_lead(hook, self.lead_id, self.columns)

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
