"""One lead for each task of a DAG, however often Airflow runs it."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator

DAY = {"logical_date": datetime.fromisoformat("2026-01-01T00:00:00+00:00")}
DAY["run_after"] = DAY["logical_date"]
LEADS = "/v1/leads"

pytestmark = pytest.mark.usefixtures("connection")


def named(sandbox, title):
    return [lead for lead in sandbox.control.all_leads() if lead["title"] == title]


@pytest.mark.parametrize("kind", ["close_before", "close_after", "close_and_finish"])
def test_a_create_that_is_cut_makes_one_lead(run_dag, sandbox, sandbox_time, person_id, kind):
    title = f"Cut by {kind}"
    sandbox.control.fault("POST", LEADS, kind, after=20)
    with DAG(f"cut_{kind}", schedule=None) as dag:
        PipedriveCreateLeadOperator(task_id="create", title=title, person_id=person_id, settle=30)
    done = run_dag(dag)
    sandbox.control.advance(3600)  # nothing is under way any more
    (lead,) = named(sandbox, title)
    assert done.returned["create"] == lead["id"]
    assert lead["origin_id"].startswith("airflow-")
    assert sandbox_time == ([] if kind == "close_after" else [30])


@pytest.mark.usefixtures("no_waiting")
def test_what_a_failed_try_did_is_found_by_the_next(run_dag, clear_and_run, sandbox, person_id):
    """The look-up fails too, so that the first try ends in doubt."""
    sandbox.control.fault("POST", LEADS, "close_after")
    sandbox.control.fault("GET", LEADS, "status", status=502, times=6)
    with DAG("doubt", schedule=None) as dag:
        PipedriveCreateLeadOperator(task_id="create", title="Doubted", person_id=person_id, settle=0)
    assert run_dag(dag, **DAY).tasks["create"] == "failed"
    done = clear_and_run(dag, DAY)
    (lead,) = named(sandbox, "Doubted")
    assert done.returned["create"] == lead["id"]


def test_a_cleared_task_keeps_its_lead_and_its_note(run_dag, clear_and_run, sandbox, client, person_id):
    with DAG("cleared", schedule=None) as dag:
        PipedriveCreateLeadOperator(task_id="create", title="Kept", person_id=person_id, note="<b>Called</b> & waiting")
    first = run_dag(dag, **DAY).returned["create"]
    assert clear_and_run(dag, DAY).returned["create"] == first
    assert len(named(sandbox, "Kept")) == 1
    assert len(list(client.get_notes(lead_id=first))) == 1


def test_each_run_and_each_mapped_task_makes_its_own(run_dag, sandbox, person_id):
    with DAG("each", schedule=None) as dag:
        PipedriveCreateLeadOperator.partial(task_id="create", title="Each", person_id=person_id).expand(
            fields=[{}, {"was_seen": True}]
        )
    run_dag(dag)
    run_dag(dag)
    leads = named(sandbox, "Each")
    assert len(leads) == len({lead["origin_id"] for lead in leads}) == 4


def test_bad_settling_and_keys_are_named(run_dag, sandbox, person_id):
    with DAG("bad", schedule=None) as dag:
        own = {"title": "Bad", "person_id": person_id}
        PipedriveCreateLeadOperator(task_id="settle", settle="soon", **own)
        PipedriveCreateLeadOperator(task_id="key", origin_id="x" * 256, **own)
        PipedriveCreateLeadOperator(task_id="field", key_field="No such field", **own)
    assert set(run_dag(dag).tasks.values()) == {"failed"}
    assert not named(sandbox, "Bad")


@pytest.mark.usefixtures("connection")
def test_numbers_that_templates_make_are_taken_for_texts(run_dag, sandbox, client, person_id):
    with DAG("numbers", schedule=None, render_template_as_native_obj=True) as dag:
        PipedriveCreateLeadOperator(
            task_id="create", title="Numbered", person_id=str(person_id), origin_id="{{ 47 * 100 + 11 }}", note="2026"
        )
    lead_id = run_dag(dag).returned["create"]
    assert client.get_lead(lead_id)["origin_id"] == "4711"
    assert [note["content"] for note in client.get_notes(lead_id=lead_id)] == ["2026"]
