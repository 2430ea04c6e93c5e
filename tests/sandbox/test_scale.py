"""A hundred thousand leads are served like a hundred. How fast: benchmarks/sandbox_scale.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

pytestmark = pytest.mark.long
LEADS = 100_000
SORTS = ["add_time ASC", "add_time DESC", "update_time ASC", "update_time DESC", "id ASC", "update_time ASC,id ASC"]


def kilobytes_held() -> int:
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1])


@pytest.fixture(scope="module")
def held_before() -> int:
    """What other tests of this process left."""
    return kilobytes_held()


@pytest.fixture(scope="module")
def crowd(held_before: int) -> Iterator[Sandbox]:
    with Sandbox(leads=LEADS) as sandbox:
        sandbox.control.set_burst(1_000_000)
        yield sandbox


@pytest.fixture
def session(crowd: Sandbox) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["x-api-token"] = crowd.token
        yield session


def test_all_are_there(crowd: Sandbox) -> None:
    assert crowd.control.lead_count() == LEADS


@pytest.mark.parametrize("sort", SORTS)
def test_deep_pages_follow_each_other_in_order(crowd: Sandbox, session: requests.Session, sort: str) -> None:
    def page(start: int) -> list[dict[str, str]]:
        params: dict[str, str | int] = {"limit": 500, "start": start, "sort": sort}
        rows: list[dict[str, str]] = session.get(crowd.url + "/v1/leads", params=params).json()["data"]
        return rows

    rows = page(80_000) + page(80_500)
    name, direction = sort.split(",", maxsplit=1)[0].split()
    values = [row[name] for row in rows]
    assert values == sorted(values, reverse=direction == "DESC")
    assert len({row["id"] for row in rows}) == 1000


def test_memory_stays_under_a_gigabyte(crowd: Sandbox, held_before: int) -> None:
    assert kilobytes_held() - held_before < 900_000  # a bare process has less than 100 MB
