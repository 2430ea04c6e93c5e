"""What the tests of loads share: a load on a sandbox, told in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.files.folders import folder_at
from airflow_provider_pipedrive_leads.files.rows import Row, rows_of
from airflow_provider_pipedrive_leads.leads.loading.load import load_leads
from airflow_provider_pipedrive_leads.leads.loading.results import Results
from airflow_provider_pipedrive_leads.leads.loading.settings import read_load
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

NO_PATIENCE = Patience(0.0, 30.0)
WRITES = ("POST", "PATCH", "DELETE")


def load(
    client: PipedriveClient,
    rows: list[dict[str, Any]] | Iterator[Row],
    *,
    results: Results | None = None,
    memory: Any = None,
    patience: Patience = NO_PATIENCE,
    reserve: int | None = 0,
    **parameters: Any,
) -> dict[str, Any]:
    """Load rows and give the facts; by default with ``origin_id`` as key."""
    todo = read_load(**{"key": "origin_id", **parameters})
    loaded = load_leads(
        client,
        rows if isinstance(rows, Iterator) else rows_of(rows),
        todo,
        results=results or Results(None, ""),
        memory=memory,
        patience=patience,
        reserve=reserve,
    )
    return loaded.facts(todo)


def failing_load(client: PipedriveClient, rows: list[dict[str, Any]], **options: Any) -> tuple[PipedriveError, Results]:
    """Load rows of which too many fail: give the error and the outcomes."""
    results = Results(None, "")
    try:
        load(client, rows, results=results, **options)
    except PipedriveError as error:
        return error, results
    raise AssertionError("the load did not fail")


def into(folder: Path, label: str = "results") -> Results:
    """Results in a folder."""
    return Results(folder_at(UPath(folder)), label)


def told(folder: Path) -> list[dict[str, Any]]:
    """All outcomes in a folder."""
    return [json.loads(line) for part in sorted(folder.iterdir()) for line in part.read_text().splitlines()]


def keyed(sandbox: Any, prefix: str) -> dict[str, dict[str, Any]]:
    """The sandbox's leads whose ``origin_id`` begins so, by it; fails where two have the same."""
    leads = [lead for lead in sandbox.control.all_leads() if str(lead["origin_id"]).startswith(prefix)]
    found = {lead["origin_id"]: lead for lead in leads}
    assert len(found) == len(leads), "two leads with one key"
    return found


def writes(sandbox: Any) -> list[tuple[str, str]]:
    """Which writes of leads were sent since the counters were reset."""
    calls = [(call["method"], call["path"]) for call in sandbox.control.requests()]
    return [(method, path) for method, path in calls if method in WRITES and path.startswith("/v1/leads")]
