"""What becomes the watermark of an incremental export, in DAG runs, where the clock that is told is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from airflow.sdk import DAG, Asset

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator
from tests.answering import Answer, Asked, Leads, answering, leads

FIRST_DAY = datetime(2026, 2, 1, tzinfo=UTC)
ALL = leads(4)
"""Changed on 2026-01-31 from 00:00:00 to 00:00:03."""

pytestmark = pytest.mark.usefixtures("no_waiting")


def dated(moment: datetime) -> dict[str, str]:
    return {"date": format_datetime(moment, usegmt=True)}


class Account:
    """Leads, and what a proxy before them makes of the time."""

    def __init__(self) -> None:
        self.active = list(ALL)
        self.now = datetime(2026, 1, 31, 0, 0, 10, tzinfo=UTC)
        self.proxy_ahead = timedelta(0)
        self.first: list[Answer] = []

    def __call__(self, asked: Asked) -> Answer:
        answered = self.first.pop() if self.first else Leads(self.active)(asked)
        headers = {**dated(self.now + self.proxy_ahead), **answered.headers}
        return Answer(answered.content, answered.status, headers)

    def change(self, place: int, moment: datetime) -> None:
        self.active[place] = {
            **self.active[place],
            "update_time": f"{moment:%Y-%m-%dT%H:%M:%S}.000Z",
            "title": "Edited",
        }


@pytest.fixture
def account(monkeypatch) -> Iterator[Account]:
    made = Account()
    with answering(made) as server:
        monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(server.connection))
        yield made


def dag_of(dag_id: str, path: Path) -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        PipedriveExportLeadsOperator(
            task_id="export",
            path=str(path),
            incremental=True,
            overwrite=True,
            columns="keys",
            outlets=[Asset(f"leads_of_{dag_id}")],
        )
    return dag


def titles(run_dag, dag: DAG, number: int, path: Path) -> list[str]:
    day = FIRST_DAY + timedelta(days=number)
    assert run_dag(dag, logical_date=day, run_after=day).state == "success"
    return [json.loads(line)["title"] for line in path.read_text().splitlines()]


def test_an_edit_is_found_though_a_proxys_clock_runs_ahead(run_dag, account, tmp_path):
    path = tmp_path / "leads.jsonl"
    dag = dag_of("proxy_ahead", path)
    account.proxy_ahead = timedelta(minutes=10)
    assert len(titles(run_dag, dag, 1, path)) == 4
    account.now += timedelta(minutes=2)
    account.change(0, account.now)
    account.now += timedelta(hours=1)
    assert "Edited" in titles(run_dag, dag, 2, path)


@pytest.mark.parametrize("status", [429, 502])
def test_an_edit_is_found_though_an_error_told_a_later_time(run_dag, account, tmp_path, status):
    """The newest lead changes while the first run reads; the edit comes before that, and shows late."""
    path = tmp_path / "leads.jsonl"
    dag = dag_of(f"error_{status}", path)
    account.first = [Answer({"success": False}, status, dated(account.now + timedelta(hours=9)))]
    account.change(3, account.now + timedelta(minutes=5))
    assert len(titles(run_dag, dag, 1, path)) == 4
    account.change(0, account.now + timedelta(minutes=1))
    account.now += timedelta(hours=1)
    assert titles(run_dag, dag, 2, path).count("Edited") == 2


def test_quiet_runs_read_again_from_the_newest_change_and_move_nothing(run_dag, account, tmp_path):
    path = tmp_path / "leads.jsonl"
    dag = dag_of("quiet_runs", path)
    assert len(titles(run_dag, dag, 1, path)) == 4
    for number in (2, 3):
        account.now += timedelta(hours=1)
        assert titles(run_dag, dag, number, path) == [lead["title"] for lead in ALL]  # all within the overlap


def test_without_leads_nothing_is_taken_for_read(run_dag, account, tmp_path):
    path = tmp_path / "leads.jsonl"
    dag = dag_of("no_leads", path)
    account.active.clear()
    assert titles(run_dag, dag, 1, path) == []
    account.active.extend(ALL)  # of long ago: restored, or made visible
    account.now += timedelta(hours=1)
    assert len(titles(run_dag, dag, 2, path)) == 4
