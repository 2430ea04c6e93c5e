"""A query's rows into leads, in DAG runs."""

from __future__ import annotations

import uuid

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.transfers.sql_to_leads import PipedriveSqlToLeadsOperator
from tests.leads.loading.loads import keyed, writes
from tests.transfers.loads import conn_id

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")


@pytest.fixture(autouse=True)
def calm(sandbox):
    sandbox.control.set_burst(100_000, 100_000)


@pytest.fixture
def database(request, sandbox):
    """One database under each profile: what nobody knows of Pipedrive has nothing to do with databases."""
    likely = sandbox.control.choices()["archiving_update_time"] == "moves"
    return request.getfixturevalue("postgres" if likely else "sqlite")


def test_a_query_is_loaded_once(run_dag, sandbox, person_id, database):
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    database.hook.run(
        "CREATE TABLE wanted (nr INTEGER, name VARCHAR(40), price NUMERIC(10, 2), due DATE, open INTEGER)"
    )
    database.hook.run("INSERT INTO wanted VALUES (1, 'One', 12.50, '2026-03-01', 1), (2, 'Two', NULL, NULL, 1)")
    database.hook.run("INSERT INTO wanted VALUES (3, 'Three', 3, NULL, 0)")
    price = "price, CASE WHEN price IS NULL THEN NULL ELSE 'EUR' END AS currency"
    sql = (
        f"SELECT nr, name, {price}, due, {person_id} AS person"
        f" FROM wanted WHERE open = {'%s' if database.name == 'postgres' else '?'}"
    )
    fields = {"origin_id": "nr", "title": "name", "value_amount": "price", "value_currency": "currency"}
    with DAG("query", schedule=None) as dag:
        first = PipedriveSqlToLeadsOperator(
            task_id="first",
            conn_id=conn_id(database),
            sql=sql,
            parameters=[1],
            key="origin_id",
            key_prefix=prefix,
            fields={**fields, "expected_close_date": "due", "person_id": "person"},
        )
        second = PipedriveSqlToLeadsOperator(
            task_id="second",
            conn_id=conn_id(database),
            sql=sql,
            parameters=[1],
            key="origin_id",
            key_prefix=prefix,
            fields={**fields, "expected_close_date": "due", "person_id": "person"},
        )
        first >> second
    sandbox.control.reset_counters()
    ran = run_dag(dag)
    assert (ran.returned["first"]["created"], ran.returned["second"]["unchanged"]) == (2, 2)
    assert len(writes(sandbox)) == 2
    leads = keyed(sandbox, prefix)
    one = leads[f"{prefix}1"]
    assert (one["title"], one["value"], one["expected_close_date"]) == (
        "One",
        {"amount": 12.5, "currency": "EUR"},
        "2026-03-01",
    )
    assert leads[f"{prefix}2"]["value"] is None


def test_a_query_that_cannot_run_fails(run_dag, database):
    with DAG("no_query", schedule=None) as dag:
        PipedriveSqlToLeadsOperator(
            task_id="load", conn_id=conn_id(database), sql="SELECT nothing FROM nowhere", key="origin_id"
        )
    assert run_dag(dag).tasks["load"] == "failed"
