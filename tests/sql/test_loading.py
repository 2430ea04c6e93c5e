"""What a load promises, in every database."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql import dialects
from airflow_provider_pipedrive_leads.sql.dialects import DuckDb
from airflow_provider_pipedrive_leads.sql.loading import check, loading_table

ALL_KINDS = [
    Column("id", "text", "id"),
    Column("title", "text", "title"),
    Column("size", "integer", "k1"),
    Column("amount", "number", "k2"),
    Column("seen", "boolean", "k3"),
    Column("day", "date", "k4"),
    Column("hour", "time", "k5"),
    Column("changed", "timestamp", "k6"),
    Column("labels", "list<string>", "k7"),
    Column("rest", "json", "k8"),
]
AWKWARD = "tab\t nl\n cr\r back\\slash \\N \"double\" 'single' `tick` %s %% ? :x {y} ünï 🎉 漢字 ,;"
ROWS = [
    ["a", "plain", 1, 1.5, True, "2026-01-31", "09:30:00", "2026-01-31T09:30:00.123Z", ["x", "y"], {"n": [1, None]}],
    ["b", AWKWARD, 2**62, -1e-7, False, "1999-12-31", "00:00:00", "2026-03-29T01:30:00.000Z", [AWKWARD], AWKWARD],
    ["c", None, None, None, None, None, None, None, None, None],
    ["d", "", 0, 0, False, "2024-02-29", "23:59:59", "1970-01-01T00:00:00.001Z", [], 5],
    ["e", "\\N", -1, 1e300, True, "2026-01-01", "12:00:00", "2099-12-31T23:59:59.999Z", [""], {AWKWARD: AWKWARD}],
    ["f", "long " * 20_000, 7, 2, True, "2026-01-01", "12:00:00", "2026-01-01T00:00:00.000Z", ["z" * 70_000], []],
]
TWO = [Column("id", "text", "id"), Column("title", "text", "title")]


def batch(rows):
    return [list(values) for values in zip(*rows, strict=True)]


def load(database, rows, columns=TWO, *, mode="merge", run="run 1", table="leads", deleted=(), then=()):
    with loading_table(database.hook, table, columns, mode=mode, run_key=run) as loading:
        if rows:
            loading.write(batch(rows))
        if then:
            loading.write(batch(then))
        if deleted:
            loading.mark_deleted(deleted)
    return loading


def wire(kind, value):
    """The wire form of what a driver gives."""
    if value is None:
        return None
    if kind in ("list<string>", "json"):
        return json.loads(value)
    if kind == "boolean":
        return bool(value)
    if isinstance(value, timedelta):
        value = (datetime.min + value).time()
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return value.isoformat(timespec="milliseconds") + "Z"
    if kind == "timestamp" and not value.endswith("Z"):
        return f"{value}Z"
    return value.isoformat() if isinstance(value, date | time) else value


def read(database, columns=TWO, table="leads", more="is_deleted"):
    names = ", ".join(database.quoted(column.name) for column in columns)
    if database.name == "duckdb":
        zoned = [c.name for c in columns if c.kind == "timestamp"]
        for name in zoned:
            names = names.replace(f'"{name}"', f"strftime(\"{name}\" AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%g')")
    if database.name == "postgres":
        for column in columns:
            if column.kind in ("list<string>", "json"):
                names = names.replace(f'"{column.name}"', f'"{column.name}"::text')
    rows = database.fetch(f"SELECT {names}, {more} FROM {table} ORDER BY 1")
    kinds = [*(column.kind for column in columns), "boolean"]
    return [[wire(kind, value) for kind, value in zip(kinds, row, strict=True)] for row in rows]


def test_every_kind_comes_back_as_it_went_in(database):
    for mode in ("merge", "replace"):
        done = load(database, ROWS, ALL_KINDS, mode=mode)
        assert read(database, ALL_KINDS) == [[*row, False] for row in ROWS]
        assert (done.rows, done.columns, done.warnings) == (6, [column.name for column in ALL_KINDS], [])


@pytest.mark.parametrize(("kind", "driver"), [("postgres", "psycopg"), ("psycopg2", "psycopg2.extensions")])
def test_both_drivers_of_postgres_are_tried(kind, driver, request):
    assert type(request.getfixturevalue(kind).hook.get_conn()).__module__ == driver


def test_types_are_the_databases_own(database):
    load(database, ROWS, ALL_KINDS)
    if database.name == "postgres":
        query = "SELECT data_type FROM information_schema.columns WHERE table_name = 'leads' ORDER BY ordinal_position"
        assert [row[0] for row in database.fetch(query)] == [
            "text",
            "text",
            "bigint",
            "double precision",
            "boolean",
            "date",
            "time without time zone",
            "timestamp with time zone",
            "jsonb",
            "jsonb",
            "boolean",
        ]
    if database.name == "mysql":
        found = database.fetch("SHOW CREATE TABLE leads")[0][1]
        assert "PRIMARY KEY (`id`)" in found
        assert "`changed` datetime(3)" in found
        assert "`title` mediumtext CHARACTER SET utf8mb4" in found


def test_merging_twice_is_merging_once_and_a_row_that_comes_again_is_changed(database):
    load(database, [["a", "one"], ["b", "two"]])
    load(database, [["a", "one"], ["b", "two"]])
    assert read(database) == [["a", "one", False], ["b", "two", False]]
    load(database, [["b", "changed"], ["c", "new"]], run="run 2")
    assert read(database) == [["a", "one", False], ["b", "changed", False], ["c", "new", False]]


def test_of_a_key_that_comes_twice_the_last_row_counts(database):
    for mode in ("merge", "replace"):
        with loading_table(database.hook, "leads", TWO, mode=mode, run_key="r") as loading:
            loading.write(batch([["a", "old"], ["b", "x"]]))
            loading.write(batch([["a", "new"]]))
        assert read(database) == [["a", "new", False], ["b", "x", False]]
        assert loading.rows == 2


def test_deleted_rows_are_marked_and_live_again_when_they_come_again(database):
    load(database, [["a", "one"], ["b", "two"]])
    load(database, [], deleted=["b", "never seen", "b"])
    assert read(database) == [["a", "one", False], ["b", "two", True], ["never seen", None, True]]
    load(database, [["b", "back"]])
    assert read(database)[1] == ["b", "back", False]
    with pytest.raises(PipedriveConfigError, match="replace"):
        load(database, [["z", "z"]], mode="replace", deleted=["a"])
    assert len(read(database)) == 3


def test_replace_leaves_nothing_of_before_and_keeps_the_ties(database):
    load(database, [["a", "one"], ["b", "two"]], mode="replace")
    renamed = [TWO[0], Column("headline", "text", "title")]
    done = load(database, [["c", "three"]], renamed, mode="replace", run="run 2")
    assert read(database) == [["c", "three", False]]
    assert done.columns == ["id", "title"]
    assert load(database, [], mode="replace", run="run 3").rows == 0
    assert read(database) == []


def test_append_keeps_history_and_a_run_counts_once(database):
    load(database, [["a", "one"]], mode="append", run="run 1")
    load(database, [["a", "two"], ["b", "two"]], mode="append", run="run 2", deleted=["gone"])
    load(database, [["a", "again"]], mode="append", run="run 2", deleted=["gone"])
    query = f"SELECT id, title, is_deleted, {database.quoted('_run')} FROM leads"
    assert sorted([*map(str, row)] for row in ((i, t, bool(d), r) for i, t, d, r in database.fetch(query))) == [
        ["a", "again", "False", "run 2"],
        ["a", "one", "False", "run 1"],
        ["gone", "None", "True", "run 2"],
    ]


def test_a_renamed_field_keeps_its_column(database, caplog):
    load(database, [["a", "one"]])
    with caplog.at_level(logging.WARNING):
        done = load(database, [["b", "two"]], [TWO[0], Column("headline", "text", "title")])
    assert done.columns == ["id", "title"]
    assert read(database) == [["a", "one", False], ["b", "two", False]]
    assert "'headline'" in done.warnings[0]
    assert done.warnings[0] in caplog.text


def test_a_later_field_of_a_taken_name_gets_a_suffix_for_good(database):
    load(database, [["a", "one"]])
    other = [*TWO[:1], Column("title", "text", "other key"), Column("is_deleted", "text", "third")]
    for _ in range(2):
        done = load(database, [["a", "another", "no flag"]], other)
        assert done.columns == ["id", "title_2", "is_deleted_2"]
        assert done.warnings == []
    wide = [TWO[0], TWO[1], Column("title_2", "text", "o"), Column("is_deleted_2", "text", "t")]
    assert read(database, wide) == [["a", None if database.name == "portable" else "one", "another", "no flag", False]]


def test_new_columns_are_added_and_old_ones_stay(database):
    load(database, [["a", "one"]])
    wider = [TWO[0], Column("score", "integer", "k")]
    for mode in ("merge", "replace"):
        load(database, [["a", 5]], wider, mode=mode, run="run 2")
        assert [row[1] for row in read(database, wider)] == [5]
    assert read(database) == [["a", None, False]]


def test_names_that_are_too_long_or_awkward_are_columns_all_the_same(database):
    names = [
        "n" * 70 + "1",
        "n" * 70 + "2",
        "ü" * 60,
        "Größe in % (m²)",
        'a "quoted" `one`',
        "select",
        "a FROM b WHERE c",
    ]
    columns = [TWO[0], *(Column(name, "text", f"key {number}") for number, name in enumerate(names))]
    row = ["a", *(f"value {number}" for number in range(len(names)))]
    first = load(database, [row], columns, mode="append")
    second = load(database, [row], columns, mode="append", run="run 2")
    assert first.columns == second.columns
    assert len(set(first.columns)) == len(columns)
    assert second.warnings == []
    assert first.columns[4:] == names[3:]
    assert max(len(name) for name in first.columns) <= 64
    quoted = [database.quoted(name) for name in first.columns[1:4]]
    assert database.fetch(f"SELECT DISTINCT {', '.join(quoted)} FROM leads") == [("value 0", "value 1", "value 2")]


def test_a_table_that_people_made_is_matched_by_name(database):
    title = "Title" if database.name != "portable" else "title"
    database.execute(f"CREATE TABLE leads (id VARCHAR(36) NOT NULL PRIMARY KEY, {title} VARCHAR(99), note VARCHAR(9))")
    database.execute("INSERT INTO leads VALUES ('a', 'one', 'mine')")
    done = load(database, [["a", "two"], ["b", "new"]])
    assert done.columns[1].lower() == "title"
    mine = None if database.name == "portable" else "mine"
    assert database.fetch("SELECT id, title, note FROM leads ORDER BY 1") == [("a", "two", mine), ("b", "new", None)]


def test_a_column_that_cannot_take_its_kind_is_refused_before_anything_changes(known_database):
    known_database.execute("CREATE TABLE leads (id VARCHAR(36) PRIMARY KEY, title INTEGER)")
    for attempt in (
        lambda: check(known_database.hook, "leads", "merge", TWO),
        lambda: load(known_database, [["a", "one"]]),
    ):
        with pytest.raises(PipedriveConfigError, match=r"(?i)'title' of leads is int.*text") as caught:
            attempt()
    assert "TEXT" in str(caught.value)
    assert known_database.tables() & {"leads_columns"} == set()


def test_a_table_keyed_for_another_mode_is_refused(known_database):
    load(known_database, [["a", "one"]], table="history", mode="append")
    with pytest.raises(PipedriveConfigError, match="primary key"):
        load(known_database, [["a", "one"]], table="history")
    load(known_database, [["a", "one"]])
    with pytest.raises(PipedriveConfigError, match="history"):
        load(known_database, [["a", "one"]], mode="append")


@pytest.mark.parametrize("mode", ["merge", "replace", "append"])
def test_an_exception_within_the_block_leaves_everything_as_it_was(database, mode):
    wider = [*TWO, Column("extra", "text", "extra")]
    load(database, [["a", "one"]], mode=mode)
    before, tables = database.fetch("SELECT * FROM leads"), database.tables()
    for _ in range(2):
        with pytest.raises(PipedriveValidationError):
            load(database, [["a", "changed", "x"]], wider, mode=mode, run="run 2", then=[["b", "new", 5]])
        assert database.fetch("SELECT * FROM leads") == before
        assert database.tables() == tables


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_a_failure_at_the_very_end_leaves_everything_as_it_was(database, mode):
    """The table itself refuses a row, after others went in and columns were added."""
    database.execute("CREATE TABLE leads (id VARCHAR(36) PRIMARY KEY, title VARCHAR(99), CHECK (title <> 'bad'))")
    load(database, [["a", "one"], ["b", "two"]])
    before, tables = database.fetch("SELECT * FROM leads ORDER BY 1"), database.tables()
    undone = database.name in ("postgres", "sqlite", "duckdb")
    columns = [*TWO, Column("extra", "text", "extra")] if undone else TWO
    rows = [[key, title, "x"][: len(columns)] for key, title in (("a", "changed"), ("c", "bad"))]
    with pytest.raises(Exception, match=r"(?i)check|constraint"):
        load(database, rows, columns, mode=mode, run="run 2")
    assert database.fetch("SELECT * FROM leads ORDER BY 1") == before
    assert {name for name in database.tables() - tables if name != "leads_pipedrive_new"} == set()


@pytest.mark.parametrize("kind", ["postgres", "psycopg2", "mysql", "pymysql", "duckdb"])
def test_moments_are_in_utc_in_a_column_that_knows_no_zone(kind, request, monkeypatch):
    """The servers are set to Tokyo's time."""
    database = request.getfixturevalue(kind)
    database.execute("CREATE TABLE leads (id VARCHAR(36) PRIMARY KEY, changed TIMESTAMP NULL)")
    load(database, [["a", "2026-01-31T09:30:00.000Z"]], [TWO[0], Column("changed", "timestamp", "c")])
    shown = "UNIX_TIMESTAMP(changed)" if database.name == "mysql" else "extract(epoch FROM changed)"
    assert [int(moment) for (moment,) in database.fetch(f"SELECT {shown} FROM leads")] == [1_769_851_800]


def test_a_first_load_that_fails_makes_no_table(database):
    with pytest.raises(PipedriveValidationError):
        load(database, [["a", 5]])
    assert database.tables() & {"leads", "leads_columns"} == set()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", 5),
        ("integer", "5"),
        ("integer", True),
        ("integer", 2**63),
        ("number", "much"),
        ("number", "x" * 500),
        ("number", float("nan")),
        ("boolean", 1),
        ("date", "31.01.2026"),
        ("date", 5),
        ("time", "noon"),
        ("timestamp", "yesterday"),
        ("list<string>", ["a", 1]),
        ("list<string>", "a"),
        ("json", {1, object()}),
    ],
)
def test_a_value_of_another_kind_is_told_by_row_and_column(sqlite, kind, value):
    columns = [TWO[0], Column("thing", kind, "k")]
    load(sqlite, [["a", None]], columns)
    told = f"column 'thing', row 2: the value ({type(value).__name__}) is not of the kind {kind!r}; nothing was loaded."
    with pytest.raises(PipedriveValidationError) as caught:
        load(sqlite, [["a", None], ["b", value]], columns)
    assert str(caught.value) == told
    assert len(read(sqlite, columns)) == 1


def test_a_row_without_key_and_batches_of_another_shape_are_refused(sqlite):
    for rows in ([["a"]], [[None, "x"]]):
        with pytest.raises(PipedriveValidationError):
            load(sqlite, rows)
    with pytest.raises(PipedriveConfigError, match="'id'"):
        load(sqlite, [["x"]], [TWO[1]])


def test_nul_characters_are_taken_out_and_counted(database):
    columns = [*TWO, Column("labels", "list<string>", "l"), Column("rest", "json", "r")]
    rest = {"k\0": ["\0", "\\u0000", 1]}
    done = load(database, [["a", "x\0y\0", ["\0z"], rest]], columns)
    assert read(database, columns) == [["a", "xy", ["z"], {"k": ["", "\\u0000", 1]}, False]]
    assert done.warnings == ["5 NUL characters were removed from texts."]


def test_a_table_in_another_schema(postgres):
    postgres.execute("CREATE SCHEMA crm")
    for mode in ("merge", "replace"):
        load(postgres, [["a", "one"]], table="crm.leads", mode=mode)
        assert read(postgres, table="crm.leads") == [["a", "one", False]]


@pytest.mark.parametrize("table", ["", "a.b.c", "a;b", 'x"y', ".leads", "leads ", "x" * 64, "a\nb"])
def test_a_bad_name_of_a_table_is_refused(postgres, table):
    with pytest.raises(PipedriveConfigError, match=r"^table: "):
        check(postgres.hook, table, "merge")


def test_check_accepts_what_will_work_and_changes_nothing(database):
    before = database.tables()
    check(database.hook, "leads", "merge", TWO)
    assert database.tables() == before
    with pytest.raises(PipedriveConfigError, match=r"^mode: 'upsert'"):
        check(database.hook, "leads", "upsert")


def test_what_is_no_database_is_refused():
    with pytest.raises(PipedriveConfigError, match="no hook for an SQL database"):
        check(object(), "leads", "merge")


def test_an_error_of_the_driver_does_not_tell_the_password(portable, monkeypatch):
    where = json.dumps({"conn_type": "sqlite", "password": "hidden-word"})
    monkeypatch.setenv("AIRFLOW_CONN_LEADS_OTHER", where)

    def get_conn():
        raise OSError("no such file: other://user:hidden-word@host")

    monkeypatch.setattr(portable.hook, "get_conn", get_conn)
    with pytest.raises(PipedriveConfigError, match="other://user:") as caught:
        check(portable.hook, "leads", "merge")
    assert "hidden-word" not in str(caught.value)


def test_without_the_extra_the_remedy_is_named(sqlite, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "airflow.providers.common.sql", None)
    with pytest.raises(PipedriveConfigError, match=r"airflow-provider-pipedrive-leads\[sql\]"):
        check(sqlite.hook, "leads", "merge")


DATED = [*TWO, Column("changed", "timestamp", "update_time")]
FIRST, SECOND, THIRD = (f"2026-01-31T09:30:0{second}.250Z" for second in (1, 2, 3))


@contextmanager
def merging(database, run, *, columns=DATED, version="update_time"):
    with loading_table(database.hook, "leads", columns, mode="merge", run_key=run, version=version) as loading:
        yield loading


def dated(database):
    return [row[:3] for row in read(database, DATED)]


def test_a_slow_merge_does_not_put_an_older_row_over_a_newer_one(database):
    """Two connections: what the slow one read has changed by the time it writes, and the fast one knows."""
    load(database, [["a", "first", FIRST], ["b", "first", FIRST]], DATED)
    with merging(database, "slow") as slow:
        slow.write(batch([["a", "second", SECOND], ["b", "second", SECOND], ["c", "second", SECOND]]))
        with merging(database, "fast") as fast:
            fast.write(batch([["a", "third", THIRD], ["c", "third", THIRD], ["d", "third", THIRD]]))
    assert dated(database) == [
        ["a", "third", THIRD],
        ["b", "second", SECOND],
        ["c", "third", THIRD],
        ["d", "third", THIRD],
    ]
    assert slow.rows == 3


def test_equal_times_replace_so_that_added_fields_arrive(database):
    load(database, [["a", "plain", SECOND]], DATED)
    more = [*DATED, Column("size", "integer", "k1")]
    with merging(database, "later", columns=more) as later:
        later.write(batch([["a", "again", SECOND, 7]]))
    assert read(database, more) == [["a", "again", SECOND, 7, False]]


@pytest.mark.parametrize(("there", "fresh"), [(None, FIRST), (SECOND, None), (None, None)])
def test_a_row_without_a_time_is_replaced_and_replaces(database, there, fresh):
    load(database, [["a", "before", there]], DATED)
    with merging(database, "later") as later:
        later.write(batch([["a", "after", fresh]]))
    assert dated(database) == [["a", "after", fresh]]


def test_a_time_column_that_is_added_lets_the_rows_of_before_be_replaced(database):
    load(database, [["a", "before"]])
    with merging(database, "later") as later:
        later.write(batch([["a", "after", FIRST]]))
    assert dated(database) == [["a", "after", FIRST]]


def test_a_key_that_is_nothing_but_times_apart_stands_once(database):
    with merging(database, "only") as only:
        only.write(batch([["a", "second", SECOND]]))
        only.write(batch([["a", "first", FIRST]]))
    assert len(dated(database)) == 1


def test_what_changed_after_it_was_missed_is_not_marked_as_deleted(database):
    load(database, [["a", "first", FIRST], ["b", "first", FIRST], ["c", "first", None]], DATED)
    with merging(database, "slow") as slow:
        slow.mark_deleted(["a", "b", "c", "d"], as_of=SECOND)
        with merging(database, "fast") as fast:
            fast.write(batch([["b", "third", THIRD]]))
    marked = {row[0]: row[-1] for row in read(database, DATED)}
    assert marked == {"a": True, "b": False, "c": True, "d": True}


def test_without_a_known_time_all_that_is_gone_is_marked(database):
    load(database, [["a", "third", THIRD]], DATED)
    with merging(database, "later") as later:
        later.mark_deleted(["a"])
    assert [row[-1] for row in read(database, DATED)] == [True]


def test_a_time_that_is_in_no_column_is_refused(database):
    named = "columns: none has the key 'update_time'"
    with pytest.raises(PipedriveConfigError, match=named), merging(database, "any", columns=TWO):
        pass


def test_rows_for_duckdb_wait_in_a_table_without_pyarrow(duckdb, monkeypatch):
    made = []
    stage = DuckDb.stage
    monkeypatch.setattr(DuckDb, "stage", lambda *given: made.append(given[2]) or stage(*given))
    monkeypatch.setattr(dialects, "find_spec", lambda name: None)
    load(duckdb, ROWS, ALL_KINDS)
    assert made == ['"_pipedrive_rows"']
    assert [row[0] for row in duckdb.fetch("SELECT id FROM leads ORDER BY id")] == [row[0] for row in ROWS]


def test_a_duckdb_that_may_read_no_files_is_loaded(duckdb, monkeypatch):
    open_connection = duckdb.hook.get_conn

    def shut_off():
        connection = open_connection()
        connection.execute("SET enable_external_access = false")
        return connection

    monkeypatch.setattr(duckdb.hook, "get_conn", shut_off)
    load(duckdb, ROWS, ALL_KINDS)
    assert [row[0] for row in duckdb.fetch("SELECT id FROM leads ORDER BY id")] == [row[0] for row in ROWS]
