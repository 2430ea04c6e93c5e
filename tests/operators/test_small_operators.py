"""Fetching, deleting and searching leads, and their labels, in real Airflow: templated, mapped, retried, refused."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError, PipedriveValidationError
from airflow_provider_pipedrive_leads.exceptions import PipedriveConfigError
from airflow_provider_pipedrive_leads.leads.reading.one_lead import read_lead
from airflow_provider_pipedrive_leads.leads.reading.searching import search_capped
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveDeleteLeadOperator,
    PipedriveEnsureLeadLabelsOperator,
    PipedriveGetLeadOperator,
    PipedriveSearchLeadsOperator,
)
from airflow_provider_pipedrive_leads.triggers import daily_budget

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
DAY = {"logical_date": datetime(2026, 1, 31, tzinfo=UTC)}
LABELS = "/v1/leadLabels"
ALL_TRIES = 6
OPERATORS = (
    PipedriveGetLeadOperator,
    PipedriveDeleteLeadOperator,
    PipedriveSearchLeadsOperator,
    PipedriveEnsureLeadLabelsOperator,
)


@pytest.fixture(autouse=True)
def unhurried(sandbox, connection, no_waiting):
    """No test waits for a burst window."""
    sandbox.control.set_burst(1_000_000, search=1_000_000)


@pytest.fixture
def lead_id(client, person_id):
    fields = {"Company size": "1-10", "expected_close_date": "2026-01-31"}
    return client.add_lead("Narwhal account", person_id=person_id, **fields)["id"]


def exists(sandbox, lead_id):
    sandbox.control.advance(60)
    return lead_id in {lead["id"] for lead in sandbox.control.all_leads()}


# Fetching


def test_a_lead_is_fetched_with_its_fields_by_name(run_dag, client, lead_id):
    with DAG("get", schedule=None) as dag:
        get = PipedriveGetLeadOperator(task_id="get", lead_id=f"{{{{ '{lead_id}' }}}}")
        PipedriveGetLeadOperator(task_id="plain", lead_id=lead_id, columns="{{ 'keys' }}")
        PipedriveGetLeadOperator.partial(task_id="mapped").expand(lead_id=[lead_id, UNKNOWN_LEAD])
        get >> PipedriveCreateLeadOperator(
            task_id="use",
            title="{{ ti.xcom_pull('get')['Company size'] }}",
            person_id="{{ ti.xcom_pull('get').person_id }}",
        )
    ran = run_dag(dag)
    whole, lead = ran.returned["get"], client.get_lead(lead_id)
    assert {key: whole[key] for key in lead} == lead == ran.returned["plain"]
    assert whole["Company size"] == "1-10"
    assert set(whole) - set(lead) == set(client.named_fields(lead)) - set(lead)
    assert ran.returned["mapped", 0] == whole
    assert ran.tasks["mapped", 1] == "failed"
    assert client.get_lead(ran.returned["use"])["title"] == "1-10"


def test_every_kind_of_field_can_go_through_xcom(sandbox, client):
    seeded = next(lead for lead in sandbox.control.all_leads() if len(lead["fields"]) > 3 and not lead["is_archived"])
    lead = read_lead(client, seeded["id"])
    assert json.loads(json.dumps(lead)) == lead


def test_names_that_are_not_unique_stay_under_their_keys(sandbox, client, person_id):
    for name in ("Namesake", "Namesake", "title"):
        client.request("POST", "/v1/dealFields", json={"name": name, "field_type": "varchar"})
    keys = {field["key"]: field["name"] for field in client.get_lead_fields()}
    one, two = (key for key, name in keys.items() if name == "Namesake")
    own_title = next(key for key, name in keys.items() if name == "title" and key != "title")
    lead_id = client.add_lead("Real title", person_id=person_id, **{one: "1", two: "2", own_title: "3"})["id"]
    lead = read_lead(client, lead_id)
    assert "Namesake" not in lead
    assert (lead["title"], lead[one], lead[two], lead[own_title]) == ("Real title", "1", "2", "3")


def test_an_archived_lead_is_fetched_or_the_error_says_where_it_may_be(sandbox, client, lead_id):
    client.update_lead(lead_id, is_archived=True)
    if sandbox.control.choices()["archived_lead_get"] == "200":
        assert read_lead(client, lead_id)["is_archived"] is True
        return
    with pytest.raises(PipedriveNotFoundError, match="archived='only'") as caught:
        read_lead(client, lead_id)
    assert (caught.value.status, caught.value.method) == (404, "GET")


def test_plain_leads_cost_no_names(sandbox, client, lead_id):
    sandbox.control.reset_counters()
    read_lead(client, lead_id, "keys")
    assert sandbox.control.counters()["tokens"] == 2
    with pytest.raises(PipedriveValidationError, match="columns: "):
        read_lead(client, lead_id, "nmaes")
    assert sandbox.control.counters()["tokens"] == 2


# Deleting


def test_a_lead_is_deleted_and_clearing_the_task_does_no_harm(run_dag, clear_and_run, sandbox, lead_id):
    with DAG("delete", schedule=None) as dag:
        PipedriveDeleteLeadOperator(task_id="delete", lead_id=f"{{{{ '{lead_id}' }}}}")
    assert run_dag(dag, **DAY).returned["delete"] == lead_id
    assert not exists(sandbox, lead_id)
    again = clear_and_run(dag, DAY)
    assert (again.tasks["delete"], again.returned["delete"]) == ("success", lead_id)


@pytest.mark.parametrize("kind", ["close_after", "close_and_finish"])
def test_a_second_try_is_content_with_what_the_first_did(run_dag, sandbox, lead_id, kind):
    sandbox.control.fault("DELETE", f"/v1/leads/{lead_id}", kind, times=ALL_TRIES)
    with DAG(f"delete_{kind}", schedule=None) as dag:
        PipedriveDeleteLeadOperator(task_id="delete", lead_id=lead_id, retries=1, retry_delay=timedelta(0))
    ran = run_dag(dag)
    assert (ran.tasks["delete"], ran.returned["delete"]) == ("success", lead_id)
    assert not exists(sandbox, lead_id)


def test_a_wrong_id_never_looks_like_success(run_dag, clear_and_run):
    with DAG("delete_wrong", schedule=None) as dag:
        PipedriveDeleteLeadOperator(task_id="wrong", lead_id=UNKNOWN_LEAD)
        PipedriveDeleteLeadOperator(task_id="no_uuid", lead_id="17", ignore_missing=True)
        PipedriveDeleteLeadOperator(task_id="unclear", lead_id=UNKNOWN_LEAD, ignore_missing="perhaps")
        PipedriveDeleteLeadOperator(task_id="ignored", lead_id=UNKNOWN_LEAD, ignore_missing="{{ true }}")
    due = {"wrong": "failed", "no_uuid": "failed", "unclear": "failed", "ignored": "success"}
    assert run_dag(dag, **DAY).tasks == due
    assert clear_and_run(dag, DAY).tasks == due


def test_mapped_deletes(run_dag, sandbox, client, person_id):
    ids = [client.add_lead(f"Bulk {number}", person_id=person_id)["id"] for number in range(3)]
    with DAG("delete_mapped", schedule=None) as dag:
        PipedriveDeleteLeadOperator.partial(task_id="delete").expand(lead_id=ids)
    assert set(run_dag(dag).returned.values()) == set(ids)
    assert not [lead for lead in ids if exists(sandbox, lead)]


# Searching


def test_hits_are_capped_and_found_with_one_call(run_dag, sandbox, client, person_id, lead_id):
    for number in range(4):
        client.add_lead(f"Quokka {number}", person_id=person_id)
    exact = client.add_lead("Quokka", person_id=person_id)["id"]
    sandbox.control.advance(3600)
    sandbox.control.reset_counters()
    with DAG("search", schedule=None) as dag:
        PipedriveSearchLeadsOperator(task_id="search", term="{{ 'quokka' }}", limit="{{ 3 }}", person_id=str(person_id))
        PipedriveSearchLeadsOperator(task_id="all", term="quokka", fields=["title"])
        PipedriveSearchLeadsOperator(task_id="exact", term="quokka", exact_match="{{ true }}", fields="title,notes")
        PipedriveSearchLeadsOperator(task_id="none", term="quokka", person_id=1)
        PipedriveSearchLeadsOperator.partial(task_id="mapped", limit=500).expand(term=["narwhal", "no such lead"])
    ran = run_dag(dag)
    assert ran.state == "success"
    assert [len(ran.returned[name]) for name in ("search", "all", "none")] == [3, 5, 0]
    assert {hit["title"] for hit in ran.returned["all"]} == {"Quokka", *(f"Quokka {number}" for number in range(4))}
    assert [hit["id"] for hit in ran.returned["exact"]] == [exact]
    assert lead_id in {hit["id"] for hit in ran.returned["mapped", 0]}
    assert ran.returned["mapped", 1] == []
    assert sandbox.control.counters()["tokens"] == 6 * 20


@pytest.mark.parametrize("limit", [0, 501, -1, "many", 1.5, True, None, "9" * 5000])
def test_a_limit_is_a_number_of_one_page(client, limit):
    with pytest.raises(PipedriveValidationError, match="limit: "):
        search_capped(client, "quokka", limit=limit)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"term": "q"}, "term"),
        ({"term": None}, "term"),
        ({"term": "quokka", "exact_match": "perhaps"}, "exact_match"),
        ({"term": "quokka", "person_id": "None"}, "person_id"),
    ],
)
def test_a_search_that_makes_no_sense_is_not_sent(sandbox, client, parts, words):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=f"^{words}"):
        search_capped(client, **parts)
    assert sandbox.control.counters()["calls"] == 0


# Labels


def test_labels_are_made_once_by_all_ways_to_name_them(run_dag, client):
    with DAG("labels", schedule=None) as dag:
        first = PipedriveEnsureLeadLabelsOperator(
            task_id="first", labels=["Hot", {"name": "{{ 'Fresh' }}", "color": "{{ 'green' }}"}]
        )
        as_json = PipedriveEnsureLeadLabelsOperator(
            task_id="as_json", labels='{{ [{"name": "fresh", "color": "pink"}, "Newer"] | tojson }}'
        )
        recolour = PipedriveEnsureLeadLabelsOperator(
            task_id="recolour", labels=[{"name": "Newer", "color": "brown"}], update_colors="{{ true }}"
        )
        mapped = PipedriveEnsureLeadLabelsOperator.partial(task_id="mapped").expand(labels=[["Newer"], ["Newest"]])
        first >> as_json >> recolour >> mapped
    ran = run_dag(dag)
    assert ran.state == "success"
    found = {label["name"]: label for label in client.get_lead_labels()}
    assert ran.returned["first"] == {name: found[name]["id"] for name in ("Hot", "Fresh")}
    assert ran.returned["as_json"] == {"fresh": found["Fresh"]["id"], "Newer": found["Newer"]["id"]}
    assert ran.returned["mapped", 1] == {"Newest": found["Newest"]["id"]}
    assert (found["Hot"]["color"], found["Fresh"]["color"], found["Newer"]["color"]) == ("red", "green", "brown")
    assert len(client.get_lead_labels()) == len(found)


def test_clearing_the_task_makes_no_label_again(run_dag, clear_and_run, client):
    with DAG("labels_again", schedule=None) as dag:
        PipedriveEnsureLeadLabelsOperator(task_id="ensure", labels=["Again"])
    first = run_dag(dag, **DAY).returned
    before = client.get_lead_labels()
    assert clear_and_run(dag, DAY).returned == first
    assert client.get_lead_labels() == before


@pytest.mark.parametrize(("kind", "options"), [("close_after", {}), ("close_and_finish", {"after": 20})])
def test_a_doubtful_label_is_there_once(run_dag, sandbox, sandbox_time, client, kind, options):
    sandbox.control.fault("POST", LABELS, kind, **options)
    with DAG(f"label_{kind}", schedule=None) as dag:
        PipedriveEnsureLeadLabelsOperator(task_id="ensure", labels=[kind], settle="{{ 30 }}")
    ran = run_dag(dag)
    sandbox.control.advance(3600)  # nothing is under way any more
    (label_id,) = [label["id"] for label in client.get_lead_labels() if label["name"] == kind]
    assert ran.returned["ensure"] == {kind: label_id}


def test_bad_labels_fail_the_task_and_make_nothing(run_dag, sandbox):
    sandbox.control.reset_counters()
    with DAG("bad_labels", schedule=None) as dag:
        PipedriveEnsureLeadLabelsOperator(
            task_id="colors", labels=["Never", {"name": "Twice", "color": "red"}, {"name": "twice", "color": "blue"}]
        )
        PipedriveEnsureLeadLabelsOperator(task_id="text", labels="Never")
        PipedriveEnsureLeadLabelsOperator(task_id="settle", labels=["Never"], settle="soon")
        PipedriveEnsureLeadLabelsOperator(task_id="update", labels=["Never"], update_colors="perhaps")
    assert set(run_dag(dag).tasks.values()) == {"failed"}
    assert sandbox.control.counters()["calls"] == 0


# All of them


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_own_parameter_is_templated(operator):
    own = {name for name in inspect.signature(operator.__init__).parameters if name not in ("self", "kwargs")}
    assert own - {"on_daily_budget", "retry_policy"} == set(operator.template_fields)


TASKS = {
    "get": lambda **options: PipedriveGetLeadOperator(lead_id=UNKNOWN_LEAD, columns="keys", **options),
    "delete": lambda **options: PipedriveDeleteLeadOperator(lead_id=UNKNOWN_LEAD, **options),
    "search": lambda **options: PipedriveSearchLeadsOperator(term="no such lead", **options),
    "labels": lambda **options: PipedriveEnsureLeadLabelsOperator(labels=["Hot"], **options),
}


def test_constructors_look_nothing_up(sandbox, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT")
    sandbox.control.reset_counters()
    for name, make in TASKS.items():
        make(task_id=name)
    assert sandbox.control.counters()["calls"] == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "state"), [("get", "failed"), ("delete", "failed"), ("search", "success"), ("labels", "success")]
)
def test_each_waits_for_the_next_day_on_demand(run_dag, sandbox, monkeypatch, name, state):
    """A delete that only waited was not tried: a wrong id is still wrong."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        sandbox.control.set_budget(1_000_000)

    monkeypatch.setattr(daily_budget, "_sleep", sleep)
    sandbox.control.set_budget(0)
    with DAG(f"spent_{name}", schedule=None) as dag:
        TASKS[name](task_id=name, on_daily_budget="wait")
    assert run_dag(dag).tasks == {name: state}
    assert len(slept) == 1


@pytest.mark.parametrize("name", TASKS)
def test_an_unknown_choice_is_refused(name):
    task = TASKS[name](task_id=name, on_daily_budget="later")
    with pytest.raises(PipedriveConfigError, match="on_daily_budget"):
        task.execute.__wrapped__(task, {})
