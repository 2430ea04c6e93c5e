"""DAGs that load a table, the days on which they run, and looks into the table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset

from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def on(number):
    """The run of a day."""
    day = FIRST_DAY + timedelta(days=number)
    return {"logical_date": day, "run_after": day}


def loading(dag_id, database, kind=PipedriveLeadsToSqlOperator, **options):
    """A DAG that loads the table ``leads``."""
    options = {"conn_id": conn_id(database), "table": "leads", "outlets": [Asset(f"table_of_{dag_id}")], **options}
    with DAG(dag_id, schedule=None) as dag:
        kind(task_id="load", **options)
    return dag


def conn_id(database):
    """The connection that the fixture of a database makes."""
    return f"leads_{database.name}"


def rows_of(database, *columns):
    """The rows of the table by id; one of each id."""
    found = database.fetch(f"SELECT {', '.join(map(database.quoted, ('id', *columns)))} FROM leads")
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: row[1] if len(columns) == 1 else row[1:] for row in found}


def marked(database):
    """The ids of the rows whose lead is gone."""
    return {lead for lead, deleted in rows_of(database, "is_deleted").items() if deleted}


def in_table(database):
    """The leads in the table: title and whether archived."""
    found = rows_of(database, "title", "is_archived")
    return {lead: (title, bool(archived)) for lead, (title, archived) in found.items()}


def in_account(sandbox):
    """The leads in the account in the same form, asked past the API."""
    return {lead["id"]: (lead["title"], lead["is_archived"]) for lead in sandbox.control.all_leads()}


def active_lead(sandbox):
    """The id of some active lead."""
    return next(lead["id"] for lead in sandbox.control.all_leads() if not lead["is_archived"])
