"""Tests depend on nothing but the code: who reads a real clock or sleeps in one says why it cannot matter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads import client as client_module
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.fields import Catalogue
from airflow_provider_pipedrive_leads.api.pacing import BurstWindow
from airflow_provider_pipedrive_leads.client import account_of
from airflow_provider_pipedrive_leads.leads.catalogue_cache import CatalogueCache

TESTS = Path(__file__).parent
BY_HAND = ("cluster", "live")
"""Rooms whose tests stand apart: they meet real outages and real accounts, which take real time."""
CLOCKS = {
    *("time.sleep", "time.time", "time.monotonic", "time.perf_counter", "time.process_time", "time.thread_time"),
    *("asyncio.sleep", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "pendulum.now"),
}
REASON = re.compile(r"# real time: \w")
WAITS = TESTS / "until.py"
"""The one place that looks again and again."""


def real_time(source: str) -> Iterator[int]:
    """The lines on which a clock is read or slept on without a reason."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name | ast.Attribute):
            continue
        owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
        around = "\n".join(lines[max(0, node.lineno - 2) : node.lineno])
        yields = "asyncio.sleep(0)" in lines[node.lineno - 1]
        if f"{owner}.{node.attr}" in CLOCKS and not yields and not REASON.search(around):
            yield node.lineno


def files() -> list[Path]:
    found = [file for file in TESTS.rglob("*.py") if not set(BY_HAND) & set(file.relative_to(TESTS).parts)]
    return sorted(set(found) - {WAITS})


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(TESTS)))
def test_real_time_has_a_reason(file):
    assert [f"{file.relative_to(TESTS)}:{line}" for line in real_time(file.read_text())] == []


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0.1)",
        "await asyncio.sleep(0.5)",
        "assert time.monotonic() - began < 2",
        "now = datetime.now(UTC)",
        "now = datetime.datetime.now()",
        "wait(sleep=time.sleep)",
    ],
)
def test_a_test_that_waits_or_measures_is_found(line):
    assert list(real_time(f"async def test():\n    {line}\n")) == [2]
    assert list(real_time(f"async def test():\n    {line}  # real time: a reason\n")) == []
    assert list(real_time(f"async def test():\n    # real time: a reason\n    {line}\n")) == []


def test_giving_way_to_others_takes_no_time():
    assert list(real_time("async def test():\n    await asyncio.sleep(0)\n")) == []


@pytest.mark.parametrize("limit", [400, 500])
def test_no_account_is_known_from_a_test_before(limit):
    """Its server may have had the same port, and its client the same token."""
    login = {"password": "0" * 40, "extra": {"base_url": "http://127.0.0.1:1"}}
    settings, asked = read_connection(**login), []
    assert client_module._paces.of(settings).all_calls.limit == BurstWindow().limit
    CatalogueCache(account_of(settings)).get(lambda: asked.append(limit) or Catalogue())
    assert asked == [limit]
    login["extra"]["burst_limit"] = limit
    client_module._paces.of(read_connection(**login))
