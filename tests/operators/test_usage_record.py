"""What tasks leave about their use of Pipedrive: figures that are right, however they end, and nothing of leads."""

from __future__ import annotations

import json
from itertools import count
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.exceptions import PipedriveServerError, PipedriveValidationError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators import usage_record
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveConvertLeadOperator,
    PipedriveCreateLeadOperator,
    PipedriveDeleteLeadOperator,
    PipedriveEnsureLeadLabelsOperator,
    PipedriveExportLeadsOperator,
    PipedriveGetLeadOperator,
    PipedriveLoadLeadsOperator,
    PipedriveSearchLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.operators.usage_record import USAGE_KEY, recorded
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor
from tests.operators.conftest import StandingClock

pytestmark = pytest.mark.usefixtures("connection")
UNKNOWN = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
SECRET = "Robin Secretperson"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The clock by which records are written; between two looks at it pass two and a half seconds."""
    standing, seconds = StandingClock(), count(0, 2.5)
    monkeypatch.setattr(usage_record, "datetime", standing)
    monkeypatch.setattr(usage_record, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    return standing


@pytest.fixture
def profile(sandbox):
    return sandbox.control.overview()["profile"]


def records_of(dag):
    """The records of all tasks of a DAG."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(XComModel).where(XComModel.dag_id == dag.dag_id, XComModel.key == USAGE_KEY)
        return {row.task_id: XComModel.deserialize_value(row) for row in session.scalars(query)}


@pytest.mark.long
def test_every_operator_leaves_one_and_sensors_none(
    run_dag, sandbox, sandbox_time, profile, client, person_id, tmp_path
):
    lead = client.add_lead(SECRET, person_id=person_id)["id"]
    other, third = (client.add_lead(f"{SECRET} {number}", person_id=person_id)["id"] for number in (2, 3))
    rows = [{"origin_id": "usage:1", "title": SECRET, "person_id": person_id}]
    with DAG(f"usage_{profile}", schedule=None) as dag:
        PipedriveExportLeadsOperator(task_id="export", path=str(tmp_path / "leads.csv"))
        PipedriveLoadLeadsOperator(task_id="load", rows=rows, key="origin_id", key_prefix="usage:")
        PipedriveCreateLeadOperator(task_id="create", title=SECRET, person_id=person_id)
        PipedriveGetLeadOperator(task_id="get", lead_id=lead)
        PipedriveUpdateLeadOperator(task_id="update", lead_id=lead, fields={"title": f"{SECRET} anew"})
        PipedriveSearchLeadsOperator(task_id="search", term=SECRET)
        PipedriveEnsureLeadLabelsOperator(task_id="labels", labels=["Secretlabel"])
        PipedriveDeleteLeadOperator(task_id="delete", lead_id=other)
        PipedriveConvertLeadOperator(task_id="convert", lead_id=third, poll_interval=0.1)
        PipedriveLeadSensor(task_id="sensor", lead_id=lead, expected={"is_archived": False})
        PipedriveGetLeadOperator(task_id="silent", lead_id=lead, do_xcom_push=False)
    ran = run_dag(dag)
    left = records_of(dag)
    assert {task_id: record["kind"] for task_id, record in left.items()} == {
        name: name for name in ("export", "load", "create", "get", "update", "search", "labels", "delete", "convert")
    }
    assert {record["outcome"] for record in left.values()} == {"success"}
    assert {record["conn_id"] for record in left.values()} == {"pipedrive_default"}
    assert {record["host"] for record in left.values()} == {"127.0.0.1"}
    exported, export = ran.returned["export"], left["export"]
    for name in ("rows", "tokens", "requests", "updated_until"):
        assert export[name] == exported[name]
    assert export["rows"] >= 60
    assert export["as_of"] is not None
    assert (left["load"]["rows"], left["load"]["tokens"]) == (1, ran.returned["load"]["tokens"])
    day = sandbox.control.overview()["budget"]
    told = {(record["daily_tokens"], record["daily_tokens_left"] is None) for record in left.values()}
    assert told == ({(None, True)} if profile == "contrary" else {(day["limit"], False)})
    for record in left.values():
        assert record["tokens"] > 0
        assert record["seconds"] == 2.5
        assert record["at"] == "2026-01-31T09:30:00.000+00:00"
        assert "Secret" not in json.dumps(record)


def test_a_failure_names_the_error_and_no_value(run_dag, sandbox, profile, monkeypatch):
    wrong = {**sandbox.connection, "password": "f" * 40}
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_WRONG", json.dumps(wrong))
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_EMPTY", json.dumps({"conn_type": "pipedrive"}))
    with DAG(f"usage_failed_{profile}", schedule=None) as dag:
        PipedriveGetLeadOperator(task_id="unknown", lead_id=UNKNOWN)
        PipedriveGetLeadOperator(task_id="malformed", lead_id=SECRET)
        PipedriveGetLeadOperator(task_id="refused", lead_id=UNKNOWN, pipedrive_conn_id="pipedrive_wrong")
        PipedriveGetLeadOperator(task_id="empty", lead_id=UNKNOWN, pipedrive_conn_id="pipedrive_empty")
        PipedriveGetLeadOperator(task_id="nowhere", lead_id=UNKNOWN, pipedrive_conn_id="pipedrive_nowhere")
        PipedriveCreateLeadOperator(task_id="contact", title="x", person_id=SECRET)
    assert run_dag(dag).state == "failed"
    left = records_of(dag)
    assert {record["outcome"] for record in left.values()} == {"failed"}
    facts = {
        task_id: tuple(record[name] for name in ("error", "status", "about", "call"))
        for task_id, record in left.items()
    }
    error, status, about, call = facts.pop("unknown")
    assert (error, status, about) == ("PipedriveNotFoundError", 404, None)
    assert call.startswith(f"GET /v1/leads/{UNKNOWN}")
    assert facts.pop("nowhere")[0].startswith("AirflowNotFound")
    assert facts == {
        "malformed": ("PipedriveValidationError", None, "lead_id", None),
        "refused": ("PipedriveAuthError", 401, None, call),
        "empty": ("PipedriveConfigError", None, "'API token' (Password)", None),
        "contact": ("PipedriveValidationError", None, "person_id", None),
    }
    assert "Secret" not in json.dumps(left)
    assert "f" * 40 not in json.dumps(left)
    assert left["empty"]["host"] is None


class Remembering:
    """What ``recorded`` needs of a running task: its state store, and a place for XComs."""

    dag_id, task_id, run_id, map_index = "dag", "task", "run", -1

    def __init__(self):
        self.kept, self.pushed = {}, {}
        self.context = {"ti": self, "task_state_store": self}

    def get(self, key, default=None):
        return self.kept.get(key, default)

    def set(self, key, value, *, retention):
        self.kept[key] = json.loads(json.dumps(value))

    def xcom_push(self, key, value):
        self.pushed[key] = json.loads(json.dumps(value))


def one_try(task, running, problem=None):
    """Spend 2 tokens in one try of a task, and give its record."""
    hook = PipedriveLeadsHook(task.pipedrive_conn_id)
    try:
        with recorded(task, running.context, hook, "get"):
            hook.get_current_user()
            if problem is not None:
                raise problem
    except (PipedriveServerError, PipedriveValidationError, KeyboardInterrupt):
        pass
    return running.pushed.pop(USAGE_KEY, None)


def test_what_earlier_tries_of_the_day_spent_is_counted_too(clock):
    task, running = PipedriveGetLeadOperator(task_id="get", lead_id=UNKNOWN), Remembering()
    assert one_try(task, running, PipedriveServerError("Down."))["tokens"] == 2
    assert one_try(task, running, PipedriveServerError("Down."))["tokens"] == 4
    third = one_try(task, running)
    assert (third["tokens"], third["requests"], third["outcome"]) == (6, 3, "success")
    clock.advance(86_400)
    assert one_try(task, running)["tokens"] == 2


def test_only_names_of_parameters_are_taken_from_a_message():
    task, running = PipedriveGetLeadOperator(task_id="get", lead_id=UNKNOWN), Remembering()
    for words, about in (
        ("lead_id, columns: wrong.", "lead_id, columns"),
        ("robin: is no person.", None),
        ("Robin Secretperson: is no person.", None),
        ("Connection 'crm', field 'Base URL' (base_url): is no URL.", "'Base URL' (base_url)"),
    ):
        assert one_try(task, running, PipedriveValidationError(words))["about"] == about


def test_a_task_that_is_stopped_leaves_no_record():
    task = PipedriveGetLeadOperator(task_id="get", lead_id=UNKNOWN)
    assert one_try(task, Remembering(), KeyboardInterrupt()) is None


def test_a_record_that_cannot_be_kept_fails_no_task():
    class Full(Remembering):
        def xcom_push(self, key, value):
            raise OSError("disk full")

    task = PipedriveGetLeadOperator(task_id="get", lead_id=UNKNOWN)
    assert one_try(task, Full()) is None
