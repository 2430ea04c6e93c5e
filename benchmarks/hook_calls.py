"""What the hook itself costs a call: ``hook.get_lead`` beside a bare ``requests.Session.get`` in the same run.

Both ask the same local server for the same lead, by turns; wall and CPU time a call, medians of several rounds. The
burst window is held open so that pacing waits for nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import requests

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of a throw-away server
CALLS = 400
ROUNDS = 7
READY = "Listening on "


class Cost(NamedTuple):
    """Milliseconds a call."""

    wall: float
    cpu: float


def main() -> None:
    """Start a server, measure by turns, print."""
    command = ("-m", "airflow_provider_pipedrive_leads.sandbox.cli", "--leads", "50", "--token", TOKEN)
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(line for line in server.stdout or () if line.startswith(READY)).removeprefix(READY).strip()
            SandboxControl(url).set_burst(1_000_000)
            _compare(url)
        finally:
            server.terminate()


def _compare(url: str) -> None:
    connection = {"conn_type": "pipedrive", "password": TOKEN, "extra": {"base_url": url}}
    os.environ["AIRFLOW_CONN_BENCHMARK"] = json.dumps(connection)
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

    hook = PipedriveLeadsHook("benchmark")
    lead_id = next(hook.get_leads())["id"]
    session = requests.Session()
    session.headers["x-api-token"] = TOKEN
    bare: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(ROUNDS):
        bare.append(_cost(lambda: session.get(f"{url}/v1/leads/{lead_id}").json()))
        ours.append(_cost(lambda: hook.get_lead(lead_id)))
    for name, costs in (("requests.Session.get", bare), ("hook.get_lead", ours)):
        wall, cpu = (statistics.median(cost[part] for cost in costs) for part in (0, 1))
        print(f"{name:<22} {1000 / wall:6.0f} calls a second, {wall:.2f} ms wall and {cpu:.2f} ms CPU a call")
    own = statistics.median(our.cpu - plain.cpu for our, plain in zip(ours, bare, strict=True))
    print(f"the hook's own         {own:.2f} ms CPU a call")


def _cost(call: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        call()
    return Cost((time.perf_counter() - wall) * 1000 / CALLS, (time.process_time() - cpu) * 1000 / CALLS)


if __name__ == "__main__":
    main()
