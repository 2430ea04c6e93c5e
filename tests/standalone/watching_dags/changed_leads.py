"""Two DAGs that leads start: one hears of all changes, one of new leads only."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger

MOST = 40
OFTEN = {"poll_interval": 10, "daily_share": 1.0, "max_leads": MOST}
CHANGED = Asset(
    "pipedrive://acme/leads",
    watchers=[AssetWatcher(name="changed", trigger=PipedriveLeadsChangedTrigger(**OFTEN))],
)
CREATED = Asset(
    "pipedrive://globex/leads",
    watchers=[AssetWatcher(name="created", trigger=PipedriveLeadsChangedTrigger(on={"created"}, **OFTEN))],
)

for dag_id, asset in {"changed": CHANGED, "created": CREATED}.items():
    with DAG(dag_id, schedule=[asset], start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):

        @task
        def heard(*, triggering_asset_events):
            """Give what the run was started with."""
            found = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
            return [lead["event_id"] for payload in found for lead in payload["leads"]]

        heard()
