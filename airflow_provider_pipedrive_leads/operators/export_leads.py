"""Exporting leads to files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.links.leads_file import LeadsFileLink
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.sdk import Asset, Context, ObjectStoragePath, RetryPolicy


class PipedriveExportLeadsOperator(BaseOperator):
    """Write leads to a file, or a folder of files, that appears whole or not at all.

    Every lead that is there from start to end is in it once, whatever others do in Pipedrive meanwhile.

    :param path: where to, as a path or a URL of any scheme that Airflow's ``ObjectStoragePath`` knows. The suffix names
        the format: ``.jsonl``, ``.ndjson``, ``.csv``, each also with ``.gz`` behind it, or ``.parquet``.
    :param owner_id: only leads of this user.
    :param person_id: only leads of this person.
    :param organization_id: only leads of this organization.
    :param filter_id: only leads of this saved filter; the API lets it win over the three before.
    :param updated_since: only leads changed since then, inclusive; UTC where no zone is given.
    :param archived: ``include`` archived leads, ``exclude`` them, or take ``only`` them.
    :param incremental: read what changed since 60 s before Pipedrive's clock at the last run, or before the newest
        change that was read, whichever is earlier; the first run reads everything.
    :param full_refresh: with ``incremental``: read everything this time.
    :param watermark_asset: the asset in whose state the watermark is kept; default: the only Asset among the outlets.
    :param detect_deleted: compare with the ids of the last run, and add a row for each lead that is gone
        (``is_deleted``, ``converted_deal_id``). Every run is then a full read;
        with ``incremental`` it writes what changed and what is gone.
    :param max_deleted: the part of the leads that may be gone at once; more is an error.
    :param columns: ``names``: flat, readable columns, fixed by the account's field catalogue. ``keys``: as the API
        gives them. Or a list of column names.
    :param expand: whose names, e-mails and phones to add: ``person``, ``organization``, ``owner``.
    :param layout: ``pipedrive``, or ``common``: the fields that unified CRM APIs give for a lead.
    :param overwrite: let an incremental run replace the file that the run before wrote, by its changes alone.
    :param rows_per_file: write parts of so many rows: ``path`` is then a folder whose ``_manifest.json`` names them.
    :param pipedrive_conn_id: the Airflow connection.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: ``path``; ``files``; ``rows``; ``updated_until``, the latest update time among the rows by Pipedrive's
        clock, None without rows; ``requests`` and API ``tokens`` spent; with ``detect_deleted`` also ``deleted``, and
        with ``incremental`` as well ``unchanged``: leads that were read and not written. The event of each outlet asset
        carries the same as its ``extra``.
    """

    template_fields: Sequence[str] = (
        "path",
        "owner_id",
        "person_id",
        "organization_id",
        "filter_id",
        "updated_since",
        "archived",
        "incremental",
        "full_refresh",
        "detect_deleted",
        "max_deleted",
        "columns",
        "expand",
        "layout",
        "overwrite",
        "rows_per_file",
        "pipedrive_conn_id",
    )
    operator_extra_links = (LeadsFileLink(),)
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        path: str | ObjectStoragePath,
        owner_id: int | str | None = None,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        filter_id: int | str | None = None,
        updated_since: datetime | str | None = None,
        archived: str = "include",
        incremental: bool | str = False,
        full_refresh: bool | str = False,
        watermark_asset: Asset | None = None,
        detect_deleted: bool | str = False,
        max_deleted: float | str = 0.1,
        columns: str | Sequence[str] = "names",
        expand: Sequence[str] = (),
        layout: str = "pipedrive",
        overwrite: bool | str = False,
        rows_per_file: int | str | None = None,
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.path = path
        self.owner_id = owner_id
        self.person_id = person_id
        self.organization_id = organization_id
        self.filter_id = filter_id
        self.updated_since = updated_since
        self.archived = archived
        self.incremental = incremental
        self.full_refresh = full_refresh
        self.watermark_asset = watermark_asset
        self.detect_deleted = detect_deleted
        self.max_deleted = max_deleted
        self.columns = columns
        self.expand = expand
        self.layout = layout
        self.overwrite = overwrite
        self.rows_per_file = rows_per_file
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._destination = str(path)  # as it was written down: its templates differ from run to run
        self._told: tuple[Any, ...] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Read pages, write rows, publish at the end, and then note where the next run begins."""
        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "export") as record:
            facts = self._export(context, hook)
            record.rows, record.updated_until = facts["rows"], facts["updated_until"]
            record.as_of = hook.usage.first_reply_at
        return facts

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - Airflow gives it
        """Tell OpenLineage the columns and the number of rows."""
        from airflow_provider_pipedrive_leads.hooks.lineage import export_lineage, left_to_hooks

        return left_to_hooks() if self._told is None else export_lineage(*self._told)

    def _export(self, context: Context, hook: PipedriveLeadsHook) -> dict[str, Any]:
        from airflow_provider_pipedrive_leads.api.values import bool_value
        from airflow_provider_pipedrive_leads.hooks.lineage import report_file
        from airflow_provider_pipedrive_leads.leads.reading.export import export_leads
        from airflow_provider_pipedrive_leads.operators.lead_stream import LeadStream, report, selection_of

        started = time.monotonic()
        place = self._place()
        with daily_budget(self, hook=hook):
            stream = LeadStream(self, context, hook, self._destination, ids_kept=True)
            if not bool_value("overwrite", self.overwrite):
                stream.check_place(str(self.path))
            known = stream.known_ids(place, self.max_deleted)
            exported = export_leads(
                hook,
                selection_of(self),
                place,
                columns=self.columns,
                expand=self.expand,
                layout=self.layout,
                rows_per_file=self.rows_per_file,
                run_key=stream.run_key,
                window=stream.window,
                known=known,
            )
        report_file(place)
        self._told = (hook, place, exported.columns, exported.rows)
        stream.finish(exported, hook.usage.first_reply_at, known, path=str(self.path))
        facts: dict[str, Any] = {
            "path": str(self.path),
            "files": exported.files,
            "rows": exported.rows,
            "updated_until": exported.updated_until,
            "requests": hook.usage.requests,
            "tokens": hook.usage.tokens,
            **({} if known is None else {"deleted": len(exported.gone)}),
            **({} if exported.unchanged is None else {"unchanged": exported.unchanged}),
        }
        sentence = "Exported %(what)s to %(path)s: %(requests)d requests, %(tokens)d API tokens, %(seconds).1f s."
        self.log.info(sentence, {**facts, "what": exported.in_words, "seconds": time.monotonic() - started})
        report(self, context, facts)
        return facts

    def _place(self) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath

        from airflow_provider_pipedrive_leads.files.publishing import check_whole, no_filesystem

        check_whole(str(self.path))
        try:
            return ObjectStoragePath(self.path)
        except (ImportError, ValueError) as problem:
            raise no_filesystem(str(self.path), problem) from problem
