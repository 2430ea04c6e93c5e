"""Keeps a table of leads in your database up to date, hour by hour.

Each run merges what changed in Pipedrive since the one before. The run of 3 o'clock reads everything, and marks leads
that are gone in the column ``is_deleted``. The table is made, and gets a new column when Pipedrive gets a new field.

Needs the connection ``pipedrive_default``, and one to PostgreSQL, MySQL, SQLite, DuckDB or another SQL database; the
parameter ``conn_id`` names it. Needs also ``pip install 'airflow-provider-pipedrive-leads[sql]'``.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, Param

from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator

with DAG(
    "example_pipedrive_sql",
    doc_md=__doc__,
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    tags=["pipedrive"],
    params={
        "conn_id": Param("warehouse", type="string", description="The connection of the database"),
        "table": Param("pipedrive_leads", type="string", description="table or schema.table"),
    },
) as dag:
    PipedriveLeadsToSqlOperator(
        task_id="merge",
        conn_id="{{ params.conn_id }}",
        table="{{ params.table }}",
        mode="merge",  # a run that is cleared merges the same rows again
        incremental=True,
        detect_deleted="{{ dag_run.run_after.hour == 3 }}",
        outlets=[Asset("pipedrive_leads_table")],  # in its state stands how far the last run came
    )
