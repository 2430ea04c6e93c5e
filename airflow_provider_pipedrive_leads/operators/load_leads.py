"""Loading leads from files, and from lists of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from airflow.sdk import Context, ObjectStoragePath, RetryPolicy

    from airflow_provider_pipedrive_leads.files.row import Row


class PipedriveLoadLeadsOperator(BaseOperator):
    """Create and update leads so that they have what rows say, and write nothing that is there already.

    The present leads are read once and joined to the rows by ``key``; only differences are written, and a second load
    of the same rows writes nothing. A bad row does not stop the others, and every row gets a result. A retry compares
    anew, so it creates no lead twice.

    A column that is there and empty (an empty cell of a CSV file, null) unsets its field; to leave a field alone, leave
    its column out. ``owner_id``, ``visible_to``, ``was_seen`` and ``is_archived`` cannot be without a value: there
    empty means as it is. ``origin_id`` is written at creation only. A value that Pipedrive stores in its own way
    (trimmed, rounded, an address laid out anew) counts as the same; one that it stores as something else altogether is
    reported as rewritten, and is written once by each load.

    :param path: rows as ``.jsonl``, ``.ndjson`` or ``.csv``, each also with ``.gz`` behind it, or ``.parquet``, on any
        filesystem that Airflow's ``ObjectStoragePath`` knows; or the folder of an export in parts.
    :param rows: rows as mappings, instead of ``path``.
    :param key: by what rows and leads are matched: ``origin_id``, a custom text field by name or key, or ``id``, with
        which no leads are created.
    :param key_prefix: stands before each key in Pipedrive; leads whose key does not begin so are left alone.
    :param fields: column by field: ``{"Company size": "employees"}``. Fields go by API name, key, name, or the name
        of an export's column. Default: each column is called as its field is.
    :param dry_run: compare and tell what would be done, at what cost, and write nothing.
    :param on_row_error: after a bad row ``continue``, or ``stop``: before the first write if it is found before.
    :param max_failed: failed rows and conflicts that do not make the task fail, in the end.
    :param on_missing: ``ignore`` leads with the prefix that no row names, or ``archive`` those that are active.
    :param max_missing: the part of the active leads with the prefix that may be archived so; more is an error.
    :param on_converted: ``skip`` rows whose lead was converted to a deal, or ``create`` the lead again. To skip them,
        deals are read whenever a row has no lead: 10 API tokens for 500, 20 for 500 archived ones.
    :param restore: restore archived leads that differ, and update them; else such rows are conflicts.
    :param results_path: the folder for what became of each row, as JSON Lines; default: beside ``path``, its name with
        ``.results`` behind it. With ``rows`` and no folder the outcomes other than ``unchanged``, at most 1,000, are in
        the result, and in the XCom ``results`` even when the task fails.
    :param settle: seconds for which a server may go on with a call that was given up; default: the connection's
        timeout, at least 30.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day do not suffice, ``fail``, or ``wait`` without a
        worker, and then write day by day as far as they go.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: ``created``, ``updated``, ``unchanged``, ``converted`` (rows whose lead has become a deal), ``conflicts``,
        ``failed`` and ``rows``; with ``on_missing`` ``archived``; ``results``: the files, or the outcomes; ``requests``
        and API ``tokens`` spent; of a dry run also ``cost``, the API tokens that writing would take.
    """

    template_fields: Sequence[str] = (
        "path",
        "rows",
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
    template_fields_renderers = {"rows": "json", "fields": "json"}  # noqa: RUF012
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        key: str,
        path: str | ObjectStoragePath | None = None,
        rows: Iterable[Mapping[str, Any]] | None = None,
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
        self.path = path
        self.rows = rows
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
        """Read the rows, compare them with the present leads, write the differences."""
        return self._load(context, waited=False)

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Compare anew when the day's budget is back, and write as far as it goes."""
        check_event(event)
        return self._load(context, waited=True)

    def _load(self, context: Context, *, waited: bool) -> dict[str, Any]:
        from airflow_provider_pipedrive_leads.operators.load_run import place_of, run_load

        if (self.path is None) == (self.rows is None):
            why = "" if self.path else " Where rows= is another task's result, that task returned None."
            raise PipedriveConfigError(f"path, rows: give one of them, and not both.{why}")
        folder = self.results_path or None
        if folder is None and self.path is not None:
            folder = f"{str(self.path).rstrip('/')}.results"
        return run_load(
            self,
            context,
            PipedriveLeadsHook(self.pipedrive_conn_id),
            self._rows(),
            None if folder is None else place_of("results_path", folder),
            kind="load",
            waited=waited,
        )

    def _rows(self) -> AbstractContextManager[Iterator[Row]]:
        from contextlib import nullcontext

        from airflow_provider_pipedrive_leads.files.rows import reading_rows, rows_of
        from airflow_provider_pipedrive_leads.operators.load_run import place_of

        if self.path is not None:
            return reading_rows(place_of("path", self.path))
        return nullcontext(rows_of(self.rows or ()))
