"""The links to deals, and that every task which handles one lead or one deal has the link that fits."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.links.deal import PipedriveDealLink, deal_address
from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink
from airflow_provider_pipedrive_leads.links.leads_file import LeadsFileLink
from airflow_provider_pipedrive_leads.operators import leads as operators
from airflow_provider_pipedrive_leads.operators.leads import PipedriveConvertDealOperator, PipedriveConvertLeadOperator
from airflow_provider_pipedrive_leads.sensors import leads as sensors
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadConversionSensor, PipedriveLeadSensor

ACME = "https://acme.pipedrive.com"
UNKNOWN = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
QUICK = {"poll_interval": 0.05}


@pytest.mark.parametrize(
    "host", ["acme", " Acme ", "acme.pipedrive.com", "https://user:hidden@acme.pipedrive.com/?x=1"]
)
def test_companies(host):
    assert deal_address(host, "17") == f"{ACME}/deal/17"


@pytest.mark.parametrize("host", ["", "api", "https://proxy.example.com", "0123456789abcdef0123456789abcdef01234567"])
def test_hosts_that_name_no_company(host):
    assert deal_address(host, "17") == ""


@pytest.mark.parametrize("deal_id", ["", "None", "0", "-1", "17/..", "17?x", "17\n", UNKNOWN])
def test_what_is_no_deal(deal_id):
    assert deal_address("acme", deal_id) == ""


def test_who_has_which_link():
    classes = [getattr(module, name) for module in (operators, sensors) for name in dir(module)]
    found = {
        made.__name__.removeprefix("Pipedrive"): [type(link) for link in made.operator_extra_links]
        for made in classes
        if isinstance(made, type) and made.__module__.startswith("airflow_provider") and hasattr(made, "ui_color")
    }
    del found["Sensor"]  # what they share
    assert found == {
        "ConvertDealOperator": [PipedriveLeadLink],
        "ConvertLeadOperator": [PipedriveDealLink],
        "CreateLeadOperator": [PipedriveLeadLink],
        "DeleteLeadOperator": [],
        "EnsureLeadLabelsOperator": [],
        "ExportLeadsOperator": [LeadsFileLink],
        "GetLeadOperator": [PipedriveLeadLink],
        "LeadConversionSensor": [PipedriveDealLink],
        "LeadSensor": [PipedriveLeadLink],
        "LeadsSensor": [],
        "LoadLeadsOperator": [],
        "SearchLeadsOperator": [],
        "UpdateLeadOperator": [PipedriveLeadLink],
    }


def links_of(dag, kind):
    """What Airflow keeps for its interface, by task."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(XComModel).where(XComModel.dag_id == dag.dag_id, XComModel.key == kind().xcom_key)
        return {row.task_id: XComModel.deserialize_value(row) for row in session.scalars(query)}


@pytest.mark.long
def test_running_tasks_leave_them(run_dag, sandbox, client, person_id, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps({**sandbox.connection, "host": "acme"}))
    there, watched, kept = (client.add_lead(f"Linked {number}", person_id=person_id)["id"] for number in range(3))
    conversion = client.convert_lead_to_deal(watched)
    with DAG("deal_links", schedule=None) as dag:
        converted = PipedriveConvertLeadOperator(task_id="there", lead_id=there, **QUICK)
        PipedriveConvertDealOperator(task_id="back", deal_id=converted.output, **QUICK)
        PipedriveLeadConversionSensor(
            task_id="conversion", lead_id=watched, conversion_id=conversion, poke_interval=0.1, poll_interval=10
        )
        PipedriveLeadSensor(task_id="lead", lead_id=kept, expected={"is_archived": False}, poll_interval=10)
        PipedriveConvertLeadOperator(task_id="unknown", lead_id=UNKNOWN, **QUICK)
    returned = run_dag(dag).returned
    assert links_of(dag, PipedriveDealLink) == {
        "there": f"{ACME}/deal/{returned['there']}",
        "conversion": f"{ACME}/deal/{returned['conversion']}",
        "unknown": "",
    }
    assert links_of(dag, PipedriveLeadLink) == {
        "back": f"{ACME}/leads/inbox/{returned['back']}",
        "lead": f"{ACME}/leads/inbox/{kept}",
    }
