"""A spent day in real Airflow: fail at once, or wait in the triggerer and go on."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.exceptions import PipedriveConfigError
from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator, PipedriveExportLeadsOperator
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor
from airflow_provider_pipedrive_leads.triggers import daily_budget

pytestmark = pytest.mark.usefixtures("connection", "spent_day")
PLENTY = 1_000_000


@pytest.fixture
def spent_day(sandbox, no_waiting):
    """It is noon, far from any zone's midnight."""
    tomorrow = datetime.fromisoformat(sandbox.control.now()) + timedelta(days=1)
    sandbox.control.freeze(f"{tomorrow:%Y-%m-%d}T14:00:00Z")
    sandbox.control.unfreeze()


@pytest.fixture
def next_day(sandbox, monkeypatch):
    """The trigger's sleep brings the new day."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        sandbox.control.set_budget(PLENTY)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    return slept


def test_by_default_the_task_fails_at_once(run_dag, sandbox, tmp_path):
    sandbox.control.set_budget(0)
    with DAG("spent", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(hours=1)}) as dag:
        PipedriveExportLeadsOperator(task_id="export", path=f"{tmp_path}/leads.jsonl")
    assert run_dag(dag).tasks["export"] == "failed"
    assert list(tmp_path.iterdir()) == []


def test_waiting_leaves_the_worker_and_starts_anew(run_dag, sandbox, client, person_id, tmp_path, next_day):
    lead = client.add_lead("Before", person_id=person_id)
    sandbox.control.set_budget(0)
    with DAG("waiting", schedule=None) as dag:
        create = PipedriveCreateLeadOperator(
            task_id="create", title="After", person_id=person_id, on_daily_budget="wait"
        )
        export = PipedriveExportLeadsOperator(
            task_id="export", path=f"{tmp_path}/leads.jsonl", person_id=person_id, on_daily_budget="wait"
        )
        sensor = PipedriveLeadSensor(
            task_id="wait", lead_id=lead["id"], expected={"title": "Before"}, on_daily_budget="wait", poke_interval=1
        )
        create >> export >> sensor
    ran = run_dag(dag)
    assert ran.tasks == dict.fromkeys(("create", "export", "wait"), "success")
    assert ran.returned["export"]["rows"] == 2
    assert len(next_day) == 1


def test_a_sensor_waits_as_well(run_dag, sandbox, client, person_id, next_day):
    lead = client.add_lead("Sensed", person_id=person_id)
    sandbox.control.set_budget(0)
    with DAG("sensing", schedule=None) as dag:
        PipedriveLeadSensor(
            task_id="wait", lead_id=lead["id"], expected={"title": "Sensed"}, on_daily_budget="wait", poke_interval=1
        )
    ran = run_dag(dag)
    assert (ran.tasks, ran.returned) == ({"wait": "success"}, {"wait": lead["id"]})
    assert len(next_day) == 1


def test_an_unknown_choice_is_refused(tmp_path):
    export = PipedriveExportLeadsOperator(task_id="export", path=f"{tmp_path}/leads.jsonl", on_daily_budget="later")
    with pytest.raises(PipedriveConfigError, match="on_daily_budget"):
        export.execute.__wrapped__(export, {})
