"""What is written in any format is what is read back, by other people's readers."""

from __future__ import annotations

import csv
import errno
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime, time

import duckdb
import msgspec
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files import parquet, publishing
from airflow_provider_pipedrive_leads.files.comma_separated import CsvTable
from airflow_provider_pipedrive_leads.files.destination import check, writing_lines, writing_table
from airflow_provider_pipedrive_leads.files.json_lines import JsonLinesTable
from airflow_provider_pipedrive_leads.files.table import Column
from tests.unhurried import unhurried


def write(table, path, rows=None):
    rows = table.rows if rows is None else rows
    with writing_table(UPath(path), table.columns) as file:
        for start in range(0, len(rows), 3):
            file.write(table.batch_of(rows[start : start + 3]))
    assert (file.files, file.rows) == ([str(path)], len(rows))


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".jsonl.gz", ".NDJSON.gz"])
def test_json_lines_hold_every_value_as_it_was(table, read, tmp_path, suffix):
    path = tmp_path / f"leads{suffix}"
    write(table, path)
    names = [column.name for column in table.columns]
    assert [list(row.items()) for row in read.jsonl(path)] == [list(zip(names, row, strict=True)) for row in table.rows]


def csv_cell(value):
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_holds_every_value(table, read, tmp_path, suffix):
    path = tmp_path / f"leads{suffix}"
    write(table, path)
    header, *found = read.csv(path)
    assert header == [column.name for column in table.columns]
    assert len(found) == len(table.rows)
    for record, row in zip(found, table.rows, strict=True):
        for column, cell, value in zip(table.columns, record, row, strict=True):
            if value is not None and column.kind in ("list<string>", "json"):
                assert json.loads(cell) == value
            elif isinstance(value, int | float) and not isinstance(value, bool):
                assert type(value)(cell) == value
            else:
                assert cell == csv_cell(value)


def test_csv_tells_null_from_an_empty_text_and_is_read_by_a_database(table, tmp_path):
    path = tmp_path / "leads.csv"
    write(table, path)
    titles = duckdb.sql(
        f"select title from read_csv('{path}', header=true, all_varchar=true, delim=',', quote='\"', escape='\"',"
        " new_line='\\n', allow_quoted_nulls=false)"
    ).fetchall()
    assert [title for (title,) in titles] == [row[0] for row in table.rows]


def test_nul_becomes_its_sign_and_nothing_else_is_altered(read, tmp_path):
    texts = ["a\0b", "=cmd", "+1", "-1", "@x", " padded ", "\t", "\x1b", "\r", "\n"]
    with writing_table(UPath(tmp_path / "x.csv"), [Column("a", "text", "a"), Column("b", "text", "b")]) as file:
        file.write([texts, texts])
    assert [row[0] for row in read.csv(tmp_path / "x.csv")[1:]] == [text.replace("\0", "␀") for text in texts]


def test_a_null_in_a_csv_of_one_column_is_no_empty_line(read, tmp_path):
    with writing_table(UPath(tmp_path / "x.csv"), [Column("a", "text", "a")]) as file:
        file.write([["x", None, ""]])
    assert (tmp_path / "x.csv").read_text() == 'a\nx\n""\n""\n'


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('",\r\n\0 =;\t', max_size=6) | st.none()


@unhurried
@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_any_text_comes_back_from_csv(rows):
    file = io.BytesIO()
    CsvTable(file, [Column("a", "text", "a"), Column("b", "text", "b")]).write(
        [[a for a, _ in rows], [b for _, b in rows]]
    )
    found = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert found[1:] == [[(text or "").replace("\0", "␀") for text in row] for row in rows]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@unhurried
@given(st.lists(st.tuples(TEXTS, JSON)), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_json_comes_back_from_json_lines(rows, name):
    file = io.BytesIO()
    columns = [Column(f"{name}1", "text", "a"), Column(name, "json", "b")]
    JsonLinesTable(file, columns).write([[a for a, _ in rows], [b for _, b in rows]])
    assert [list(json.loads(line).items()) for line in io.BytesIO(file.getvalue())] == [
        [(f"{name}1", a), (name, b)] for a, b in rows
    ]


def test_json_texts_are_written_unread_one_a_line(read, tmp_path):
    texts = [b'{"a":1.10}', msgspec.Raw(b'{"b":"x"}'), memoryview(b'{"c": "\\n"}'), bytearray(b"[1]")]
    with writing_lines(UPath(tmp_path / "x.jsonl")) as file:
        file.write(texts[:2])
        file.write([])
        file.write(texts[2:])
    assert (tmp_path / "x.jsonl").read_bytes() == b'{"a":1.10}\n{"b":"x"}\n{"c": "\\n"}\n[1]\n'
    assert read.jsonl(tmp_path / "x.jsonl")[2] == {"c": "\n"}
    assert file.rows == 4


def parquet_value(kind, value):
    if value is None:
        return None
    if kind == "date":
        return date.fromisoformat(value)
    if kind == "time":
        return time.fromisoformat(value)
    if kind == "timestamp":
        return datetime.fromisoformat(value).astimezone(UTC)
    return float(value) if kind == "number" else value


def test_parquet_holds_every_value_with_its_type(table, read, tmp_path):
    path = tmp_path / "leads.parquet"
    write(table, path)
    found = read.parquet(path)
    assert [str(field.type) for field in found.schema] == [
        *("string", "int64", "double", "bool", "date32[day]", "time32[ms]", "timestamp[ms, tz=UTC]"),
        *("list<element: string>", "string"),
    ]
    assert [field.metadata[b"key"].decode() for field in found.schema] == [column.key for column in table.columns]
    for column, values in zip(table.columns, zip(*table.rows, strict=True), strict=True):
        got = found.column(column.name).to_pylist()
        if column.kind == "json":
            got = [None if value is None else json.loads(value) for value in got]
        assert got == [parquet_value(column.kind, value) for value in values], column.name
    assert duckdb.sql(f"select count(*), max(expected_close_date) from '{path}'").fetchall() == [
        (7, date(9999, 12, 31))
    ]


def test_parquet_has_groups_of_rows_with_statistics(table, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS_PER_GROUP", 5)
    write(table, tmp_path / "leads.parquet")
    meta = pyarrow.parquet.ParquetFile(tmp_path / "leads.parquet").metadata
    assert [meta.row_group(number).num_rows for number in range(meta.num_row_groups)] == [5, 2]
    assert meta.row_group(1).column(1).statistics.max == 7
    assert meta.row_group(0).column(0).compression == "ZSTD"


def test_a_group_of_parquet_ends_early_where_rows_weigh_much(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BYTES_PER_GROUP", 1_000)
    path = tmp_path / "fat.parquet"
    columns = [Column("id", "integer", "id"), Column("text", "text", "text")]
    texts = ["x" * weight for weight in (100, 100, 1_200, 3, 4, 990)]
    with writing_table(UPath(path), columns) as file:
        for start in range(0, len(texts), 2):
            file.write([[start, start + 1], texts[start : start + 2]])
    meta = pyarrow.parquet.ParquetFile(path).metadata
    assert [meta.row_group(number).num_rows for number in range(meta.num_row_groups)] == [4, 2]
    assert pyarrow.parquet.read_table(path).column("text").to_pylist() == texts


@pytest.mark.parametrize(
    ("kind", "values", "read_back"),
    [
        ("integer", [1.0, 2, None], [1, 2, None]),
        ("integer", ["3", "-4.0", "1e3"], [3, -4, 1000]),
        ("number", [1, 2.5, "3.25", 2**60], [1.0, 2.5, 3.25, 2.0**60]),
        (
            "timestamp",
            ["2026-01-31 09:30:00", "2026-01-31T11:30:00+02:00"],
            [datetime(2026, 1, 31, 9, 30, tzinfo=UTC)] * 2,
        ),
        ("list<string>", [("a", None), None], [["a", None], None]),
    ],
)
def test_parquet_takes_what_fits_without_loss(read, tmp_path, kind, values, read_back):
    with writing_table(UPath(tmp_path / "x.parquet"), [Column("a", kind, "a")]) as file:
        file.write([values])
    assert read.parquet(tmp_path / "x.parquet").column("a").to_pylist() == read_back


UNFIT = {
    "text": [5, b"x", ["a"], "\ud800"],
    "integer": [1.5, "1.5", "x", True, 2**63, float("nan"), "1_0", "9" * 500, "1e999"],
    "number": [True, "x", "", 2**53 + 1, 10**400, "1e999", [1]],
    "boolean": [1, "true"],
    "date": ["2026-02-30", "", 5, "31.01.2026"],
    "time": ["24:00:00", "09:30:00.5", "x"],
    "timestamp": ["2026-01-31T09:30:00.123456Z", "soon", 5],
    "list<string>": ["ab", [1], {"a": 1}],
}
FITTING = {"text": "a", "integer": 1, "number": 1.5, "boolean": True, "date": "2026-01-31", "time": "09:30:00"}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in UNFIT.items() for value in values])
def test_parquet_refuses_what_does_not_fit_and_leaves_what_was_there(tmp_path, kind, value):
    path = tmp_path / "x.parquet"
    path.write_text("yesterday")
    with (
        pytest.raises(PipedriveValidationError, match=r"column 'Company size', row 2: .*\.jsonl") as caught,
        writing_table(UPath(path), [Column("Company size", kind, "a")]) as file,
    ):
        file.write([[FITTING.get(kind), value, None]])
    assert str(caught.value).startswith(
        f"column 'Company size', row 2: the value ({type(value).__name__}) does not fit"
    )
    assert [(left.name, left.read_text()) for left in tmp_path.iterdir()] == [("x.parquet", "yesterday")]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".csv.gz", ".parquet"])
def test_no_rows_still_make_a_file(table, read, tmp_path, suffix):
    write(table, tmp_path / f"leads{suffix}", rows=[])
    assert read.count(tmp_path / f"leads{suffix}") == 0


def test_a_gzipped_file_is_the_same_whenever_it_is_written(table, tmp_path):
    write(table, tmp_path / "a.csv.gz")
    write(table, tmp_path / "b.csv.gz")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert (tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4)


WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from upath import UPath
from airflow_provider_pipedrive_leads.files.destination import check, writing_table
from airflow_provider_pipedrive_leads.files.table import Column
columns = [Column("a", "text", "a")]
with writing_table(UPath(sys.argv[1] + "/x.csv"), columns) as file:
    file.write([["x"]])
for attempt in (check, lambda place: writing_table(place, columns).__enter__()):
    try:
        attempt(UPath(sys.argv[1] + "/x.parquet"))
    except Exception as problem:
        print(type(problem).__name__, problem)
"""


def test_without_pyarrow_only_parquet_is_missed(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.count("PipedriveConfigError") == 2
    assert ran.stdout.count("pip install 'airflow-provider-pipedrive-leads[parquet]'") == 2
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def test_columns_of_different_lengths_are_a_mistake(table, tmp_path):
    with (
        pytest.raises(ValueError, match="lengths"),
        writing_table(UPath(tmp_path / "x.csv"), table.columns[:2]) as file,
    ):
        file.write([[1, 2], [1]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "rows_per_file", "words"),
    [
        ("leads", None, "path: the suffix"),
        ("leads.xlsx", None, "path: the suffix"),
        ("leads.parquet.gz", None, "compresses itself"),
        ("folder.csv", None, "folder.csv: it is a folder"),
        ("file/leads.csv", None, "cannot write to .*leads.csv"),
        ("file.csv", 10, "it must be a folder"),
        *[("leads.csv", wrong, "rows_per_file") for wrong in (0, -1, "0", "many", "1.5", 1.5, True, "", "²")],
    ],
)
def test_what_cannot_work_is_found_beforehand(tmp_path, name, rows_per_file, words):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "file.csv").write_text("in the way")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PipedriveConfigError, match=words):
        check(UPath(tmp_path / name), rows_per_file)
    with pytest.raises(PipedriveConfigError, match=words):
        writing_table(UPath(tmp_path / name), [Column("a", "text", "a")], rows_per_file=rows_per_file).__enter__()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_can_work_passes_and_leaves_no_file(tmp_path):
    check(UPath(tmp_path / "new" / "leads.parquet"))
    check(UPath(tmp_path / "new" / "leads.csv.gz"), "50000")
    check(UPath("memory://lake/leads.jsonl"), 7)
    assert [file for file in tmp_path.rglob("*") if not file.is_dir()] == []


def test_a_scheme_that_nothing_can_open_is_named(monkeypatch):
    class Unopenable:
        protocol, path = "gs", "lake/leads.csv"

        @property
        def fs(self):
            raise ImportError("gcsfs is missing")

    with pytest.raises(PipedriveConfigError, match=r"gs://.*gcsfs is missing"):
        check(Unopenable())


def test_json_texts_go_to_json_lines_only(tmp_path):
    with pytest.raises(PipedriveConfigError, match=r"\.jsonl"):
        writing_lines(UPath(tmp_path / "x.csv")).__enter__()


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_disk_that_fails_after_the_data_was_taken_is_an_error_that_names_the_place(
    table, tmp_path, monkeypatch, failing_call
):
    """The system tells of it at one synchronisation only, the one during the writing or the last."""
    monkeypatch.setattr(publishing, "BYTES_BETWEEN_SYNCS", 1)
    calls = iter(range(1, 100))

    def failing(_: int) -> None:
        if next(calls) == failing_call:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write(table, tmp_path / "x.csv")
    assert caught.value.filename2 == str(tmp_path / "x.csv")
    assert not list(tmp_path.iterdir())
