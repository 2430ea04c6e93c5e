"""A load of leads that a person approves first.

A dry run tells what a file would change in Pipedrive and what that costs. Somebody looks at it in Airflow (Browse >
Required Actions) and approves or rejects; only then the file is loaded.

Needs the connection ``pipedrive_default``; the parameter ``path`` names the file.
"""

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param

from airflow_provider_pipedrive_leads.operators.leads import PipedriveLoadLeadsOperator

# Columns are called as the fields of a lead are: origin_id,title,organization_id,Company size,…
# A lead is the row's if its origin_id is "crm-" and the row's; leads without this prefix are left alone.
WHAT = {"path": "{{ params.path }}", "key": "origin_id", "key_prefix": "crm-"}
PLAN = "{% set plan = ti.xcom_pull(task_ids='dry_run') %}"

with DAG(
    "example_pipedrive_approved_load",
    doc_md=__doc__,
    schedule=None,
    max_active_runs=1,  # two loads of the same keys side by side would make the same leads twice
    tags=["pipedrive"],
    params={
        # Any place that Airflow's ObjectStoragePath can read: a folder, s3://bucket/…, gs://bucket/…
        "path": Param("file:///tmp/pipedrive-leads/scores.csv", type="string", description="CSV, JSON or Parquet"),
    },
) as dag:
    # Reads the present leads, compares, writes nothing to Pipedrive.
    dry_run = PipedriveLoadLeadsOperator(task_id="dry_run", dry_run=True, **WHAT)

    # Waits for an answer without a worker. Rejected, it skips what comes next.
    approve = ApprovalOperator(
        task_id="approve",
        subject="Load {{ params.path }} into Pipedrive?",
        body=PLAN
        + """
Of {{ plan.rows }} rows, {{ plan.created }} become new leads and {{ plan.updated }} change a lead; {{ plan.unchanged }}
are there already. {{ plan.conflicts }} are in conflict and {{ plan.failed }} cannot be loaded; these are left out.

Writing costs {{ plan.cost }} API tokens. What becomes of each row: {{ plan.results | join(", ") }}
""",
    )

    # Compares anew, for leads may have changed since the question was asked. As many bad rows as it told of are well.
    load = PipedriveLoadLeadsOperator(task_id="load", max_failed=PLAN + "{{ plan.conflicts + plan.failed }}", **WHAT)

    dry_run >> approve >> load
