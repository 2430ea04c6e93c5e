"""Creating a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveCreateLeadOperator(BaseOperator):
    """Create a lead.

    A create whose outcome is unknown (a timeout, a reset) is repeated neither by the hook nor by a retry of the task:
    the task fails at once, for a second lead would be worse.

    :param title: what the lead is called.
    :param person_id: the person whom the lead hangs on; this or an organization is needed.
    :param organization_id: the organization that the lead hangs on.
    :param person: find a person by ``email``, else ``phone``, else ``name``, or create it; instead of ``person_id``.
    :param organization: find an organization by ``name``, or create it; instead of ``organization_id``.
    :param fields: further fields by API name, custom-field key or custom-field name; options and labels by name.
    :param origin_id: your own id for the lead; can be set at creation only.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = (
        "title",
        "person_id",
        "organization_id",
        "person",
        "organization",
        "fields",
        "origin_id",
        "pipedrive_conn_id",
    )
    template_fields_renderers = {"person": "json", "organization": "json", "fields": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        title: str,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        person: Mapping[str, Any] | None = None,
        organization: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        origin_id: str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.title = title
        self.person_id = person_id
        self.organization_id = organization_id
        self.person = person
        self.organization = organization
        self.fields = fields
        self.origin_id = origin_id
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> str:  # noqa: ARG002
        """Check everything that can be checked, find or create the contact, create the lead."""
        from airflow_provider_pipedrive_leads.leads.writing import create_lead

        with daily_budget(self):
            lead = create_lead(
                PipedriveLeadsHook(self.pipedrive_conn_id),
                title=self.title,
                person_id=self.person_id,
                organization_id=self.organization_id,
                person=self.person,
                organization=self.organization,
                fields=self.fields,
                origin_id=self.origin_id,
            )
        self.log.info("Created lead %s.", lead["id"])
        return str(lead["id"])

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
