"""What importing the provider costs: CPU time of each module for DAG authors, beside that of ``airflow.sdk``.

Each is measured in a fork of a process that has Airflow's SDK; the SDK itself in a new process. Medians of several
rounds, by turns. The design allows 30 ms where the SDK takes about 1.4 s: a fiftieth.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

ROUNDS = 7
MOST = 0.02
PACKAGE = "airflow_provider_pipedrive_leads"
MODULES = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "operators.leads",
        "sensors.leads",
        "hooks.pipedrive_leads",
        "triggers.conversion",
        "triggers.daily_budget",
        "triggers.leads",
        "triggers.leads_changed",
        "assets.leads",
        "links.leads_file",
        "links.lead",
        "links.deal",
        "page.plugin",
        "transfers.leads_to_sql",
        "transfers.sql_to_leads",
    )
)
MEASURE = """
import importlib, json, os, sys, time
started = time.process_time()
from airflow.sdk import Asset, BaseHook, BaseOperator, BaseSensorOperator, PokeReturnValue
print(json.dumps(["airflow.sdk", time.process_time() - started]), flush=True)
for module in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    started = time.process_time()
    importlib.import_module(module)
    print(json.dumps([module, time.process_time() - started]), flush=True)
    os._exit(0)
"""


def main() -> int:
    """Measure, print; 1 if a module costs more than it may."""
    seconds: dict[str, list[float]] = {}
    for number in range(1 + ROUNDS):
        for name, spent in _round():
            if number:  # the first compiles
                seconds.setdefault(name, []).append(spent)
    medians = {name: statistics.median(spent) for name, spent in seconds.items()}
    sdk = medians.pop("airflow.sdk")
    print(f"{'airflow.sdk':<24} {1000 * sdk:7.1f} ms CPU")
    for name, spent in medians.items():
        verdict = "" if spent <= MOST * sdk else f"  MISSED: more than {MOST:.0%}"
        print(f"{name.removeprefix(PACKAGE + '.'):<24} {1000 * spent:7.1f} ms CPU  {spent / sdk:6.2%}{verdict}")
    return int(any(spent > MOST * sdk for spent in medians.values()))


def _round() -> list[tuple[str, float]]:
    done = subprocess.run([sys.executable, "-c", MEASURE, *MODULES], check=True, capture_output=True, text=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


if __name__ == "__main__":
    sys.exit(main())
