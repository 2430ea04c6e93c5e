"""What the blocks of a page need before they run, by the names in the comment above them."""

from __future__ import annotations

import threading

import pytest
from airflow.sdk import BaseHook

from tests.example_dags.test_approved_load import answer_question
from tests.operators.conftest import airflow_database, connection, run_dag  # noqa: F401
from tests.sql.conftest import postgres, postgres_server  # noqa: F401

EVENT = {"status": "success", "count": 1, "more": False, "watermark": "2026-01-31T09:30:00Z"}
NEW_TABLE = """
CREATE TABLE leads (
    id VARCHAR(36), title VARCHAR(99), owner_id BIGINT, value_amount FLOAT, update_time VARCHAR(30), is_deleted BOOLEAN
);
INSERT INTO leads VALUES ('a', 'A', 1, 1.5, '', false), ('b', 'B', 1, 1.5, '', true)
"""


def warehouse(statements):
    """Run statements in the database of the connection ``warehouse``."""
    BaseHook.get_hook("warehouse").run([each for each in statements.split(";") if each.strip()])


@pytest.fixture
def ready(sandbox, client, tmp_path, monkeypatch):
    """Functions that make ready what a block needs; in the folder of all pages lies a file of scores."""
    organization = client.add_organization("Example Works")["id"]
    for folder in ("scores", "lake", "tmp"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "scores" / "leads.csv"
    file.write_text(f"origin_id,title,organization_id,Lead score\n1,From a file,{organization},70\n")

    def event():
        value = {"amount": 7000, "currency": "EUR"}
        lead = client.add_lead("To be scored", organization_id=organization, value=value)
        told = {"id": lead["id"], "kind": "created", "event_id": "1", "value": value}
        start_next_run_by(monkeypatch, "pipedrive://acme/leads", {**EVENT, "leads": [told]})

    return {
        "an event": event,
        "an approval": threading.Thread(target=answer_question, args=("Approve",), daemon=True).start,
        "columns of its own": lambda: file.write_text(
            f"customer_no,title,pipedrive_org,score\n2,By customer,{organization},80\n"
        ),
        "scores": lambda: warehouse(f"INSERT INTO scores VALUES ('4711', 'By a query', {organization}, 90)"),
        "the new table": lambda: warehouse(NEW_TABLE),
        "the old table": lambda: warehouse("CREATE TABLE old_leads AS SELECT id, title FROM leads WHERE id = 'b'"),
    }


def start_next_run_by(monkeypatch, uri, payload):
    """Let the next run be started by an event of an asset, as its trigger makes one."""
    from airflow.models import dagrun
    from airflow.models.asset import AssetEvent, AssetModel
    from sqlalchemy import select

    create = dagrun.get_or_create_dagrun

    def with_event(*, session, **what):
        run = create(session=session, **what)
        asset_id = session.scalar(select(AssetModel.id).where(AssetModel.uri == uri))
        run.consumed_asset_events.append(
            AssetEvent(asset_id=asset_id, extra={"from_trigger": True, "payload": payload})
        )
        session.commit()
        monkeypatch.setattr(dagrun, "get_or_create_dagrun", create)
        return run

    monkeypatch.setattr(dagrun, "get_or_create_dagrun", with_event)
