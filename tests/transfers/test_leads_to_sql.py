"""Leads into tables, in DAG runs: what is in the table after each, and what the run tells of it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from airflow.sdk import DAG, Asset, task

from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator
from tests.transfers.loads import active_lead, in_account, in_table, loading, marked, on, rows_of

NOT_AN_ADMINISTRATOR = 11_400_003

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")


@pytest.fixture(autouse=True)
def calm(sandbox):
    """Let an hour pass, so that all that is there already lies behind every overlap."""
    sandbox.control.advance(3600)
    sandbox.control.set_burst(100_000, 100_000)


@pytest.fixture
def database(request, sandbox):
    """One database under each profile: what nobody knows of Pipedrive has nothing to do with databases."""
    likely = sandbox.control.choices()["archiving_update_time"] == "moves"
    return request.getfixturevalue("postgres" if likely else "sqlite")


def test_merging_twice_is_merging_once(run_dag, sandbox, database):
    dag = loading("twice", database)
    for number in (1, 2):
        facts = run_dag(dag, **on(number)).returned["load"]
        assert in_table(database) == in_account(sandbox)
        assert (facts["table"], facts["rows"]) == ("leads", sandbox.control.lead_count())
    assert marked(database) == set()


@pytest.mark.parametrize(
    ("options", "version"),
    [
        ({}, "update_time"),
        ({"columns": ["id", "title"]}, "_pipedrive_update_time"),
        ({"columns": "keys"}, "update_time"),
        ({"layout": "common"}, "remote_updated_at"),
        ({"layout": "common", "columns": ["id", "title"]}, "_pipedrive_update_time"),
    ],
)
def test_a_row_that_another_run_has_put_there_newer_stays(run_dag, sandbox, sqlite, options, version):
    """Whatever the columns, the table tells how new each row is."""
    dag = loading("newer", sqlite, **options)
    run_dag(dag, **on(1))
    lead = active_lead(sandbox)
    sqlite.execute(f"UPDATE leads SET title = 'before', {version} = '2099-01-01T00:00:00.000Z' WHERE id = '{lead}'")
    run_dag(dag, **on(2))
    titles = rows_of(sqlite, "title")
    assert [each for each, title in titles.items() if title == "before"] == [lead]


def test_appended_rows_are_those_that_were_read(run_dag, sqlite):
    run_dag(loading("plain", sqlite, mode="append", columns=["id", "title"]))
    assert "_pipedrive_update_time" not in {name for (_, name, *_) in sqlite.fetch("PRAGMA table_info(leads)")}


def test_the_facts_are_those_of_the_run_and_of_the_outlets_event(run_dag, sandbox, sqlite):
    outlet = Asset(name="loaded_leads", uri="x-test://loaded-leads")
    sandbox.control.reset_counters()
    facts = run_dag(loading("told", sqlite, outlets=[outlet])).returned["load"]
    counted = sandbox.control.counters()
    assert facts == {
        "table": "leads",
        "rows": sandbox.control.lead_count(),
        "updated_until": max(lead["update_time"] for lead in sandbox.control.all_leads()),
        "requests": counted["calls"],
        "tokens": counted["tokens"],
    }
    with DAG("told_consumer", schedule=[outlet]) as consumer:

        @task(inlets=[outlet])
        def read(*, inlet_events):
            return dict(inlet_events[outlet][-1].extra)

        read()
    assert run_dag(consumer).returned["read"] == facts


def test_an_incremental_chain_follows_all_but_deletions(run_dag, sandbox, client, person_id, database):
    doomed = client.add_lead("Doomed", person_id=person_id)["id"]
    sandbox.control.advance(3600)
    dag = loading("chain", database, incremental=True)
    first = run_dag(dag, **on(1)).returned["load"]
    assert first["rows"] == sandbox.control.lead_count()
    sandbox.control.advance(600)
    changed = active_lead(sandbox)
    client.update_lead(changed, title="Changed")
    archived = client.add_lead("Archived", person_id=person_id)["id"]
    client.update_lead(archived, is_archived=True)
    put_away = next(
        lead for lead, (_, gone) in in_account(sandbox).items() if not gone and lead not in {changed, doomed}
    )
    client.update_lead(put_away, is_archived=True)
    client.delete_lead(doomed)
    second = run_dag(dag, **on(2)).returned["load"]
    assert in_table(database) == {**in_account(sandbox), doomed: ("Doomed", False)}
    assert in_table(database)[put_away][1] is True
    assert marked(database) == set()
    assert "deleted" not in second
    if sandbox.control.choices()["archiving_update_time"] == "moves":
        assert second["rows"] == 3
        assert second["tokens"] < first["tokens"]
    sandbox.control.advance(600)
    client.update_lead(changed, title="Changed again")
    sandbox.control.advance(600)
    run_dag(dag, **on(3))
    assert in_table(database) == {**in_account(sandbox), doomed: ("Doomed", False)}
    sandbox.control.advance(3600)
    quiet = run_dag(dag, **on(4)).returned["load"]
    if sandbox.control.choices()["archiving_update_time"] == "moves":
        newest = max(lead["update_time"] for lead in sandbox.control.all_leads())
        assert (quiet["rows"], quiet["updated_until"]) == (1, newest)  # what changed last comes once more


def test_leads_that_are_gone_are_marked_once(run_dag, sandbox, client, person_id, database):
    deleted, converted = (client.add_lead(title, person_id=person_id)["id"] for title in ("Deleted", "Deal"))
    dag = loading("gone", database, detect_deleted=True)
    assert run_dag(dag, **on(1)).returned["load"]["deleted"] == 0
    client.delete_lead(deleted)
    client.convert_lead_to_deal(converted)
    sandbox.control.advance(60)
    for number, told in ((2, 2), (3, 0)):
        facts = run_dag(dag, **on(number)).returned["load"]
        assert (facts["rows"], facts["deleted"]) == (sandbox.control.lead_count(), told)
        assert marked(database) == {deleted, converted}
        assert rows_of(database, "title")[deleted] == "Deleted"


def test_a_lead_that_is_seen_again_is_no_longer_marked(run_dag, sandbox, client, person_id, postgres, monkeypatch):
    """A user without rights loses sight of a lead of somebody else, and finds it again."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_PIPEDRIVE_DEFAULT",
        json.dumps({**sandbox.connection, "password": sandbox.control.token_for(NOT_AN_ADMINISTRATOR)}),
    )
    lead = client.add_lead("Hidden for a while", person_id=person_id, visible_to="7")["id"]
    dag = loading("restored", postgres, detect_deleted=True)
    run_dag(dag, **on(1))
    for number, visible, expected in ((2, "1", {lead}), (3, "7", set())):
        client.update_lead(lead, visible_to=visible)
        run_dag(dag, **on(number))
        assert marked(postgres) == expected
    assert lead in in_table(postgres)


def test_too_many_gone_leads_leave_the_table_as_it_was(run_dag, client, person_id, sqlite):
    many = [client.add_lead(f"Many {number}", person_id=person_id)["id"] for number in range(20)]
    dag = loading("emptied", sqlite, detect_deleted=True)
    run_dag(dag, **on(1))
    before = in_table(sqlite)
    for lead in many:
        client.delete_lead(lead)
    assert run_dag(dag, **on(2)).tasks["load"] == "failed"
    assert (in_table(sqlite), marked(sqlite)) == (before, set())
    willing = loading("emptied", sqlite, detect_deleted=True, max_deleted="0.5")
    assert run_dag(willing, **on(3)).returned["load"]["deleted"] == 20
    assert marked(sqlite) == set(many)


def test_replace_leaves_only_what_was_read(run_dag, sandbox, client, person_id, database):
    doomed = client.add_lead("Doomed", person_id=person_id)["id"]
    dag = loading("replaced", database, mode="replace")
    run_dag(dag, **on(1))
    assert doomed in in_table(database)
    client.delete_lead(doomed)
    run_dag(dag, **on(2))
    assert in_table(database) == in_account(sandbox)


class FailsOnceWhenDone(PipedriveLeadsToSqlOperator):
    """Dies after all is done, as a worker that is killed before Airflow hears of its success."""

    tries = 0

    def execute(self, context):
        facts = super().execute(context)
        type(self).tries += 1
        if type(self).tries == 1:
            raise OSError("killed")
        return facts


@pytest.mark.parametrize("dies", ["with rows staged", "when done"])
def test_a_run_that_is_tried_again_appends_its_rows_once(run_dag, sandbox, database, dies, monkeypatch):
    monkeypatch.setattr(FailsOnceWhenDone, "tries", 0)
    retried = {"mode": "append", "retries": 1, "retry_delay": timedelta(0)}
    dag = loading("appended", database, **retried)
    assert run_dag(dag, **on(1)).state == "success"
    if dies == "when done":
        dag = loading("appended", database, **retried, kind=FailsOnceWhenDone)
    else:
        sandbox.control.fault("GET", "/v1/leads/archived", "status", status=501)
    sandbox.control.reset_counters()
    assert run_dag(dag, **on(2)).state == "success"
    passes = 3 if dies == "with rows staged" else 4  # over the archived leads, in two tries
    assert sandbox.control.counters()["routes"]["GET /v1/leads/archived"]["calls"] == passes
    of_runs = dict(database.fetch('SELECT "_run", COUNT(DISTINCT id) FROM leads GROUP BY "_run"'))
    rows = dict(database.fetch('SELECT "_run", COUNT(*) FROM leads GROUP BY "_run"'))
    assert sorted(of_runs.values()) == [sandbox.control.lead_count()] * 2
    assert rows == of_runs


def test_contacts_and_owners_stand_beside_their_leads(run_dag, sandbox, client, postgres):
    run_dag(loading("expanded", postgres, expand=["person", "organization", "owner"]))
    found = rows_of(postgres, "person_name", "organization_name", "owner_name", "person_emails")
    owners = {user["id"]: user["name"] for user in client.get_users()}
    for lead in sandbox.control.all_leads():
        person, organization, owner, emails = found[lead["id"]]
        assert (person, organization) == (lead["person_name"], lead["organization_name"])
        assert owner == owners[lead["owner_id"]]
        addresses = json.loads(emails) if isinstance(emails, str) else emails
        assert (addresses is None) == (person is None)
    assert any(emails for *_, emails in found.values())


def test_the_common_layout_tells_of_leads_that_are_gone(run_dag, sandbox, client, person_id, sqlite):
    """docs/common-layout.md: ``remote_was_deleted`` is true in the row of a lead that was found gone."""
    doomed = client.add_lead("Doomed", person_id=person_id)["id"]
    dag = loading("common", sqlite, layout="common", detect_deleted=True)
    run_dag(dag, **on(1))
    assert set(rows_of(sqlite, "remote_id")) == set(in_account(sandbox))
    found = rows_of(sqlite, "remote_id", "company", "remote_was_deleted")
    for lead in sandbox.control.all_leads():
        assert found[lead["id"]] == (lead["id"], lead["organization_name"], False)
    client.delete_lead(doomed)
    assert run_dag(dag, **on(2)).returned["load"]["deleted"] == 1
    assert marked(sqlite) == {doomed}
    told = {lead for lead, gone in rows_of(sqlite, "remote_was_deleted").items() if gone}
    assert told == {doomed}
