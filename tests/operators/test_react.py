"""The example of a DAG that new leads start, run for real with an event as the trigger makes it."""

from __future__ import annotations

import pytest
from airflow.models import dagrun

from airflow_provider_pipedrive_leads.leads.change_events import Wishes, describer, event
from airflow_provider_pipedrive_leads.leads.changes import cursor_at, poll
from example_dags.example_pipedrive_react import LEADS, dag

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")


@pytest.fixture
def started_by(monkeypatch):
    """Give a function that lets the next run be started by events of the watched asset with these payloads."""

    def start(payloads):
        from airflow.models.asset import AssetEvent, AssetModel
        from sqlalchemy import select

        create = dagrun.get_or_create_dagrun

        def with_events(*, session, **what):
            run = create(session=session, **what)
            asset_id = session.scalar(select(AssetModel.id).where(AssetModel.uri == LEADS.uri))
            for payload in payloads:
                extra = {"from_trigger": True, "payload": payload}
                run.consumed_asset_events.append(AssetEvent(asset_id=asset_id, extra=extra))
            session.commit()
            return run

        monkeypatch.setattr(dagrun, "get_or_create_dagrun", with_events)

    return start


@pytest.fixture
def new_leads(sandbox, client, person_id):
    """Leads that are worth much, little, and nothing, and the event that tells them."""
    sandbox.control.advance(2)
    cursor = cursor_at(sandbox.control.now())
    values = ({"amount": 5000, "currency": "EUR"}, {"amount": 5, "currency": "EUR"}, None)
    made = [client.add_lead("New", person_id=person_id, value=value)["id"] for value in values]
    changes, _ = poll(client, cursor, archived=False)
    (watcher,) = LEADS.watchers
    trigger = watcher.trigger
    wishes = Wishes(trigger.on, {}, lambda _: True, describer(trigger.fields, client.catalogue))
    return made, [event(changes, 0, wishes)]


def test_it_looks_at_leads_that_are_worth_it(sandbox, client, run_dag, started_by, new_leads):
    (much, little, nothing), payloads = new_leads
    started_by(payloads * 2)  # told twice: after a kill
    sandbox.control.reset_counters()
    ran = run_dag(dag)
    assert ran.state == "success"
    assert ran.returned["worth_a_look"] == [much]
    assert [client.get_lead(lead_id)["was_seen"] for lead_id in (much, little, nothing)] == [True, False, False]
    assert len([call for call in sandbox.control.requests() if call["method"] == "PATCH"]) == 1


def test_a_run_that_a_person_starts_has_nothing_to_do(sandbox, run_dag):
    sandbox.control.reset_counters()
    ran = run_dag(dag)
    assert (ran.state, ran.returned["worth_a_look"]) == ("success", [])
    assert not [call for call in sandbox.control.requests() if call["method"] == "PATCH"]
