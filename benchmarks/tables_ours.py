"""The load of this project into a table, as one of those that are measured; the drivers are used without Airflow."""

from __future__ import annotations

import importlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from benchmarks.export_ours import IMPORTED_LATE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.export_run import Export, Job


class Hook:
    """As much of a ``DbApiHook`` as a load needs.

    :param options: what the driver's ``connect`` takes.
    """

    placeholder = "%s"
    supports_autocommit = True

    def __init__(self, dialect_name: str, connect: Callable[..., Any], options: dict[str, Any]) -> None:
        self.dialect_name = dialect_name
        self._connect = connect
        self._options = options

    def get_conn(self) -> Any:
        """Connect."""
        return self._connect(**self._options)

    def set_autocommit(self, connection: Any, *, autocommit: bool) -> None:
        """Each driver has its own way."""
        if callable(connection.autocommit):
            connection.autocommit(autocommit)
        else:
            connection.autocommit = autocommit


def duckdb() -> Export:
    """DuckDB."""
    return _into("duckdb", importlib.import_module("duckdb").connect)


def sqlite() -> Export:
    """SQLite."""
    return _into("sqlite", sqlite3.connect)


def postgres() -> Export:
    """PostgreSQL, by psycopg2."""
    return _into("postgresql", importlib.import_module("psycopg2").connect)


def mysql() -> Export:
    """MySQL or MariaDB, by PyMySQL."""
    return _into("mysql", importlib.import_module("pymysql").connect)


def _into(dialect_name: str, connect: Callable[..., Any]) -> Export:
    """What a task does; ``path`` of the job is what the driver's ``connect`` takes, as JSON."""
    import airflow.providers.common.sql  # noqa: F401 - connecting would import it while the clock runs

    from airflow_provider_pipedrive_leads.api.connection import read_connection
    from airflow_provider_pipedrive_leads.client import PipedriveClient
    from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
    from airflow_provider_pipedrive_leads.leads.reading.export import Window, deliver
    from airflow_provider_pipedrive_leads.leads.reading.lead_rows import rows_for
    from airflow_provider_pipedrive_leads.sql.loading import loading_table

    for module in IMPORTED_LATE:
        importlib.import_module(module)

    def export(job: Job) -> None:
        client = PipedriveClient(read_connection(password=TOKEN, extra={"base_url": job.url}))
        hook: Any = Hook(dialect_name, connect, json.loads(job.path))
        how = {"mode": "merge", "run_key": "measured", "version": "update_time"}
        with rows_for(client) as rows, loading_table(hook, "leads", rows.layout.table, **how) as load:
            deliver(
                client,
                Selection(),
                rows.layout.shape,
                lambda leads: load.write(rows.batch(leads)),
                Window(expected=job.leads),
            )

    return export
