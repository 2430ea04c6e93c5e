"""How a database is reached through a hook of Airflow."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.sql.dialects import dialect_of

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_pipedrive_leads.sql.session import Session


NEEDS_PEOPLE = re.compile(
    r"authentication|password|denied|not allowed|read-?only|no pg_hba|does not exist|unknown database"
    r"|unable to open database file|no such file|not a database|not a valid|certificate",
    re.IGNORECASE,
)
"""Words of drivers about what no waiting mends. Their classes do not tell: most drivers have one for all of it."""
MUST_WAIT = re.compile(r"refused|timed? ?out|could not set lock|is locked|is the server running", re.IGNORECASE)
"""Words about what passes, whatever else is said."""


QUOTED_VALUE = re.compile(r"(value:?|entry|string|syntax for type \w+:|key \S*?:?) ?(?:'[^']*'|\"[^\"]*\")")


def connect(hook: DbApiHook) -> Session:
    """Open a session.

    :param hook: a ``DbApiHook``, as ``BaseHook.get_connection(conn_id).get_hook()`` gives it.
    :raises PipedriveConfigError: it is no such hook, or somebody has to mend the connection.
    :raises ConnectionError: the database cannot be reached now.
    """
    try:
        import airflow.providers.common.sql  # noqa: F401
    except ImportError:
        raise PipedriveConfigError(
            "Databases need Airflow's common.sql provider: pip install 'airflow-provider-pipedrive-leads[sql]'."
        ) from None
    if not hasattr(type(hook), "get_conn") or not hasattr(type(hook), "placeholder"):  # a property asks the connection
        raise PipedriveConfigError(
            f"conn_id: {type(hook).__name__} is no hook for an SQL database. Use a connection to a database."
        )
    try:
        return dialect_of(hook).open(hook)
    except Exception as problem:  # noqa: BLE001  # every driver has its own errors
        words = f"{type(problem).__name__}: {_without_password(problem, hook)}"
        may_pass = passes(problem)
    # The driver's own traceback would show the connection's parameters.
    if may_pass:
        raise ConnectionError(f"conn_id: the database cannot be reached now: {words}")
    raise PipedriveConfigError(f"conn_id: the database cannot be reached: {words}")


def passes(problem: Exception) -> bool:
    """Whether a later try may succeed: unless it is known that somebody has to mend something, it may."""
    if isinstance(problem, ImportError) or type(problem).__module__.startswith("airflow."):
        return False
    words = str(problem)
    return MUST_WAIT.search(words) is not None or NEEDS_PEOPLE.search(words) is None


def refuses_row(problem: Exception) -> bool:
    """Whether a database does not take a row as it is, by the names that all drivers give their errors."""
    names = {kind.__name__ for kind in type(problem).__mro__}
    if "doesn't have a default value" in str(problem):  # MySQL, to whose drivers that is any error
        return True
    return bool(names & {"IntegrityError", "DataError", "ConstraintException", "ConversionException"})


def without_row(problem: Exception) -> str:
    """What a driver says of a row, without what is in it: PostgreSQL shows it in further lines, MySQL in quotes."""
    first, *_ = str(problem).strip().splitlines() or [""]
    return QUOTED_VALUE.sub(r"\1 …", first)


def _without_password(problem: Exception, hook: DbApiHook) -> str:
    words = " ".join(str(problem).split())
    with suppress(Exception):
        password = hook.get_connection(hook.get_conn_id()).password
        if password:
            words = words.replace(password, "***")
    return words
