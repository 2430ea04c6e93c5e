"""Loads in real DAG runs: from files and from tasks, tried again, on a spent day."""

from __future__ import annotations

import csv
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, task

from airflow_provider_pipedrive_leads.leads.loading import load as load_module
from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator, PipedriveLoadLeadsOperator
from airflow_provider_pipedrive_leads.triggers import daily_budget
from tests.leads.loading.loads import keyed, told, writes

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")
PLENTY = 1_000_000
DAY = {"logical_date": datetime(2026, 1, 1, tzinfo=UTC), "run_after": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.fixture(autouse=True)
def calm(sandbox):
    sandbox.control.set_burst(100_000, 100_000)
    sandbox.control.reset_counters()


@pytest.fixture
def prefix():
    return f"t{uuid.uuid4().hex[:8]}-"


def loading(dag_id, **options):
    options = {"key": "origin_id", "settle": 0.1, **options}
    with DAG(dag_id, schedule=None) as dag:
        PipedriveLoadLeadsOperator(task_id="load", **options)
    return dag


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_file_is_loaded_and_the_results_lie_beside_it(run_dag, sandbox, person_id, prefix, tmp_path):
    path = tmp_path / "leads.csv"
    rows = [{"nr": number, "name": f"Lead {number}", "person": person_id, "size": "11-50"} for number in (1, 2, 3)]
    write_csv(path, [*rows, {"nr": 4, "name": "", "person": person_id, "size": ""}])
    fields = {"origin_id": "nr", "title": "name", "person_id": "person", "Company size": "size"}
    dag = loading(
        "file", path=f"{tmp_path}/{{{{ 'leads' }}}}.csv", key_prefix=prefix, fields=fields, max_failed="{{ 1 }}"
    )
    ran = run_dag(dag)
    facts = ran.returned["load"]
    assert {name: facts[name] for name in ("created", "updated", "unchanged", "conflicts", "failed", "rows")} == {
        "created": 3,
        "updated": 0,
        "unchanged": 0,
        "conflicts": 0,
        "failed": 1,
        "rows": 4,
    }
    counted = sandbox.control.counters()
    assert (facts["requests"], facts["tokens"]) == (counted["calls"] - 1, counted["tokens"] - 5)  # less the person
    assert len(keyed(sandbox, prefix)) == 3
    (file,) = facts["results"]
    assert file.startswith(f"{path}.results/")
    outcomes = told(tmp_path / "leads.csv.results")
    assert sorted((outcome["row"], outcome["outcome"]) for outcome in outcomes) == [
        (2, "created"),
        (3, "created"),
        (4, "created"),
        (5, "failed"),
    ]


def test_rows_of_another_task_and_too_many_failures(run_dag, sandbox, person_id, prefix):
    with DAG("rows", schedule=None) as dag:

        @task
        def rows():
            good = {"origin_id": "1", "title": "Good", "person_id": person_id}
            return [good, {**good, "origin_id": "2", "visible_to": "everyone"}]

        PipedriveLoadLeadsOperator(task_id="load", rows=rows(), key="origin_id", key_prefix=prefix)
        PipedriveLoadLeadsOperator.partial(task_id="mapped", key="origin_id", max_failed=1).expand(
            rows=[[{"origin_id": "x", "titel": "y"}], []]
        )
    ran = run_dag(dag)
    assert ran.tasks["load"] == "failed"
    assert "load" not in ran.returned
    assert len(keyed(sandbox, prefix)) == 1
    assert (ran.tasks["mapped", 0], ran.tasks["mapped", 1]) == ("failed", "success")
    outcomes = xcom("rows", "load", "results")
    assert [(outcome["row"], outcome["outcome"]) for outcome in outcomes] == [(2, "failed"), (1, "created")]


def xcom(dag_id, task_id, key):
    """What a task left under a key, latest first."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    of_task = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.task_id == task_id, XComModel.key == key)
    with create_session() as session:
        return XComModel.deserialize_value(session.scalars(of_task.order_by(XComModel.timestamp.desc())).first())


def test_what_was_exported_loads_without_a_write(run_dag, sandbox, tmp_path):
    path = tmp_path / "leads.csv"
    columns = ["id", "title", "labels", "value_amount", "value_currency", "expected_close_date", "was_seen"]
    columns += ["company_size", "interests", "lead_score", "budget_amount", "budget_currency", "next_review"]
    columns += ["trial_period_from", "trial_period_until", "best_time_to_call", "requirements", "site_address"]
    with DAG("round_trip", schedule=None) as dag:
        export = PipedriveExportLeadsOperator(task_id="export", path=str(path), columns=columns)
        load = PipedriveLoadLeadsOperator(task_id="load", path=str(path), key="id")
        export >> load
    facts = run_dag(dag).returned["load"]
    assert facts["unchanged"] == facts["rows"] == sandbox.control.lead_count()
    assert writes(sandbox) == []


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("key", ["id", "origin_id"])
def test_a_whole_export_loads_without_a_write(run_dag, sandbox, tmp_path, suffix, key):
    path = tmp_path / f"leads{suffix}"
    owned = {"owner_id": sandbox.control.all_leads()[0]["owner_id"]} if key == "id" else {}
    with DAG("whole_round_trip", schedule=None) as dag:
        export = PipedriveExportLeadsOperator(task_id="export", path=str(path), **owned)
        load = PipedriveLoadLeadsOperator(task_id="load", path=str(path), key=key, max_failed=100_000)
        export >> load
    ran = run_dag(dag)
    facts = ran.returned["load"]
    assert facts["rows"] == ran.returned["export"]["rows"] > 0
    with_key = [lead for lead in sandbox.control.all_leads() if lead["origin_id"]]
    assert facts["unchanged"] == (facts["rows"] if key == "id" else len(with_key))
    assert (facts["created"], facts["updated"]) == (0, 0)
    assert writes(sandbox) == []


def test_another_try_plans_anew_and_its_parts_stand_beside_the_first_ones(
    run_dag, clear_and_run, sandbox, person_id, prefix, tmp_path
):
    path = tmp_path / "leads.jsonl"
    rows = [{"origin_id": str(n), "title": f"Lead {n}", "person_id": person_id} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, rows)))
    dag = loading("again", path=str(path), key_prefix=prefix)
    sandbox.control.fault("POST", "/v1/leads", "status", status=400, times=2)
    assert run_dag(dag, **DAY).tasks["load"] == "failed"
    assert len(keyed(sandbox, prefix)) == 2
    facts = clear_and_run(dag, DAY).returned["load"]
    assert (facts["created"], facts["unchanged"]) == (2, 2)
    parts = sorted((tmp_path / "leads.jsonl.results").iterdir())
    assert len(parts) == 2
    assert len(parts[0].read_text().splitlines()) == len(parts[1].read_text().splitlines()) == 4
    assert facts["results"] == [str(parts[1])]


def test_a_try_waits_for_what_a_killed_one_may_have_under_way(
    run_dag, clear_and_run, sandbox, sandbox_time, person_id, prefix, monkeypatch
):
    """The first try is killed while it writes; its creation is done by the server some time later."""
    rows = [{"origin_id": "1", "title": "Late", "person_id": person_id}]
    dag = loading("late", rows=rows, key_prefix=prefix, settle=30)
    sandbox.control.fault("POST", "/v1/leads", "close_and_finish", after=20)
    with monkeypatch.context() as killed:
        killed.setattr(load_module.Applying, "_settle", killed_task)
        assert run_dag(dag, **DAY).tasks["load"] == "failed"
    assert (keyed(sandbox, prefix), sandbox_time) == ({}, [])
    facts = clear_and_run(dag, DAY).returned["load"]
    assert (facts["created"], facts["unchanged"]) == (0, 1)
    assert sum(sandbox_time) == 30
    sandbox.control.advance(3600)  # nothing is under way any more
    assert len(keyed(sandbox, prefix)) == 1


def killed_task(*_):
    raise RuntimeError("killed")


@pytest.fixture
def next_day(sandbox, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        sandbox.control.set_budget(PLENTY)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    return slept


def test_a_day_with_too_few_tokens_is_waited_for(run_dag, sandbox, person_id, prefix, next_day):
    tomorrow = datetime.fromisoformat(sandbox.control.now()) + timedelta(days=1)
    sandbox.control.freeze(f"{tomorrow:%Y-%m-%d}T14:00:00Z")
    sandbox.control.unfreeze()
    rows = [{"origin_id": str(n), "title": f"Lead {n}", "person_id": person_id} for n in range(30)]
    sandbox.control.set_budget(350)
    facts = run_dag(loading("waits", rows=rows, key_prefix=prefix, on_daily_budget="wait")).returned["load"]
    assert len(next_day) == 1
    assert facts["created"] + facts["unchanged"] == 30
    told_of = sandbox.control.choices()["rate_headers"] == "present"
    assert facts["created"] == 30 if told_of else facts["created"] < 30
    assert len(keyed(sandbox, prefix)) == 30


@pytest.mark.parametrize("options", [{}, {"path": "a.csv", "rows": []}])
def test_path_or_rows(run_dag, options):
    assert run_dag(loading("either", **options)).tasks["load"] == "failed"
