"""What tasks tell the trigger that waits for the next day: when that is, if the server said, and what they need."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider_pipedrive_leads.api.endpoints import ADD_LEAD, GET_LEADS
from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import Window, deliver
from airflow_provider_pipedrive_leads.leads.reading.pages import AS_GIVEN
from airflow_provider_pipedrive_leads.operators.daily_budget import daily_budget
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveExportLeadsOperator,
    PipedriveGetLeadOperator,
    PipedriveLoadLeadsOperator,
)

pytestmark = pytest.mark.usefixtures("connection", "no_waiting", "noon")
NOON = "2026-03-01T12:00:00Z"
MIDNIGHT = {"UTC": 12 * 3600, "America/Los_Angeles": 20 * 3600}
ROWS = 40


@pytest.fixture
def noon(sandbox):
    sandbox.control.freeze(NOON)


class FirstTry:
    """What Airflow gives a task of itself."""

    dag_id, run_id, task_id, map_index, try_number = "needs", "today", "load", -1, 1

    def xcom_push(self, **_):
        pass


CONTEXT = {"ti": FirstTry()}


def left_behind(operator):
    """The trigger for which an operator leaves its worker."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(CONTEXT)
    assert deferred.value.method_name == "execute_next_day"
    return deferred.value.trigger


def test_the_moment_that_the_server_told_is_passed_on(sandbox):
    sandbox.control.set_budget(0)
    lead_id = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
    trigger = left_behind(PipedriveGetLeadOperator(task_id="get", lead_id=lead_id, on_daily_budget="wait"))
    choices = sandbox.control.choices()
    if choices["retry_after"] == "absent":
        assert trigger.resets_at is None
    else:
        told = datetime.fromisoformat(trigger.resets_at) - datetime.fromisoformat(NOON)
        assert told == timedelta(seconds=MIDNIGHT[choices["day_zone"]])
    assert trigger.needed is None


def test_an_export_needs_at_least_what_it_had_spent(sandbox, tmp_path):
    sandbox.control.set_budget(45)
    trigger = left_behind(
        PipedriveExportLeadsOperator(task_id="export", path=f"{tmp_path}/x.csv", on_daily_budget="wait")
    )
    assert 30 <= trigger.needed <= 45


@pytest.mark.parametrize(("expected", "needed"), [(10_001, 21 * GET_LEADS.cost), (None, None)])
def test_an_export_of_known_size_needs_its_pages(sandbox, client, expected, needed):
    sandbox.control.set_budget(0)
    with pytest.raises(PipedriveDailyBudgetError) as raised:
        deliver(client, Selection(), AS_GIVEN, lambda _: None, Window(expected=expected))
    assert raised.value.needed == needed


def test_what_changed_since_the_last_export_is_less_than_all(sandbox, client):
    sandbox.control.set_budget(0)
    window = Window(changed_since="2026-02-28T00:00:00Z", expected=10_000)
    with pytest.raises(PipedriveDailyBudgetError) as raised:
        deliver(client, Selection(), AS_GIVEN, lambda _: None, window)
    assert raised.value.needed is None


def loading(person_id, **options):
    rows = [{"origin_id": f"need-{number}", "title": "New", "person_id": person_id} for number in range(ROWS)]
    return PipedriveLoadLeadsOperator(
        task_id="load", rows=rows, key="origin_id", key_prefix="need-", on_daily_budget="wait", **options
    )


def test_a_load_that_sees_beforehand_that_the_day_is_too_short_needs_its_plan(sandbox, person_id):
    sandbox.control.set_choice("rate_headers", "present")
    sandbox.control.set_budget(300)
    trigger = left_behind(loading(person_id))
    read = 300 - sandbox.control.overview()["budget"]["remaining"]
    assert 0 < read < 300
    assert trigger.needed == read + ROWS * ADD_LEAD.cost


def test_a_load_that_is_cut_short_needs_the_rest_and_reading_again(sandbox, person_id):
    """After a night it writes as far as the day goes."""
    sandbox.control.set_budget(300)
    operator = loading(person_id)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_next_day(CONTEXT, {"status": "success"})
    written = sum(str(lead["origin_id"]).startswith("need-") for lead in sandbox.control.all_leads())
    read = 300 - written * ADD_LEAD.cost - sandbox.control.overview()["budget"]["remaining"]
    assert 0 < written < ROWS
    assert deferred.value.trigger.needed == read + (ROWS - written) * ADD_LEAD.cost


def test_a_task_that_knows_nothing_says_nothing():
    class Task:
        pipedrive_conn_id = "pipedrive_default"
        on_daily_budget = "wait"

        def defer(self, *, trigger, **_):
            self.trigger = trigger

    task = Task()
    with daily_budget(task):
        raise PipedriveDailyBudgetError("spent")
    assert (task.trigger.resets_at, task.trigger.needed) == (None, None)
