"""Finance is told of the deal, once sales has made one of the lead, and not before."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.leads.waiting import polling
from airflow_provider_pipedrive_leads.triggers import leads as leads_trigger
from tests.example_dags.runs import on, read

pytestmark = [
    pytest.mark.parametrize("sandbox", ["likely"], indirect=True),
    pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs", "quick"),
]


@pytest.fixture
def quick(example, monkeypatch):
    """Let polls follow one another at once, and triggers fire at once."""
    monkeypatch.setattr(polling, "SHORTEST_INTERVAL", 0.1)
    monkeypatch.setattr(leads_trigger, "FIRST_WAIT", 0.0)
    example.get_task("wait").poll_interval = 0.2


@pytest.fixture
def lead_id(client, person_id):
    return client.add_lead("To be converted", person_id=person_id)["id"]


def deal_of(client, lead_id):
    return next(deal["id"] for deal in client.get_deals() if deal["source_lead_id"] == lead_id)


def test_finance_is_told_when_the_lead_has_become_a_deal(
    run_dag, example, clear_and_run, client, lead_id, while_waiting, tmp_path
):
    while_waiting(client.convert_lead_to_deal, lead_id)
    ran = run_dag(example, **on(1, lead_id=lead_id, folder=str(tmp_path)))
    assert ran.tasks == {"wait": "success", "tell_finance": "success"}
    deal_id = deal_of(client, lead_id)
    for _ in ("run", "cleared and run again"):
        (file,) = tmp_path.iterdir()
        assert (file.name, read(file)) == (f"deal-{deal_id}.json", {"deal_id": deal_id, "lead_id": lead_id})
        ran = clear_and_run(example, on(1))
        assert ran.returned["tell_finance"] == deal_id


def test_of_a_lead_that_is_deleted_instead_nothing_is_told(run_dag, example, client, lead_id, while_waiting, tmp_path):
    while_waiting(client.delete_lead, lead_id)
    ran = run_dag(example, **on(2, lead_id=lead_id, folder=str(tmp_path)))
    assert ran.tasks == {"wait": "failed", "tell_finance": "upstream_failed"}
    assert list(tmp_path.iterdir()) == []
