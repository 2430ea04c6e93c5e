"""Leads into a table of any database that Airflow reaches through a ``DbApiHook``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseOperator

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.daily_budget import check_event, daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Asset, Context, RetryPolicy

    from airflow_provider_pipedrive_leads.leads.reading.export import Exported
    from airflow_provider_pipedrive_leads.leads.reading.kept_names import KeptNames
    from airflow_provider_pipedrive_leads.leads.reading.lead_rows import Rows
    from airflow_provider_pipedrive_leads.operators.lead_stream import LeadStream


class PipedriveLeadsToSqlOperator(BaseOperator):
    """Load leads into a table, which is made and widened by the account's field catalogue.

    Rows are staged batch by batch and become visible in one step at the end. A column stays tied to its Pipedrive
    field: a field that people rename keeps its column.

    :param conn_id: the Airflow connection of the database.
    :param table: ``table`` or ``schema.table``.
    :param mode: ``merge``: update rows of the same id unless those there are newer, add the others. ``replace``: leave
        no row of before. ``append``: add rows to those of other runs; a try of the same run replaces its own.
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
    :param detect_deleted: set ``is_deleted`` in rows whose lead is gone. Every run is then a full read;
        with ``incremental`` it writes what changed and what is gone.
    :param max_deleted: the part of the leads that may be gone at once; more is an error.
    :param columns: ``names``: flat, readable columns. ``keys``: as the API gives them. Or a list of column names,
        ``id`` among them.
    :param expand: whose names, e-mails and phones to add: ``person``, ``organization``, ``owner``.
    :param layout: ``pipedrive``, or ``common``: the fields that unified CRM APIs give for a lead.
    :param pipedrive_conn_id: the Airflow connection of Pipedrive.
    :param on_daily_budget: when the company's API tokens of the day are spent, ``fail``, or ``wait`` without a worker.
    :param retry_policy: see :class:`retry_policy.PipedriveRetryPolicy`; None for Airflow's plain retries.
    :return: ``table``; ``rows``; ``updated_until``, the latest update time among the rows by Pipedrive's clock, None
        without rows; ``requests`` and API ``tokens`` spent; with ``detect_deleted`` also ``deleted``, and with
        ``incremental`` as well ``unchanged``: leads that were read and not written. The event of each outlet asset
        carries the same as its ``extra``.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "table",
        "mode",
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
        "pipedrive_conn_id",
    )
    ui_color = "#d9f2e3"

    def __init__(
        self,
        *,
        conn_id: str,
        table: str,
        mode: str = "merge",
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
        pipedrive_conn_id: str = PipedriveLeadsHook.default_conn_name,
        on_daily_budget: str = "fail",
        retry_policy: RetryPolicy | None = PIPEDRIVE_RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy, **kwargs)
        self.conn_id = conn_id
        self.table = table
        self.mode = mode
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
        self.pipedrive_conn_id = pipedrive_conn_id
        self.on_daily_budget = on_daily_budget
        self._told: tuple[Any, ...] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Read pages, stage rows, let the table change at the end, and then note where the next run begins."""
        hook = PipedriveLeadsHook(self.pipedrive_conn_id)
        with recorded(self, context, hook, "export to SQL") as record:
            facts = self._transfer(context, hook)
            record.rows, record.updated_until = facts["rows"], facts["updated_until"]
            record.as_of = hook.usage.first_reply_at
        return facts

    def execute_next_day(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin anew when the day's budget is back."""
        check_event(event)
        return self.execute(context)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002 - Airflow gives it
        """Tell OpenLineage the columns and the number of rows."""
        from airflow_provider_pipedrive_leads.hooks.lineage import left_to_hooks, table_lineage

        return left_to_hooks() if self._told is None else table_lineage(*self._told)

    def _transfer(self, context: Context, hook: PipedriveLeadsHook) -> dict[str, Any]:
        from airflow_provider_pipedrive_leads.leads.reading.columns import with_version
        from airflow_provider_pipedrive_leads.leads.reading.export import reads_few
        from airflow_provider_pipedrive_leads.leads.reading.lead_rows import rows_for, with_names
        from airflow_provider_pipedrive_leads.operators.lead_stream import LeadStream, report

        started = time.monotonic()
        with daily_budget(self, hook=hook):
            database = self._database()
            stream = LeadStream(self, context, hook, f"{self.conn_id} {self.table}", ids_kept=False)
            self._check(stream, database)
            completed = with_version if self.mode == "merge" else tuple

            def load(names: KeptNames | None) -> Exported:
                with rows_for(
                    hook,
                    self.columns,
                    expand=self.expand,
                    layout=self.layout,
                    completed=completed,
                    names=names,
                ) as rows:
                    return self._load(hook, database, stream, rows)

            exported = with_names(hook, few=reads_few(stream.window), read=load)
        self._told = (hook, database, self.table, exported.columns, exported.rows)
        stream.finish(exported, hook.usage.first_reply_at)
        facts: dict[str, Any] = {
            "table": self.table,
            "rows": exported.rows,
            "updated_until": exported.updated_until,
            "requests": hook.usage.requests,
            "tokens": hook.usage.tokens,
            **({"deleted": len(exported.gone)} if stream.detect_deleted else {}),
            **({} if exported.unchanged is None else {"unchanged": exported.unchanged}),
        }
        sentence = "Loaded %(what)s into %(table)s: %(requests)d requests, %(tokens)d API tokens, %(seconds).1f s."
        self.log.info(sentence, {**facts, "what": exported.in_words, "seconds": time.monotonic() - started})
        report(self, context, facts)
        return facts

    def _load(self, hook: PipedriveLeadsHook, database: DbApiHook, stream: LeadStream, rows: Rows) -> Exported:
        import msgspec

        from airflow_provider_pipedrive_leads.leads.reading.columns import version_of
        from airflow_provider_pipedrive_leads.leads.reading.common_layout import GONE_KEY
        from airflow_provider_pipedrive_leads.leads.reading.complete import id_number
        from airflow_provider_pipedrive_leads.leads.reading.deleted import check_share, gone_leads
        from airflow_provider_pipedrive_leads.leads.reading.export import deliver_rows
        from airflow_provider_pipedrive_leads.operators.lead_stream import selection_of
        from airflow_provider_pipedrive_leads.sql.loading import keys_in_table, loading_table

        share = check_share(self.max_deleted)
        before = {id_number(key) for key in keys_in_table(database, self.table)} if stream.detect_deleted else set()
        columns = rows.layout.table
        version = version_of(rows.layout.columns) if self.mode == "merge" else None
        with loading_table(
            database, self.table, columns, mode=self.mode, run_key=stream.run_key, version=version
        ) as load:
            exported = deliver_rows(hook, selection_of(self).checked(), rows, load.write, stream.window, before=before)
            if before:
                since = stream.past.watermark if stream.past else None
                exported.gone = gone_leads(hook, before, exported.ids, max_deleted=share, since=since)
                gone = [lead.id for lead in exported.gone]
                load.mark_deleted(gone, also=GONE_KEY, as_of=_end_of_second(hook.usage.first_reply_at))
        exported.columns = [
            msgspec.structs.replace(column, name=name) for column, name in zip(columns, load.columns, strict=True)
        ]
        return exported

    def _check(self, stream: LeadStream, database: DbApiHook) -> None:
        from airflow_provider_pipedrive_leads.leads.reading.deleted import check_share
        from airflow_provider_pipedrive_leads.operators.lead_stream import selection_of
        from airflow_provider_pipedrive_leads.sql.loading import check

        selection_of(self).checked()
        check_share(self.max_deleted)
        if self.mode == "replace" and (stream.incremental or stream.detect_deleted):
            raise PipedriveConfigError(
                "mode: 'replace' leaves only what this run reads; use 'merge' with incremental or detect_deleted."
            )
        check(database, self.table, self.mode)

    def _database(self) -> DbApiHook:
        hook: DbApiHook = BaseHook.get_hook(self.conn_id)
        return hook


def _end_of_second(moment: str | None) -> str | None:
    """The latest time that a clock may have had which tells whole seconds; None stays None."""
    return None if moment is None else moment.replace("Z", ".999Z")
