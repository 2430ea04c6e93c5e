"""What loads are measured on: creations under a window, a plan of rows that are all there, a load done twice."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import requests
from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads
from benchmarks.export_cases import OUTPUT, RunFailedError, in_fresh_process, prepared_server, server
from benchmarks.export_ours import TOKEN
from benchmarks.load_run import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LATENCY, WINDOW = 0.1, 40
FEWER = 10
"""By how much the plan of few rows is smaller."""
COLUMNS = (
    *("title", "labels", "value_amount", "value_currency", "person_id", "organization_id", "expected_close_date"),
    *("was_seen", "company_size", "interests", "lead_score", "next_review", "requirements"),
)
"""Of an export: a dozen fields as people write them. What was exported is what is there."""


class Sizes(NamedTuple):
    """How many rows each case has."""

    creates: int
    rows: int
    twice: int


class Run(NamedTuple):
    """A load under one setting: ``name`` is that of its case, with what sets it apart behind."""

    name: str
    rows: int

    def __str__(self) -> str:
        return f"{self.name}, {self.rows:,} rows"


class Figures(NamedTuple):
    """What one run took: seconds, MB above the imported interpreter, calls, writes and replies 429 among them."""

    wall: float
    cpu: float
    peak_mb: float
    calls: int
    writes: int
    refused: int


Case: TypeAlias = "Callable[[Sizes], Iterator[tuple[Run, Figures]]]"
LOOP, CREATES = "creates: requests loop", "creates: ours"
PLAN, FIRST, SECOND = "plan", "twice: first", "twice: again"


def creates(sizes: Sizes) -> Iterator[tuple[Run, Figures]]:
    """New leads, each call 100 ms away, 40 calls in any two seconds; beside a loop."""
    for name, how in ((LOOP, "loop"), (CREATES, "ours")):
        with _folder() as folder, server("benchmarks.prepared_writes") as url:
            _behave(url, latency=LATENCY, window=WINDOW)
            job = Job(url, _new_rows(folder, sizes.creates), "origin_id", dry_run=False)
            yield Run(name, sizes.creates), _measured(how, job, {"created": sizes.creates})


def plan(sizes: Sizes) -> Iterator[tuple[Run, Figures]]:
    """Dry runs of rows whose leads are all there and have all of it."""
    with prepared_server(sizes.rows) as url:
        for rows in (sizes.rows // FEWER, sizes.rows):
            _behave(url, leads=rows)
            with _folder() as folder:
                job = Job(url, _rows_that_are_there(folder, url), "id", dry_run=True)
                yield Run(PLAN, rows), _measured("ours", job, {"unchanged": rows, "rows": rows})


def twice(sizes: Sizes) -> Iterator[tuple[Run, Figures]]:
    """The same rows loaded again, when all of them are there."""
    rows = sizes.twice
    with _folder() as folder, server("benchmarks.prepared_writes") as url:
        job = Job(url, _new_rows(folder, rows), "origin_id", dry_run=False)
        for name, outcome in ((FIRST, "created"), (SECOND, "unchanged")):
            _behave(url)
            yield Run(name, rows), _measured("ours", job, {outcome: rows})


CASES: dict[str, Case] = {"creates": creates, "plan": plan, "twice": twice}


@contextmanager
def _folder() -> Iterator[Path]:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    yield OUTPUT
    shutil.rmtree(OUTPUT)


def _new_rows(folder: Path, count: int) -> str:
    """Rows as the API takes them, so that a loop can post them as they are."""
    path = folder / "rows.jsonl"
    with path.open("w") as file:
        for number in range(count):
            row = {
                "origin_id": f"score-{number:07}",
                "title": f"Spare parts for customer {number}",
                "person_id": 1 + number % 5_000,
                "organization_id": 1 + number % 700,
                "value": {"amount": 100 + number % 90_000, "currency": "EUR"},
                "expected_close_date": f"2026-{1 + number % 12:02}-15",
                "channel_id": f"campaign {number % 20}",
            }
            file.write(json.dumps(row) + "\n")
    return str(path)


def _rows_that_are_there(folder: Path, url: str) -> str:
    path = UPath(folder) / "rows.jsonl"
    client = PipedriveClient(read_connection(password=TOKEN, extra={"base_url": url}))
    export_leads(client, Selection(), path, columns=["id", *COLUMNS])
    client.close()
    return str(path)


def _behave(url: str, **settings: float) -> None:
    requests.post(f"{url}/settings", json=settings).raise_for_status()


def _measured(how: str, job: Job, expected: dict[str, int]) -> Figures:
    """One load in a fresh process, its outcome looked at.

    :raises RunFailedError: it did not end well, or did something else.
    """
    before = _calls(job.url)
    done = in_fresh_process((sys.executable, "-m", "benchmarks.load_run", how, json.dumps(job._asdict())))
    if not expected.items() <= done["counts"].items():
        raise RunFailedError(f"{done['counts']} instead of {expected}")
    calls, writes, refused = (now - then for now, then in zip(_calls(job.url), before, strict=True))
    return Figures(done["wall"], done["cpu"], done["peak_mb"], calls, writes, refused)


def _calls(url: str) -> tuple[int, int, int]:
    """All calls that arrived, writes among them, and those refused for being too many."""
    counts = requests.get(f"{url}/counters").json()
    calls = sum(count["calls"] for count in counts)
    writes = sum(count["calls"] for count in counts if count["method"] != "GET")
    return calls, writes, sum(count["calls"] for count in counts if count["status"] == 429)
