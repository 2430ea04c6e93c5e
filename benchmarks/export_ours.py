"""The export of this project as one of those that are measured."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.export_run import Export, Job

TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of a throw-away server
IMPORTED_LATE = ("requests.adapters", "pyarrow.parquet", "upath.implementations.local", "fsspec.implementations.local")
"""What the package imports at its first use only: it shall not count as time of the export."""


def ours() -> Export:
    """What a task does, without Airflow around it."""
    from upath import UPath

    from airflow_provider_pipedrive_leads.api.connection import read_connection
    from airflow_provider_pipedrive_leads.client import PipedriveClient
    from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
    from airflow_provider_pipedrive_leads.leads.reading.export import Window, export_leads

    for module in IMPORTED_LATE:
        importlib.import_module(module)

    def export(job: Job) -> None:
        client = PipedriveClient(read_connection(password=TOKEN, extra={"base_url": job.url}))
        window = Window(expected=job.leads if job.known else None)
        export_leads(client, Selection(), UPath(job.path), columns=job.columns, window=window)

    return export
