"""From a new lead to a report, in two DAGs.

``example_pipedrive_leads`` creates a lead, updates it, waits until Pipedrive shows the change, and exports all leads.
``example_pipedrive_leads_by_label`` starts by itself whenever the export is there, and counts leads by label.

Both use the connection ``pipedrive_default``: in Airflow, Admin > Connections > Add, type Pipedrive.
"""

from __future__ import annotations

import csv
from collections import Counter
from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, ObjectStoragePath, Param, task

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor

# An asset names data that tasks make. The export is its producer; the second DAG is scheduled on it.
LEADS = Asset(name="pipedrive_leads_export", uri="x-pipedrive-export://leads")

with DAG(
    dag_id="example_pipedrive_leads",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "pipedrive"],
    params={
        # Any place that Airflow's ObjectStoragePath can write to: a folder, s3://bucket/…, gs://bucket/…
        "folder": Param("file:///tmp/pipedrive-leads", type="string", description="Where the exports go"),
    },
) as dag:
    # A lead hangs on a person or an organization. With person={...} the person with that e-mail is found, or created.
    # Custom fields go by the name that people see in Pipedrive, and options by their label.
    # Every text is a template: run_after is there in every run, also in one started by hand.
    create_lead = PipedriveCreateLeadOperator(
        task_id="create_lead",
        title="Website inquiry {{ dag_run.run_after | ds }}",
        person={"name": "Robin Example", "email": "robin@example.com"},
        fields={"Company size": "11-50"},
    )

    # Only the fields named here change. The labels that the lead has already stay.
    update_lead = PipedriveUpdateLeadOperator(
        task_id="update_lead",
        lead_id=create_lead.output,
        fields={
            "value": {"amount": 3000, "currency": "EUR"},
            "expected_close_date": "{{ macros.ds_add(dag_run.run_after | ds, 30) }}",
            "Lead score": 87,
        },
        add_labels=["Hot"],
    )

    # Go on when Pipedrive shows the lead as expected. With mode="reschedule" no worker waits in between.
    wait_until_hot = PipedriveLeadSensor(
        task_id="wait_until_hot",
        lead_id=create_lead.output,
        expected={"label_ids": ["Hot"], "Company size": "11-50"},
        mode="reschedule",
        poke_interval=10,
        timeout=300,
    )

    # Active and archived leads, custom fields as readable columns. The file appears whole or not at all.
    export_jsonl = PipedriveExportLeadsOperator(
        task_id="export_jsonl",
        path="{{ params.folder }}/leads.jsonl",
    )
    export_csv = PipedriveExportLeadsOperator(
        task_id="export_csv",
        path="{{ params.folder }}/leads.csv",
        outlets=[LEADS],  # what was exported stands in the asset's event, for whoever is scheduled on it
    )

    update_lead >> wait_until_hot >> [export_jsonl, export_csv]

with DAG(
    dag_id="example_pipedrive_leads_by_label",
    doc_md=__doc__,
    schedule=[LEADS],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "pipedrive"],
):

    @task(inlets=[LEADS])
    def count_by_label(*, inlet_events: Any) -> dict[str, int]:
        """Count the leads of the newest export by label."""
        import json  # noqa: PLC0415 - what only a task needs is imported in the task

        export = inlet_events[LEADS][-1].extra
        counts: Counter[str] = Counter()
        with ObjectStoragePath(export["path"]).open("rt", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                counts.update(json.loads(row["labels"]) or ["(no label)"])
        return dict(counts.most_common())

    count_by_label()
