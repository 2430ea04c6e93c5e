"""One timed load in a process of its own: everything is imported first, then the clock starts.

``python -m benchmarks.load_run ours '{"url": …}'`` prints one line of JSON: what it took, and what it did.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from benchmarks.export_ours import IMPORTED_LATE, TOKEN
from benchmarks.export_run import measured

if TYPE_CHECKING:
    from collections.abc import Callable


class Job(NamedTuple):
    """What to load, and where to.

    :param url: of the server.
    :param path: of the rows, JSON lines.
    :param key: by which rows and leads are matched.
    :param dry_run: plan only.
    """

    url: str
    path: str
    key: str
    dry_run: bool


Load: TypeAlias = "Callable[[Job], dict[str, int]]"
COUNTS = ("created", "updated", "unchanged", "conflicts", "failed", "rows")


def main() -> None:
    """Import, measure, print."""
    load = {"ours": ours, "loop": loop}[sys.argv[1]]()
    job = Job(**json.loads(sys.argv[2]))
    gc.collect()
    counts: dict[str, int] = {}
    figures = measured(lambda: counts.update(load(job)))
    print(json.dumps({**figures, "counts": counts}))


def ours() -> Load:
    """What a task does, without Airflow around it."""
    from upath import UPath

    from airflow_provider_pipedrive_leads.api.connection import read_connection
    from airflow_provider_pipedrive_leads.client import PipedriveClient
    from airflow_provider_pipedrive_leads.files.folders import folder_at
    from airflow_provider_pipedrive_leads.files.rows import reading_rows
    from airflow_provider_pipedrive_leads.leads.loading.load import load_leads
    from airflow_provider_pipedrive_leads.leads.loading.results import Results
    from airflow_provider_pipedrive_leads.leads.loading.settings import read_load
    from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

    for module in (*IMPORTED_LATE, "airflow_provider_pipedrive_leads.files.rows_json"):
        importlib.import_module(module)

    def load(job: Job) -> dict[str, int]:
        settings = read_connection(password=TOKEN, extra={"base_url": job.url})
        wanted = read_load(key=job.key, dry_run=job.dry_run)
        results = Results(folder_at(UPath(f"{job.path}.results")), "results")
        patience = Patience(settings.timeout, settings.timeout)
        with reading_rows(UPath(job.path)) as rows:
            loaded = load_leads(
                PipedriveClient(settings), rows, wanted, results=results, memory=None, patience=patience
            )
        facts = loaded.facts(wanted)
        return {name: facts[name] for name in COUNTS}

    return load


def loop() -> Load:
    """What one writes by hand: a call after the other, and a wait where the server says that it were too many."""
    import requests

    def load(job: Job) -> dict[str, int]:
        created = 0
        with requests.Session() as session, Path(job.path).open() as rows:
            session.headers["x-api-token"] = TOKEN
            for line in rows:
                row = json.loads(line)
                while (reply := session.post(f"{job.url}/v1/leads", json=row)).status_code == 429:
                    time.sleep(float(reply.headers["x-ratelimit-reset"]))
                reply.raise_for_status()
                created += reply.json()["success"]
        return {"created": created}

    return load


if __name__ == "__main__":
    main()
