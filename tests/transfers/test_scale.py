"""Many leads, and several accounts."""

from __future__ import annotations

import gc
import json
import sys

import pytest
from airflow.sdk import DAG, Asset

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from airflow_provider_pipedrive_leads.sql.loading import TableLoad
from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator
from tests.transfers.loads import active_lead, conn_id, in_account, in_table, loading, on

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def blocks(monkeypatch):
    """How many objects Python holds whenever a batch has been staged."""
    found, write = [], TableLoad.write

    def counting(self, batch):
        write(self, batch)
        gc.collect()
        found.append(sys.getallocatedblocks())

    monkeypatch.setattr(TableLoad, "write", counting)
    return found


@pytest.mark.long
def test_rows_stream(run_dag, sqlite, blocks, monkeypatch):
    with Sandbox(leads=3_000, seed=3) as box:
        monkeypatch.setenv("AIRFLOW_CONN_LARGE", json.dumps(box.connection))
        facts = run_dag(loading("large", sqlite, pipedrive_conn_id="large")).returned["load"]
    assert facts["rows"] == 3_000
    assert len(blocks) >= 6
    assert max(blocks) - blocks[0] < 10 * facts["rows"]


def test_mapped_accounts_fill_one_table_and_keep_their_own_watermarks(run_dag, sqlite, monkeypatch):
    with Sandbox(leads=5, seed=1) as one, Sandbox(leads=7, seed=2) as two:
        boxes = {"crm_a": one, "crm_b": two}
        for name, box in boxes.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(box.connection))
            box.control.advance(3600)
        two.control.advance(30 * 86_400)  # a watermark of this account would hide all changes in the other
        with DAG("mapped_load", schedule=None) as dag:
            PipedriveLeadsToSqlOperator.partial(
                task_id="load",
                conn_id=conn_id(sqlite),
                table="leads",
                columns=["id", "title", "is_archived"],
                incremental=True,
                outlets=[Asset("loaded_accounts")],
            ).expand(pipedrive_conn_id=list(boxes))
        first = run_dag(dag, **on(1)).returned
        assert [first["load", number]["rows"] for number in (0, 1)] == [5, 7]
        assert in_table(sqlite) == {**in_account(one), **in_account(two)}
        for box in boxes.values():
            box.control.advance(600)
        client = PipedriveClient(read_connection(password=one.token, extra={"base_url": one.url}))
        client.update_lead(active_lead(one), title="Changed")
        client.close()
        second = run_dag(dag, **on(2)).returned
        assert [second["load", number]["rows"] for number in (0, 1)] == [2, 1]  # each its newest lead again
        assert in_table(sqlite) == {**in_account(one), **in_account(two)}
