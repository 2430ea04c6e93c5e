"""A hundred thousand leads: start, memory, pages, calls a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

LEADS = 100_000
SORTS = ["add_time ASC", "add_time DESC", "update_time ASC", "update_time DESC", "id ASC", "update_time ASC,id ASC"]


def _fastest(measure: Callable[[], Any], tries: int = 5) -> float:
    def once() -> float:
        begun = time.perf_counter()
        measure()
        return time.perf_counter() - begun

    return min(once() for _ in range(tries))


@pytest.fixture(scope="module")
def crowd() -> Iterator[Sandbox]:
    begun = time.process_time()
    with Sandbox(leads=LEADS) as sandbox:
        assert time.process_time() - begun < 15
        sandbox.control.set_burst(1_000_000)
        yield sandbox


@pytest.fixture
def session(crowd: Sandbox) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["x-api-token"] = crowd.token
        yield session


@pytest.mark.long
@pytest.mark.parametrize("start", [0, 40_000, 80_000])
@pytest.mark.parametrize("sort", SORTS)
def test_a_page_of_500_takes_under_20_ms(crowd: Sandbox, session: requests.Session, sort: str, start: int) -> None:
    params: dict[str, str | int] = {"limit": 500, "start": start, "sort": sort}
    assert _fastest(lambda: session.get(crowd.url + "/v1/leads", params=params).content) < 0.020


@pytest.mark.long
@pytest.mark.parametrize("name", ["person_id", "organization_id", "owner_id"])
def test_so_does_a_contact_s_page(crowd: Sandbox, session: requests.Session, name: str) -> None:
    params = {"limit": 500, name: 11_400_002 if name == "owner_id" else 7}
    assert _fastest(lambda: session.get(crowd.url + "/v1/leads", params=params).content) < 0.020


@pytest.mark.long
def test_memory_stays_under_a_gigabyte(crowd: Sandbox) -> None:
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 1_000_000


@pytest.mark.long
def test_two_hundred_calls_a_second(crowd: Sandbox, session: requests.Session) -> None:
    lead = session.get(crowd.url + "/v1/leads", params={"limit": 1}).json()["data"][0]
    begun = time.perf_counter()
    for number in range(200):
        session.get(f"{crowd.url}/v1/leads/{lead['id']}")
        session.patch(f"{crowd.url}/v1/leads/{lead['id']}", json={"title": f"Number {number}"})
    assert 400 / (time.perf_counter() - begun) > 200
    assert SandboxControl(crowd.url).counters()["failures"] == 0
