"""The example of a load that a person approves first, run for real and answered as Airflow's API answers."""

from __future__ import annotations

import csv
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.leads.loading.loads import keyed, writes
from tests.until import until

PREFIX = "crm-"
WHO = {"id": "1", "name": "Robin"}

pytestmark = [
    pytest.mark.parametrize("sandbox", ["likely"], indirect=True),
    pytest.mark.usefixtures("connection", "no_waiting", "quiet_logs"),
]


@pytest.fixture
def path(sandbox, client, tmp_path):
    """A file with a new lead, one that differs, one that is there already, and one without a contact."""
    person = client.add_person("Robin Example")["id"]
    for key, title in (("old", "Old title"), ("same", "Same as in the file")):
        client.add_lead(title, person_id=person, origin_id=PREFIX + key)
    rows = [
        ("new", "New lead from a file", person),
        ("old", "Renamed by a file", person),
        ("same", "Same as in the file", person),
        ("bad", "No contact", ""),
    ]
    found = tmp_path / "scores.csv"
    with found.open("w", newline="") as file:
        csv.writer(file).writerows([("origin_id", "title", "person_id"), *rows])
    sandbox.control.reset_counters()
    return found


@pytest.fixture
def answered(run_dag, example, path):
    """Give a function that runs the DAG, answers its question, and tells what was asked and what came of it."""

    def run(answer):
        over = threading.Event()
        with ThreadPoolExecutor(1) as people:
            asked = people.submit(answer_question, answer, over)
            try:
                ran = run_dag(example, run_conf={"path": str(path)})
            finally:
                over.set()
        return asked.result(), ran

    return run


def answer_question(answer, over=None):
    """Answer the one question that is open, as Airflow's API does, and give its subject and body.

    :param over: an event that tells that nothing will be asked any more.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with waiting_for_answers() as waiting:
        until(lambda: waiting.is_set() or (over is not None and over.is_set()))
    assert waiting.is_set(), "nothing was asked"
    with create_session() as session:
        (question,) = session.scalars(select(HITLDetail).where(HITLDetail.responded_at.is_(None)))
        question.responded_by, question.responded_at = WHO, question.created_at
        question.chosen_options = [answer]
        event = TriggerEvent(question.as_resume_event_payload())
        handle_event_submit(event, task_instance=question.task_instance, session=session)
        return question.subject, question.body


@contextmanager
def waiting_for_answers():
    """Give the event that a run has nothing more to do until somebody answers.

    An answer before that is lost: Airflow is then still writing down that the task waits.
    """
    waiting = threading.Event()

    class Watch(logging.Handler):
        def emit(self, record):
            if "Waiting for Human-in-the-loop input" in record.msg:
                waiting.set()

    told, watch = logging.getLogger("airflow.sdk.definitions.dag"), Watch()
    told.addHandler(watch)
    try:
        yield waiting
    finally:
        told.removeHandler(watch)


def test_what_is_approved_is_loaded_and_the_question_tells_what_it_is(answered, sandbox, path):
    (subject, body), ran = answered("Approve")
    assert subject == f"Load {path} into Pipedrive?"
    assert "Of 4 rows, 1 become new leads and 1 change a lead; 1\nare there already." in body
    assert "0 are in conflict and 1 cannot be loaded" in body
    plan = ran.returned["dry_run"]
    assert plan["cost"] > 0
    assert f"costs {plan['cost']} API tokens" in body
    assert plan["results"][0] in body
    assert ran.tasks == {"dry_run": "success", "approve": "success", "load": "success"}
    facts = ran.returned["load"]
    assert [facts[name] for name in ("created", "updated", "unchanged", "failed")] == [1, 1, 1, 1]
    assert {key: lead["title"] for key, lead in keyed(sandbox, PREFIX).items()} == {
        "crm-new": "New lead from a file",
        "crm-old": "Renamed by a file",
        "crm-same": "Same as in the file",
    }
    assert [method for method, _ in writes(sandbox)] == ["PATCH", "POST"]


def test_what_is_rejected_is_not_loaded(answered, sandbox):
    _, ran = answered("Reject")
    assert ran.state == "success"
    assert ran.tasks == {"dry_run": "success", "approve": "success", "load": "skipped"}
    assert writes(sandbox) == []
    assert {key: lead["title"] for key, lead in keyed(sandbox, PREFIX).items()} == {
        "crm-old": "Old title",
        "crm-same": "Same as in the file",
    }
