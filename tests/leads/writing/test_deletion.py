"""Deleting one lead, and not taking a wrong id for a deleted lead."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveNotFoundError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.writing.deletion import delete_once

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
ALL_TRIES = 6


class Memory(dict):
    """What Airflow keeps for the tries of a task."""

    def set(self, key, value):
        self[key] = value


@pytest.fixture(autouse=True)
def unhurried(sandbox, no_waiting):
    """No test waits for a burst window."""
    sandbox.control.set_burst(1_000_000)


@pytest.fixture
def lead_id(client, person_id):
    return client.add_lead("To be deleted", person_id=person_id)["id"]


def is_gone(sandbox, lead_id):
    sandbox.control.advance(60)
    return lead_id not in {lead["id"] for lead in sandbox.control.all_leads()}


@pytest.mark.parametrize("archived", [False, True])
def test_a_lead_is_deleted_and_a_later_try_is_content(sandbox, client, lead_id, archived):
    memory = Memory()
    if archived:
        client.update_lead(lead_id, is_archived=True)
    assert delete_once(client, f" {lead_id.upper()}", memory) == lead_id
    assert is_gone(sandbox, lead_id)
    assert delete_once(client, lead_id, memory) == lead_id


@pytest.mark.parametrize(
    ("kind", "options"), [("close_after", {}), ("close_and_finish", {"after": 20.0}), ("cut_body", {})]
)
def test_a_later_try_is_content_with_what_an_earlier_one_did(sandbox, client, lead_id, kind, options):
    memory = Memory()
    sandbox.control.fault("DELETE", f"/v1/leads/{lead_id}", kind, times=ALL_TRIES, **options)
    with pytest.raises((PipedriveConnectionError, PipedriveServerError)):
        delete_once(client, lead_id, memory)
    assert is_gone(sandbox, lead_id)
    assert delete_once(client, lead_id, memory) == lead_id


def test_within_one_try_a_repeat_is_content_too(sandbox, client, lead_id):
    sandbox.control.fault("DELETE", f"/v1/leads/{lead_id}", "close_after")
    assert delete_once(client, lead_id, Memory()) == lead_id
    assert is_gone(sandbox, lead_id)


@pytest.mark.parametrize("deleted_by_others", [False, True])
def test_what_was_not_there_at_the_first_try_never_looks_deleted(client, lead_id, deleted_by_others):
    memory = Memory()
    wrong = lead_id if deleted_by_others else UNKNOWN_LEAD
    if deleted_by_others:
        client.delete_lead(lead_id)
    for _ in range(3):
        with pytest.raises(PipedriveNotFoundError, match=wrong):
            delete_once(client, wrong, memory)
    assert delete_once(client, wrong, memory, ignore_missing=True) == wrong


@pytest.mark.parametrize(("status", "error"), [(401, PipedriveAuthError), (403, PipedriveAuthError)])
def test_a_refused_try_is_no_reason_to_be_content_later(sandbox, client, status, error):
    memory = Memory()
    sandbox.control.fault("DELETE", f"/v1/leads/{UNKNOWN_LEAD}", "status", status=status)
    with pytest.raises(error):
        delete_once(client, UNKNOWN_LEAD, memory)
    with pytest.raises(PipedriveNotFoundError):
        delete_once(client, UNKNOWN_LEAD, memory)


def test_a_refused_try_does_not_undo_an_earlier_doubt(sandbox, client, lead_id):
    memory = Memory()
    path = f"/v1/leads/{lead_id}"
    sandbox.control.fault("DELETE", path, "close_after", times=ALL_TRIES)
    with pytest.raises(PipedriveConnectionError):
        delete_once(client, lead_id, memory)
    sandbox.control.fault("DELETE", path, "status", status=403)
    with pytest.raises(PipedriveAuthError):
        delete_once(client, lead_id, memory)
    assert delete_once(client, lead_id, memory) == lead_id


def test_a_spent_day_is_no_reason_to_be_content_later(sandbox, client):
    """With on_daily_budget="wait" the task goes on in the same try."""
    memory = Memory()
    sandbox.control.freeze("2026-03-04T18:00:00Z")  # no day ends meanwhile
    sandbox.control.set_budget(0)
    with pytest.raises(PipedriveDailyBudgetError):
        delete_once(client, UNKNOWN_LEAD, memory)
    sandbox.control.set_budget(1_000_000)
    with pytest.raises(PipedriveNotFoundError):
        delete_once(client, UNKNOWN_LEAD, memory)


def test_another_lead_of_the_same_task_is_another_matter(client, lead_id):
    memory = Memory()
    delete_once(client, lead_id, memory)
    with pytest.raises(PipedriveNotFoundError):
        delete_once(client, UNKNOWN_LEAD, memory)


def test_what_is_no_id_is_not_sent(sandbox, client):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match="lead_id"):
        delete_once(client, "17", Memory(), ignore_missing=True)
    assert sandbox.control.counters()["calls"] == 0


def test_what_was_never_sent_does_not_make_a_wrong_id_look_deleted(client, nobody):
    memory = Memory()
    settings = read_connection(password="x" * 40, extra={"base_url": nobody})
    with pytest.raises(PipedriveConnectionError, match="cannot be reached"):
        delete_once(PipedriveClient(settings), UNKNOWN_LEAD, memory)
    with pytest.raises(PipedriveNotFoundError):
        delete_once(client, UNKNOWN_LEAD, memory)


def test_a_wrong_id_does_not_look_deleted_after_a_doubt(sandbox, client):
    memory = Memory()
    sandbox.control.fault("DELETE", f"/v1/leads/{UNKNOWN_LEAD}", "status", status=503, times=ALL_TRIES)
    with pytest.raises(PipedriveServerError):
        delete_once(client, UNKNOWN_LEAD, memory)
    with pytest.raises(PipedriveNotFoundError):
        delete_once(client, UNKNOWN_LEAD, memory)
