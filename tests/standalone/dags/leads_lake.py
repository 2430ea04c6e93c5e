"""Leads into a lake: one DAG exports what changed, the other one starts when that happened and reads it."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, ObjectStoragePath, task

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

LEADS = Asset("leads")

with DAG("leads_to_lake", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    PipedriveExportLeadsOperator(
        task_id="export",
        path="s3://aws_default@lake/pipedrive/leads-{{ run_id | replace(':', '') | replace('+', '') }}.jsonl.gz",
        incremental=True,
        outlets=[LEADS],
    )

with DAG("leads_from_lake", schedule=LEADS):

    @task
    def read(triggering_asset_events=None):
        """Say what the events told, and how many rows their files hold."""
        seen = []
        for event in triggering_asset_events[LEADS]:
            lines = 0
            for name in event.extra["files"]:
                lines += len(gzip.decompress(ObjectStoragePath(name).read_bytes()).splitlines())
            seen.append({"run": event.source_run_id, "told": event.extra, "lines": lines})
        return seen

    read()
