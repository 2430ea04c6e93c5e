"""Changing a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import Context, RetryPolicy


class PipedriveUpdateLeadOperator(BaseOperator):
    """Change some fields of a lead and leave the rest alone.

    :param lead_id: the lead.
    :param fields: fields by API name, custom-field key or custom-field name; None unsets. ``label_ids`` replaces the
        whole set of labels, ``is_archived`` archives or restores.
    :param add_labels: labels to add, by name or id.
    :param remove_labels: labels to take off, by name or id. Labels are read, merged and written: a change that someone
        else makes in that moment is lost.
    :param if_unchanged_since: change nothing, and fail, if the lead's ``update_time`` is later than this. It narrows
        the race with someone who edits the lead, and cannot close it: an edit between the look and the write is lost.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = (
        "lead_id",
        "fields",
        "add_labels",
        "remove_labels",
        "if_unchanged_since",
        "pipedrive_conn_id",
    )
    template_fields_renderers = {"fields": "json"}  # noqa: RUF012
    operator_extra_links = (PipedriveLeadLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        fields: Mapping[str, Any] | None = None,
        add_labels: Sequence[str] = (),
        remove_labels: Sequence[str] = (),
        if_unchanged_since: datetime | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.fields = fields
        self.add_labels = add_labels
        self.remove_labels = remove_labels
        self.if_unchanged_since = if_unchanged_since
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._written = {"fields": fields}

    def execute(self, context: Context) -> str:
        """Send what changes."""
        from airflow_provider_pipedrive_leads.api.values import refuse_rendered_none
        from airflow_provider_pipedrive_leads.leads.writing.lead import update_lead

        for name, written in self._written.items():
            refuse_rendered_none(name, written, getattr(self, name))
        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "update"), daily_budget(self):
            update_lead(
                hook,
                self.lead_id,
                fields=self.fields,
                add_labels=self.add_labels,
                remove_labels=self.remove_labels,
                if_unchanged_since=self.if_unchanged_since,
            )
        self.log.info("Updated lead %s.", self.lead_id)
        return self.lead_id

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
