"""An hourly export into a lake as a team would have it: scheduler, workers, assets, an object store, a cleared run."""

from __future__ import annotations

import gzip
import json
import secrets
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import running_airflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

DAGS = Path(__file__).parent / "dags"
EXPORT, READER = "leads_to_lake", "leads_from_lake"
LEADS = 300
AN_HOUR = 3600
LINK = "https://s3.console.aws.amazon.com/s3/buckets/lake?prefix=pipedrive/"


class Lake:
    """A bucket of an S3 server on this machine."""

    def __init__(self, address: str) -> None:
        self.secret = secrets.token_hex(20)
        keys = {"aws_access_key_id": "the-lake", "aws_secret_access_key": self.secret, "region_name": "us-east-1"}
        self._bucket = boto3.resource("s3", endpoint_url=address, **keys).create_bucket(Bucket="lake")
        extra = {"endpoint_url": address, "region_name": "us-east-1"}
        self.connection = json.dumps({"conn_type": "aws", "login": "the-lake", "password": self.secret, "extra": extra})

    def leads(self, path):
        """The leads in a file, by id."""
        key = path.removeprefix("s3://aws_default@lake/")
        lines = gzip.decompress(self._bucket.Object(key).get()["Body"].read()).splitlines()
        found = {row["id"]: row for row in map(json.loads, lines)}
        assert len(found) == len(lines)
        return found

    def names(self):
        return [item.key for item in self._bucket.objects.all()]

    def close(self):
        """Remove everything: the servers of a process share their buckets."""
        self._bucket.objects.all().delete()
        self._bucket.delete()


@pytest.fixture
def lake():
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Lake(f"http://{host}:{port}")
    yield made
    made.close()
    server.stop()


@pytest.fixture
def sandbox():
    with Sandbox(leads=LEADS, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox):
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def airflow(tmp_path, sandbox, lake):
    pipedrive = LocalPipedrive(sandbox.url, sandbox.token)
    with running_airflow(tmp_path, DAGS, pipedrive, {"AIRFLOW_CONN_AWS_DEFAULT": lake.connection}) as running:
        yield running


class Exports:
    """Runs of the export, one after the other, each with the run of the reader that its event started."""

    def __init__(self, airflow):
        self._airflow = airflow
        self._read = 0

    def facts(self, run_id, *, tries=1):
        """Wait for a run of the export and for the reader behind it, and give what both of them say of it."""
        told = self._airflow.returned(EXPORT, run_id, "export", tries=tries)
        self._read += 1
        run = self._airflow.until(lambda: self._airflow.runs(READER)[self._read - 1 :])[0]
        assert run["run_type"] == "asset_triggered"
        seen = self._airflow.returned(READER, run["dag_run_id"], "read")
        assert seen == [{"run": run_id, "told": told, "lines": told["rows"]}]
        return told

    def watermark(self):
        """The moment until which Pipedrive was read, as it is kept for the next run."""
        (asset,) = self._airflow.ask("GET", "assets")["assets"]
        (kept,) = self._airflow.ask("GET", f"assets/{asset['id']}/state-store")["asset_state_store"]
        return kept["value"]["watermark"]


def changed(client, sandbox, person_id):
    """Let an hour pass in which people work on a lead each: made, renamed, archived; give their ids."""
    sandbox.control.advance(AN_HOUR)
    renamed, archived = [lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"]][:2]
    made = client.add_lead("New", person_id=person_id)["id"]
    client.update_lead(renamed, title="Renamed")
    client.update_lead(archived, is_archived=True)
    return made, renamed, archived


def test_each_run_brings_what_changed_and_a_cleared_one_all_it_brought(airflow, sandbox, lake, client, tmp_path):
    person_id = client.add_person("Robin Example")["id"]
    exports = Exports(airflow)
    airflow.switch_on(READER)
    airflow.switch_on(EXPORT)

    first_run = airflow.until(lambda: airflow.runs(EXPORT))[0]
    assert first_run["run_type"] == "scheduled"
    first = exports.facts(first_run["dag_run_id"])
    all_leads = lake.leads(first["path"])
    assert set(all_leads) == {lead["id"] for lead in sandbox.control.all_leads()}
    assert len(all_leads) == LEADS

    made, renamed, archived = changed(client, sandbox, person_id)
    second = exports.facts(airflow.trigger(EXPORT))
    changes = lake.leads(second["path"])
    newest = max(all_leads.values(), key=lambda lead: lead["update_time"])["id"]
    assert {made, renamed, archived} <= set(changes)
    assert newest in changes  # for the overlap
    assert (changes[renamed]["title"], changes[archived]["is_archived"]) == ("Renamed", True)
    assert second["tokens"] < first["tokens"]

    sandbox.control.advance(AN_HOUR)
    before = exports.watermark()
    airflow.clear(EXPORT, first_run["dag_run_id"])
    again = exports.facts(first_run["dag_run_id"], tries=2)
    assert again["path"] == first["path"]
    assert set(lake.leads(again["path"])) == {*all_leads, made}
    assert exports.watermark() >= before

    sandbox.control.advance(AN_HOUR)
    third_run = airflow.trigger(EXPORT)
    third = exports.facts(third_run)
    assert set(lake.leads(third["path"])) == {made, renamed, archived}  # what changed last comes once more
    assert len(lake.names()) == 3

    log = airflow.log(EXPORT, first_run["dag_run_id"], "export")
    assert (
        f"Exported {LEADS} leads to {first['path']}: {first['requests']} requests, {first['tokens']} API tokens" in log
    )
    links = airflow.ask("GET", f"dags/{EXPORT}/dagRuns/{third_run}/taskInstances/export/links")
    assert links["extra_links"] == {"Exported leads": LINK}
    check_that_nothing_is_told(tmp_path, sandbox.token, lake.secret)


def check_that_nothing_is_told(home, *told_nowhere):
    """No file of Airflow, its database and its logs among them, holds one of these texts."""
    files = [file for file in home.rglob("*") if file.is_file()]
    assert sum(f"dag_id={EXPORT}" in str(file) for file in files) == 4
    for file in files:
        for text in told_nowhere:
            assert text.encode() not in file.read_bytes(), file
