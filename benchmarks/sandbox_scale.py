"""How the local Pipedrive does with a hundred thousand leads: start, memory, pages, calls a second.

The server has a process of its own. The machine is noisy: medians of several runs, with the fastest beside.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl

if TYPE_CHECKING:
    from collections.abc import Callable

LEADS = 100_000
TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of a throw-away server
SORTS = ("add_time ASC", "update_time ASC", "update_time ASC,id ASC", "id ASC", "title ASC")
STARTS = (0, 40_000, 80_000)
TRIES = 7
PAIRS = 200
READY = "Listening on "


def main() -> None:
    """Start it, measure, print."""
    begun = time.perf_counter()
    command = ("-m", "airflow_provider_pipedrive_leads.sandbox.cli", "--leads", str(LEADS), "--token", TOKEN)
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(line for line in server.stdout or () if line.startswith(READY)).removeprefix(READY).strip()
            print(f"start with {LEADS:,} leads      {time.perf_counter() - begun:6.1f} s")
            print(f"resident memory                {_resident(server.pid):6.0f} MB")
            SandboxControl(url).set_burst(1_000_000)
            _measure(url)
        finally:
            server.terminate()


def _measure(url: str) -> None:
    with requests.Session() as session:
        session.headers["x-api-token"] = TOKEN
        for sort in SORTS:
            for start in STARTS:
                query: dict[str, str | int] = {"limit": 500, "start": start, "sort": sort}
                times = _times(partial(_page, session, url, query))
                print(
                    f"page of 500, {sort:<22} from {start:>6,}: median {statistics.median(times):5.1f} ms,"
                    f" fastest {min(times):5.1f} ms"
                )
        lead_id = session.get(f"{url}/v1/leads", params={"limit": 1}).json()["data"][0]["id"]
        begun = time.perf_counter()
        for number in range(PAIRS):
            session.get(f"{url}/v1/leads/{lead_id}")
            session.patch(f"{url}/v1/leads/{lead_id}", json={"title": f"Number {number}"})
        print(f"GET and PATCH by turns         {2 * PAIRS / (time.perf_counter() - begun):6.0f} calls a second")


def _page(session: requests.Session, url: str, query: dict[str, str | int]) -> bytes:
    return session.get(f"{url}/v1/leads", params=query).content


def _times(measured: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(TRIES):
        begun = time.perf_counter()
        measured()
        times.append((time.perf_counter() - begun) * 1000)
    return times


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1000


if __name__ == "__main__":
    main()
