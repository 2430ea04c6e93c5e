"""Rows to be loaded, from a query: the driver keeps no more than a portion of them in memory."""

from __future__ import annotations

from contextlib import closing, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.row import Row, check_names
from airflow_provider_pipedrive_leads.sql.connecting import connect
from airflow_provider_pipedrive_leads.sql.dialects import MySql, dialect_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_pipedrive_leads.sql.session import Session

ROWS_AT_ONCE = 2000
LONGEST_PAUSE = 86_400
"""Seconds for which MySQL shall wait for a reader who is busy with the rows it has; its own default is a minute."""


@contextmanager
def reading_query(
    hook: DbApiHook, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
) -> Iterator[Iterator[Row]]:
    """Run a query and give its rows, numbered from 1, with values as the driver gives them; none is no error.

    Nothing is committed, so a query that changes rows leaves them as they were.

    :param hook: a ``DbApiHook``, as ``BaseHook.get_connection(conn_id).get_hook()`` gives it.
    :param sql: one query, with the driver's own placeholders for parameters.
    :param parameters: values for them; None if the query has none.
    :raises PipedriveConfigError: the database cannot be reached, or this is no query that it can run; found before
        the first row.
    """
    with closing(connect(hook)) as session, _cursor(session) as cursor:
        dialect = dialect_of(hook)
        if isinstance(dialect, MySql):
            session.execute(f"SET SESSION net_write_timeout = {LONGEST_PAUSE}")
        session.begin(dialect.light_begin)
        portion = _first_portion(cursor, sql, parameters)
        names = [str(part[0]) for part in cursor.description or ()]
        if not names:
            raise PipedriveConfigError("sql: this gives no rows. Use a query, such as SELECT.")
        check_names(names, "sql")
        yield _rows(cursor, names, portion)


def _first_portion(cursor: Any, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None) -> Sequence[Any]:
    """Run a query; some drivers know its columns only when they have fetched.

    :raises PipedriveConfigError: the database refuses it.
    """
    try:
        if parameters is None:
            cursor.execute(sql)
        else:
            cursor.execute(sql, parameters)
    except Exception as problem:
        if _is_refusal(problem):
            words = " ".join(str(problem).split())
            raise PipedriveConfigError(f"sql: the query fails: {type(problem).__name__}: {words}") from problem
        raise
    if cursor.description is None and not getattr(cursor, "name", None):
        return ()
    portion: Sequence[Any] = cursor.fetchmany(ROWS_AT_ONCE)
    return portion


def _is_refusal(problem: Exception) -> bool:
    """Tell a query that can never work from a database that is busy or gone."""
    if getattr(problem, "sqlite_errorname", "") == "SQLITE_ERROR":
        return True
    return any(kind.__name__ == "ProgrammingError" for kind in type(problem).__mro__)


def _rows(cursor: Any, names: Sequence[str], portion: Sequence[Any]) -> Iterator[Row]:
    number = 1
    while portion:
        for row in portion:
            # a connection may be set to give mappings
            values = row.values() if isinstance(row, dict) else row
            yield Row(number, dict(zip(names, values, strict=True)))
            number += 1
        portion = cursor.fetchmany(ROWS_AT_ONCE)


@contextmanager
def _cursor(session: Session) -> Iterator[Any]:
    """A cursor that leaves the rows at the server, where the driver has one.

    Such a one is not closed, for some would first fetch what is left: with the connection it is gone anyway.
    """
    driver = type(session.connection).__module__
    streaming = next((make for name, make in STREAMING.items() if driver.startswith(name)), None)
    if streaming is None:
        with session.cursor() as cursor:
            yield cursor
        return
    cursor = streaming(session.connection)
    try:
        yield cursor
    finally:
        result: Any = getattr(cursor, "_result", None)
        if hasattr(result, "unbuffered_active"):  # PyMySQL would fetch what is left as late as when it is collected
            result.unbuffered_active = False


def _named(connection: Any) -> Any:
    return connection.cursor(name="pipedrive_rows")


def _unbuffered(connection: Any) -> Any:
    return connection.cursor(buffered=False)


def _of_class_sscursor(connection: Any) -> Any:
    driver = type(connection).__module__.partition(".")[0]
    return connection.cursor(import_module(f"{driver}.cursors").SSCursor)


STREAMING: dict[str, Callable[[Any], Any]] = {
    "psycopg": _named,
    "mysql.connector": _unbuffered,
    "pymysql": _of_class_sscursor,
    "MySQLdb": _of_class_sscursor,
}
"""By the start of the driver's name; psycopg2 and 3 are alike."""
