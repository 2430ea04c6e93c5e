"""A database that is away for a moment is left to the task's retries; what people must mend fails at once."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.retries import after_failure
from airflow_provider_pipedrive_leads.files.publishing import NEEDS_PEOPLE, check_writable
from airflow_provider_pipedrive_leads.sql import dialects
from airflow_provider_pipedrive_leads.sql.connecting import connect
from airflow_provider_pipedrive_leads.sql.loading import check, loading_table
from demo.ports import reserve_port
from tests.sql.test_loading import TWO, load

MYSQL = "client=mysql-connector-python"


def hook_of(monkeypatch, uri):
    from airflow.providers.mysql.hooks.mysql import MySqlHook
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", uri)
    return (MySqlHook if uri.startswith("mysql") else PostgresHook)("elsewhere")


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://u:hidden-word@127.0.0.1:{port}/leads",
        "mysql://u:hidden-word@127.0.0.1:{port}/leads?" + MYSQL,
        "postgres://u:hidden-word@no-such-host.invalid:5432/leads",
    ],
)
def test_a_server_that_is_down_is_left_to_the_retries(monkeypatch, uri):
    with pytest.raises(ConnectionError, match=r"^conn_id: the database cannot be reached now: ") as caught:
        connect(hook_of(monkeypatch, uri.format(port=reserve_port())))
    assert after_failure(caught.value, chance=0).retry is None
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://nobody-of-this-name@127.0.0.1:{postgres}/postgres",
        "postgres://postgres@127.0.0.1:{postgres}/no_such_database",
        "mysql://leads:hidden-word@127.0.0.1:{mysql}/sales?" + MYSQL,
        "mysql://leads:secret@127.0.0.1:{mysql}/no_such_database?" + MYSQL,
    ],
)
def test_what_people_must_mend_fails_at_once(postgres, mysql, postgres_server, mysql_server, monkeypatch, uri):
    with pytest.raises(PipedriveConfigError, match=r"^conn_id: the database cannot be reached: ") as caught:
        connect(hook_of(monkeypatch, uri.format(postgres=postgres_server, mysql=mysql_server)))
    assert "hidden-word" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_connection_that_is_not_there_fails_at_once():
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    with pytest.raises(PipedriveConfigError, match="isn't defined"):
        connect(PostgresHook("never_made"))


def test_a_file_of_duckdb_that_another_process_holds_is_left_to_the_retries(duckdb, tmp_path):
    file = tmp_path / "leads.duckdb"
    holds = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holds, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConnectionError, match="lock"):
            connect(duckdb.hook)
        other.stdin.close()
    connect(duckdb.hook).close()


def test_a_file_of_sqlite_in_no_folder_fails_at_once(sqlite, monkeypatch):
    monkeypatch.setattr(sqlite.hook, "get_conn", lambda: sqlite3.connect("/no/such/folder/leads.sqlite"))
    with pytest.raises(PipedriveConfigError, match="unable to open database file"):
        connect(sqlite.hook)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  sorry, too many clients already", True),
        ("SSL SYSCALL error: EOF detected", True),
        ("IO Error: Could not write file: No space left on device", True),
        ('connection to server on socket "/tmp/x" failed: No such file or directory\n\tIs the server running', True),
        ('FATAL:  password authentication failed for user "x"', False),
        ("no pg_hba.conf entry for host", False),
        ("certificate verify failed", False),
    ],
)
def test_words_of_drivers(sqlite, monkeypatch, words, passes):
    def get_conn():
        raise RuntimeError(words)

    monkeypatch.setattr(sqlite.hook, "get_conn", get_conn)
    with pytest.raises(ConnectionError if passes else PipedriveConfigError):
        connect(sqlite.hook)


def test_a_driver_that_is_not_installed_fails_at_once(sqlite, monkeypatch):
    def get_conn():
        raise ModuleNotFoundError("No module named 'driver'")

    monkeypatch.setattr(sqlite.hook, "get_conn", get_conn)
    with pytest.raises(PipedriveConfigError, match="No module named 'driver'"):
        connect(sqlite.hook)


def test_another_load_that_takes_too_long_is_left_to_the_retries(mysql, monkeypatch):
    load(mysql, [["a", "first"]])
    monkeypatch.setattr(dialects, "LOCK_SECONDS", 0)
    with loading_table(mysql.hook, "leads", TWO, mode="merge", run_key="slow") as slow:
        slow.write([["a"], ["slow"]])
        session = connect(mysql.hook)
        with (
            closing(session),
            dialects.MySql().exclusively(session, dialects.Table("", "leads")),
            pytest.raises(TimeoutError, match="another load") as caught,
        ):
            load(mysql, [["a", "second"]])
    assert after_failure(caught.value, chance=0).retry is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_disk_in_trouble_is_left_to_the_retries(tmp_path, monkeypatch, number):
    def full(**_):
        raise OSError(number, "in trouble")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match="in trouble") as caught:
        check_writable(tmp_path / "leads.csv")
    assert caught.value.errno == number
    assert after_failure(caught.value, chance=0).retry is None


@pytest.mark.parametrize("number", NEEDS_PEOPLE)
def test_a_place_that_people_must_mend_fails_at_once(monkeypatch, tmp_path, number):
    def refused(*_, **__):
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(PipedriveConfigError, match="refused"):
        check_writable(tmp_path / "leads.csv")


@pytest.mark.parametrize("kind", ["postgres", "mysql", "sqlite", "duckdb"])
def test_a_schema_that_is_not_there_is_told_before_the_read(request, kind):
    database = request.getfixturevalue(kind)
    with pytest.raises(PipedriveConfigError, match=r"^table: nowhere\.leads cannot be written to: "):
        check(database.hook, "nowhere.leads", "merge", TWO)


def test_a_right_that_lacks_is_told_before_the_read(postgres, postgres_server, monkeypatch):
    postgres.execute("DROP ROLE IF EXISTS reader")
    postgres.execute("CREATE ROLE reader LOGIN")
    load(postgres, [["a", "first"]])
    postgres.execute("GRANT SELECT ON leads, leads_columns TO reader")
    postgres.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    hook = hook_of(monkeypatch, f"postgres://reader@127.0.0.1:{postgres_server}/postgres")
    for table, mode in (("leads", "merge"), ("leads", "replace"), ("others", "append")):
        with pytest.raises(PipedriveConfigError, match=r"cannot be written to: .*permission denied"):
            check(hook, table, mode, TWO)


@pytest.mark.parametrize("mode", ["merge", "replace", "append"])
def test_looking_changes_nothing(database, mode):
    if mode != "append":
        load(database, [["a", "first"]])
    before = database.tables()
    check(database.hook, "leads", mode, TWO)
    assert database.tables() == before
    if mode != "append":
        assert database.fetch("SELECT id, title FROM leads") == [("a", "first")]


def test_a_column_that_takes_no_values_is_left_alone(postgres):
    """The first one of a table that people made may be numbered by the database itself."""
    numbered = "number BIGINT GENERATED ALWAYS AS IDENTITY"
    postgres.execute(f"CREATE TABLE leads ({numbered}, id TEXT PRIMARY KEY, title TEXT)")
    check(postgres.hook, "leads", "merge", TWO)
    load(postgres, [["a", "first"]])
    assert postgres.fetch("SELECT number, id FROM leads") == [(1, "a")]
