"""What the page about Pipedrive shows: exports and loads that go well, and tasks that fail."""

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset, task

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveConvertLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveGetLeadOperator,
    PipedriveLoadLeadsOperator,
)

FOLDER = Path(os.environ["AIRFLOW_HOME"])
UNKNOWN = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
ATTACK = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"
ROWS = [{"origin_id": f"score:{number}", "title": "Scored", "person_id": 1} for number in range(3)]

with DAG("crm_to_lake", schedule=None):
    PipedriveExportLeadsOperator(
        task_id="export_leads",
        path=(FOLDER / "leads.csv").as_uri(),
        incremental=True,
        overwrite=True,
        outlets=[Asset("file:///lake/leads")],
    ) >> PipedriveExportLeadsOperator(task_id="snapshot", path=(FOLDER / "snapshot.jsonl").as_uri())

with DAG("scores_to_crm", schedule=None):
    PipedriveLoadLeadsOperator(task_id="load_scores", rows=ROWS, key="origin_id", key_prefix="score:")

with DAG("pipedrive_troubles", schedule=None, default_args={"retries": 0, "retry_delay": timedelta(seconds=1)}):
    PipedriveGetLeadOperator(task_id="unknown_lead", lead_id=UNKNOWN)
    PipedriveConvertLeadOperator(task_id="no_stage", lead_id=UNKNOWN, poll_interval="soon")
    PipedriveGetLeadOperator(task_id="wrong_token", lead_id=UNKNOWN, pipedrive_conn_id="pipedrive_sales")

with DAG("pipedrive_attack", schedule=None):

    @task
    def attack(ti=None):
        names = ("conn_id", "kind", "host", "error", "about", "call")
        record = {
            **dict.fromkeys(names, ATTACK),
            "outcome": "failed",
            "at": ATTACK,
            "rows": ATTACK,
            "daily_tokens": ATTACK,
        }
        ti.xcom_push(key="pipedrive_usage", value=record)
        ti.xcom_push(key=ATTACK, value=json.dumps(record))

    attack()
