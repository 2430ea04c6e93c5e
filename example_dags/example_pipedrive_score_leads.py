"""A lead comes in, is scored, and the score goes back to Pipedrive with a label.

Somebody adds a lead; within minutes this DAG starts. The asset's watcher looks into Pipedrive in the triggerer, without
a worker, once the DAG is switched on. Its event brings the new leads with the fields that it was asked for.

Needs the connection ``pipedrive_default``, and in Pipedrive a custom field for a number, which the parameter ``field``
names.
"""

from airflow.sdk import DAG, Asset, AssetWatcher, Param, task

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveEnsureLeadLabelsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger

HIGH, LOW = "Score: high", "Score: low"

# This DAG hears of new leads only: one that hears of updates, and updates leads, starts itself again.
NEW_LEADS = PipedriveLeadsChangedTrigger(on={"created"}, fields=["value", "organization_id"])
LEADS = Asset("pipedrive://acme/leads", watchers=[AssetWatcher(name="new_leads", trigger=NEW_LEADS)])

with DAG(
    "example_pipedrive_score_leads",
    doc_md=__doc__,
    schedule=[LEADS],
    tags=["pipedrive"],
    params={
        "field": Param("Lead score", type="string", description="Custom field for the score, by its name"),
        "high": Param(50, type="integer", minimum=0, maximum=100, description="The least score that is high"),
    },
) as dag:
    labels = PipedriveEnsureLeadLabelsOperator(
        task_id="labels", labels=[{"name": HIGH, "color": "red"}, {"name": LOW, "color": "gray"}]
    )

    @task(show_return_value_in_logs=False)
    def score(labels, *, triggering_asset_events, params):
        """Give what to update in each lead that the events told of; several events can start one run."""
        events = [event for told in triggering_asset_events.values() for event in told]
        leads = {lead["id"]: lead for event in events for lead in event.extra["payload"]["leads"]}  # each once
        updates = []
        for lead_id, lead in leads.items():
            found = points(lead)
            label = labels[HIGH if found >= params["high"] else LOW]
            updates.append({"lead_id": lead_id, "fields": {params["field"]: found}, "add_labels": [label]})
        return updates

    def points(lead):
        """Your model's place: up to 80 points for the value of the lead, 20 for an organization."""
        amount = (lead["value"] or {}).get("amount", 0)
        return min(80, amount // 100) + (20 if lead["organization_id"] else 0)

    PipedriveUpdateLeadOperator.partial(task_id="write_back").expand_kwargs(score(labels.output))
