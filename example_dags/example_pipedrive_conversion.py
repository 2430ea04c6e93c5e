"""Waits until sales has turned a lead into a deal, and then tells finance.

Started by hand or by another DAG with the id of a lead. It waits in the triggerer, without a worker, for weeks if need
be; all DAG runs that wait share one look into Pipedrive. A lead that is deleted instead fails the run.

Needs the connection ``pipedrive_default``. Finance is told by a file in the folder that the parameter names: put your
own way in its place.
"""

import json
from datetime import timedelta

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor

with DAG(
    "example_pipedrive_conversion",
    doc_md=__doc__,
    schedule=None,
    tags=["pipedrive"],
    params={
        "lead_id": Param(type="string", format="uuid", description="The id of the lead, as in its address"),
        "folder": Param("file:///tmp/pipedrive-finance", type="string", description="Where finance finds new deals"),
    },
) as dag:
    wait = PipedriveLeadSensor(
        task_id="wait",
        lead_id="{{ params.lead_id }}",
        expected="converted",
        deferrable=True,
        timeout=timedelta(days=90).total_seconds(),
    )

    @task
    def tell_finance(lead_id, *, params):
        """Write a file that is called as the deal; told again, it is the same file."""
        deals = PipedriveLeadsHook().get_deals()  # 10 API tokens for every 500 deals
        deal_id = next(deal["id"] for deal in deals if deal["source_lead_id"] == lead_id)
        folder = ObjectStoragePath(params["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"deal-{deal_id}.json").write_text(json.dumps({"deal_id": deal_id, "lead_id": lead_id}))
        return deal_id

    tell_finance(wait.output)
