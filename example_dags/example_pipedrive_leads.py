"""From a new lead to a report: create a lead, update it, wait until Pipedrive shows the change, export all leads.

A second DAG, ``example_pipedrive_leads_by_label``, starts whenever the export is there, and counts leads by label.

Needs the connection ``pipedrive_default`` (Admin > Connections > Add, type Pipedrive), and in Pipedrive a label "Hot"
and the custom fields "Company size" and "Lead score".
"""

import csv
import json
from collections import Counter

from airflow.sdk import DAG, Asset, ObjectStoragePath, Param, task

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor

LEADS = Asset(name="pipedrive_leads_export", uri="x-pipedrive-export://leads")
FOLDER = Param("file:///tmp/pipedrive-leads", type="string", description="Where to: a folder, s3://bucket/…, gs://…")

with DAG("example_pipedrive_leads", schedule=None, doc_md=__doc__, params={"folder": FOLDER}, tags=["pipedrive"]):
    create_lead = PipedriveCreateLeadOperator(
        task_id="create_lead",
        title="Website inquiry {{ dag_run.run_after | ds }}",
        person={"name": "Robin Example", "email": "robin@example.com"},  # found by e-mail, or created
        fields={"Company size": "11-50"},  # custom fields and options go by the names that people see
    )
    update_lead = PipedriveUpdateLeadOperator(
        task_id="update_lead",
        lead_id=create_lead.output,
        fields={
            "value": {"amount": 3000, "currency": "EUR"},
            "expected_close_date": "{{ macros.ds_add(dag_run.run_after | ds, 30) }}",
            "Lead score": 87,
        },
        add_labels=["Hot"],  # beside the labels that the lead has already
    )
    wait_until_hot = PipedriveLeadSensor(
        task_id="wait_until_hot", lead_id=create_lead.output, expected={"label_ids": ["Hot"]}, deferrable=True
    )
    lines = PipedriveExportLeadsOperator(task_id="export_jsonl", path="{{ params.folder }}/leads.jsonl")
    table = PipedriveExportLeadsOperator(task_id="export_csv", path="{{ params.folder }}/leads.csv", outlets=[LEADS])
    update_lead >> wait_until_hot >> [lines, table]

with DAG("example_pipedrive_leads_by_label", schedule=[LEADS], doc_md=__doc__, tags=["pipedrive"]):

    @task(inlets=[LEADS])
    def count_by_label(*, inlet_events):
        """Count the leads of the newest export; the asset's event says where it is."""
        with ObjectStoragePath(inlet_events[LEADS][-1].extra["path"]).open("rt", encoding="utf-8") as file:
            labels = [json.loads(row["labels"]) for row in csv.DictReader(file)]
        return dict(Counter(label for each in labels for label in each or ["(no label)"]).most_common())

    count_by_label()
