"""Sensors: wait for a lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveLeadSensor(BaseSensorOperator):
    """Wait until a lead has the expected values.

    Each poke costs 2 API tokens. A lead that does not exist is an error, not a reason to wait.

    :param lead_id: the lead.
    :param expected: values by API name, custom-field key or custom-field name; options and labels by name, None for
        unset. Empty: wait for nothing but the lead's existence.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the lead's id.
    """

    template_fields: Sequence[str] = ("lead_id", "expected", "pipedrive_conn_id")
    template_fields_renderers = {"expected": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        lead_id: str,
        expected: Mapping[str, Any] | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.lead_id = lead_id
        self.expected = expected
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._hook: PipedriveLeadsHook | None = None

    def execute(self, context: Context) -> Any:
        """Poke until the lead is as expected."""
        with daily_budget(self):
            return super().execute(context)

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Go on when the day's budget is back."""
        check_event(event)
        return self.execute(context)

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Fetch the lead and compare."""
        from airflow_provider_pipedrive_leads.api.fields import differing

        if self._hook is None:
            self._hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        wanted = self._hook.wire_fields(self.expected or {})
        missing = differing(wanted, self._hook.get_lead(self.lead_id))
        if missing:
            self.log.info("Lead %s is not yet as expected: %s.", self.lead_id, ", ".join(missing))
        return PokeReturnValue(is_done=not missing, xcom_value=self.lead_id)
