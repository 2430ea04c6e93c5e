"""Sensors in real Airflow: poked, rescheduled, deferred, mapped, templated, late, refused."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider_pipedrive_leads.exceptions import (
    PipedriveAuthError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.waiting import allowance, polling
from airflow_provider_pipedrive_leads.operators import daily_budget
from airflow_provider_pipedrive_leads.sensors import waiting
from airflow_provider_pipedrive_leads.sensors.leads import (
    PipedriveLeadConversionSensor,
    PipedriveLeadSensor,
    PipedriveLeadsSensor,
)
from airflow_provider_pipedrive_leads.triggers import conversion as conversion_trigger
from airflow_provider_pipedrive_leads.triggers import leads as leads_trigger
from tests.operators.conftest import StandingClock

UNKNOWN = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
SENSORS = (PipedriveLeadSensor, PipedriveLeadsSensor, PipedriveLeadConversionSensor)
QUICK = {"deferrable": True, "poll_interval": 0.3}


@pytest.fixture(autouse=True)
def quick(connection, no_waiting, monkeypatch):
    """Let short intervals pass, and triggers fire at once."""
    monkeypatch.setattr(polling, "SHORTEST_INTERVAL", 0.1)
    monkeypatch.setattr(allowance, "LONGEST_INTERVAL", 0.4)
    monkeypatch.setattr(leads_trigger, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(conversion_trigger, "FIRST_WAIT", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """The clock of the sensors."""
    standing = StandingClock()
    for module in (waiting, daily_budget):
        monkeypatch.setattr(module, "datetime", standing)
    return standing


@pytest.fixture
def lead_id(client, person_id):
    return client.add_lead("Before", person_id=person_id)["id"]


def looked(sensor, context=()):
    """What one execution does: gives a result, or the deferral."""
    try:
        return sensor.execute.__wrapped__(sensor, dict(context))
    except TaskDeferred as deferred:
        return deferred


@pytest.mark.parametrize("mode", [pytest.param("poke", marks=pytest.mark.long), "deferred"])
def test_a_lead_is_waited_for(run_dag, while_waiting, client, lead_id, mode):
    how = QUICK if mode == "deferred" else {"poke_interval": 0.2}
    with DAG(f"waits_{mode}", schedule=None) as dag:
        PipedriveLeadSensor(task_id="wait", lead_id=lead_id, expected={"Company size": "{{ '11-50' }}"}, **how)
    while_waiting(client.update_lead, lead_id, **{"Company size": "11-50"})
    ran = run_dag(dag)
    assert (ran.tasks, ran.returned) == ({"wait": "success"}, {"wait": lead_id})


@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_leads_are_waited_for(run_dag, while_waiting, client, lead_id, person_id, mode):
    how = QUICK if mode == "deferred" else {"poke_interval": 0.2}
    with DAG(f"many_{mode}", schedule=None) as dag:
        PipedriveLeadsSensor(
            task_id="wait",
            min_count="{{ 2 }}",
            person_id=str(person_id),
            updated_since="2020-01-01",
            expected={"title": "Before"},
            **how,
        )
    while_waiting(client.add_lead, "Before", person_id=person_id)
    ran = run_dag(dag)
    assert ran.tasks == {"wait": "success"}
    assert sorted(ran.returned["wait"]) == sorted(lead["id"] for lead in client.get_leads(person_id=person_id))


@pytest.mark.parametrize("mode", ["poke", "deferred"])
def test_a_conversion_is_waited_for(run_dag, while_waiting, sandbox, client, lead_id, mode):
    how = QUICK if mode == "deferred" else {"poke_interval": 0.2}
    sandbox.control.freeze()
    conversion_id = client.convert_lead_to_deal(lead_id)
    with DAG(f"converts_{mode}", schedule=None) as dag:
        PipedriveLeadConversionSensor(task_id="wait", lead_id=lead_id, conversion_id=conversion_id, **how)
    while_waiting(sandbox.control.advance, 10)
    ran = run_dag(dag)
    (deal_id,) = [deal["id"] for deal in client.get_deals() if deal["source_lead_id"] == lead_id]
    assert (ran.tasks, ran.returned) == ({"wait": "success"}, {"wait": deal_id})


def test_mapped_and_deferred(run_dag, while_waiting, client, lead_id, person_id):
    other = client.add_lead("Other", person_id=person_id)["id"]
    with DAG("mapped_sensors", schedule=None) as dag:
        PipedriveLeadSensor.partial(task_id="wait", expected={"title": "After"}, **QUICK).expand(
            lead_id=[lead_id, other]
        )

    def change():
        client.update_lead(lead_id, title="After")
        client.update_lead(other, title="After")

    while_waiting(change)
    ran = run_dag(dag)
    assert ran.state == "success"
    assert ran.returned == {("wait", 0): lead_id, ("wait", 1): other}


class Rescheduled(NamedTuple):
    """A task instance that was rescheduled."""

    first: datetime | None = None

    def get_first_reschedule_date(self, context):
        return self.first


def test_rescheduled(client, lead_id):
    from airflow.sdk.exceptions import AirflowRescheduleException

    sensor = PipedriveLeadSensor(task_id="wait", lead_id=lead_id, expected={"title": "After"}, mode="reschedule")
    with pytest.raises(AirflowRescheduleException):
        sensor.execute.__wrapped__(sensor, {"ti": Rescheduled()})
    client.update_lead(lead_id, title="After")
    assert sensor.execute.__wrapped__(sensor, {"ti": Rescheduled()}) == lead_id


def test_what_is_there_already_needs_no_trigger(client, lead_id, person_id):
    sensor = PipedriveLeadSensor(task_id="wait", lead_id=lead_id.upper(), expected={"title": "Before"}, deferrable=True)
    assert looked(sensor) == lead_id
    sensor = PipedriveLeadsSensor(task_id="wait", person_id=person_id, deferrable=True)
    assert looked(sensor) == [lead_id]


@pytest.mark.long
@pytest.mark.parametrize("deferrable", [True, False])
def test_ends_are_told_apart(sandbox, client, person_id, lead_id, deferrable):
    converted, archived = (client.add_lead(title, person_id=person_id)["id"] for title in ("Converted", "Archived"))
    client.convert_lead_to_deal(converted)
    client.delete_lead(lead_id)
    client.update_lead(archived, is_archived=True)
    sandbox.control.advance(5)

    def sensor(which, expected):
        return PipedriveLeadSensor(task_id="wait", lead_id=which, expected=expected, deferrable=deferrable)

    assert looked(sensor(lead_id, "deleted")) == lead_id
    assert looked(sensor(converted, "converted")) == converted
    assert looked(sensor(archived, {"is_archived": True})) == archived
    assert not sensor(archived, "deleted").poke({})
    for which, expected in ((converted, "deleted"), (lead_id, "converted"), (converted, {"title": "Converted"})):
        with pytest.raises(PipedriveNotFoundError, match="lead_id"):
            looked(sensor(which, expected))


@pytest.mark.long
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (PipedriveLeadSensor, {"expected": {"Compny size": "x"}}, "Company size"),
        (PipedriveLeadSensor, {"expected": {"label_ids": "Hott"}}, "Hot"),
        (PipedriveLeadSensor, {"expected": {}}, "expected"),
        (PipedriveLeadSensor, {"expected": None}, "expected"),
        (PipedriveLeadSensor, {"expected": "archived"}, "expected"),
        (PipedriveLeadSensor, {"expected": "deleted", "lead_id": "17"}, "lead_id"),
        (PipedriveLeadSensor, {"expected": "deleted", "poll_interval": 0.05}, "poll_interval"),
        (PipedriveLeadSensor, {"expected": "deleted", "daily_share": 2}, "daily_share"),
        (PipedriveLeadSensor, {"expected": {"title": "x"}, "lead_id": UNKNOWN}, "never existed"),
        (PipedriveLeadsSensor, {"min_count": 0}, "min_count"),
        (PipedriveLeadsSensor, {"min_count": "many"}, "min_count"),
        (PipedriveLeadsSensor, {"owner_id": "me"}, "owner_id"),
        (PipedriveLeadsSensor, {"updated_since": "soon"}, "updated_since"),
        (PipedriveLeadsSensor, {"expected": {"Compny size": "x"}}, "Company size"),
        (PipedriveLeadsSensor, {"poll_interval": "0.05"}, "poll_interval"),
        (PipedriveLeadConversionSensor, {"conversion_id": "17"}, "conversion_id"),
        (PipedriveLeadConversionSensor, {"conversion_id": UNKNOWN}, "is not known"),
        (PipedriveLeadConversionSensor, {"conversion_id": UNKNOWN, "poll_interval": 0}, "poll_interval"),
    ],
)
def test_bad_input_is_refused_at_the_first_look(sandbox, lead_id, kind, values, words, deferrable):
    values = values if kind is PipedriveLeadsSensor else {"lead_id": lead_id, **values}
    with pytest.raises(PipedriveError, match=words) as refused:
        looked(kind(task_id="wait", deferrable=deferrable, **values))
    assert isinstance(refused.value, PipedriveValidationError | PipedriveNotFoundError) or "known" in words


@pytest.mark.parametrize("outcome", ["failed", "rejected"])
def test_a_conversion_that_ended_badly_is_an_error(sandbox, client, lead_id, outcome):
    sandbox.control.next_conversion(outcome)
    conversion_id = client.convert_lead_to_deal(lead_id)
    sandbox.control.advance(5)
    with pytest.raises(PipedriveError, match=outcome):
        looked(PipedriveLeadConversionSensor(task_id="wait", lead_id=lead_id, conversion_id=conversion_id))


def test_a_deferred_sensor_times_out_as_a_poking_one_does(lead_id, clock):
    sensor = PipedriveLeadSensor(
        task_id="wait", lead_id=lead_id, expected={"title": "x"}, deferrable=True, timeout=600, soft_fail=False
    )
    deferred = looked(sensor)
    assert deferred.timeout == timedelta(seconds=600)
    late = {"error": "Trigger timeout"}
    with pytest.raises(AirflowSensorTimeout):
        sensor.resume_execution("__fail__", late, {})
    sensor.soft_fail = True
    with pytest.raises(AirflowSkipException):
        sensor.resume_execution("__fail__", late, {})


def test_a_second_wait_ends_when_the_first_would_have(client, person_id, lead_id, clock):
    """Of two leads that the trigger saw, one is gone when the task looks again."""
    sensor = PipedriveLeadsSensor(task_id="wait", person_id=person_id, min_count=2, deferrable=True, timeout=600)
    first = looked(sensor)
    clock.advance(100)
    event = {"status": "success", "lead_ids": [lead_id, UNKNOWN]}
    with pytest.raises(TaskDeferred) as again:
        sensor.resume_execution(first.method_name, {"event": event, **first.kwargs}, {})
    assert again.value.timeout == timedelta(seconds=500)
    assert again.value.kwargs == first.kwargs


def test_errors_of_the_trigger_come_typed(lead_id):
    sensor = PipedriveLeadSensor(task_id="wait", lead_id=lead_id, expected={"title": "x"}, deferrable=True)
    event = {"status": "error", "error": "PipedriveAuthError", "message": "refused"}
    with pytest.raises(PipedriveAuthError, match="refused"):
        sensor.execute_complete({}, event, "")
    for odd in (None, {}, {"status": "success"}):
        with pytest.raises(PipedriveError, match="event"):
            sensor.execute_complete({}, odd, "")
    sensor.never_fail = True
    with pytest.raises(AirflowSkipException):
        sensor.execute_complete({}, event, "")


@pytest.mark.parametrize("choice", ["fail", "wait"])
def test_a_spent_day_at_the_first_look(sandbox, lead_id, choice):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000)
    sensor = PipedriveLeadSensor(
        task_id="wait", lead_id=lead_id, expected={"title": "x"}, deferrable=True, on_daily_budget=choice
    )
    if choice == "fail":
        with pytest.raises(PipedriveDailyBudgetError):
            looked(sensor)
    else:
        assert looked(sensor).method_name == "execute_next_day"


@pytest.mark.parametrize(
    "how",
    [{"deferrable": True}, {}, {"mode": "reschedule"}, {"deferrable": True, "mode": "reschedule"}],
    ids=["deferred", "poke", "reschedule", "deferred, reschedule"],
)
def test_a_spent_day_does_not_lengthen_the_wait(sandbox, lead_id, clock, how):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000, times=2)
    sensor = PipedriveLeadSensor(
        task_id="wait", lead_id=lead_id, expected={"title": "x"}, on_daily_budget="wait", timeout=600, **how
    )
    context = {"ti": Rescheduled()}
    first = looked(sensor, context)
    assert first.timeout == timedelta(seconds=600)
    clock.advance(100)
    with pytest.raises(TaskDeferred) as again:
        sensor.execute_next_day(context, {"status": "success"}, **first.kwargs)
    assert again.value.method_name == first.method_name == "execute_next_day"
    assert again.value.timeout == timedelta(seconds=500)


def test_a_spent_day_does_not_lengthen_the_wait_of_who_was_rescheduled(sandbox, lead_id, clock):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000)
    sensor = PipedriveLeadSensor(
        task_id="wait",
        lead_id=lead_id,
        expected={"title": "x"},
        on_daily_budget="wait",
        timeout=600,
        mode="reschedule",
    )
    began = clock.time - timedelta(seconds=200)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute.__wrapped__(sensor, {"ti": Rescheduled(began)})
    assert deferred.value.timeout == timedelta(seconds=400)


@pytest.mark.parametrize("how", [{"deferrable": True}, {}], ids=["deferred", "poke"])
def test_a_spent_day_is_waited_for_though_nothing_may_fail(sandbox, lead_id, how):
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leads*", "status", status=429, retry_after=4000)
    expected = {"expected": {"title": "x"}, "never_fail": True, "on_daily_budget": "wait"}
    assert (
        looked(PipedriveLeadSensor(task_id="wait", lead_id=lead_id, **expected, **how)).method_name
        == "execute_next_day"
    )


def test_a_poke_goes_on_from_the_one_before(sandbox, client, person_id):
    """Where archived leads are not found by id, a look through the newest of them is enough."""
    old = client.add_lead("Archived long ago", person_id=person_id)["id"]
    client.update_lead(old, is_archived=True)
    kept = {}

    class Store:
        def get(self, key, default=None):
            return kept.get(key, default)

        def set(self, key, value, retention):
            kept[key] = value

    context = {"task_state_store": Store()}
    sandbox.control.advance(600)
    for _ in range(2):
        sensor = PipedriveLeadSensor(task_id="wait", lead_id=old.upper(), expected={"title": "x"})
        sandbox.control.reset_counters()
        assert not sensor.poke(context)
        deals = [seen for seen in sandbox.control.requests() if seen["path"] == "/api/v2/deals"]
    (known,) = kept.values()
    assert known["changed"] == next(lead for lead in sandbox.control.all_leads() if lead["id"] == old)["update_time"]
    assert len(deals) <= 1


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_own_parameter_is_templated(sensor):
    own = {name for name in inspect.signature(sensor.__init__).parameters if name not in ("self", "kwargs")}
    assert own - {"on_daily_budget", "retry_policy", "deferrable", "poke_interval"} == set(sensor.template_fields)


def test_a_lead_sensor_without_an_expectation_is_refused_where_the_dag_is_read():
    with pytest.raises(TypeError, match="missing keyword argument 'expected'"):
        PipedriveLeadSensor(task_id="wait_for_what", lead_id=UNKNOWN)


def test_intervals_are_long_by_default():
    many = PipedriveLeadsSensor(task_id="wait")
    assert (many.poke_interval, many.poll_interval, many.daily_share) == (300, 300, 0.1)
    one = PipedriveLeadSensor(task_id="wait_for_one", lead_id=UNKNOWN, expected="converted")
    assert (one.poke_interval, one.poll_interval, one.daily_share) == (300, 300, 0.1)
