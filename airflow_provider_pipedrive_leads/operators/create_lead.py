"""Creating a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveCreateLeadOperator(BaseOperator):
    """Create a lead, once for each run of the task however often it is tried.

    Each lead gets a key in ``origin_id``, made of DAG, task, run and map index. A create that gets a clean answer costs
    one call. After a time-out, a broken connection or a killed worker the contact's leads are looked through for the
    key before anything is sent again; that takes up to ``settle`` seconds. What that cannot cover: a lead that was
    deleted, converted or moved to another contact in the meantime, and a mapped task that is cleared together with the
    list it is mapped over, so that its index means another row.

    :param title: what the lead is called.
    :param person_id: the person whom the lead hangs on; this or an organization is needed.
    :param organization_id: the organization that the lead hangs on.
    :param person: find a person by ``email``, else ``phone``, else ``name``, or create it; instead of ``person_id``.
    :param organization: find an organization by ``domain``, else ``name``, or create it; instead of
        ``organization_id``.
    :param fields: further fields by API name, custom-field key or custom-field name; options and labels by name.
    :param origin_id: a key of your own, such as a form's id or another CRM's: the same for all tries, another for each
        lead. A new run with the same key makes a new lead; to update leads by key, load them.
    :param key_field: a custom text field, by name or key, that carries the key too: for accounts that put an
        ``origin_id`` of their own, as OAuth apps can.
    :param note: HTML that is attached to the lead as a note.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
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
        "key_field",
        "note",
        "settle",
        "pipedrive_conn_id",
    )
    template_fields_renderers = {"person": "json", "organization": "json", "fields": "json"}  # noqa: RUF012
    operator_extra_links = (PipedriveLeadLink(),)
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
        key_field: str | None = None,
        note: str | None = None,
        settle: float | str | None = None,
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
        self.key_field = key_field
        self.note = note
        self.settle = settle
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._written = {
            "title": title,
            "origin_id": origin_id,
            "person": person,
            "organization": organization,
            "fields": fields,
            "note": note,
        }

    def execute(self, context: Context) -> str:
        """Check everything that can be checked, find or create the contact, create the lead, and its note."""
        from airflow_provider_pipedrive_leads.api.values import refuse_rendered_none, text_value
        from airflow_provider_pipedrive_leads.leads.writing.create_once import key_of_run
        from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead
        from airflow_provider_pipedrive_leads.leads.writing.notes import note_once
        from airflow_provider_pipedrive_leads.operators.task_memory import (
            TaskMemory,
            began_earlier,
            patience_of,
            run_key,
        )

        for name, written in self._written.items():
            refuse_rendered_none(name, written, getattr(self, name))
        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        new = NewLead(
            title=self.title,
            key=key_of_run(run_key(context) or uuid4().hex) if self.origin_id in (None, "") else self.origin_id,
            key_field=self.key_field,
            person_id=self.person_id,
            organization_id=self.organization_id,
            person=self.person,
            organization=self.organization,
            fields=self.fields,
        )
        with recorded(self, context, hook, "create"), daily_budget(self):
            note = "" if self.note is None else text_value("note", self.note)
            memory, patience = TaskMemory(context), patience_of(hook, self.settle)
            began = began_earlier(context)
            lead_id = create_lead(hook, new, memory, patience, began=began)
            if note.strip():
                note_once(hook, lead_id, note, memory, patience, began=began)
        self.log.info("Created lead %s.", lead_id)
        return lead_id

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> str:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
