"""Loads of one table that run at once, in whatever order they read and write: the newest version of each row stays."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.sql.loading import loading_table
from tests.sql.test_loading import DATED, batch

numbers = count()
ids = st.sampled_from("abc")
steps = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["change", "read", "write"]), ids), max_size=14)
"""Who does what: somebody changes a lead, or one of three loads reads what there is, or writes what it has read."""


def version(number):
    return f"2026-01-31T09:30:{number:02}.000Z"


@pytest.fixture(params=["sqlite", "portable", pytest.param("duckdb", marks=pytest.mark.long)])
def embedded(request):
    return request.getfixturevalue(request.param)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_the_newest_version_stays(embedded, steps):
    table = f"leads_{next(numbers)}"
    account = dict.fromkeys("abc", 0)
    seen: dict[str, int] = {}
    with ExitStack() as stack:
        under_way: dict[int, tuple[ExitStack, dict[str, int]]] = {}

        def write(load):
            ended, read = under_way.pop(load)
            ended.close()
            seen.update({lead: max(number, seen.get(lead, 0)) for lead, number in read.items()})

        for load, does, lead in steps:
            if does == "change":
                account[lead] += 1
            elif does == "read" and load not in under_way:
                opened = stack.enter_context(ExitStack())
                loading = opened.enter_context(
                    loading_table(
                        embedded.hook, table, DATED, mode="merge", run_key=f"run {load}", version="update_time"
                    )
                )
                loading.write(batch([[lead, f"version {number}", version(number)] for lead, number in account.items()]))
                under_way[load] = opened, dict(account)
            elif does == "write" and load in under_way:
                write(load)
        for load in list(under_way):
            write(load)
    if seen:
        found = embedded.fetch(f"SELECT id, title FROM {table} ORDER BY id")
        assert found == [(lead, f"version {number}") for lead, number in sorted(seen.items())]
