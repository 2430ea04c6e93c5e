"""The link to a lead: where Pipedrive shows it, and none that leads nowhere or gives a secret away."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_provider_pipedrive_leads.links.lead import PipedriveLeadLink, lead_address
from airflow_provider_pipedrive_leads.operators.leads import PipedriveGetLeadOperator

LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
ADDRESS = f"https://acme.pipedrive.com/leads/inbox/{LEAD}"


@pytest.mark.parametrize(
    "host",
    [
        "acme",
        " Acme ",
        "acme.pipedrive.com",
        "https://acme.pipedrive.com",
        "https://acme.pipedrive.com:443/",
        "https://user:hidden@acme.pipedrive.com/?x=hidden",
    ],
)
def test_companies(host):
    assert lead_address(host, LEAD) == lead_address(host, LEAD.upper()) == ADDRESS


@pytest.mark.parametrize(
    "host",
    [
        "",
        "api",
        "api.pipedrive.com",
        "https://api.pipedrive.com",
        "oauth.pipedrive.com",
        "localhost:8000",
        "http://127.0.0.1:8000",
        "https://proxy.example.com",
        "https://",
        "acme/..",
        "acme#x",
        "0123456789abcdef0123456789abcdef01234567",
        "0123456789ABCDEF0123456789abcdef01234567.pipedrive.com",
    ],
)
def test_hosts_that_name_no_company(host):
    assert lead_address(host, LEAD) == ""


@pytest.mark.parametrize("lead_id", ["", "None", "17", f"{LEAD}/..", f"{LEAD}?x", f"{LEAD}\n"])
def test_what_is_no_lead(lead_id):
    assert lead_address("acme", lead_id) == ""


class Returning(BaseOperator):
    """A task that handled a lead and returns its id."""

    operator_extra_links = (PipedriveLeadLink(),)

    def __init__(self, *, result, pipedrive_conn_id="pipedrive_default", **kwargs):
        super().__init__(**kwargs)
        self.result = result
        self.pipedrive_conn_id = pipedrive_conn_id

    def execute(self, context):
        return self.result


def links_of(dag):
    """What Airflow keeps for its interface, by task and map index."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(XComModel).where(XComModel.dag_id == dag.dag_id, XComModel.key == PipedriveLeadLink().xcom_key)
        return {(row.task_id, row.map_index): XComModel.deserialize_value(row) for row in session.scalars(query)}


@pytest.fixture
def acme(sandbox, monkeypatch):
    """The sandbox behind a connection that names the company."""
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps({**sandbox.connection, "host": "acme"}))
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_HOSTLESS", json.dumps(sandbox.connection))


@pytest.mark.usefixtures("acme")
def test_the_running_task_leaves_the_link(run_dag, client, person_id, capfd):
    lead = client.add_lead("Linked", person_id=person_id)["id"]
    address = f"https://acme.pipedrive.com/leads/inbox/{lead}"
    with DAG("links", schedule=None) as dag:
        PipedriveGetLeadOperator(task_id="whole", lead_id=lead)
        PipedriveGetLeadOperator.partial(task_id="mapped").expand(lead_id=[lead, lead])
        PipedriveGetLeadOperator(task_id="hostless", lead_id=lead, pipedrive_conn_id="pipedrive_hostless")
        PipedriveGetLeadOperator(task_id="unknown", lead_id=LEAD)
        Returning(task_id="only_id", result=lead)
        Returning(task_id="nothing", result=None)
        Returning(task_id="something_else", result=[lead])
    run_dag(dag)
    assert links_of(dag) == {
        ("whole", -1): address,
        ("mapped", 0): address,
        ("mapped", 1): address,
        ("hostless", -1): "",
        ("unknown", -1): "",
        ("only_id", -1): address,
        ("nothing", -1): "",
        ("something_else", -1): "",
    }
    told = "".join(capfd.readouterr())
    assert "Pushing xcom" in told
    assert "operator extra link" not in told
    assert "not found for task 'unknown'" not in told
