"""Tables that people made or changed: what does not fit is told without what is in the row."""

from __future__ import annotations

import threading

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files.destination import writing_table
from airflow_provider_pipedrive_leads.files.publishing import publishing
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.connecting import without_row
from airflow_provider_pipedrive_leads.sql.loading import loading_table
from tests.sql.test_loading import TWO, load, read

PRIVATE = "Robin Private"


def told(problem):
    """All that a log would show of an error."""
    shown = []
    while problem is not None:
        shown.append(str(problem))
        problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    return "\n".join(shown)


def test_a_column_that_may_not_be_null_shows_no_lead(known_database):
    kind = "VARCHAR(36)" if known_database.name == "mysql" else "TEXT"
    known_database.execute(f"CREATE TABLE leads (id {kind} PRIMARY KEY, title TEXT, ours INTEGER NOT NULL)")
    with pytest.raises(PipedriveConfigError, match=r"^table: leads refuses a row\.") as caught:
        load(known_database, [["a", PRIVATE]])
    assert "ours" in str(caught.value)
    assert PRIVATE not in told(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        f'null value in column "x"\nDETAIL:  Failing row contains (a, {PRIVATE}).',
        f"1062 (23000): Duplicate entry '{PRIVATE}' for key 'PRIMARY'",
        f"1366 (HY000): Incorrect integer value: '{PRIVATE}' for column `sales`.`leads`.`x` at row 1",
        f"Conversion Error: Could not convert string '{PRIVATE}' to INT32",
        f'invalid input syntax for type integer: "{PRIVATE}"',
        f'Constraint Error: Duplicate key "id: {PRIVATE}" violates primary key constraint',
    ],
)
def test_words_of_drivers_are_told_without_the_row(said):
    assert "Private" not in without_row(RuntimeError(said))
    assert len(without_row(RuntimeError(said))) > 20


@pytest.mark.parametrize("suffix", [".parquet", ""])
def test_a_value_of_another_kind_is_told_by_row_and_column(tmp_path, sqlite, suffix):
    columns = [Column("id", "text", "id"), Column("size", "integer", "k1")]

    def write(into):
        into.write([["a", "b"], [1, 2]])
        into.write([["c", "d"], [3, PRIVATE]])

    writing = (
        writing_table(UPath(tmp_path / "leads.parquet"), columns)
        if suffix
        else loading_table(sqlite.hook, "leads", columns, mode="merge", run_key="run")
    )
    named = r"^column 'size', row 4: the value \(str\) "
    with pytest.raises(PipedriveValidationError, match=named) as caught, writing as into:
        write(into)
    assert PRIVATE not in told(caught.value)


@pytest.mark.parametrize("name", ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])
def test_a_field_may_be_named_like_a_column_of_postgres_own(postgres, name):
    columns = [*TWO, Column(name, "text", "k1")]
    for _ in range(2):
        done = load(postgres, [["a", "first", "value"]], columns)
    assert done.columns == ["id", "title", f"{name}_2"]
    assert postgres.fetch(f"SELECT {name}_2 FROM leads") == [("value",)]


def test_tries_of_a_run_that_append_to_duckdb_at_once_do_not_double(duckdb):
    load(duckdb, [["z", "before"]], mode="append", run="run 0")
    start = threading.Barrier(2)

    def append():
        with loading_table(duckdb.hook, "leads", TWO, mode="append", run_key="run 1") as loading:
            loading.write([["a"], ["once"]])
            start.wait()

    threads = [threading.Thread(target=append) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row[:2] for row in read(duckdb)] == [["a", "once"], ["z", "before"]]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    target, link = tmp_path / "elsewhere" / "leads.csv", tmp_path / "leads.csv"
    target.parent.mkdir()
    target.write_text("yesterday")
    link.symlink_to(target)
    with publishing(UPath(link)) as file:
        file.write(b"today")
    assert link.is_symlink()
    assert target.read_text() == link.read_text() == "today"
    assert [each.name for each in tmp_path.iterdir() if each.name != "elsewhere"] == ["leads.csv"]
