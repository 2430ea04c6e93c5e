"""Making sure that lead labels are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, RetryPolicy


class PipedriveEnsureLeadLabelsOperator(BaseOperator):
    """Make sure that lead labels are there, each once, also when tasks do this side by side or again.

    Names count without regard to case and to blanks around them. Labels that are there are left as they are.

    :param labels: names, or ``{"name": …, "color": …}``; a new label is gray unless a colour is given. Colours are
        blue, brown, dark-gray, gray, green, orange, pink, purple, red and yellow. A JSON text is taken too.
    :param update_colors: give labels that are there the colour wanted, if it is another one.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: id by name, as the names were given.
    """

    template_fields: Sequence[str] = ("labels", "update_colors", "settle", "pipedrive_conn_id")
    template_fields_renderers = {"labels": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        labels: Sequence[str | Mapping[str, str]] | str,
        update_colors: bool | str = False,
        settle: float | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.labels = labels
        self.update_colors = update_colors
        self.settle = settle
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> dict[str, str]:
        """Check the labels, look which are there, and make the others."""
        from airflow_provider_pipedrive_leads.api.values import bool_value
        from airflow_provider_pipedrive_leads.leads.writing.labels import ensure_labels, wanted_labels
        from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory, patience_of

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "labels"), daily_budget(self):
            ids = ensure_labels(
                hook,
                wanted_labels(self.labels),
                TaskMemory(context),
                patience_of(hook, self.settle),
                update_colors=bool_value("update_colors", self.update_colors),
            )
        self.log.info("%d labels are there.", len(ids))
        return ids

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, str]:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
