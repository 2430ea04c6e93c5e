"""How a database is reached through a hook of Airflow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.sql.dialects import dialect_of

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_pipedrive_leads.sql.session import Session


def connect(hook: DbApiHook) -> Session:
    """Open a session.

    :param hook: a ``DbApiHook``, as ``BaseHook.get_connection(conn_id).get_hook()`` gives it.
    :raises PipedriveConfigError: it is no such hook, or the database cannot be reached.
    """
    try:
        import airflow.providers.common.sql  # noqa: F401
    except ImportError:
        raise PipedriveConfigError(
            "Databases need Airflow's common.sql provider: pip install 'airflow-provider-pipedrive-leads[sql]'."
        ) from None
    if not hasattr(hook, "get_conn") or not hasattr(hook, "placeholder"):
        raise PipedriveConfigError(
            f"conn_id: {type(hook).__name__} is no hook for an SQL database. Use a connection to a database."
        )
    try:
        return dialect_of(hook).open(hook)
    except Exception as problem:  # noqa: BLE001  # every driver has its own errors
        # The driver's own traceback would show the connection's parameters.
        raise PipedriveConfigError(
            f"conn_id: the database cannot be reached: {type(problem).__name__}: {_without_password(problem, hook)}"
        ) from None


def _without_password(problem: Exception, hook: DbApiHook) -> str:
    words = " ".join(str(problem).split())
    with suppress(Exception):
        password = hook.get_connection(hook.get_conn_id()).password
        if password:
            words = words.replace(password, "***")
    return words
