"""What is written is what is read; of anything else each line that can be read is, and the others say why."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType

import boto3
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from pyarrow import parquet
from s3fs import S3FileSystem
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files import lines as lines_module
from airflow_provider_pipedrive_leads.files.destination import writing_table
from airflow_provider_pipedrive_leads.files.rows import Row, reading_rows, rows_of
from airflow_provider_pipedrive_leads.files.table import Column
from tests.unhurried import unhurried

LINE_FORMATS = [".jsonl", ".ndjson", ".csv", ".jsonl.gz", ".ndjson.gz", ".CSV.gz"]
FORMATS = [*LINE_FORMATS, ".parquet"]


@pytest.fixture
def written(tmp_path):
    """A file of these bytes."""

    def write(suffix, data):
        path = tmp_path / f"rows{suffix}"
        path.write_bytes(data)
        return UPath(path)

    return write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A folder for files that one example after another overwrites."""
    return tmp_path_factory.mktemp("rows")


def read(place):
    with reading_rows(place) as rows:
        return list(rows)


def told(rows):
    """Rows in short: the number, and the values or what is wrong."""
    return [(row.number, row.problem if row.values is None else row.values) for row in rows]


def values_of(rows):
    assert [row.problem for row in rows] == [None] * len(rows)
    return [row.values for row in rows]


def read_bytes(folder, suffix, data):
    """Rows of any bytes; none if there is no row, or if it is refused at once."""
    path = folder / f"any{suffix}"
    path.write_bytes(data)
    try:
        return read(UPath(path))
    except (PipedriveConfigError, PipedriveValidationError) as problem:
        assert str(problem).startswith("path: ")
        return []


# What our own writers wrote


PYTHONS = {"date": date.fromisoformat, "time": time.fromisoformat, "timestamp": datetime.fromisoformat}


def as_read(form, column, value):
    """A value that was written, as it comes back."""
    if value is None or (form == "csv" and value == "" and column.kind != "json"):
        return None
    if form == "jsonl":
        return value
    if form == "parquet":
        return json.dumps(value) if column.kind == "json" else PYTHONS.get(column.kind, lambda kept: kept)(value)
    if column.kind in ("text", "date", "time", "timestamp"):
        return value
    return json.dumps(value)


def same(form, column, found, value):
    wanted = as_read(form, column, value)
    if (
        wanted is not None
        and (form == "csv" or column.kind == "json")
        and column.kind in ("list<string>", "json", "number")
    ):
        return json.loads(found) == value if form != "jsonl" else found == value
    return (found, type(found)) == (wanted, type(wanted)) or (column.kind == "number" and found == wanted)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rows_per_file", [None, 2])
def test_an_export_is_read_back(table, tmp_path, suffix, rows_per_file):
    place = UPath(tmp_path / f"leads{suffix}")
    with writing_table(place, table.columns, rows_per_file=rows_per_file) as file:
        file.write(table.batch_of(table.rows))
    rows = read(place)
    form = "parquet" if "parquet" in suffix else "csv" if "csv" in suffix.lower() else "jsonl"
    assert len(rows) == len(table.rows)
    for found, row in zip(values_of(rows), table.rows, strict=True):
        assert list(found) == [column.name for column in table.columns]
        for column, value in zip(table.columns, row, strict=True):
            assert same(form, column, found[column.name], value), (column, found[column.name], value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text('",\r\n =;\t\x1c\x85\u2028', max_size=6) | st.none()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".csv.gz", ".parquet"])
def test_any_texts_come_back(scratch, suffix):
    place = UPath(scratch / f"texts{suffix}")
    columns = [Column("a", "text", "a"), Column("b", "text", "b")]

    @settings(unhurried, max_examples=60)
    @given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
    def check(rows):
        with writing_table(place, columns) as file:
            file.write([list(values) for values in zip(*rows, strict=True)])
        if "csv" in suffix:
            rows = [[(text or "").replace("\0", "␀") or None for text in row] for row in rows]
        assert [list(values.values()) for values in values_of(read(place))] == [list(row) for row in rows]

    check()


# Any bytes


SCRAPS = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b" ",
        b",",
        b'"',
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"{",
        b"[" * 3000,
        b"[1]",
        b'{"a":1}',
        b'{"a":"\xc3\xbc"}',
        b'{"a":"\\ud800"}',
        b'{"a":\n1} {"a":2}',
        b"1e999",
        b"a,b",
        b"1,2",
        b'"x\ny",2\n',
    ]
)
ANY_BYTES = st.lists(SCRAPS | st.binary(max_size=5), max_size=30).map(b"".join)


def objects_of(data):
    """What Python's own JSON makes of each line: number and object."""
    found = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            value = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and b"\\ud8" not in line:
            found.append((number, value))
    return found


@pytest.mark.parametrize("block", [1, 3, 1 << 18])
def test_of_any_json_lines_each_that_can_be_read_is(scratch, monkeypatch, block):
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block)

    @settings(unhurried, max_examples=100)
    @given(ANY_BYTES)
    def check(data):
        rows = read_bytes(scratch, ".jsonl", data)
        assert [(row.number, row.values) for row in rows if row.problem is None] == objects_of(data)
        blank = [not line.strip() for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
        assert [row.number for row in rows] == [number for number, is_blank in enumerate(blank, 1) if not is_blank]
        assert read_bytes(scratch, ".jsonl.gz", gzip.compress(data)) == rows

    check()


def plain_records(data):
    """Lines of two cells that need no knowledge of CSV to be read."""
    for number, line in enumerate(data.split(b"\n")[1:], 2):
        cells = line.rstrip(b"\r").split(b",")
        try:
            texts = [cell.decode() for cell in cells]
        except UnicodeDecodeError:
            continue
        if len(cells) == 2 and not {"\0", "\r"} & {*texts[0], *texts[1]}:
            yield number, {"a": texts[0] or None, "b": texts[1] or None}


@pytest.mark.parametrize("block", [1, 1 << 18])
def test_of_any_csv_each_line_that_can_be_read_is(scratch, monkeypatch, block):
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block)

    @settings(unhurried, max_examples=120)
    @given(ANY_BYTES)
    @example(b"\r\r\n1,2")
    @example(b"1,2\r\r\n")
    def check(data):
        read_bytes(scratch, ".csv", data)
        unquoted = b"a,b\n" + data.replace(b'"', b"")
        rows = read_bytes(scratch, ".csv", unquoted)
        assert [(row.number, row.values) for row in rows if row.problem is None] == list(plain_records(unquoted))
        assert read_bytes(scratch, ".csv.gz", gzip.compress(unquoted)) == rows

    check()


@pytest.mark.parametrize("suffix", FORMATS)
def test_any_bytes_under_any_name_raise_no_other_error(scratch, suffix):
    @settings(unhurried, max_examples=60)
    @given(ANY_BYTES, st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"PAR1"]))
    def check(data, start):
        read_bytes(scratch, suffix, start + data)
        read_bytes(scratch, suffix, start + data + start)

    check()


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz"])
def test_a_damaged_gzip_file_says_so_in_the_end_at_the_latest(scratch, suffix):
    place = UPath(scratch / f"damaged{suffix}")
    with writing_table(place, [Column("a", "integer", "a"), Column("b", "text", "b")]) as file:
        file.write([list(range(300)), [f"text {number}" for number in range(300)]])
    good, whole = read(place), place.read_bytes()

    @settings(unhurried, max_examples=100)
    @given(st.integers(0, len(whole) - 1), st.integers(0, len(whole)), st.binary(max_size=3))
    def check(start, end, instead):
        rows = read_bytes(scratch, suffix, whole[:start] + instead + whole[max(start, end) :])
        assert not rows or rows == good or rows[-1].problem

    check()


def test_damaged_parquet_raises_no_other_error(scratch):
    parquet_file(scratch / "good.parquet", {"a": list(range(300)), "b": [["x", str(n)] for n in range(300)]})
    whole = (scratch / "good.parquet").read_bytes()

    @settings(unhurried, max_examples=100)
    @given(st.integers(0, len(whole) - 1), st.integers(0, len(whole)), st.binary(max_size=3))
    def check(start, end, instead):
        read_bytes(scratch, ".parquet", whole[:start] + instead + whole[max(start, end) :])
        read_bytes(scratch, ".parquet", whole[:start] + instead + whole[start + len(instead) :])

    check()


# What is wrong with a row


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_a_json_line_that_cannot_be_read_says_why_and_the_rest_goes_on(written, suffix):
    lines = [
        b'\xef\xbb\xbf{"a": 1, "a": 2}\r',
        b"  ",
        b"{a: 1}",
        b"[1]",
        b'{"a": "\xe9"}',
        b'{"a": "\0"}',
        b'{"a":' * 5000,
        b"",
        b'{"a": [1, {"b": null}]}',
    ]
    data = b"\n".join([*lines, b""])
    assert told(read(written(suffix, gzip.compress(data) if "gz" in suffix else data))) == [
        (1, {"a": 2}),
        (3, "the line is not JSON that can be read: JSON is malformed: object keys must be strings (byte 1)"),
        (4, "the line is no JSON object"),
        (5, "the line is not UTF-8 (byte 8)"),
        (6, "the line holds a NUL byte (byte 8)"),
        (7, "the line is nested too deeply"),
        (9, {"a": [1, {"b": None}]}),
    ]


@pytest.mark.parametrize(
    ("end", "row"),
    [
        (b'{"a": 2}', {"a": 2}),
        (b'{"a": 2', "the file ends in mid-line"),
        (b'{"a": "\xc3', "the file ends in mid-line"),
        (b"[2]", "the line is no JSON object"),
    ],
)
def test_a_last_line_without_a_line_feed_counts_if_it_is_whole(written, end, row):
    assert told(read(written(".jsonl", b'{"a": 1}\n' + end))) == [(1, {"a": 1}), (2, row)]


def test_a_csv_row_that_cannot_be_read_says_why_and_the_rest_goes_on(written):
    lines = [
        b"\xef\xbb\xbfid,name\r",
        b"1,plain\r",
        b"\r",
        b'2,"two',
        b'""lines"", one row"',
        b"3",
        b"4,x,y",
        b"5,caf\xe9",
        b"6,\0",
        b'7,"5" pipe"',
        b"8,a\rb",
        b'9,5" pipe',
        b"10,",
        b'11,""',
        b'" 12 ", x',
    ]
    assert told(read(written(".csv", b"\n".join(lines)))) == [
        (2, {"id": "1", "name": "plain"}),
        (4, {"id": "2", "name": 'two\n"lines", one row'}),
        (6, "the row has 1 cells, where the header has 2"),
        (7, "the row has 3 cells, where the header has 2"),
        (8, "column 'name' is not UTF-8"),
        (9, "column 'name' holds a NUL byte"),
        (10, "a quote within a cell in quotes is not doubled"),
        (11, "a carriage return stands in a cell without quotes"),
        (12, {"id": "9", "name": '5" pipe'}),
        (13, {"id": "10", "name": None}),
        (14, {"id": "11", "name": None}),
        (15, {"id": " 12 ", "name": " x"}),
    ]


def test_a_nul_byte_alone_is_a_problem_of_its_row(written):
    found = told(read(written(".csv", b"a\n1\n\0\n2\n")))
    assert found == [(2, {"a": "1"}), (3, "column 'a' holds a NUL byte"), (4, {"a": "2"})]


OPEN = "a quote that is opened here is not closed before the end of the file"
LONG = f"a cell is longer than {csv.field_size_limit()} characters"


def test_a_quote_that_is_not_closed_is_told_where_it_opens(written):
    assert told(read(written(".csv", b'a,b\n1,2\n3,"4\n5,6\n'))) == [
        (2, {"a": "1", "b": "2"}),
        (3, f"{OPEN} (lines 3 to 4)"),
    ]
    rows = read(written(".csv", b'a,b\n1,2\n3,"4\n' + b"5,6\n" * 50_000))
    assert told(rows) == [(2, {"a": "1", "b": "2"}), (3, f"{OPEN} (lines 3 to 50003)")]


def test_lines_within_a_cell_that_is_too_long_are_no_rows(written):
    data = b'a,b\n"' + b"1,2\n" * 50_000 + b'",5\n6,7\n8,' + b"x" * 200_000 + b"\n9,10\n"
    assert told(read(written(".csv", data))) == [
        (2, f"{LONG} (lines 2 to 50002)"),
        (50_003, {"a": "6", "b": "7"}),
        (50_004, LONG),
        (50_005, {"a": "9", "b": "10"}),
    ]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz"])
def test_a_gzip_file_that_is_cut_off_gives_its_rows_and_says_so(tmp_path, written, suffix):
    count = 5000
    with writing_table(
        UPath(tmp_path / f"whole{suffix}"), [Column("a", "integer", "a"), Column("b", "text", "b")]
    ) as file:
        file.write([list(range(count)), ["some text" * (number % 7) for number in range(count)]])
    good = read(UPath(tmp_path / f"whole{suffix}"))
    packed = (tmp_path / f"whole{suffix}").read_bytes()
    *rows, last = read(written(suffix, packed[: len(packed) // 2]))
    assert rows == good[: len(rows)]
    assert 1000 < len(rows) < 4000
    assert (last.number, last.problem) == (rows[-1].number + 1, "the file ends early: its gzip data is cut off here")
    *rows, last = read(written(suffix, packed[:-4]))
    assert (rows, "ends early" in last.problem) == (good, True)
    *rows, last = read(written(suffix, packed[:-8] + b"????????"))
    assert (rows, "is damaged" in last.problem) == (good, True)


def test_a_csv_row_that_is_cut_off_is_no_row_though_it_looks_like_one(written):
    for text in (b"a,b\n1,2\n3,four hundred", b'a,b\n1,2\n3,"four\nhundred'):
        packed = gzip.compress(text)
        rows = told(read(written(".csv.gz", packed[:-8])))
        assert rows[0] == (2, {"a": "1", "b": "2"})
        assert [problem for _, problem in rows[1:]] == ["the file ends early: its gzip data is cut off here"]


# Parquet


def parquet_file(path, columns, **how):
    parquet.write_table(pa.table(columns), path, **how)
    return UPath(path)


def test_parquet_gives_pythons_own_values(tmp_path):
    moment = datetime(2026, 1, 31, 9, 30, 0, 123456)
    row = {
        "decimal": Decimal("1.10"),
        "date": date(2026, 1, 31),
        "time": time(9, 30),
        "timestamp": moment,
        "utc": moment.replace(tzinfo=UTC),
        "flag": True,
        "list": ["x", None],
        "object": {"a": 1},
        "bytes": b"\xff",
        "text": "ünï",
    }
    place = parquet_file(tmp_path / "x.parquet", {name: [value, None] for name, value in row.items()})
    found = read(place)
    assert told(found) == [(1, row), (2, dict.fromkeys(row))]
    assert [type(value) for value in found[0].values.values()] == [type(value) for value in row.values()]


def test_nanoseconds_are_cut_and_a_value_that_python_cannot_hold_is_a_problem_of_its_row(tmp_path):
    columns = {
        "timestamp": pa.array([1_000_001_999, None, 0], pa.timestamp("ns", "Europe/Berlin")),
        "time": pa.array([1999, None, 0], pa.time64("ns")),
        "far": pa.array([0, 2**62, 0], pa.timestamp("ms")),
    }
    first, second, third = read(parquet_file(tmp_path / "x.parquet", columns))
    assert first.values == {
        "timestamp": datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC),
        "time": time(0, 0, 0, 1),
        "far": datetime(1970, 1, 1),
    }
    assert first.values["timestamp"].hour == 1
    assert (second.number, second.problem) == (2, "column 'far' holds a value that Python cannot: OverflowError")
    assert third.number == 3
    assert third.problem is None


def test_behind_a_damaged_group_of_parquet_the_next_is_read(tmp_path):
    place = parquet_file(
        tmp_path / "x.parquet", {"a": [f"{n:09}" for n in range(300)]}, row_group_size=100, use_dictionary=False
    )
    data = bytearray(place.read_bytes())
    start = parquet.ParquetFile(place.path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    place.write_bytes(data)
    rows = read(place)
    assert [row.number for row in rows] == [*range(1, 102), *range(201, 301)]
    assert rows[100].problem.startswith("the file is damaged: rows 101 to 200 cannot be read")
    assert [row.values for row in rows[-2:]] == [{"a": "000000298"}, {"a": "000000299"}]


def test_utf_16_is_told_as_such(written):
    (row,) = read(written(".jsonl", '{"a": 1}\n'.encode("utf-16")))[:1]
    assert row.problem == "the file is UTF-16. Save it as UTF-8"


@pytest.mark.parametrize(("text", "cut"), [("1,2\n3,4", True), ("1,2\n3,4\n", False), ("1,2\n", False), ("1,2", True)])
def test_only_a_last_row_without_a_line_feed_may_be_cut(written, text, cut):
    *rows, last = read(written(".csv", f"a,b\n{text}".encode()))
    assert not any(row.may_be_cut for row in rows)
    assert last.may_be_cut is cut


@pytest.mark.parametrize("rest", [",", ",,", "a", '"a'])
def test_a_rest_that_is_no_whole_row_is_a_row_with_a_problem(written, rest):
    *rows, last = read(written(".csv", f"a,b,c,d\n1,2,3,4\n{rest}".encode()))
    assert len(rows) == 1
    assert last.problem


# What is found before the first row


def refused(place):
    with pytest.raises(PipedriveConfigError) as caught, reading_rows(place):
        pass
    message = str(caught.value)
    assert message.startswith("path: ")
    return message


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_path_that_cannot_be_read_is_refused_at_once(tmp_path, suffix):
    assert refused(UPath(tmp_path / f"none{suffix}")) == f"path: there is no file {tmp_path}/none{suffix}."
    (tmp_path / f"folder{suffix}").mkdir()
    assert "is a folder without a _manifest.json" in refused(UPath(tmp_path / f"folder{suffix}"))
    (tmp_path / "file").touch()
    assert "cannot read" in refused(UPath(tmp_path / f"file/x{suffix}"))


def test_an_unknown_suffix_names_those_that_are_known(tmp_path):
    assert ".jsonl, .ndjson or .csv" in refused(UPath(tmp_path / "x.xlsx"))
    assert "compresses itself" in refused(UPath(tmp_path / "x.parquet.gz"))


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz", ".parquet"])
def test_a_file_that_is_not_what_its_name_says_is_refused_at_once(written, suffix):
    message = refused(written(suffix, b'{"a": 1}\n'))
    assert ("no Parquet file" if suffix == ".parquet" else "this is not gzip") in message


def test_a_missing_pyarrow_is_named_with_the_command(written):
    place = written(".parquet", b"PAR1")
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from upath import UPath\n"
        "from airflow_provider_pipedrive_leads.files.rows import reading_rows\n"
        f"with reading_rows(UPath({str(place)!r})): pass"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "PipedriveConfigError: path: " in done.stderr
    assert "pip install 'airflow-provider-pipedrive-leads[parquet]'" in done.stderr


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"a,,b", "column 2 of 3 has no name"),
        (b"a,b,a", "2 columns are named 'a'"),
        (b"a;b", "separated by semicolons"),
        (b"a\tb", "separated by tabs"),
        (b"\xff\xfea\0,\0b\0", "UTF-16"),
        (b"a\0,\0b\0", "UTF-16"),
        (b"sep=,\na,b\n1,2\n", "only Excel understands"),
        (b"SEP=;\na;b\n", "only Excel understands"),
        (b'a,"b', "a quote that is opened here is not closed"),
        (b"a,b\r1,2\r", "carriage returns only"),
    ],
)
def test_a_header_that_names_no_columns_is_refused_at_once(written, header, words):
    assert words in refused(written(".csv", header + b"\n1,2\n"))


def test_parquet_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], ["a", "a"])
    parquet.write_table(table, tmp_path / "x.parquet")
    assert "2 columns are named 'a'" in refused(UPath(tmp_path / "x.parquet"))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_may_have_no_rows(written, tmp_path, suffix):
    places = [UPath(tmp_path / f"table{suffix}"), UPath(tmp_path / f"parts{suffix}")]
    for place, rows_per_file in zip(places, [None, 2], strict=True):
        with writing_table(place, [Column("a", "text", "a")], rows_per_file=rows_per_file):
            pass
    if suffix in LINE_FORMATS:
        blank = b"\xef\xbb\xbf\n\r\n \n"[: None if "csv" not in suffix.lower() else -2]
        places.append(written(f"2{suffix}", gzip.compress(blank) if "gz" in suffix else blank))
    for place in places:
        assert read(place) == []
    if suffix.lower() in (".jsonl", ".ndjson", ".csv"):
        assert read(written(f"3{suffix}", b"")) == []
    else:
        assert "the file is empty" in refused(written(f"3{suffix}", b""))


# Folders of parts


def test_rows_of_parts_are_numbered_through_and_problems_name_the_part(tmp_path):
    place = UPath(tmp_path / "leads.csv")
    with writing_table(place, [Column("a", "text", "a")], rows_per_file=2) as file:
        file.write([["1", "2", "3", "4", "5"]])
    part = UPath(file.files[1])
    part.write_bytes(b"a\n3\n4,4\n")
    found = told(read(UPath(f"{place}/")))
    assert found[:3] == [(1, {"a": "1"}), (2, {"a": "2"}), (3, {"a": "3"})]
    assert found[3] == (4, f"{part.name}, line 3: the row has 2 cells, where the header has 1")
    assert found[4] == (5, {"a": "5"})
    part.unlink()
    with reading_rows(place) as rows, pytest.raises(PipedriveConfigError, match=f"^path: there is no file {part}"):
        list(rows)


def test_a_manifest_that_names_other_files_is_refused(tmp_path):
    (tmp_path / "leads.csv").mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    manifest = {"format": "csv", "files": [{"name": "../secret.csv", "rows": 1}], "rows": 1, "columns": None}
    (tmp_path / "leads.csv/_manifest.json").write_text(json.dumps(manifest))
    with reading_rows(UPath(tmp_path / "leads.csv")) as rows, pytest.raises(PipedriveConfigError, match="no export"):
        list(rows)


# Object stores


@pytest.fixture(scope="module")
def store():
    """An object store that knows s3://lake."""
    S3FileSystem.clear_instance_cache()  # an earlier store may have had the same port
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    s3 = boto3.resource(
        "s3", endpoint_url=url, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1"
    )
    s3.create_bucket(Bucket="lake")
    yield lambda path, **how: UPath(f"s3://{path}", endpoint_url=url, key="any", secret="any", **how)
    running.stop()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet"])
def test_rows_come_from_an_object_store_too(store, suffix):
    for count, rows_per_file in [(30_000, None), (31_000, None), (5, 2)]:
        place = store(f"lake/{rows_per_file}/leads{suffix}")
        with writing_table(place, [Column("a", "text", "a")], rows_per_file=rows_per_file) as file:
            file.write([[f"text {number} " + "x" * (number % 99) for number in range(count)]])
        assert len(values_of(read(place))) == count
    assert "there is no file s3://lake/none" in refused(store(f"lake/none{suffix}"))
    assert "there is no file s3://nowhere/x" in refused(store(f"nowhere/x{suffix}"))


def test_a_file_that_another_process_made_longer_is_read_to_its_end(store):
    place = store("lake/grown/leads.jsonl")
    place.write_bytes(b'{"a":1}\n')
    place.fs.ls(place.parent.path)  # remembers the size
    store("lake/grown/leads.jsonl", skip_instance_cache=True).write_bytes(b'{"a":1}\n{"a":2}\n')
    assert told(read(place)) == [(1, {"a": 1}), (2, {"a": 2})]


# Lists in memory


def test_rows_of_a_list_are_mappings_by_text():
    items = [{"a": 1}, MappingProxyType({"b": None}), [1], None, {1: 2}, {}]
    assert told(rows_of(iter(items))) == [
        (1, {"a": 1}),
        (2, {"b": None}),
        (3, "the row is of type list, not a mapping of columns to values"),
        (4, "the row is of type NoneType, not a mapping of columns to values"),
        (5, "the row has a column whose name is no text"),
        (6, {}),
    ]
    for wrong in ("[]", {"a": 1}):
        with pytest.raises(PipedriveConfigError, match=r"^rows: "):
            rows_of(wrong)
    assert list(rows_of([])) == []


# Memory


def peak_while_reading(place):
    """The most that is held after the first thousand rows."""
    tracemalloc.start()
    try:
        with reading_rows(place) as rows:
            for row in rows:
                if row.number == 1000:
                    tracemalloc.reset_peak()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.long
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".jsonl.gz", ".csv.gz", ".parquet"])
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path, suffix):
    peaks = []
    for count in (20_000, 100_000):
        place = UPath(tmp_path / f"{count}{suffix}")
        with writing_table(place, [Column(f"c{number}", "text", f"c{number}") for number in range(12)]) as file:
            for start in range(0, count, 10_000):
                file.write([[f"text {number}" for number in range(start, start + 10_000)]] * 12)
        text = 12 * sum(len(f"text {number}") for number in range(count))
        peaks.append(peak_while_reading(place))
    assert peaks[1] < 1.2 * peaks[0] + 100_000
    assert peaks[1] < 0.7 * text


def test_a_row_is_a_small_thing_that_stays_as_it_is():
    row = Row(1, {"a": 1})
    with pytest.raises(AttributeError):
        row.number = 2
    assert row.problem is None
