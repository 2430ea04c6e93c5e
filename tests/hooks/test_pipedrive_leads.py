"""The hook: the connection in every form, lazy, with one plain sentence for the Test button."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import Connection

from airflow_provider_pipedrive_leads.exceptions import PipedriveAuthError, PipedriveConfigError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook


def as_json(sandbox):
    return json.dumps(sandbox.connection)


def as_form(sandbox):
    blank = dict.fromkeys(("client_id", "client_secret", "refresh_token", "timeout", "daily_token_reserve"))
    extra = json.dumps({**blank, "base_url": sandbox.url})
    return json.dumps({"conn_type": "pipedrive", "host": "", "password": sandbox.token, "extra": extra})


def as_uri(sandbox):
    extra = {"base_url": sandbox.url, "timeout": "20"}
    return Connection(conn_id="crm", conn_type="pipedrive", password=sandbox.token, extra=json.dumps(extra)).get_uri()


def as_uri_by_hand(sandbox):
    return f"pipedrive://:{sandbox.token}@/?base_url={sandbox.url.replace(':', '%3A').replace('/', '%2F')}&timeout=20"


@pytest.mark.parametrize("form", [as_json, as_form, as_uri, as_uri_by_hand])
def test_the_connection_in_every_form(sandbox, monkeypatch, form):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", form(sandbox))
    hook = PipedriveLeadsHook()
    assert hook.get_current_user()["company_domain"]
    assert len(list(hook.get_leads(page_size=50))) == sandbox.control.lead_count(archived=False)
    assert hook.usage.requests >= 2
    hook.close()


def test_nothing_is_looked_up_before_the_first_call():
    hook = PipedriveLeadsHook("nowhere")
    with pytest.raises(Exception, match="nowhere"):
        hook.get_lead_sources()


def test_the_test_button_says_who_and_which_company(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", as_json(sandbox))
    reached, sentence = PipedriveLeadsHook().test_connection()
    assert reached
    assert sentence.startswith("Connected to ")
    assert "@" in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "f" * 40}, "API token"),
        ({"password": ""}, "API token"),
        ({"extra": {"base_url": "http://example.com"}}, "Base URL"),
        ({"extra": "[1]"}, "Extra"),
    ],
)
def test_the_test_button_says_what_to_mend(sandbox, monkeypatch, no_waiting, change, words):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, **change}))
    reached, sentence = PipedriveLeadsHook("crm").test_connection()
    assert not reached
    assert words in sentence
    assert "this connection" in sentence.lower()
    assert "crm" not in sentence
    assert sandbox.token not in sentence


@pytest.mark.parametrize("field", ["Base URL", "Company domain"])
def test_the_test_button_names_the_field_of_a_server_that_cannot_be_reached(monkeypatch, no_waiting, nobody, field):
    there = {"extra": {"base_url": nobody}} if field == "Base URL" else {"host": nobody}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive", "password": "f" * 40, **there}))
    reached, sentence = PipedriveLeadsHook("crm").test_connection()
    assert not reached
    assert f"cannot be reached. Check '{field}'" in sentence
    assert "of this connection" in sentence
    assert "crm" not in sentence


def test_errors_are_typed_and_name_the_connection(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "password": "f" * 40}))
    with pytest.raises(PipedriveAuthError, match="connection 'crm'"):
        list(PipedriveLeadsHook("crm").get_leads())
    monkeypatch.setenv(
        "AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive", "password": "x", "extra": "{}", "host": "a b"})
    )
    with pytest.raises(PipedriveConfigError, match="Company domain"):
        PipedriveLeadsHook("crm").get_lead_sources()


def test_unknown_extras_are_warned_about(sandbox, monkeypatch, capfd):
    extra = {**sandbox.connection["extra"], "time_out": 3}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**sandbox.connection, "extra": extra}))
    assert PipedriveLeadsHook("crm").get_lead_sources()
    printed = "".join(capfd.readouterr())
    assert "time_out" in printed
    assert sandbox.token not in printed


@pytest.mark.long
def test_names_cost_hardly_more_than_keys(sandbox, client, person_id, monkeypatch):
    """Forty tasks, each with a hook of its own, as mapped tasks have."""
    monkeypatch.setenv("AIRFLOW_CONN_BY_NAME", json.dumps(sandbox.connection))
    fields = {"Company size": "11-50", "label_ids": ["Hot"]}
    sandbox.control.reset_counters()
    for number in range(40):
        PipedriveLeadsHook("by_name").add_lead(f"Mapped {number}", person_id=person_id, **fields)
    assert sandbox.control.counters()["tokens"] <= 1.1 * 40 * 10


def test_a_field_made_a_moment_ago_is_found(sandbox, client, person_id, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BY_NAME", json.dumps(sandbox.connection))
    PipedriveLeadsHook("by_name").catalogue()
    client.add_lead_label("Brand new", "green")
    monkeypatch.setattr("airflow_provider_pipedrive_leads.leads.catalogue_cache.SECONDS_FRESH", 0.0)
    lead = PipedriveLeadsHook("by_name").add_lead("New label", person_id=person_id, label_ids=["Brand new"])
    assert len(lead["label_ids"]) == 1


def test_what_one_task_made_is_known_to_the_next_at_once(sandbox, monkeypatch):
    """A catalogue that was read a moment before is too young to be doubted, unless this machine changed the account."""
    monkeypatch.setenv("AIRFLOW_CONN_MAKER", as_json(sandbox))
    PipedriveLeadsHook("maker").catalogue()
    made = PipedriveLeadsHook("maker").add_lead_label("Made a moment ago", "green")
    assert PipedriveLeadsHook("maker").wire_fields({"label_ids": ["Made a moment ago"]}) == {"label_ids": [made["id"]]}
    hook = PipedriveLeadsHook("maker")
    hook.catalogue()
    hook.update_lead_label(made["id"], name="Renamed a moment ago")
    assert hook.wire_fields({"label_ids": ["Renamed a moment ago"]}) == {"label_ids": [made["id"]]}
    sandbox.control.reset_counters()
    PipedriveLeadsHook("maker").wire_fields({"label_ids": ["Renamed a moment ago"]})
    assert sandbox.control.counters()["calls"] == 0
