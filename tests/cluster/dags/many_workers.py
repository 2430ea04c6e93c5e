"""What many workers do at once: exports of many connections, of one account by owner, creations, a load.

The figure at the end of an id is how many mapped tasks the DAG has.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveLoadLeadsOperator,
)

MAIN = "pipedrive_main"
OWNERS = [11_400_001, 11_400_002, 11_400_003, 11_400_004, 11_400_005]
# More tries than usual, and sooner: three outages within minutes may meet the same task.
TRIED_AGAIN = {"retries": 8, "retry_delay": timedelta(seconds=3)}
SETTLE = 3.0
"""Seconds; by then the sandbox has long finished what it was still doing for a killed task."""

for number in (20, 50):
    with DAG(f"connections_{number}", schedule=None, params={"folder": ""}, default_args=TRIED_AGAIN):
        PipedriveExportLeadsOperator.partial(
            task_id="export",
            path="{{ params.folder }}/{{ task.pipedrive_conn_id }}.jsonl",
        ).expand(pipedrive_conn_id=[f"pipedrive_{place:02}" for place in range(number)])

for number in (20, 200):
    with DAG(f"creations_{number}", schedule=None, params={"person_id": 0, "title": ""}, default_args=TRIED_AGAIN):
        PipedriveCreateLeadOperator.partial(
            task_id="create",
            pipedrive_conn_id=MAIN,
            person_id="{{ params.person_id }}",
            settle=SETTLE,
        ).expand(title=["{{ params.title }} %d" % place for place in range(number)])  # noqa: UP031 - braces

with DAG("owners_5", schedule=None, params={"folder": ""}, default_args=TRIED_AGAIN):
    PipedriveExportLeadsOperator.partial(
        task_id="export",
        pipedrive_conn_id=MAIN,
        path="{{ params.folder }}/{{ task.owner_id }}.csv",
    ).expand(owner_id=OWNERS)

with DAG("load", schedule=None, params={"path": "", "prefix": ""}, default_args=TRIED_AGAIN):
    PipedriveLoadLeadsOperator(
        task_id="load",
        pipedrive_conn_id=MAIN,
        path="{{ params.path }}",
        key="origin_id",
        key_prefix="{{ params.prefix }}",
        settle=SETTLE,
        priority_weight=100,  # it takes longest, so it begins first
    )
