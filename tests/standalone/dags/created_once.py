"""Many leads, each created by a mapped task that may be killed at any moment and is tried again."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator

NUMBERS = 24

with DAG("created_once", schedule=None, params={"person_id": 0}):
    PipedriveCreateLeadOperator.partial(
        task_id="create",
        person_id="{{ params.person_id }}",
        note="Made by the task of this number.",
        settle=1.5,
        retries=30,
        retry_delay=timedelta(seconds=1),
    ).expand(title=[f"Lead {number}" for number in range(NUMBERS)])
