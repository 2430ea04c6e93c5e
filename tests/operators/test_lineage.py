"""Lineage of tasks: what the collector holds when DAGs ran, and what OpenLineage makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from airflow.sdk import DAG, lineage, plugins_manager
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)

pytestmark = pytest.mark.usefixtures("connection")
DAG_FILE = """
import sys
from airflow.sdk import DAG, BaseHook, BaseOperator, ObjectStoragePath
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.hooks.lineage import export_lineage, left_to_hooks, report_file, table_lineage
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

COLUMNS = [Column("id", "text", "id"), Column("value_amount", "number", "value")]


class Telling(BaseOperator):
    def execute(self, context):
        self.hook = PipedriveLeadsHook()
        self.rows = len(list(self.hook.get_leads()))
        report_file(ObjectStoragePath({path!r}))
        return self.rows


class File(Telling):
    def get_openlineage_facets_on_complete(self, task_instance):
        return export_lineage(self.hook, ObjectStoragePath({path!r}), COLUMNS, self.rows)


class Table(Telling):
    def get_openlineage_facets_on_complete(self, task_instance):
        return table_lineage(self.hook, BaseHook.get_hook("database"), "leads", COLUMNS, self.rows)


class Hooks(Telling):
    def get_openlineage_facets_on_complete(self, task_instance):
        return left_to_hooks()


with DAG("told", schedule=None) as dag:
    export = PipedriveExportLeadsOperator(task_id="export", path={path!r})
    export >> File(task_id="file") >> Table(task_id="table") >> Hooks(task_id="hooks")

if __name__ == "__main__":
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils import db
    from airflow.utils.session import create_session

    db.initdb()
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag("/dev/null", bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    sys.exit(str(dag.test().state) != "success")
"""


@pytest.fixture
def collector(monkeypatch):
    """Let Airflow gather lineage as it does beside a reader, from nothing."""
    monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", lambda: [lineage.HookLineageReader])
    get_collector = lineage.get_hook_lineage_collector
    get_collector.cache_clear()
    yield get_collector()
    get_collector.cache_clear()


def uris(infos):
    return sorted(info.asset.uri for info in infos)


@pytest.fixture
def leads(client):
    return f"pipedrive://{client.get_current_user()['company_domain']}/leads"


def test_an_export_reads_leads_and_writes_files(run_dag, collector, leads, tmp_path):
    attach("memory", fs=MemoryFileSystem())
    with DAG("export_lineage", schedule=None) as dag:
        PipedriveExportLeadsOperator(task_id="local", path=f"{tmp_path}/{{{{ dag.dag_id }}}}.csv")
        PipedriveExportLeadsOperator(task_id="remote", path="memory://lineage/leads.jsonl", archived="exclude")
    assert run_dag(dag).state == "success"
    found = collector.collected_assets
    assert uris(found.inputs) == [leads, leads]
    assert uris(found.outputs) == [f"file://{tmp_path}/export_lineage.csv", "memory://lineage/leads.jsonl"]
    assert all(info.count == 1 for info in [*found.inputs, *found.outputs])


def test_a_failed_export_wrote_no_file(run_dag, collector, sandbox, tmp_path):
    with DAG("failing_lineage", schedule=None) as dag:
        PipedriveExportLeadsOperator(task_id="export", path=f"{tmp_path}/leads.csv", columns=["No such column"])
    assert run_dag(dag).state == "failed"
    assert uris(collector.collected_assets.outputs) == []


def test_creates_and_updates_write_leads(run_dag, collector, leads, person_id):
    with DAG("write_lineage", schedule=None) as dag:
        create = PipedriveCreateLeadOperator(task_id="create", title="Told", person_id=person_id)
        PipedriveUpdateLeadOperator(task_id="update", lead_id=create.output, fields={"title": "Told again"})
    assert run_dag(dag).state == "success"
    found = collector.collected_assets
    assert (uris(found.inputs), uris(found.outputs)) == ([], [leads, leads])
    assert all(isinstance(info.context, PipedriveLeadsHook) for info in found.outputs)


@pytest.mark.long
def test_openlineage_tells_of_an_export(sandbox, leads, client, tmp_path):
    """A run beside the real OpenLineage provider, whose events go to a file."""
    pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is not installed")
    (tmp_path / "dags").mkdir()
    path, events = tmp_path / "leads.csv", tmp_path / "events.jsonl"
    (tmp_path / "dags" / "told.py").write_text(DAG_FILE.format(path=str(path)))
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(events), "append": True}),
        "AIRFLOW_CONN_PIPEDRIVE_DEFAULT": json.dumps(sandbox.connection),
        "AIRFLOW_CONN_DATABASE": json.dumps({"conn_type": "sqlite", "host": "/data/crm.db", "password": "hidden"}),
    }
    command = [sys.executable, str(tmp_path / "dags" / "told.py")]
    run = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, run.stdout
    assert "non-valid metadata" not in run.stdout
    text = events.read_text()
    done = completed(text)
    assert sorted(done) == ["export", "file", "hooks", "table"]
    read = {name: {f"{data['namespace']}/{data['name']}" for data in event["inputs"]} for name, event in done.items()}
    assert read == {name: {leads} for name in done}
    assert {name: written(event) for name, event in done.items() if name != "hooks"} == {
        "export": [("file", str(path))],
        "file": [("file", str(path))],
        "table": [("sqlite:///data/crm.db", "leads")],
    }
    assert set(written(done["hooks"])) == {("file", str(path))}
    for name in ("file", "table"):
        assert len(done[name]["inputs"]) == 1
        (output,) = done[name]["outputs"]
        fields = [(field["name"], field["type"]) for field in output["facets"]["schema"]["fields"]]
        assert fields == [("id", "text"), ("value_amount", "number")]
        assert output["outputFacets"]["outputStatistics"]["rowCount"] == len(list(client.get_leads()))
    assert sandbox.token not in text
    assert "hidden" not in text


def completed(text):
    """COMPLETE events of tasks, by task id; each came once."""
    events = [event for event in map(json.loads, text.splitlines()) if event["eventType"] == "COMPLETE"]
    tasks = [event["job"]["name"].removeprefix("told.") for event in events if event["job"]["name"] != "told"]
    assert len(tasks) == len(set(tasks))
    return {task: event for event in events for task in tasks if event["job"]["name"] == f"told.{task}"}


def written(event):
    return [(data["namespace"], data["name"]) for data in event["outputs"]]
