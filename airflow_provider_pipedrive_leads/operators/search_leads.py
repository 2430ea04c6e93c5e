"""Searching leads."""

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


class PipedriveSearchLeadsOperator(BaseOperator):
    """Search leads by text, with one call (20 tokens).

    Pipedrive's index lags behind writes: a lead made or changed a moment ago may be missing, or be found by what it was
    before. Whether a lead exists is not a question for a search.

    :param term: what to look for, without regard to case; at least 2 characters, or 1 with ``exact_match``.
    :param fields: of ``title``, ``notes`` and ``custom_fields``; default all.
    :param exact_match: find only what is equal to the term as a whole.
    :param person_id: only leads of this person.
    :param organization_id: only leads of this organization.
    :param limit: hits at most, 1 to 500.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: the hits, best first, as the API's search gives them: ``id``, ``title``, ``owner``, ``value`` and others,
        in another form than that of a lead.
    """

    template_fields: Sequence[str] = (
        "term",
        "fields",
        "exact_match",
        "person_id",
        "organization_id",
        "limit",
        "pipedrive_conn_id",
    )
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        term: str,
        fields: str | Sequence[str] | None = None,
        exact_match: bool | str = False,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        limit: int | str = 100,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.term = term
        self.fields = fields
        self.exact_match = exact_match
        self.person_id = person_id
        self.organization_id = organization_id
        self.limit = limit
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Search once."""
        from airflow_provider_pipedrive_leads.leads.reading.searching import search_capped

        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "search"), daily_budget(self):
            hits = search_capped(
                hook,
                self.term,
                fields=self.fields,
                exact_match=self.exact_match,
                person_id=self.person_id,
                organization_id=self.organization_id,
                limit=self.limit,
            )
        self.log.info("Found %d leads.", len(hits))
        return hits

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)
