"""Fifty sensors of one account that all wait without a worker: for single leads, for any that match, for a deal."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.sensors.leads import (
    PipedriveLeadConversionSensor,
    PipedriveLeadSensor,
    PipedriveLeadsSensor,
)

LEADS, TITLES = 46, 3
OFTEN = {
    "deferrable": True,
    "poll_interval": 10,
    "timeout": 36_000,
}

with DAG("many_sensors", schedule=None, params={"lead_ids": [], "converted": "", "conversion_id": ""}):
    PipedriveLeadSensor.partial(
        task_id="one", lead_id="{{ params.lead_ids[ti.map_index] }}", daily_share=1.0, **OFTEN
    ).expand(expected=[{"title": f"Changed {number}"} for number in range(LEADS)])

    PipedriveLeadsSensor.partial(task_id="some", min_count=1, daily_share=1.0, **OFTEN).expand(
        expected=[{"title": f"Bought {number}"} for number in range(TITLES)]
    )

    PipedriveLeadConversionSensor(
        task_id="deal", lead_id="{{ params.converted }}", conversion_id="{{ params.conversion_id }}", **OFTEN
    )
