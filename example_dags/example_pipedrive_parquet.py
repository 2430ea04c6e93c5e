"""Brings what changed in Pipedrive into a data lake every hour, as Parquet.

The first run reads all leads, each later one those that were created, edited or archived since. A lead can come in
several files: its row with the latest ``update_time`` counts. A run that is cleared writes its own file anew, and never
less than before.

Needs the connection ``pipedrive_default`` and ``pip install 'airflow-provider-pipedrive-leads[parquet]'``; the
parameter ``folder`` says where files go.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, Param

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

with DAG(
    "example_pipedrive_parquet",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    tags=["pipedrive"],
    params={
        "folder": Param("file:///tmp/pipedrive-lake", type="string", description="A folder, s3://bucket/…, gs://…"),
        "full_refresh": Param(False, type="boolean", description="Read all leads this time"),
    },
) as dag:
    # How far the last run came is kept in the state of the outlet. Whoever is scheduled on it learns the file's path.
    PipedriveExportLeadsOperator(
        task_id="export",
        path="{{ params.folder }}/day={{ dag_run.run_after | ds }}/leads-{{ dag_run.run_after | ts_nodash }}.parquet",
        incremental=True,
        full_refresh="{{ params.full_refresh }}",
        outlets=[Asset("pipedrive_leads_parquet")],
    )
