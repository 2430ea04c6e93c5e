"""Real database servers for the tests, each on a free loopback port, stopped by its own process id."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from typing import Any, NamedTuple

import pytest

from demo.database_servers import (
    LOGIN,
    PATIENCE,
    MissingServerError,
    at_mysql,
    at_postgres,
    running_mysql,
    running_postgres,
)
from tests.until import until

DATABASES = ("postgres", "psycopg2", "mysql", "pymysql", "sqlite", "duckdb", "portable")


class Database(NamedTuple):
    """A database to load into, and a way to look into it without the code under test."""

    name: str
    hook: Any

    def fetch(self, query: str) -> list[tuple[Any, ...]]:
        with closing(self.hook.get_conn()) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return [tuple(row) for row in cursor.fetchall()]

    def execute(self, statement: str) -> None:
        with closing(self.hook.get_conn()) as connection:
            connection.cursor().execute(statement)
            connection.commit()

    def tables(self) -> set[str]:
        catalogue = "sqlite_master" if self.name in ("sqlite", "portable") else "information_schema.tables"
        column = "name" if catalogue == "sqlite_master" else "table_name"
        return {str(name) for (name,) in self.fetch(f"SELECT {column} FROM {catalogue}")}

    def quoted(self, name: str) -> str:
        return f"`{name}`" if self.name == "mysql" else f'"{name}"'


def new_postgres_database(port: int) -> bool:
    """Put an empty database in the place of the one before; not if its sessions take long to end."""
    import psycopg2

    try:
        at_postgres(
            port, "DROP DATABASE IF EXISTS postgres WITH (FORCE)", "CREATE DATABASE postgres TEMPLATE template0"
        )
    except psycopg2.errors.ObjectInUse:
        return False
    return True


def new_mysql_database(port: int) -> None:
    """Put an empty database in the place of the one before, whose sessions would keep it there."""
    for (session,) in at_mysql(port, "SELECT id FROM information_schema.processlist WHERE db = 'sales'"):
        with suppress(Exception):  # it has ended by itself
            at_mysql(port, f"KILL {session}")
    at_mysql(port, "DROP DATABASE IF EXISTS sales", "CREATE DATABASE sales")


@pytest.fixture(scope="session")
def postgres_server():
    with running_postgres() as port:
        yield port


@pytest.fixture(scope="session")
def mysql_server():
    try:
        with running_mysql() as port:
            yield port
    except MissingServerError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def postgres(postgres_server, monkeypatch):
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    uri = f"postgres://postgres@127.0.0.1:{postgres_server}/postgres"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_POSTGRES", uri)
    until(lambda: new_postgres_database(postgres_server))
    return Database("postgres", PostgresHook("leads_postgres"))


@pytest.fixture
def psycopg2(postgres, postgres_server, monkeypatch):
    """The driver of older postgres providers, behind the same hook."""
    import psycopg2

    def get_conn():
        return psycopg2.connect(host="127.0.0.1", port=postgres_server, user="postgres", dbname="postgres")

    monkeypatch.setattr(postgres.hook, "get_conn", get_conn)
    monkeypatch.setattr(
        postgres.hook, "set_autocommit", lambda connection, autocommit: setattr(connection, "autocommit", autocommit)
    )
    return postgres


@pytest.fixture
def mysql(mysql_server, monkeypatch):
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    query = "client=mysql-connector-python"
    uri = f"mysql://leads:secret@127.0.0.1:{mysql_server}/sales?{query}"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_MYSQL", uri)
    new_mysql_database(mysql_server)
    return Database("mysql", MySqlHook("leads_mysql"))


@pytest.fixture
def pymysql(mysql, mysql_server, monkeypatch):
    """A driver with the interface of mysqlclient, the hook's default, which has to be compiled."""
    import pymysql

    def get_conn():
        return pymysql.connect(host="127.0.0.1", port=mysql_server, connect_timeout=PATIENCE, database="sales", **LOGIN)

    monkeypatch.setattr(mysql.hook, "get_conn", get_conn)
    return mysql


@pytest.fixture
def sqlite(tmp_path, monkeypatch):
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    monkeypatch.setenv(
        "AIRFLOW_CONN_LEADS_SQLITE", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/leads.sqlite"})
    )
    return Database("sqlite", SqliteHook("leads_sqlite"))


@pytest.fixture
def portable(tmp_path, monkeypatch):
    """A database that the code has never heard of."""
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    class OtherHook(SqliteHook):
        conn_type = "other"
        dialect_name = "other"

    monkeypatch.setenv(
        "AIRFLOW_CONN_LEADS_OTHER", json.dumps({"conn_type": "sqlite", "host": f"{tmp_path}/leads.other"})
    )
    return Database("portable", OtherHook("leads_other"))


@pytest.fixture
def duckdb(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    return Database("duckdb", DuckDBHook(database=str(tmp_path / "leads.duckdb")))


SECOND_DRIVERS = ("psycopg2", "pymysql")
"""Other drivers of servers that are tested anyway: in the long tests."""


def _databases(*, but: str = ""):
    return [
        pytest.param(name, marks=pytest.mark.long if name in SECOND_DRIVERS else ())
        for name in DATABASES
        if name != but
    ]


@pytest.fixture(params=_databases())
def database(request) -> Database:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=_databases(but="portable"))
def known_database(request) -> Database:
    """A database that can tell its types and keys."""
    return request.getfixturevalue(request.param)
