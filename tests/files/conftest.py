"""One table that holds everything that is awkward, and ways to read files back with other people's libraries."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet
import pytest

from airflow_provider_pipedrive_leads.files.table import Column

COLUMNS = [
    Column("title", "text", "title"),
    Column("person_id", "integer", "person_id"),
    Column("value_amount", "number", "value.amount"),
    Column("was_seen", "boolean", "was_seen"),
    Column("expected_close_date", "date", "expected_close_date"),
    Column("call_at", "time", "ab" * 20),
    Column("add_time", "timestamp", "add_time"),
    Column("labels", "list<string>", "label_ids"),
    Column('Größe, "B2B"\nin Stück', "json", "cd" * 20),
]
ROWS = [
    ("Inquiry", 1, 3000, True, "2026-01-31", "09:30:00", "2026-01-31T09:30:00.123Z", ["Hot"], {"a": [1, None]}),
    (
        'He said "yes", \n and\r\n left\r',
        -(2**63),
        0.1,
        False,
        "1970-01-01",
        "00:00:00",
        "1969-12-31T23:59:59Z",
        [],
        "t",
    ),
    ("=SUM(A1)", 2**63 - 1, 1.7e308, None, "9999-12-31", "23:59:59", "9999-12-31T23:59:59.999Z", ["a,b", 'c"'], 5),
    ("", 0, -5e-324, True, None, None, None, ["", "ü"], []),
    ("名前 🚀 \u2028 \x1a \x07\x85 \ufeff", None, None, None, "2024-02-29", None, "2026-01-31T09:30:00Z", None, None),
    (None,) * 9,
    ("-1", 7, 2**53, False, "2026-12-31", "12:00:00", "2026-12-31T12:00:00.500Z", ["=1"], {"ключ": "\n"}),
]


def batch_of(rows):
    """Rows as a batch."""
    return list(zip(*rows, strict=True)) if rows else [[] for _ in COLUMNS]


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.name.endswith(".gz") else data


def read_json_lines(path: Path):
    return [json.loads(line) for line in io.BytesIO(unpacked(path))]


def read_csv(path: Path):
    return list(csv.reader(io.StringIO(unpacked(path).decode(), newline="")))


def read_parquet(path: Path):
    return pyarrow.parquet.read_table(path)


def count_rows(path: Path) -> int:
    """The rows of a file of any format."""
    if path.name.endswith(".parquet"):
        return read_parquet(path).num_rows
    return len(read_json_lines(path)) if ".csv" not in path.name else len(read_csv(path)) - 1


@pytest.fixture(scope="session")
def table():
    """The awkward table: ``columns``, ``rows`` and ``batch_of(rows)``."""
    return SimpleNamespace(columns=COLUMNS, rows=ROWS, batch_of=batch_of)


@pytest.fixture(scope="session")
def read():
    """How files are read back."""
    return SimpleNamespace(jsonl=read_json_lines, csv=read_csv, parquet=read_parquet, count=count_rows)
