"""The conversion operators in DAG runs: waiting here and in the triggerer, cut, cleared, refused, on a spent day."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.operators.leads import PipedriveConvertDealOperator, PipedriveConvertLeadOperator
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY
from airflow_provider_pipedrive_leads.triggers import conversion, daily_budget

pytestmark = pytest.mark.usefixtures("connection", "no_waiting", "sleeps")
START = "/api/v2/leads/*/convert/deal"
STATUS = "/api/v2/leads/*/convert/status/*"
DAY = {"logical_date": datetime(2026, 1, 1, tzinfo=UTC), "run_after": datetime(2026, 1, 1, tzinfo=UTC)}
RETRIES = {"retries": 2, "retry_delay": timedelta(0)}
PATIENT = {"poll_interval": 5, "settle": 30}
LASTS = 7
"""Seconds that a conversion takes. No time passes but what is slept."""
LONG = pytest.mark.long
IN_WORKER, IN_TRIGGER = pytest.param(False, id="worker"), pytest.param(True, id="trigger")
IN_WORKER_LONG, IN_TRIGGER_LONG = (
    pytest.param(False, id="worker", marks=LONG),
    pytest.param(True, id="trigger", marks=LONG),
)


@pytest.fixture
def sleeps(sandbox, sandbox_time, monkeypatch):
    """The triggers' sleeps, in the sandbox's time like those of the operators."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        sandbox.control.advance(seconds)

    async def sleep_over_midnight(seconds):
        slept.append("night")

    monkeypatch.setattr(conversion, "_sleep", sleep)
    monkeypatch.setattr(conversion, "_now", lambda: datetime.fromisoformat(sandbox.control.now()))
    monkeypatch.setattr(daily_budget, "_sleep", sleep_over_midnight)
    return slept


@pytest.fixture
def new_lead(sandbox, client, person_id):
    """Give a function that creates a lead; conversions take a while."""
    sandbox.control.set_delay("conversion", LASTS)

    def new():
        lead_id = client.add_lead("To convert", person_id=person_id)["id"]
        sandbox.control.reset_counters()
        return lead_id

    return new


@pytest.fixture
def deals_of(client):
    return lambda lead_id: [deal["id"] for deal in client.get_deals() if deal["source_lead_id"] == lead_id]


def starts(sandbox):
    return len([seen for seen in sandbox.control.requests() if seen["path"].endswith("/convert/deal")])


def converting(lead_id, **options):
    with DAG("convert", schedule=None, default_args=RETRIES) as dag:
        PipedriveConvertLeadOperator(task_id="convert", lead_id=lead_id, **{**PATIENT, **options})
    return dag


@pytest.mark.parametrize("deferrable", [IN_WORKER, IN_TRIGGER])
def test_there_and_back(run_dag, sandbox, client, new_lead, deals_of, deferrable, sleeps):
    lead_id = new_lead()
    with DAG("there_and_back", schedule=None, params={"lead": lead_id, "stage": 7}) as dag:
        there = PipedriveConvertLeadOperator(
            task_id="there",
            lead_id="{{ params.lead }}",
            stage_id="{{ params.stage }}",
            deferrable=deferrable,
            poll_interval="{{ 5 }}",
        )
        PipedriveConvertDealOperator(task_id="back", deal_id=there.output, deferrable=deferrable, poll_interval=5)
    ran = run_dag(dag)
    assert ran.state == "success"
    deal_id = ran.returned["there"]
    assert isinstance(deal_id, int)
    assert client.get_lead(ran.returned["back"])["source_deal_id"] == deal_id
    assert client.request("GET", f"/api/v2/deals/{deal_id}")["data"]["stage_id"] == 7
    assert sleeps == [conversion.FIRST_WAIT] * (2 * deferrable)


@pytest.mark.parametrize("deferrable", [IN_WORKER_LONG, IN_TRIGGER])
def test_mapped(run_dag, sandbox, new_lead, deals_of, deferrable):
    lead_ids = [new_lead() for _ in range(2)]
    with DAG("mapped_convert", schedule=None) as dag:
        there = PipedriveConvertLeadOperator.partial(task_id="there", deferrable=deferrable, **PATIENT).expand(
            lead_id=lead_ids
        )
        PipedriveConvertDealOperator.partial(task_id="back", deferrable=deferrable, **PATIENT).expand(
            deal_id=there.output
        )
    ran = run_dag(dag)
    assert ran.state == "success"
    back = [ran.returned["back", number] for number in range(2)]
    sources = {lead["id"]: lead["source_deal_id"] for lead in sandbox.control.all_leads()}
    assert [sources[lead_id] for lead_id in back] == [ran.returned["there", number] for number in range(2)]


@pytest.mark.parametrize(
    "kind", ["close_after", pytest.param("close_before", marks=LONG), pytest.param("close_and_finish", marks=LONG)]
)
def test_a_start_without_an_answer_makes_one_deal(run_dag, sandbox, new_lead, deals_of, kind):
    lead_id = new_lead()
    sandbox.control.fault("POST", START, kind, after=10)
    ran = run_dag(converting(lead_id))
    sandbox.control.advance(3600)  # nothing is under way any more
    assert deals_of(lead_id) == [ran.returned["convert"]]
    assert starts(sandbox) == (2 if kind == "close_before" else 1)


@pytest.mark.parametrize(
    ("arrived", "deferrable"),
    [
        pytest.param(True, True, id="arrived-trigger"),
        pytest.param(True, False, id="arrived-worker", marks=LONG),
        pytest.param(False, True, id="not-sent-trigger", marks=LONG),
        pytest.param(False, False, id="not-sent-worker", marks=LONG),
    ],
)
def test_a_cut_start_is_settled_when_the_task_is_cleared(
    run_dag, clear_and_run, sandbox, new_lead, deals_of, monkeypatch, arrived, deferrable
):
    lead_id = new_lead()
    dag = converting(lead_id, deferrable=deferrable, retries=0)
    send = PipedriveLeadsHook.send

    def cut(hook, call):
        if call.method == "POST":
            if arrived:
                send(hook, call)
            raise RuntimeError("cut")
        return send(hook, call)

    with monkeypatch.context() as patched:
        patched.setattr(PipedriveLeadsHook, "send", cut)
        assert run_dag(dag, **DAY).tasks == {"convert": "failed"}
    ran = clear_and_run(dag, DAY)
    assert (starts(sandbox), ran.tasks) == (1, {"convert": "success"})
    assert deals_of(lead_id) == [ran.returned["convert"]]


@pytest.mark.parametrize("deferrable", [IN_WORKER_LONG, IN_TRIGGER])
def test_a_cut_wait_is_taken_up_when_the_task_is_cleared(
    run_dag, clear_and_run, sandbox, new_lead, deals_of, deferrable
):
    lead_id = new_lead()
    dag = converting(lead_id, deferrable=deferrable)
    sandbox.control.fault("GET", STATUS, "status", status=401)
    assert run_dag(dag, **DAY).tasks == {"convert": "failed"}
    ran = clear_and_run(dag, DAY)
    assert starts(sandbox) == 1
    assert deals_of(lead_id) == [ran.returned["convert"]]


def test_an_error_in_the_trigger_is_raised_by_the_task(run_dag, sandbox, new_lead, sleeps, monkeypatch):
    async def sleep(seconds):
        sleeps.append(seconds)
        sandbox.control.fault("GET", STATUS, "status", status=401)

    monkeypatch.setattr(conversion, "_sleep", sleep)
    lead_id = new_lead()
    ran = run_dag(converting(lead_id, deferrable=True))
    assert (ran.tasks, sleeps, starts(sandbox)) == ({"convert": "failed"}, [conversion.FIRST_WAIT], 1)


@pytest.mark.parametrize(
    ("outcome", "deferrable"),
    [
        pytest.param("rejected", True, id="rejected-trigger"),
        pytest.param("failed", False, id="failed-worker"),
        pytest.param("rejected", False, id="rejected-worker", marks=LONG),
        pytest.param("failed", True, id="failed-trigger", marks=LONG),
    ],
)
def test_a_conversion_that_pipedrive_ended_fails_at_once_and_can_be_cleared(
    run_dag, clear_and_run, sandbox, new_lead, deals_of, outcome, deferrable
):
    lead_id = new_lead()
    sandbox.control.next_conversion(outcome)
    dag = converting(lead_id, deferrable=deferrable)
    assert run_dag(dag, **DAY).tasks == {"convert": "failed"}
    assert (starts(sandbox), deals_of(lead_id)) == (1, [])
    ran = clear_and_run(dag, DAY)
    assert starts(sandbox) == 2
    assert deals_of(lead_id) == [ran.returned["convert"]]


@pytest.mark.parametrize("deferrable", [IN_WORKER_LONG, IN_TRIGGER])
def test_a_late_conversion_fails_at_once(run_dag, sandbox, new_lead, deferrable):
    lead_id = new_lead()
    sandbox.control.set_delay("conversion", 3600)
    ran = run_dag(converting(lead_id, deferrable=deferrable, conversion_timeout=30))
    assert (ran.tasks, starts(sandbox)) == ({"convert": "failed"}, 1)


@LONG
def test_a_conversion_forgotten_while_the_trigger_waits_is_settled(
    run_dag, sandbox, new_lead, deals_of, monkeypatch, sleeps
):
    async def sleep(seconds):
        sleeps.append(seconds)
        sandbox.control.advance(5 * 86_400)

    monkeypatch.setattr(conversion, "_sleep", sleep)
    sandbox.control.set_delay("conversion", 3600)
    lead_id = new_lead()
    ran = run_dag(converting(lead_id, deferrable=True))
    assert (ran.tasks, starts(sandbox), len(sleeps)) == ({"convert": "success"}, 1, 1)
    assert deals_of(lead_id) == [ran.returned["convert"]]


SPENT = {"status": 429, "retry_after": 4000}
PHASES = {"start": ("POST", START), "status": ("GET", STATUS), "look": ("GET", "/api/v2/deals")}


@pytest.mark.parametrize(
    ("phase", "deferrable"),
    [
        pytest.param("start", True, id="start-trigger"),
        pytest.param("look", False, id="look-worker"),
        pytest.param("status", False, id="status-worker", marks=LONG),
        pytest.param("start", False, id="start-worker", marks=LONG),
        pytest.param("look", True, id="look-trigger", marks=LONG),
        pytest.param("status", True, id="status-trigger", marks=LONG),
    ],
)
def test_a_spent_day_is_waited_out(run_dag, sandbox, new_lead, deals_of, phase, deferrable, sleeps):
    lead_id = new_lead()
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault(*PHASES[phase], "status", **SPENT)
    if phase == "look":
        sandbox.control.fault("POST", START, "close_after")
    ran = run_dag(converting(lead_id, deferrable=deferrable, on_daily_budget="wait"))
    assert (ran.tasks, sleeps.count("night")) == ({"convert": "success"}, 1)
    assert deals_of(lead_id) == [ran.returned["convert"]]
    assert starts(sandbox) == (2 if phase == "start" else 1)


@pytest.mark.parametrize(("choice", "state"), [("wait", "success"), pytest.param("fail", "failed", marks=LONG)])
def test_a_day_that_is_spent_while_the_trigger_waits(run_dag, sandbox, new_lead, sleeps, monkeypatch, choice, state):
    async def sleep(seconds):
        sleeps.append(seconds)
        sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
        sandbox.control.fault("GET", STATUS, "status", **SPENT)
        sandbox.control.advance(seconds)

    monkeypatch.setattr(conversion, "_sleep", sleep)
    lead_id = new_lead()
    ran = run_dag(converting(lead_id, deferrable=True, on_daily_budget=choice))
    assert (ran.tasks, starts(sandbox)) == ({"convert": state}, 1)
    assert sleeps == [conversion.FIRST_WAIT, "night"][: 1 + (choice == "wait")]


@pytest.mark.parametrize("name", ["poll_interval", "conversion_timeout", "settle"])
@pytest.mark.parametrize("value", ["soon", -1])
def test_bad_seconds_are_refused_before_anything_is_sent(sandbox, new_lead, name, value):
    task = PipedriveConvertLeadOperator(task_id="convert", lead_id=new_lead(), **{name: value})
    with pytest.raises(PipedriveValidationError, match=name):
        task.execute.__wrapped__(task, {"task_state_store": {}})
    assert starts(sandbox) == 0


@pytest.mark.parametrize(
    ("operator", "needed"),
    [(PipedriveConvertLeadOperator, {"lead_id": "x"}), (PipedriveConvertDealOperator, {"deal_id": "x"})],
)
def test_parameters(sandbox, monkeypatch, operator, needed):
    monkeypatch.delenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT")
    sandbox.control.reset_counters()
    task = operator(task_id="convert", **needed)
    own = {name for name in inspect.signature(operator.__init__).parameters if name not in ("self", "kwargs")}
    assert own - {"deferrable", "on_daily_budget", "retry_policy"} == set(operator.template_fields)
    assert (task.deferrable, task.conversion_timeout, task.poll_interval, task.settle) == (False, 600, 5, None)
    assert task.retry_policy is PIPEDRIVE_RETRY_POLICY
    assert sandbox.control.counters()["calls"] == 0
