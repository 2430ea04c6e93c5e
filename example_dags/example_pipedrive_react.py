"""A DAG that starts when somebody adds a lead.

The asset's watcher looks into Pipedrive every few minutes, in the triggerer, without a worker. Its event brings the new
leads; this DAG marks those as seen that are worth more than a limit.

It uses the connection ``pipedrive_default``: in Airflow, Admin > Connections > Add, type Pipedrive.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_pipedrive_leads.operators.leads import PipedriveUpdateLeadOperator
from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger

# The leads of the company acme. Watchers of one connection share one poll, whatever each of them wants to hear of.
LEADS = Asset(
    "pipedrive://acme/leads",
    watchers=[
        AssetWatcher(
            name="new_leads",
            trigger=PipedriveLeadsChangedTrigger(
                on={"created"},
                fields=["title", "value", "Company size"],  # custom fields by the name that people see
            ),
        )
    ],
)

with DAG(
    dag_id="example_pipedrive_react",
    doc_md=__doc__,
    schedule=[LEADS],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["example", "pipedrive"],
    params={"at_least": Param(1000, type="number", description="The least value of a lead that is looked at")},
) as dag:

    @task
    def worth_a_look(*, triggering_asset_events: Any, params: Any) -> list[str]:
        """Pick leads out of the events that started this run; there can be several."""
        told = [
            lead
            for events in triggering_asset_events.values()
            for event in events
            for lead in event.extra["payload"]["leads"]
        ]
        # After a triggerer was killed a change can be told again, with the same event_id.
        once = {lead["event_id"]: lead for lead in told}.values()
        return [lead["id"] for lead in once if (lead["value"] or {}).get("amount", 0) >= params["at_least"]]

    # Written with care: a DAG that hears of updates and updates leads starts itself again. This one hears of new leads.
    PipedriveUpdateLeadOperator.partial(task_id="mark_as_seen", fields={"was_seen": True}).expand(
        lead_id=worth_a_look()
    )
