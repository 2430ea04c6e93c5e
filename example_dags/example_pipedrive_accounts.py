"""Exports the leads of several Pipedrive companies side by side, into one file for each.

Each company has a connection of its own; the parameter ``accounts`` lists their ids. A company whose export fails, for
instance because its token was revoked, does not stop the others.

Needs the connections that are listed; as it stands, ``pipedrive_default``. The parameter ``folder`` says where the
files go.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, Param, task

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

with DAG(
    "example_pipedrive_accounts",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    tags=["pipedrive"],
    params={
        "accounts": Param(["pipedrive_default"], type="array", items={"type": "string"}, description="Connection ids"),
        "folder": Param("file:///tmp/pipedrive-accounts", type="string", description="A folder, s3://bucket/…, gs://…"),
    },
) as dag:

    @task
    def accounts(*, params):
        """List the connections; one task for each comes next."""
        return params["accounts"]

    export = PipedriveExportLeadsOperator.partial(
        task_id="export",
        path="{{ params.folder }}/{{ task.pipedrive_conn_id }}.csv",
        map_index_template="{{ task.pipedrive_conn_id }}",  # what Airflow shows instead of 0, 1, 2
    ).expand(pipedrive_conn_id=accounts())

    @task
    def count(exports):
        """Tell how many leads each company has."""
        return {found["path"]: found["rows"] for found in exports}

    count(export.output)
