"""OAuth in real Airflow: one access token for many tasks, kept encrypted, shown nowhere."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import DAG, task

from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore

KEY = "pipedrive_leads_access_token_by_oauth"


@pytest.fixture
def oauth(sandbox, monkeypatch):
    connection = sandbox.oauth_connection
    monkeypatch.setenv("AIRFLOW_CONN_BY_OAUTH", json.dumps(connection))
    sandbox.control.reset_counters()
    return connection


def test_tasks_share_one_token_in_an_encrypted_variable(run_dag, sandbox, oauth, capfd):
    with DAG("oauth", schedule=None) as dag:

        @task
        def look():
            return PipedriveLeadsHook("by_oauth").get_lead_sources()

        look() >> look.override(task_id="look_again")()
    ran = run_dag(dag)
    assert ran.state == "success"
    assert len([seen for seen in sandbox.control.requests() if seen["path"] == "/oauth/token"]) == 1

    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        (row,) = session.query(Variable).filter_by(key=KEY).all()
        kept = json.loads(row.get_val())
        assert row.is_encrypted
    assert kept["access_token"] not in row._val
    printed = "".join(capfd.readouterr())
    for secret in (kept["access_token"], kept["refresh_token"], oauth["extra"]["client_secret"]):
        assert secret not in printed


def test_without_variables_tokens_live_in_memory(monkeypatch, oauth, sandbox):
    def unreachable(*_, **__):
        raise RuntimeError("no Variables here")

    monkeypatch.setattr("airflow_provider_pipedrive_leads.hooks.token_store.Variable.get", unreachable)
    monkeypatch.setattr("airflow_provider_pipedrive_leads.hooks.token_store.Variable.set", unreachable)
    hook = PipedriveLeadsHook("by_oauth")
    assert hook.get_lead_sources()
    assert hook.get_lead_sources()
    assert len([seen for seen in sandbox.control.requests() if seen["path"] == "/oauth/token"]) == 1


@pytest.mark.parametrize("kept", ["text", [], {}, {"access_token": "a"}, {"access_token": 1, "expires_at": "soon"}])
def test_an_unreadable_variable_is_as_good_as_none(monkeypatch, kept):
    monkeypatch.setattr("airflow_provider_pipedrive_leads.hooks.token_store.Variable.get", lambda *_, **__: kept)
    assert VariableTokenStore("crm").load() is None
