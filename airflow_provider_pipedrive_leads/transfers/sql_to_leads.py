"""Leads from a query of any database that Airflow reaches through a ``DbApiHook``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context, ObjectStoragePath, RetryPolicy


class PipedriveSqlToLeadsOperator(BaseOperator):
    """Create and update leads so that they have what the rows of a query say, and write nothing that is there already.

    Rows are compared and written as :class:`operators.load_leads.PipedriveLoadLeadsOperator` does it: what it says of
    empty values, keys, retries and results holds here too.

    :param conn_id: the Airflow connection of the database.
    :param sql: one query, or a file of the DAG's folder that ends in ``.sql``. Its columns are called as the fields
        are, unless ``fields`` says otherwise.
    :param parameters: values for the query's placeholders, in the form that the driver knows.
    :param key: by what rows and leads are matched: ``origin_id``, a custom text field by name or key, or ``id``, with
        which no leads are created.
    :param key_prefix: stands before each key in Pipedrive; leads whose key does not begin so are left alone.
    :param fields: column by field; default: each column is called as its field is.
    :param dry_run: compare and tell what would be done, at what cost, and write nothing.
    :param on_row_error: after a bad row ``continue``, or ``stop``: before the first write if it is found before.
    :param max_failed: failed rows and conflicts that do not make the task fail, in the end.
    :param on_missing: ``ignore`` leads with the prefix that no row names, or ``archive`` those that are active.
    :param max_missing: the part of the active leads with the prefix that may be archived so; more is an error.
    :param on_converted: ``skip`` rows whose lead was converted to a deal, or ``create`` the lead again. To skip them,
        deals are read whenever a row has no lead: 10 API tokens for 500, 20 for 500 archived ones.
    :param restore: restore archived leads that differ, and update them; else such rows are conflicts.
    :param results_path: the folder for what became of each row, as JSON Lines. Without it the outcomes other than
        ``unchanged``, at most 1,000, are in the result, and in the XCom ``results`` even when the task fails.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
    :param pipedrive_conn_id: the Airflow connection of Pipedrive.
    :param on_daily_budget: when the company's API tokens of the day do not suffice, ``fail``, or ``wait`` without a
        worker, and then write day by day as far as they go.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: as of :class:`operators.load_leads.PipedriveLoadLeadsOperator`.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "sql",
        "parameters",
        "key",
        "key_prefix",
        "fields",
        "dry_run",
        "on_row_error",
        "max_failed",
        "on_missing",
        "max_missing",
        "on_converted",
        "restore",
        "results_path",
        "settle",
        "pipedrive_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers = {"sql": "sql", "parameters": "json", "fields": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        conn_id: str,
        sql: str,
        key: str,
        parameters: Sequence[Any] | Mapping[str, Any] | None = None,
        key_prefix: str | None = None,
        fields: Mapping[str, str] | None = None,
        dry_run: bool | str = False,
        on_row_error: str = "continue",
        max_failed: int | str = 0,
        on_missing: str = "ignore",
        max_missing: float | str = 0.1,
        on_converted: str = "skip",
        restore: bool | str = False,
        results_path: str | ObjectStoragePath | None = None,
        settle: float | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.conn_id = conn_id
        self.sql = sql
        self.parameters = parameters
        self.key = key
        self.key_prefix = key_prefix
        self.fields = fields
        self.dry_run = dry_run  # type: ignore[assignment, method-assign]  # Airflow's own only prints
        self.on_row_error = on_row_error
        self.max_failed = max_failed
        self.on_missing = on_missing
        self.max_missing = max_missing
        self.on_converted = on_converted
        self.restore = restore
        self.results_path = results_path
        self.settle = settle
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the query, compare its rows with the present leads, write the differences."""
        return self._load(context, waited=False)

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compare anew when the day's budget is back, and write as far as it goes."""
        check_event(event)
        return self._load(context, waited=True)

    def _load(self, context: Context, *, waited: bool) -> dict[str, Any]:
        from airflow_provider_pipedrive_leads.operators.load_run import place_of, run_load
        from airflow_provider_pipedrive_leads.sql.rows import reading_query

        return run_load(
            self,
            context,
            PipedriveLeadsHook(self.pipedrive_conn_id),
            reading_query(BaseHook.get_hook(self.conn_id), self.sql, self.parameters),
            place_of("results_path", self.results_path) if self.results_path else None,
            kind="load from SQL",
            waited=waited,
        )
