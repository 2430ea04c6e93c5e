"""What readers, other loads and killed processes see, on real servers."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.loading import loading_table
from tests.until import until

TWO = [Column("id", "text", "id"), Column("title", "text", "title")]
SERVERS = ("postgres", "mysql")
LOAD_AND_HANG = """
import sys
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.loading import loading_table
import {module} as module

two = [Column("id", "text", "id"), Column("extra", "text", "extra")]
with loading_table(module.{hook}("{conn_id}"), "leads", two, mode="{mode}", run_key="run 2") as loading:
    loading.write([[str(n) for n in range(3000)], ["new"] * 3000])
    print("written", flush=True)
    sys.stdin.read()
"""
HOOKS = {
    "postgres": ("airflow.providers.postgres.hooks.postgres", "PostgresHook", "leads_postgres"),
    "mysql": ("airflow.providers.mysql.hooks.mysql", "MySqlHook", "leads_mysql"),
    "sqlite": ("airflow.providers.sqlite.hooks.sqlite", "SqliteHook", "leads_sqlite"),
}


@pytest.fixture(params=SERVERS)
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def left_open():
    """Connections that stay open beyond their test."""
    return []


def load(database, mode, run, title, rows=300, table="leads", columns=TWO):
    with loading_table(database.hook, table, columns, mode=mode, run_key=run) as loading:
        for first in range(0, rows, 100):
            ids = [str(number) for number in range(first, min(first + 100, rows))]
            loading.write([ids, [title] * len(ids)])
    return loading


def in_threads(*works):
    failures = []

    def guarded(work):
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.parametrize("time", ["first", "second"])
def test_what_one_test_leaves_no_other_finds(server, time, left_open):
    """Not even a table that somebody is using; whichever of the two comes second would find it."""
    assert "left" not in server.tables()
    server.execute(f"CREATE TABLE {server.quoted('left')} (id INTEGER)")
    using = server.hook.get_conn()
    using.cursor().execute(f"SELECT * FROM {server.quoted('left')}")
    left_open.append(using)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("postgres", "merge"),
        ("mysql", "replace"),
        pytest.param("postgres", "replace", marks=pytest.mark.long),
        pytest.param("sqlite", "merge", marks=pytest.mark.long),
        *(pytest.param(kind, "append", marks=pytest.mark.long) for kind in ("postgres", "mysql", "sqlite")),
        pytest.param("mysql", "merge", marks=pytest.mark.long),
        pytest.param("sqlite", "replace", marks=pytest.mark.long),
    ],
)
def test_a_killed_process_leaves_the_table_as_it_was(kind, mode, request):
    database = request.getfixturevalue(kind)
    load(database, mode, "run 1", "old")
    before, tables = database.fetch("SELECT * FROM leads ORDER BY 1"), database.tables()
    module, hook, conn_id = HOOKS[kind]
    code = LOAD_AND_HANG.format(module=module, hook=hook, conn_id=conn_id, mode=mode)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ, **pipes) as child:
        assert any(line.strip() == "written" for line in child.stdout)
        child.send_signal(signal.SIGKILL)
    assert database.fetch("SELECT * FROM leads ORDER BY 1") == before
    assert database.tables() == tables
    load(database, mode, "run 2", "new")
    assert ("new",) in database.fetch("SELECT DISTINCT title FROM leads")
    assert database.tables() == tables


def test_a_lost_connection_leaves_the_table_as_it_was(postgres):
    load(postgres, "merge", "run 1", "old")
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    lost = loading_table(postgres.hook, "leads", TWO, mode="merge", run_key="run 2")
    loading = lost.__enter__()
    loading.write([["0"], ["new"]])
    assert postgres.fetch(f"SELECT pg_terminate_backend(pid) {others}") == [(True,)]
    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        lost.__exit__(None, None, None)
    assert postgres.fetch("SELECT DISTINCT title FROM leads") == [("old",)]


def test_a_connection_that_gives_rows_as_dictionaries_is_no_trouble(postgres, postgres_server, monkeypatch):
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    uri = f"postgres://postgres@127.0.0.1:{postgres_server}/postgres?cursor=dictcursor"
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_DICTIONARIES", uri)
    dictionaries = postgres._replace(hook=PostgresHook("leads_dictionaries"))
    for _ in range(2):
        assert load(dictionaries, "merge", "run 1", "new").rows == 300
    assert postgres.fetch("SELECT count(*) FROM leads") == [(300,)]


def test_the_hook_that_airflow_makes_of_a_connection_works(postgres):
    from airflow.sdk import BaseHook

    made = postgres._replace(hook=BaseHook.get_connection("leads_postgres").get_hook())
    assert load(made, "replace", "run 1", "new").columns == ["id", "title"]


def test_leftovers_of_a_killed_run_are_cleared_away_where_tables_last(portable):
    """As a killed process would leave them."""
    abandoned = loading_table(portable.hook, "leads", TWO, mode="merge", run_key="r")
    loading = abandoned.__enter__()
    loading.write([["x"], ["left over"]])
    loading.close = lambda: None
    assert not abandoned.__exit__(SystemExit, SystemExit(), None)
    assert len([name for name in portable.tables() if "_pipedrive_" in name]) == 2
    load(portable, "merge", "r", "new", rows=1)
    assert portable.fetch("SELECT id, title FROM leads") == [("0", "new")]
    assert not [name for name in portable.tables() if "_pipedrive_" in name]


def test_leftovers_of_a_killed_swap_are_cleared_away(mysql):
    load(mysql, "replace", "run 1", "old")
    for name in ("leads_pipedrive_new", "leads_pipedrive_old"):
        mysql.execute(f"CREATE TABLE {name} (something INTEGER)")
    load(mysql, "replace", "run 2", "new")
    assert mysql.fetch("SELECT DISTINCT title FROM leads") == [("new",)]
    assert not [name for name in mysql.tables() if "_pipedrive_" in name]


@pytest.mark.parametrize("kind", ["postgres", "mysql", "mysql without transactions"])
def test_a_reader_never_sees_a_replaced_table_empty_or_mixed(kind, request):
    server = request.getfixturevalue(kind.split(" ")[0])
    if "without" in kind:
        server.execute("CREATE TABLE leads (id VARCHAR(36) PRIMARY KEY, title TEXT) ENGINE = MyISAM")
    load(server, "replace", "run 0", "round 0")
    seen, over = [], threading.Event()

    def watch():
        with closing(server.hook.get_conn()) as connection:
            while not over.is_set():
                with closing(connection.cursor()) as cursor:
                    cursor.execute("SELECT count(*), count(DISTINCT title), min(title) FROM leads")
                    seen.append(tuple(cursor.fetchone()))
                connection.commit()

    with ThreadPoolExecutor(1) as executor:
        reader = executor.submit(watch)
        try:
            for number in range(12):
                load(server, "replace", f"run {number}", f"round {number}")
                until(lambda: seen[-1:] == [(300, 1, f"round {number}")] or reader.done())  # noqa: B023
        finally:
            over.set()
    reader.result()
    assert {row[:2] for row in seen} == {(300, 1)}
    assert len({row[2] for row in seen}) == 12


def test_a_reader_in_an_older_snapshot_still_sees_what_was_replaced(postgres):
    load(postgres, "replace", "run 1", "old")
    with closing(postgres.hook.get_conn()) as connection:
        cursor = connection.cursor()
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT 1")
        load(postgres, "replace", "run 2", "new")
        cursor.execute("SELECT DISTINCT title FROM leads")
        assert [tuple(row) for row in cursor.fetchall()] == [("old",)]


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_loads_at_the_same_time_do_not_disturb_each_other(server, mode):
    """From the first load on: table, companion, and a column of its own for each."""

    def work(number):
        own = [TWO[0], TWO[1], Column("shared", "text", "s"), Column("shared", "text", f"key {number}")]

        def run():
            with loading_table(server.hook, "leads", own, mode=mode, run_key=f"run {number}") as loading:
                ids = [str(row) for row in range(300)]
                same = [f"run {number}"] * 300
                loading.write([ids if number % 2 else ids[::-1], same, same, same])

        return run

    for _ in range(3):
        assert in_threads(*(work(number) for number in range(4))) == []
    ((rows, runs, mixed),) = server.fetch(
        "SELECT count(*), count(DISTINCT title), sum(CASE WHEN title = shared THEN 0 ELSE 1 END) FROM leads"
    )
    assert (rows, runs, mixed) == (300, 1, 0)
    ties = server.fetch("SELECT field_key, column_name FROM leads_columns")
    assert len({name for _, name in ties}) == len(ties) == 7


def test_memory_does_not_grow_with_the_rows(sqlite):
    """Of 19,000 rows nothing is left in memory once they are written."""

    def objects():
        gc.collect()
        return sys.getallocatedblocks()

    with loading_table(sqlite.hook, "leads", TWO, mode="merge", run_key="r") as loading:
        for first in range(40):
            loading.write([[f"{first}-{row}" for row in range(500)], ["some title"] * 500])
            if first == 1:
                before = objects()
        assert objects() - before < 10_000


def test_importing_loads_neither_airflow_nor_a_driver():
    code = "import sys, json; import airflow_provider_pipedrive_leads.sql.loading; print(json.dumps(list(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    tops = {name.split(".")[0] for name in json.loads(found.stdout)}
    assert not tops & {"airflow", "psycopg", "psycopg2", "mysql", "duckdb", "sqlalchemy"}
