"""Operators and the sensor in real Airflow: templated, mapped, retried, refused."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta

import pytest
from airflow.sdk import DAG, Asset, task

from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor
from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator

pytestmark = pytest.mark.usefixtures("connection")
UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"


def test_create_update_wait_export(run_dag, client, person_id, tmp_path):
    with DAG("chain", schedule=None) as dag:
        create = PipedriveCreateLeadOperator(
            task_id="create",
            title="Chain {{ dag.dag_id }}",
            person_id=person_id,
            fields={"Company size": "{{ '11-50' }}", "value": {"amount": "{{ 40 + 2 }}", "currency": "EUR"}},
        )
        update = PipedriveUpdateLeadOperator(
            task_id="update",
            lead_id=create.output,
            fields={"expected_close_date": "2026-01-31", "Company size": None},
            add_labels=["{{ 'Hot' }}"],
        )
        wait = PipedriveLeadSensor(
            task_id="wait",
            lead_id=create.output,
            expected={"label_ids": ["Hot"], "Company size": None, "title": "Chain {{ dag.dag_id }}"},
            poke_interval=0.1,
        )
        export = PipedriveExportLeadsOperator(
            task_id="export", path=f"{tmp_path}/{{{{ dag.dag_id }}}}.jsonl", person_id=str(person_id)
        )
        update >> wait >> export
    ran = run_dag(dag)
    assert ran.state == "success"
    lead = client.get_lead(ran.returned["create"])
    assert ran.returned["update"] == ran.returned["wait"] == lead["id"]
    assert (lead["title"], lead["value"]) == ("Chain chain", {"amount": 42, "currency": "EUR"})
    assert lead["expected_close_date"] == "2026-01-31"
    path = tmp_path / "chain.jsonl"
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [lead["id"]]
    facts = ran.returned["export"]
    assert (facts["path"], facts["files"], facts["rows"]) == (str(path), [str(path)], 1)
    assert facts["updated_until"] == lead["update_time"]
    assert facts["requests"] == 6  # fields, labels, and two passes over active and archived leads
    assert facts["tokens"] == 20 + 10 + 2 * (20 + 40)


def test_mapped_creates_and_updates(run_dag, client, person_id):
    with DAG("mapped", schedule=None) as dag:
        create = PipedriveCreateLeadOperator.partial(task_id="create", person_id=person_id).expand(
            title=["One", "Two", "Three"]
        )
        PipedriveUpdateLeadOperator.partial(task_id="update", add_labels=["Warm"]).expand(lead_id=create.output)
    ran = run_dag(dag)
    assert ran.state == "success"
    leads = list(client.get_leads(person_id=person_id))
    assert sorted(lead["title"] for lead in leads) == ["One", "Three", "Two"]
    assert all(len(lead["label_ids"]) == 1 for lead in leads)


def test_exports_can_be_mapped_over_archived_and_paths(run_dag, sandbox, tmp_path):
    with DAG("mapped_export", schedule=None) as dag:
        PipedriveExportLeadsOperator.partial(task_id="export").expand_kwargs(
            [
                {"path": f"{tmp_path}/active.csv", "archived": "exclude"},
                {"path": f"{tmp_path}/archived.csv.gz", "archived": "only", "columns": ["id", "title"]},
            ]
        )
    ran = run_dag(dag)
    assert ran.returned["export", 0]["rows"] == sandbox.control.lead_count(archived=False)
    assert ran.returned["export", 1]["rows"] == sandbox.control.lead_count(archived=True)


def test_an_outlets_event_tells_what_was_exported(run_dag, tmp_path):
    leads = Asset(name="exported_leads", uri="x-test://exported-leads")
    with DAG("producer", schedule=None) as producer:
        PipedriveExportLeadsOperator(task_id="export", path=f"{tmp_path}/leads.jsonl", outlets=[leads])
    with DAG("consumer", schedule=[leads]) as consumer:

        @task(inlets=[leads])
        def read(*, inlet_events):
            return dict(inlet_events[leads][-1].extra)

        read()
    facts = run_dag(producer).returned["export"]
    assert run_dag(consumer).returned["read"] == facts


def test_the_sensor_waits_until_the_lead_is_as_expected(run_dag, while_waiting, client, person_id):
    lead = client.add_lead("Waiting", person_id=person_id)
    label = next(label_id for label_id, name in client.catalogue().labels.items() if name == "Hot")
    with DAG("waiting", schedule=None) as dag:
        PipedriveLeadSensor(task_id="wait", lead_id=lead["id"], expected={"label_ids": [label]}, poke_interval=0.2)
    while_waiting(client.update_lead, lead["id"], label_ids=[label])
    ran = run_dag(dag)
    assert ran.state == "success"
    assert ran.returned["wait"] == lead["id"]


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("expected", [{"Compny size": "x"}, {"label_ids": ["Hott"]}], ids=["field", "label"])
def test_a_sensor_that_can_never_succeed_fails_at_once(run_dag, client, person_id, expected, mode):
    lead = client.add_lead("Odd", person_id=person_id)
    with DAG("odd_sensor", schedule=None) as dag:
        PipedriveLeadSensor(
            task_id="wait", lead_id=lead["id"], expected=expected, mode=mode, poke_interval=60, timeout=600
        )
    assert run_dag(dag).tasks["wait"] == "failed"


def test_bad_input_fails_the_task_and_writes_nothing(run_dag, sandbox, client, person_id, tmp_path):
    sandbox.control.reset_counters()
    with DAG("bad", schedule=None) as dag:
        PipedriveCreateLeadOperator(task_id="no_contact", title="x")
        PipedriveCreateLeadOperator(
            task_id="half_a_value", title="x", person_id=person_id, fields={"value": {"amount": 1}}
        )
        PipedriveCreateLeadOperator(task_id="none_as_title", title="{{ none }}", person_id=person_id)
        PipedriveCreateLeadOperator(
            task_id="none_in_a_field",
            title="x",
            person_id=person_id,
            fields={"Requirements": "{{ params.get(1) }}"},
        )
        PipedriveUpdateLeadOperator(task_id="none_in_a_change", lead_id=UNKNOWN_LEAD, fields={"title": "{{ none }}"})
        PipedriveUpdateLeadOperator(task_id="no_uuid", lead_id="17", fields={"title": "x"})
        PipedriveUpdateLeadOperator(task_id="unknown", lead_id=UNKNOWN_LEAD, fields={"title": "x"})
        PipedriveLeadSensor(task_id="unknown_wait", lead_id=UNKNOWN_LEAD, expected={"title": "x"}, poke_interval=60)
        PipedriveExportLeadsOperator(task_id="suffix", path=f"{tmp_path}/leads.xlsx")
        PipedriveExportLeadsOperator(task_id="scheme", path="nosuch://bucket/leads.jsonl")
        PipedriveExportLeadsOperator(task_id="connection", path=f"{tmp_path}/a.csv", pipedrive_conn_id="nowhere")
    ran = run_dag(dag)
    assert set(ran.tasks.values()) == {"failed"}
    assert {seen["method"] for seen in sandbox.control.requests()} <= {"GET", "PATCH"}
    assert list(tmp_path.iterdir()) == []


def test_a_retried_export_replaces_its_file(run_dag, sandbox, tmp_path):
    sandbox.control.fault("GET", "/v1/leads", "status", status=501)
    with DAG("retried", schedule=None) as dag:
        PipedriveExportLeadsOperator(
            task_id="export", path=f"{tmp_path}/leads.jsonl", retries=1, retry_delay=timedelta(seconds=0)
        )
    ran = run_dag(dag)
    assert ran.state == "success"
    rows = (tmp_path / "leads.jsonl").read_text().splitlines()
    assert len(rows) == sandbox.control.lead_count()


OPERATORS = (
    PipedriveCreateLeadOperator,
    PipedriveUpdateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveLeadSensor,
    PipedriveLeadsToSqlOperator,
)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_own_parameter_is_templated(operator):
    own = {name for name in inspect.signature(operator.__init__).parameters if name not in ("self", "kwargs")}
    assert own - {"on_daily_budget", "retry_policy", "watermark_asset", "deferrable", "poke_interval"} == set(
        operator.template_fields
    )


def test_constructors_look_nothing_up(sandbox, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT")
    sandbox.control.reset_counters()
    PipedriveCreateLeadOperator(task_id="a", title="{{ x }}")
    PipedriveUpdateLeadOperator(task_id="b", lead_id="{{ x }}")
    PipedriveExportLeadsOperator(task_id="c", path="{{ x }}")
    PipedriveLeadSensor(task_id="d", lead_id="{{ x }}", expected="{{ x }}")
    PipedriveLeadsToSqlOperator(task_id="e", conn_id="{{ x }}", table="{{ x }}")
    assert sandbox.control.counters()["calls"] == 0
