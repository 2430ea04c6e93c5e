"""The threads of triggers."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from airflow_provider_pipedrive_leads.triggers.threads import THREADS, in_thread
from tests.until import eventually

task = ContextVar[str]("task")


def test_one_connection_holds_up_no_other():
    go_on, begun = threading.Event(), []

    def hang():
        begun.append(1)
        go_on.wait()

    async def run():
        stuck = [asyncio.create_task(in_thread("dead", hang)) for _ in range(2 * THREADS)]
        await eventually(lambda: len(begun) == THREADS)
        assert await in_thread("alive", lambda: 7) == 7
        assert not any(each.done() for each in stuck)
        go_on.set()
        await asyncio.gather(*stuck)

    try:
        asyncio.run(run())
    finally:
        go_on.set()


def test_a_call_has_the_context_of_who_waits():
    """Airflow's triggerer sorts log lines by it."""

    async def read(name):
        task.set(name)
        return await in_thread("crm", task.get)

    async def run():
        return await asyncio.gather(*(read(name) for name in "abcdef"))

    assert asyncio.run(run()) == list("abcdef")


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread("crm", lambda: 1 // 0))
