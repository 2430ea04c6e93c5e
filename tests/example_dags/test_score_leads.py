"""New leads start the DAG: run for real, with an event as the asset's trigger makes it."""

from __future__ import annotations

import pytest
from airflow.models import dagrun

from airflow_provider_pipedrive_leads.leads.waiting.change_events import Wishes, describer, event
from airflow_provider_pipedrive_leads.leads.waiting.changes import cursor_at, poll
from example_dags.example_pipedrive_score_leads import HIGH, LEADS, LOW
from tests.example_dags.runs import on

pytestmark = pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs")
likely = pytest.mark.parametrize("sandbox", ["likely"], indirect=True)


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
    organization = client.add_organization("Example Works")["id"]
    cold = next(label["id"] for label in client.get_lead_labels() if label["name"] == "Cold")
    links = ({"organization_id": organization, "label_ids": [cold]}, {"person_id": person_id}, {"person_id": person_id})
    values = ({"amount": 7000, "currency": "EUR"}, {"amount": 500, "currency": "EUR"}, None)
    made = [
        client.add_lead("New lead to score", value=value, **link)["id"]
        for value, link in zip(values, links, strict=True)
    ]
    changes, _ = poll(client, cursor, archived=False)
    (watcher,) = LEADS.watchers
    trigger = watcher.trigger
    wishes = Wishes(trigger.on, {}, lambda _: True, describer(trigger.fields, client.catalogue))
    return made, [event(changes, 0, wishes)]


def scores(sandbox):
    return {lead["id"]: (lead["fields"].get("Lead score"), lead["labels"]) for lead in sandbox.control.all_leads()}


def patches(sandbox):
    return len([call for call in sandbox.control.requests() if call["method"] == "PATCH"])


def test_new_leads_get_a_score_and_a_label(sandbox, run_dag, example, started_by, new_leads):
    (much, little, nothing), payloads = new_leads
    before = scores(sandbox)
    started_by(payloads * 2)  # told twice: after a kill
    for _ in ("run", "cleared and run again"):
        sandbox.control.reset_counters()
        assert run_dag(example, **on(1)).state == "success"
        assert patches(sandbox) <= 3
        scored = {much: (90, ["Cold", HIGH]), little: (5, [LOW]), nothing: (0, [LOW])}
        assert scores(sandbox) == {**before, **scored}
    labels = [label["name"] for label in sandbox.control.overview()["labels"]]
    assert (labels.count(HIGH), labels.count(LOW)) == (1, 1)


@likely
def test_the_limit_and_the_field_are_parameters(sandbox, run_dag, example, started_by, new_leads):
    (much, little, nothing), payloads = new_leads
    started_by(payloads)
    run_dag(example, **on(2, high=5, field="External ID"))
    fields = {lead["id"]: lead["fields"] for lead in sandbox.control.all_leads()}
    assert [scores(sandbox)[lead][1] for lead in (much, little, nothing)] == [["Cold", HIGH], [HIGH], [LOW]]
    assert scores(sandbox)[much][0] is None
    assert fields[much]["External ID"] == "90"


@likely
def test_a_run_that_a_person_starts_has_nothing_to_do(sandbox, run_dag, example):
    sandbox.control.reset_counters()
    ran = run_dag(example, **on(3))
    assert (ran.state, ran.returned["score"]) == ("success", [])
    assert patches(sandbox) == 0
