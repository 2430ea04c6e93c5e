"""Takes stock of all leads each night, and reports what became of them since the night before.

Pipedrive does not tell of deleted leads. This DAG reads everything and compares it with the last time: which leads are
new, changed, deleted, or turned into a deal. The report names ids only, and lies beside the night's file.

Needs the connection ``pipedrive_default``; the parameter ``folder`` says where files go.
"""

import json
from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, ObjectStoragePath, Param, task

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

with DAG(
    "example_pipedrive_reconcile",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    tags=["pipedrive"],
    params={"folder": Param("file:///tmp/pipedrive-nights", type="string", description="A folder, s3://bucket/…, …")},
) as dag:
    # A tenth of all leads gone at once is an error: the token's user has rather lost a permission.
    take_stock = PipedriveExportLeadsOperator(
        task_id="take_stock",
        path="{{ params.folder }}/leads-{{ dag_run.run_after | ts_nodash }}.jsonl",
        detect_deleted=True,  # adds a row for each lead that is gone
        max_deleted=0.1,
        outlets=[Asset("pipedrive_nights")],  # in its state stands what was there the last time
    )

    @task
    def report(stock):
        """Write the ids of leads by what became of them; give how many they are."""
        file = ObjectStoragePath(stock["path"])
        nights = sorted(path for path in file.parent.glob("leads-*.jsonl") if path.name <= file.name)
        now, before = rows(nights[-1]), {} if len(nights) == 1 else rows(nights[-2])
        found = {"new": [], "changed": [], "deleted": [], "converted": []}
        for lead_id, row in now.items():
            if row["is_deleted"]:
                found["converted" if row["converted_deal_id"] else "deleted"].append(lead_id)
            elif row != before.get(lead_id):
                found["changed" if lead_id in before else "new"].append(lead_id)
        file.with_name(file.name.replace("leads-", "report-")).with_suffix(".json").write_text(json.dumps(found))
        return {name: len(ids) for name, ids in found.items()}

    def rows(path):
        """Read the leads of a night by their ids."""
        with path.open("rt", encoding="utf-8") as file:
            return {row["id"]: row for row in map(json.loads, file)}

    report(take_stock.output)
