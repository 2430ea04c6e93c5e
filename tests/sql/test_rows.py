"""Rows of a query, from every database and driver."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.row import Row
from airflow_provider_pipedrive_leads.sql import rows as rows_module
from airflow_provider_pipedrive_leads.sql.rows import reading_query


def read(database, sql, parameters=None):
    with reading_query(database.hook, sql, parameters) as rows:
        return list(rows)


def many(database, count):
    """A query that gives the numbers from 0, each with some text."""
    if database.name == "postgres":
        return f"SELECT n, repeat('x', 500) AS filler FROM generate_series(0, {count - 1}) AS t(n)"
    if database.name == "mysql":
        return f"SELECT seq AS n, REPEAT('x', 500) AS filler FROM seq_0_to_{count - 1}"
    if database.name == "duckdb":
        return f"SELECT range AS n, repeat('x', 500) AS filler FROM range({count})"
    numbers = f"WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n < {count - 1})"
    return f"{numbers} SELECT n, printf('%.500c', 'x') AS filler FROM t"


LAST = 200_000
"""The number of a row that is far behind all that drivers and sockets hold ready: the texts before it are 100 MB."""


@contextmanager
def untouched_end(database):
    """Give a long query, and see to it that nobody reads its last row.

    On a server that row draws a number, and draws it for good; a database in this process fails at it.
    """
    draw = {"postgres": "nextval('drawn')", "mysql": "NEXTVAL(drawn)"}.get(database.name)
    fail = "error('read to the end')" if database.name == "duckdb" else "abs(-9223372036854775808)"
    if draw:
        database.execute("CREATE SEQUENCE drawn")
    last = f"CASE WHEN n = {LAST} THEN {draw or fail} END"
    yield f"SELECT n, filler, {last} AS last FROM ({many(database, LAST + 1)}) q"
    gc.collect()  # some drivers fetch what is left as late as this
    if draw:
        assert database.fetch(f"SELECT {draw}") == [(1,)]


@pytest.fixture
def table(database):
    database.execute("CREATE TABLE leads (id VARCHAR(36), size BIGINT)")
    for number in range(5):
        database.execute(f"INSERT INTO leads VALUES ('100%-{number}', {number})")
    database.execute("INSERT INTO leads VALUES (NULL, NULL)")
    return database


def test_rows_come_in_order_with_their_columns_and_numbers(table, monkeypatch):
    monkeypatch.setattr(rows_module, "ROWS_AT_ONCE", 2)
    wanted = [Row(number + 1, {"id": f"100%-{number}", "n": number}) for number in range(5)]
    query = "SELECT id, size AS n FROM leads WHERE size >= 0 AND id LIKE '100%' ORDER BY size"
    assert read(table, query) == wanted
    assert read(table, f"{query};  ") == wanted
    assert read(table, "SELECT id, size FROM leads WHERE size IS NULL") == [Row(1, {"id": None, "size": None})]
    assert read(table, "SELECT id FROM leads WHERE 1 = 0") == []


def test_parameters_are_the_drivers_own(table):
    mark = table.hook.placeholder
    query = f"SELECT size FROM leads WHERE size > {mark} AND id <> {mark} ORDER BY size"
    assert read(table, query, [2, "100%-3"]) == [Row(1, {"size": 4})]
    if mark == "%s":
        assert read(table, "SELECT size FROM leads WHERE size > %(least)s", {"least": 3}) == [Row(1, {"size": 4})]
    else:
        assert read(table, "SELECT size FROM leads WHERE size > $least", {"least": 3}) == [Row(1, {"size": 4})]


def test_a_query_changes_nothing(table):
    for query in ("UPDATE leads SET size = 9", "DELETE FROM leads"):
        try:
            counted = read(table, query)
        except PipedriveConfigError as problem:
            assert str(problem).startswith("sql: ")
        else:
            assert (table.name, counted) == ("duckdb", [Row(1, {"Count": 6})])
    assert sorted(size for (size,) in table.fetch("SELECT size FROM leads WHERE size >= 0")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "the query fails"),
        ("SELECT size AS a, id AS a FROM leads", "2 columns are named 'a'"),
        ("SELECT size FROM leads WHERE id = 1 AND", "the query fails"),
    ],
)
def test_a_query_that_cannot_work_is_refused_before_the_first_row(table, query, words):
    with pytest.raises(PipedriveConfigError, match=r"^sql: ") as caught, reading_query(table.hook, query):
        pass
    assert words in str(caught.value)


def test_what_is_left_of_a_long_query_costs_nothing(database):
    with untouched_end(database) as query:
        with reading_query(database.hook, query) as rows:
            assert next(rows).values["n"] == 0
        del rows
    assert len(read(database, many(database, 5000))) == 5000


def test_values_are_what_the_driver_gives(postgres):
    query = (
        "SELECT 1.10::numeric AS a, DATE '2026-01-31' AS b, TIMESTAMPTZ '2026-01-31 09:30+02' AS c,"
        " ARRAY['x', NULL] AS d, TRUE AS e"
    )
    (row,) = read(postgres, query)
    moment = datetime(2026, 1, 31, 7, 30, tzinfo=UTC)
    assert row.values == {"a": Decimal("1.10"), "b": date(2026, 1, 31), "c": moment, "d": ["x", None], "e": True}


def test_a_connection_that_gives_mappings_does_too(postgres, monkeypatch):
    from psycopg.rows import dict_row

    plain = postgres.hook.get_conn

    def get_conn():
        connection = plain()
        connection.row_factory = dict_row
        return connection

    monkeypatch.setattr(postgres.hook, "get_conn", get_conn)
    assert read(postgres, "SELECT 1 AS b, 2 AS a") == [Row(1, {"b": 1, "a": 2})]


def test_a_hook_that_is_none_and_a_database_that_is_gone_are_refused(sqlite, monkeypatch):
    class Other:
        hook = object()

    class Gone:
        hook = sqlite.hook

    def get_conn():
        raise OSError("no route to host")

    monkeypatch.setattr(sqlite.hook, "get_conn", get_conn)
    for database, error in ((Other, PipedriveConfigError), (Gone, ConnectionError)):
        with pytest.raises(error, match=r"^conn_id: "):
            read(database, "SELECT 1")


def test_mysql_waits_for_a_reader_that_is_busy(mysql):
    (row,) = read(mysql, "SELECT @@SESSION.net_write_timeout AS seconds")
    assert row.values["seconds"] >= 3600


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_rows(database):
    """Neither Python's, counted in objects, nor that of a driver in another language: of the texts, half would show."""

    def resident():
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def objects():
        gc.collect()
        return sys.getallocatedblocks()

    with reading_query(database.hook, many(database, 80_000)) as rows:
        for row in rows:
            if row.number == 5_000:
                blocks, kilobytes = objects(), resident()
        assert row.number == 80_000
        assert objects() - blocks < 40_000
        assert resident() - kilobytes < 20_000
