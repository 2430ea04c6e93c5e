"""Many waits in one event loop, in a process of its own: what they ask for while nothing changes, and how they wake.

``python -m benchmarks.waiting_run ours '{"url": …}'`` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from benchmarks.export_ours import TOKEN
from benchmarks.export_run import measured

if TYPE_CHECKING:
    from asyncio import Task

    import requests


class Job(NamedTuple):
    """What is waited for.

    :param url: of the sandbox.
    :param interval: seconds between two polls.
    :param waiting: how many wait, each for a lead of its own.
    :param changes: how many of these leads are changed.
    """

    url: str
    interval: float
    waiting: int
    changes: int


Wait: TypeAlias = Callable[[str], Coroutine[Any, Any, None]]
"""Ends when the lead of this id has its new title."""
NEW_TITLE = "Changed"
QUIET_INTERVALS = 2
IDLE_SECONDS = 3.0
TICK = 0.01
THREADS = 32
LONGEST_INTERVALS = 5


def main() -> None:
    """Import, measure, print."""
    job = Job(**json.loads(sys.argv[2]))
    wait = {"ours": ours, "by id": by_id, "by list": by_list}[sys.argv[1]](job)
    gc.collect()
    figures: dict[str, Any] = {}
    process = measured(lambda: figures.update(asyncio.run(_measure(job, wait))))
    print(json.dumps({**process, **figures}))


def ours(job: Job) -> Wait:
    """Each is a trigger, as Airflow's triggerer runs it."""
    connection = {"conn_type": "pipedrive", "password": TOKEN, "extra": {"base_url": job.url}}
    os.environ["AIRFLOW_CONN_BENCHMARK"] = json.dumps(connection)
    import airflow_provider_pipedrive_leads.leads.waiting.feed  # noqa: F401 - else the first of them imports it
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.triggers.leads import PipedriveLeadTrigger

    PipedriveLeadsHook("benchmark").get_conn().close()
    since = SandboxControl(job.url).now()

    async def wait(lead_id: str) -> None:
        trigger = PipedriveLeadTrigger(
            lead_id=lead_id,
            expected={"title": NEW_TITLE},
            since=since,
            poll_interval=job.interval,
            daily_share=1.0,
            pipedrive_conn_id="benchmark",
        )
        event = await anext(trigger.run())
        assert event.payload == {"status": "success", "lead_ids": [lead_id]}, event.payload

    return wait


def by_id(job: Job) -> Wait:
    """Each asks for its lead."""

    def is_changed(session: requests.Session, lead_id: str) -> bool:
        lead = session.get(f"{job.url}/v1/leads/{lead_id}").json()["data"]
        return bool(lead["title"] == NEW_TITLE)

    return _asking(job, is_changed)


def by_list(job: Job) -> Wait:
    """Each reads what changed, and looks for its lead."""
    query: dict[str, str | int] = {"updated_since": f"{SandboxControl(job.url).now()[:19]}Z", "limit": 500}

    def is_changed(session: requests.Session, lead_id: str) -> bool:
        leads = session.get(f"{job.url}/v1/leads", params=query).json()["data"]
        return any(lead["id"] == lead_id and lead["title"] == NEW_TITLE for lead in leads)

    return _asking(job, is_changed)


def _asking(job: Job, is_changed: Callable[[requests.Session, str], bool]) -> Wait:
    session = _session()
    threads = ThreadPoolExecutor(THREADS)

    async def wait(lead_id: str) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + random.random() * job.interval  # noqa: S311 - they did not begin together
        while True:
            await asyncio.sleep(due - loop.time())
            if await loop.run_in_executor(threads, is_changed, session, lead_id):
                return
            due += job.interval

    return wait


def _session() -> requests.Session:
    import requests

    session = requests.Session()
    session.headers["x-api-token"] = TOKEN
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
    return session


async def _measure(job: Job, wait: Wait) -> dict[str, Any]:
    control = SandboxControl(job.url)
    leads = await asyncio.to_thread(control.all_leads)
    lead_ids = [lead["id"] for lead in leads if not lead["is_archived"]][: job.waiting]
    assert len(lead_ids) == job.waiting, len(lead_ids)
    idle, busy = Watch(), Watch()
    async with idle:
        await asyncio.sleep(IDLE_SECONDS)
    async with busy:
        tasks = {}
        for lead_id in lead_ids:
            tasks[lead_id] = asyncio.create_task(wait(lead_id))
            await asyncio.sleep(0)  # as the triggerer does
        quiet = await _while_quiet(job, control)
        late = await _while_changing(job, tasks)
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return {**quiet, "late": late, "held": busy.held, "computed": busy.computed, "held_idle": idle.held}


class Watch:
    """Watches the event loop while it is entered.

    :ivar held: the longest time in seconds for which it was held up.
    :ivar computed: the longest time for which it computed without a break.
    """

    def __init__(self) -> None:
        self.held = 0.0
        self.computed = 0.0

    async def __aenter__(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            self.held = max(self.held, time.perf_counter() - wall - TICK)
            self.computed = max(self.computed, time.thread_time() - cpu)


async def _while_quiet(job: Job, control: SandboxControl) -> dict[str, float]:
    """Count the calls and tokens of some intervals; they begin between two polls of those that poll together."""
    await asyncio.to_thread(control.reset_counters)
    while not (await asyncio.to_thread(control.counters))["calls"]:
        await asyncio.sleep(job.interval / 20)
    await asyncio.sleep(job.interval / 2)
    await asyncio.to_thread(control.reset_counters)
    await asyncio.sleep(QUIET_INTERVALS * job.interval)
    counted = await asyncio.to_thread(control.counters)
    return {name: counted[name] / QUIET_INTERVALS for name in ("calls", "tokens")}


async def _while_changing(job: Job, tasks: dict[str, Task[None]]) -> list[float]:
    """Change leads one after another, and give how late each wait ended, in intervals."""
    session = _session()
    changed: dict[str, float] = {}
    woken: dict[str, float] = {}
    chosen = dict(list(tasks.items())[:: job.waiting // job.changes][: job.changes])
    for lead_id, task in chosen.items():
        task.add_done_callback(lambda _, lead_id=lead_id: woken.setdefault(lead_id, time.monotonic()))  # type: ignore[misc]
        await asyncio.sleep(QUIET_INTERVALS * job.interval / job.changes)
        reply = await asyncio.to_thread(session.patch, f"{job.url}/v1/leads/{lead_id}", json={"title": NEW_TITLE})
        reply.raise_for_status()
        changed[lead_id] = time.monotonic()
    await asyncio.wait(chosen.values(), timeout=LONGEST_INTERVALS * job.interval)
    for task in chosen.values():
        assert task.done(), "not all waits ended"
        task.result()
    return [(woken[lead_id] - changed[lead_id]) / job.interval for lead_id in chosen]


if __name__ == "__main__":
    main()
