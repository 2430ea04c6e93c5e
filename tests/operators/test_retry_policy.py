"""What Airflow does with a failed task: by the policy in the operators' signatures, and without it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG, RetryDecision, RetryPolicy
from airflow.sdk.definitions.retry_policy import RetryAction

from airflow_provider_pipedrive_leads.exceptions import (
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.retry_policy import PIPEDRIVE_RETRY_POLICY, PipedriveRetryPolicy
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
TWO_MORE_TRIES = {"retries": 2, "retry_delay": timedelta(0)}


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (PipedriveRateLimitError("slow down", retry_after=60), RetryAction.RETRY),
        (PipedriveRateLimitError("banned", retry_after=300, banned=True), RetryAction.RETRY),
        (PipedriveAuthError("401"), RetryAction.FAIL),
        (PipedriveNotFoundError("404"), RetryAction.FAIL),
        (PipedriveValidationError("400"), RetryAction.FAIL),
        (PipedriveConfigError("no token"), RetryAction.FAIL),
        (PipedriveDailyBudgetError("spent"), RetryAction.FAIL),
        (PipedriveError("redirected"), RetryAction.FAIL),
        (PipedriveConnectionError("refused", method="POST"), RetryAction.DEFAULT),
        (PipedriveConnectionError("reset", method="POST", in_doubt=True), RetryAction.FAIL),
        (PipedriveServerError("503", method="GET", in_doubt=True), RetryAction.DEFAULT),
        (OSError("disk full"), RetryAction.DEFAULT),
    ],
)
def test_decisions(error, action):
    decision = PipedriveRetryPolicy().evaluate(error, 1, 3)
    assert decision.action is action
    if action is RetryAction.RETRY:
        assert error.retry_after <= decision.retry_delay.total_seconds() <= 2 * error.retry_after


def test_it_survives_serialization():
    policy = PipedriveRetryPolicy.deserialize(PIPEDRIVE_RETRY_POLICY.serialize())
    assert policy.evaluate(PipedriveAuthError("401"), 1, 3).action is RetryAction.FAIL


@pytest.mark.parametrize(
    "operator",
    [PipedriveCreateLeadOperator, PipedriveUpdateLeadOperator, PipedriveExportLeadsOperator, PipedriveLeadSensor],
)
def test_it_is_the_default_in_every_signature(operator):
    needed = {"title": "x"} if operator is PipedriveCreateLeadOperator else {"lead_id": "x"}
    needed = {"path": "x"} if operator is PipedriveExportLeadsOperator else needed
    needed |= {"expected": "converted"} if operator is PipedriveLeadSensor else {}
    assert operator(task_id="plain", **needed).retry_policy is PIPEDRIVE_RETRY_POLICY
    assert operator(task_id="off", retry_policy=None, **needed).retry_policy is None
    assert operator.partial(task_id="mapped").expand_kwargs([needed]).retry_policy is PIPEDRIVE_RETRY_POLICY


def tries_of(sandbox):
    return len([seen for seen in sandbox.control.requests() if seen["path"] == f"/v1/leads/{UNKNOWN_LEAD}"])


class NeverPolicy(RetryPolicy):
    """Another team's own rule."""

    def evaluate(self, exception, try_number, max_tries, context=None):
        return RetryDecision.default()

    def serialize(self):
        return {}


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("mapped", [False, pytest.param(True, marks=pytest.mark.long)], ids=["plain", "mapped"])
@pytest.mark.parametrize(
    ("own", "default_args", "tries"),
    [
        ({}, {}, 1),
        ({}, {"owner": "sales"}, 1),
        ({}, {"retry_policy": NeverPolicy()}, 3),
        ({"retry_policy": None}, {}, 3),
        ({"retry_policy": PIPEDRIVE_RETRY_POLICY}, {"retry_policy": NeverPolicy()}, 1),
    ],
    ids=["default", "other-default-args", "default-args", "off", "own-beats-default-args"],
)
def test_an_unknown_lead_is_not_tried_again(run_dag, sandbox, mapped, own, default_args, tries):
    sandbox.control.reset_counters()
    with DAG("policy", schedule=None, default_args={**TWO_MORE_TRIES, **default_args}) as dag:
        if mapped:
            operator = PipedriveUpdateLeadOperator.partial(task_id="update", fields={"title": "x"}, **own)
            operator.expand(lead_id=[UNKNOWN_LEAD])
        else:
            PipedriveUpdateLeadOperator(task_id="update", lead_id=UNKNOWN_LEAD, fields={"title": "x"}, **own)
    assert set(run_dag(dag).tasks.values()) == {"failed"}
    assert tries_of(sandbox) == tries


@pytest.mark.usefixtures("connection")
def test_without_retries_the_hook_alone_comes_through_a_burst(run_dag, sandbox, client, person_id):
    sandbox.control.fault("POST", "/v1/leads", "status", status=429)
    with DAG("burst", schedule=None) as dag:
        PipedriveCreateLeadOperator(task_id="create", title="Patient", person_id=person_id, retries=0)
    assert run_dag(dag).tasks["create"] == "success"
    assert len(list(client.get_leads(person_id=person_id))) == 1
