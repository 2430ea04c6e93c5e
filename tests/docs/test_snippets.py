"""Every block of code of the documentation runs as it stands, in a real Airflow on a local Pipedrive."""

from __future__ import annotations

import csv
import json

import pytest
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.sdk import BaseHook
from airflow.utils.session import create_session
from sqlalchemy import delete

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.leads.waiting import polling
from airflow_provider_pipedrive_leads.triggers import leads as leads_trigger
from tests.docs.conftest import warehouse
from tests.docs.pages import GUIDES, PAGES, ROOT, blocks_of
from tests.docs.running import Parts, check_commands, check_json, in_folder, way_to_run

# A page is many runs of DAGs, one after another.
pytestmark = pytest.mark.timeout(1200)
RUN_ELSEWHERE = {ROOT / "docs" / "testing-dags.md": ROOT / "tests" / "sandbox" / "test_pytest_plugin.py"}
WITH_CODE = [page for page in PAGES if any(map(way_to_run, blocks_of(page)))]
ON_POSTGRESQL = [page for page in GUIDES if page.stem in ("moving", "postgresql", "scored-leads")]


def sqlite_file(folder):
    return {"conn_type": "sqlite", "host": str(folder / "warehouse.sqlite")}


def test_nothing_is_left_out():
    for page in PAGES:
        for block in blocks_of(page):
            assert block.language in ("", "python", "sql", "json"), f"{block}: nothing runs {block.language}"
            assert block.kind in ("", "needs", "file", "not run"), f"{block}: {block.kind} is not known"
            if block.kind == "file":
                assert f'"{page.name}"' in RUN_ELSEWHERE[page].read_text(), block
    assert set(GUIDES) <= set(WITH_CODE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_settings_are_right(page):
    for block in blocks_of(page):
        if block.kind != "not run" and block.language == "":
            check_commands(block)
        elif block.language == "json":
            check_json(block)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(polling, "SHORTEST_INTERVAL", 0.1)
    monkeypatch.setattr(leads_trigger, "FIRST_WAIT", 0.0)


class Runner:
    """Runs what stands on a page, in the order in which it stands there."""

    def __init__(self, page, folder, run_dag, ready, call_test):
        self.runs = 0
        self._folder, self._run_dag, self._ready, self._call_test = folder, run_dag, ready, call_test
        self._parts = Parts(f"parts_of_{page.stem.replace('-', '_').lower()}", folder)
        self._tests = []
        self._blocks = blocks_of(page)

    def __call__(self):
        ways = {"sql": self._sql, "dag file": self._dag_file, "part": self._parts.add, "test": self._tests.append}
        for block in self._blocks:
            way = way_to_run(block)
            for need in block.words.split(", ") if way and block.kind == "needs" else ():
                self._ready[need]()
            if way:
                ways[way](block)
        self._parts.let_waiting_come_first()
        if self._parts.dag.tasks:
            self._run(self._parts.dag)
        for block in self._tests:
            self._call_test(self._parts.test(block))

    def _dag_file(self, block):
        from airflow.dag_processing.dagbag import DagBag

        file = self._folder / f"dag_of_line_{block.line}.py"
        file.write_text(in_folder(block.code, self._folder))
        bag = DagBag(str(file), bundle_name="dags-folder")
        assert bag.import_errors == {}
        for dag in bag.dags.values():
            self._run(dag)

    def _run(self, dag):
        ran = self._run_dag(dag)
        assert set(ran.tasks.values()) == {"success"}, (dag.dag_id, ran.tasks)
        self.runs += 1

    def _sql(self, block):
        warehouse(block.code)


@pytest.fixture
def runner_of(run_dag, ready, tmp_path, connection, no_waiting, quick, request):
    """Give a function that makes what runs a page, with no watermark of an earlier one."""
    with create_session() as session:
        session.execute(delete(AssetStateStoreModel))

    def call_test(test):
        sandbox = request.getfixturevalue("pipedrive_sandbox")
        hook = PipedriveLeadsHook()
        hook.add_lead("Inquiry from Robin", person_id=hook.add_person("Robin")["id"])
        test(sandbox)

    return lambda page: Runner(page, tmp_path, run_dag, ready, call_test)


def check_first_export(sandbox, folder, _):
    with (folder / "tmp" / "leads.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {lead["id"] for lead in sandbox.control.all_leads()}
    assert [*rows[0]][:3] == ["id", "title", "owner_id"]
    assert "company_size" in rows[0]


def check_postgresql(sandbox, _, records):
    found = {tuple(row) for row in records("SELECT id, title FROM leads")}
    assert found == {(lead["id"], lead["title"]) for lead in sandbox.control.all_leads()}


def check_scored_leads(sandbox, folder, _):
    scores = {lead["origin_id"]: lead["fields"].get("Lead score") for lead in sandbox.control.all_leads()}
    assert (scores["crm-4711"], scores["crm-1"]) == (90, 70)
    assert list((folder / "scores" / "leads.csv.results").iterdir())


def check_reacting(sandbox, _folder, _):
    (lead,) = [lead for lead in sandbox.control.all_leads() if lead["title"] == "To be scored"]
    assert lead["fields"]["Lead score"] == 70


def check_moving(_sandbox, folder, records):
    assert [tuple(row) for row in records("SELECT id, title FROM leads_as_before")] == [("a", "A")]
    assert (folder / "lake" / "gap.jsonl").exists()


OUTCOMES = {
    "first-export": check_first_export,
    "moving": check_moving,
    "postgresql": check_postgresql,
    "reacting": check_reacting,
    "scored-leads": check_scored_leads,
}
"""What a guide says that comes of it."""


def check_outcome(page, sandbox, folder):
    if page.stem in OUTCOMES:
        OUTCOMES[page.stem](sandbox, folder, lambda query: BaseHook.get_hook("warehouse").get_records(query))


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_what_stands_there_runs(page, runner_of, sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(sqlite_file(tmp_path)))
    runner_of(page)()
    check_outcome(page, sandbox, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("page", ON_POSTGRESQL, ids=lambda page: page.stem)
def test_it_runs_on_postgresql(page, runner_of, sandbox, tmp_path, postgres, postgres_server, monkeypatch):
    where = {"host": "127.0.0.1", "port": postgres_server, "login": "postgres", "schema": "postgres"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", **where}))
    runner_of(page)()
    check_outcome(page, sandbox, tmp_path)
