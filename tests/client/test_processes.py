"""Four real processes with cold starts on one token: few 429s, and none that a caller sees.

How few, virtual time tells in ``tests/api/test_pacing.py``; here it is the machine that decides how old their news of
each other are.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

pytestmark = pytest.mark.long
PROCESSES, THREADS, CALLS = 4, 8, 200
MOST_REJECTED = 0.25
"""Of all calls; if each process took what it could, it would be most of them."""
WORK = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient

url, token, threads, calls = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client = PipedriveClient(read_connection(password=token, extra={"base_url": url}))
with ThreadPoolExecutor(threads) as pool:
    done = list(pool.map(lambda _: bool(client.get_lead_sources()), range(calls)))
print(json.dumps([sum(done), client.usage.rate_limited]))
"""


@pytest.mark.parametrize("profile", ["likely", "contrary"])
def test_four_processes_on_one_token(profile):
    with Sandbox(plan="premium", profile=profile, latency=0.02) as sandbox:
        command = [sys.executable, "-c", WORK, sandbox.url, sandbox.token, str(THREADS), str(CALLS)]
        workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
        results = [json.loads(worker.communicate()[0]) for worker in workers]
        counters = sandbox.control.counters()
    assert [done for done, _ in results] == [CALLS] * PROCESSES
    assert counters["rejected"] == sum(rejected for _, rejected in results)
    assert counters["rejected"] <= MOST_REJECTED * counters["calls"]
