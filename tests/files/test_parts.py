"""A table in parts: what the manifest names is whole, whatever fails, is repeated or is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.files.destination import writing_lines, writing_table
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from airflow_provider_pipedrive_leads.files.table import Column

pytestmark = pytest.mark.slow

COLUMNS = [Column("id", "integer", "id"), Column("title", "text", "title")]


def rows(start, end):
    return [list(range(start, end)), [f"Lead {number}" for number in range(start, end)]]


def export(folder, count=10, *, rows_per_file=4, run_key="", fail=None):
    """Write so many rows, three at a time; then fail if asked to."""
    with writing_table(UPath(folder), COLUMNS, rows_per_file=rows_per_file, run_key=run_key) as table:
        for start in range(0, count, 3):
            table.write(rows(start, min(start + 3, count)))
        if fail:
            raise fail
    return table


def manifest(folder):
    return json.loads((Path(folder) / "_manifest.json").read_text())


def listing(folder):
    return sorted(file.name for file in Path(folder).iterdir())


def ids(folder):
    """What a reader that goes by the manifest sees."""
    tables = [pyarrow.parquet.read_table(Path(folder) / part["name"]) for part in manifest(folder)["files"]]
    return [number for table in tables for number in table.column("id").to_pylist()]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".jsonl", ".ndjson.gz"])
def test_parts_are_full_in_order_and_named_by_the_manifest(read, tmp_path, suffix):
    folder = tmp_path / f"leads{suffix}"
    table = export(folder, 10, rows_per_file="4", run_key="run 1")
    named = manifest(folder)
    assert [part["rows"] for part in named["files"]] == [4, 4, 2]
    assert [read.count(folder / part["name"]) for part in named["files"]] == [4, 4, 2]
    assert table.files == [f"{folder}/{part['name']}" for part in named["files"]]
    assert all(name.endswith(f"-0000{number}{suffix}") for number, name in enumerate(table.files))
    assert listing(folder) == ["_manifest.json", *(part["name"] for part in named["files"])]
    assert (named["format"], named["rows"], table.rows) == (
        {".cs": "csv", ".pa": "parquet"}.get(suffix[:3], "jsonl"),
        10,
        10,
    )
    assert named["columns"] == [{"name": "id", "kind": "integer"}, {"name": "title", "kind": "text"}]


def test_rows_stay_in_order_across_parts(tmp_path):
    export(tmp_path / "leads.parquet", 100, rows_per_file=7)
    assert ids(tmp_path / "leads.parquet") == list(range(100))


def test_a_full_last_part_brings_no_empty_one(tmp_path):
    assert len(export(tmp_path / "leads.csv", 8).files) == 2


def test_json_texts_come_in_parts_without_columns(read, tmp_path):
    with writing_lines(UPath(tmp_path / "x.jsonl"), rows_per_file=2) as lines:
        lines.write([b"1", b"2", b"3"])
    assert [Path(name).read_text() for name in lines.files] == ["1\n2\n", "3\n"]
    assert manifest(tmp_path / "x.jsonl")["columns"] is None


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_no_rows_make_one_empty_part_with_its_columns(read, tmp_path, suffix):
    table = export(tmp_path / f"leads{suffix}", 0)
    assert (len(table.files), table.rows, manifest(tmp_path / f"leads{suffix}")["rows"]) == (1, 0, 0)
    assert read.count(Path(table.files[0])) == 0


@pytest.mark.parametrize("run_keys", [("", ""), ("one", "two"), ("same", "same")])
def test_a_new_table_replaces_the_old_one_and_its_parts(tmp_path, run_keys):
    folder = tmp_path / "leads.parquet"
    old = export(folder, 20, run_key=run_keys[0])
    new = export(folder, 5, run_key=run_keys[1])
    assert not set(old.files) & set(new.files)
    assert ids(folder) == list(range(5))
    assert listing(folder) == ["_manifest.json", *sorted(Path(name).name for name in new.files)]
    export(folder, 6, run_key=run_keys[1])
    assert (ids(folder), len(listing(folder))) == (list(range(6)), 3)


@pytest.mark.parametrize("problem", [RuntimeError("lost"), KeyboardInterrupt()])
@pytest.mark.parametrize("run_key", ["", "run 1"])
def test_a_failed_run_leaves_the_old_table_as_it_was(tmp_path, problem, run_key):
    folder = tmp_path / "leads.parquet"
    export(folder, 9, run_key=run_key)
    before = {name: (folder / name).read_bytes() for name in listing(folder)}
    with pytest.raises(type(problem)):
        export(folder, 20, run_key=run_key, fail=problem)
    assert {name: (folder / name).read_bytes() for name in listing(folder)} == before


def write_what_does_not_fit(folder):
    with writing_table(UPath(folder), COLUMNS, rows_per_file=1) as table:
        table.write(rows(0, 5))
        table.write([["x"], ["y"]])


def test_a_value_that_does_not_fit_leaves_no_part(tmp_path):
    with pytest.raises(PipedriveValidationError, match="'id'"):
        write_what_does_not_fit(tmp_path / "x.parquet")
    assert listing(tmp_path / "x.parquet") == []


KILLED = """
import os, signal, sys
from upath import UPath
from airflow_provider_pipedrive_leads.files.destination import writing_table
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from airflow_provider_pipedrive_leads.files.table import Column
columns = [Column("id", "integer", "id"), Column("title", "text", "title")]
rows_per_file = int(sys.argv[2]) or None
with writing_table(UPath(sys.argv[1]), columns, rows_per_file=rows_per_file, run_key="run 1") as table:
    table.write([list(range(10)), ["x"] * 10])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(path, rows_per_file=0):
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(rows_per_file)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_the_next_try_of_a_killed_run_cleans_up_after_it(tmp_path):
    folder = tmp_path / "leads.parquet"
    export(folder, 3, run_key="yesterday")
    standing = listing(folder)
    kill_while_writing(folder, 4)
    assert len(listing(folder)) == len(standing) + 3
    assert ids(folder) == [0, 1, 2]
    (folder / "part-0123456789ab-00000.parquet").write_text("of another run under way")
    (folder / "notes.txt").write_text("not ours")
    new = export(folder, 2, run_key="run 1")
    assert ids(folder) == [0, 1]
    others = {"_manifest.json", "part-0123456789ab-00000.parquet", "notes.txt"}
    assert set(listing(folder)) == {*others, Path(new.files[0]).name}


def test_the_next_try_of_a_killed_run_cleans_up_beside_its_one_file(tmp_path):
    kill_while_writing(tmp_path / "leads.csv")
    (left,) = listing(tmp_path)
    assert left.startswith(".leads.csv.")
    (tmp_path / ".leads.csv.other.part").write_text("of another run under way")
    with writing_table(UPath(tmp_path / "leads.csv"), COLUMNS, run_key="run 1") as table:
        table.write(rows(0, 2))
    assert listing(tmp_path) == [".leads.csv.other.part", "leads.csv"]


def test_a_manifest_of_someone_else_is_not_touched(tmp_path):
    folder = tmp_path / "leads.csv"
    folder.mkdir()
    (folder / "_manifest.json").write_text('{"entries": []}')
    with pytest.raises(PipedriveConfigError, match=r"_manifest\.json was not written"):
        export(folder)
    assert listing(folder) == ["_manifest.json"]
    assert (folder / "_manifest.json").read_text() == '{"entries": []}'


def test_only_parts_are_ever_removed(tmp_path):
    """A manifest that was tampered with cannot make us delete other files."""
    folder = tmp_path / "leads.csv"
    export(folder, 2)
    (tmp_path / "precious").write_text("x")
    (folder / "notes.txt").write_text("x")
    named = manifest(folder)
    named["files"] += [{"name": "../precious", "rows": 1}, {"name": "notes.txt", "rows": 1}]
    (folder / "_manifest.json").write_text(json.dumps(named))
    export(folder, 3)
    assert (tmp_path / "precious").exists()
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("problem", [RuntimeError("lost"), KeyboardInterrupt()])
def test_a_failure_leaves_the_file_that_was_there(tmp_path, suffix, problem):
    path = tmp_path / f"leads{suffix}"
    path.write_text("yesterday")
    with pytest.raises(type(problem)) as caught:
        export(path, rows_per_file=None, fail=problem)
    assert caught.value is problem
    assert (listing(tmp_path), path.read_text()) == ([path.name], "yesterday")


SMALL_DISK = """
import random, resource, sys
from upath import UPath
from airflow_provider_pipedrive_leads.files.destination import writing_table
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from airflow_provider_pipedrive_leads.files.table import Column
if int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
rows_per_file = int(sys.argv[2]) or None
try:
    with writing_table(UPath(sys.argv[1]), [Column("a", "text", "a")], rows_per_file=rows_per_file) as table:
        for number in range(400):
            table.write([[random.randbytes(150).hex() for _ in range(100)]])
except OSError as problem:
    print(problem.errno, problem)
"""


def fill_up(path, rows_per_file=0, limit=0):
    ran = subprocess.run(
        [sys.executable, "-c", SMALL_DISK, str(path), str(rows_per_file), str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    return ran.stdout


@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet"])
def test_a_file_that_may_not_grow_leaves_what_was_there_and_says_which(tmp_path, suffix):
    path = tmp_path / f"leads{suffix}"
    path.write_text("yesterday")
    assert f"File too large: '{tmp_path}/.leads" in (said := fill_up(path, limit=1_000_000))
    assert f"-> '{path}'" in said
    assert (listing(tmp_path), path.read_text()) == ([path.name], "yesterday")


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]).returncode:
        pytest.skip("may not mount a filesystem here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("rows_per_file", [0, 1000])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet"])
def test_a_full_disk_leaves_what_was_there_and_says_where(small_disk, suffix, rows_per_file):
    path = small_disk / f"leads{suffix}"
    if rows_per_file:
        export(path, 5)
        before = listing(path)
    else:
        path.write_text("yesterday")
    said = fill_up(path, rows_per_file)
    assert said.startswith("28 [Errno 28] No space left on device")
    assert str(path) in said
    if rows_per_file:
        assert listing(path) == before
    else:
        assert (listing(small_disk), path.read_text()) == ([path.name], "yesterday")


def test_a_manifest_of_an_earlier_version_is_read_and_replaced(tmp_path):
    folder = tmp_path / "leads.csv"
    export(folder, 6)
    old = {**manifest(folder), "columns": [{"name": "id", "kind": "texts"}, {"name": "title", "kind": "moment"}]}
    (folder / "_manifest.json").write_text(json.dumps(old))
    with reading_rows(UPath(folder)) as found:
        assert [row.values["id"] for row in found] == [str(number) for number in range(6)]
    export(folder, 3)
    assert listing(folder) == ["_manifest.json", *(part["name"] for part in manifest(folder)["files"])]
    assert manifest(folder)["rows"] == 3
