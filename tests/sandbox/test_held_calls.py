"""Calls that wait until a test lets them go: no time decides when the server is done with them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.until import until

LEADS = "/v1/leads"


@pytest.fixture
def sandbox():
    with Sandbox() as running:
        yield running


def create(sandbox: Sandbox, title: str) -> int:
    body = {"title": title, "person_id": 1}
    return requests.post(sandbox.url + LEADS, json=body, headers={"x-api-token": sandbox.token}).status_code


def test_a_held_call_is_done_when_it_is_let_go_and_later_ones_wait_for_the_next_word(sandbox):
    person = {"name": "Robin Example"}
    requests.post(f"{sandbox.url}/api/v2/persons", json=person, headers={"x-api-token": sandbox.token})
    sandbox.control.fault("POST", LEADS, "hold", times=3)
    with ThreadPoolExecutor() as threads:
        first = [threads.submit(create, sandbox, f"First {number}") for number in range(2)]
        until(lambda: sandbox.control.held() == 2)
        assert sandbox.control.lead_count() == 0
        sandbox.control.let_go()
        assert [each.result() for each in first] == [201, 201]
        assert (sandbox.control.held(), sandbox.control.lead_count()) == (0, 2)
        second = threads.submit(create, sandbox, "Second")
        until(lambda: sandbox.control.held() == 1)
        assert (second.done(), sandbox.control.lead_count()) == (False, 2)
        sandbox.control.let_go()
        assert second.result() == 201
        assert create(sandbox, "Not held") == 201
    assert sandbox.control.lead_count() == 4
