"""A hundred thousand leads are served like a hundred. How fast: benchmarks/sandbox_scale.py."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

pytestmark = pytest.mark.long
LEADS = 100_000
SORTS = ["add_time ASC", "add_time DESC", "update_time ASC", "update_time DESC", "id ASC", "update_time ASC,id ASC"]


@pytest.fixture(scope="module")
def blocks_before() -> int:
    """Pieces of memory that Python holds, of other tests too."""
    with Sandbox(leads=1) as sandbox:
        sandbox.control.overview()  # so that what is made once is there
    gc.collect()
    return sys.getallocatedblocks()


@pytest.fixture(scope="module")
def crowd(blocks_before: int) -> Iterator[Sandbox]:
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


def test_a_lead_takes_a_few_kilobytes_of_the_database_and_nothing_else(crowd: Sandbox, blocks_before: int) -> None:
    connection = crowd.world.state.connection
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    assert pages * size < 6_000 * LEADS
    gc.collect()
    assert sys.getallocatedblocks() - blocks_before < 2 * LEADS, "a lead is dozens of pieces where Python holds it"
