"""``make ui``: Airflow's web interface with a local Pipedrive behind ``pipedrive_default``; Ctrl-C stops all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from rich.console import Console

from demo.ports import reserve_port
from demo.stage import (
    BIN,
    ROOT,
    DemoError,
    airflow_environment,
    empty_folder,
    end_like_ctrl_c,
    local_pipedrive,
    process,
)

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / ".ui"
LOG = FOLDER / "airflow.log"
LEADS = 1000
USUAL_PORT = 8080
SECONDS_TO_START = 180
PARTS = ("scheduler", "dag_processor", "triggerer")
KNOWN = """
The connections pipedrive_default and warehouse come from the environment,
so Airflow's list of connections is empty. For one of your own take the
token above, the address as Base URL, and 443 as Port.

Switch example_pipedrive_leads on and press its play button. Of the others,
approved_load wants a file of scores first, and conversion a lead's id.
Ctrl-C stops everything."""
console = Console(highlight=False)


def main() -> int:
    """Start, print how to get in, wait for Ctrl-C."""
    end_like_ctrl_c()
    try:
        run()
    except DemoError as problem:
        console.print(f"[red]It did not start.[/] {problem} Airflow's log: {os.path.relpath(LOG)}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
    return 0


def run() -> None:
    """Hold Airflow and the local Pipedrive until interrupted."""
    home = empty_folder(FOLDER) / "airflow-home"
    port = reserve_port(USUAL_PORT)
    address = f"http://127.0.0.1:{port}"
    with local_pipedrive(LEADS) as pipedrive, LOG.open("wb") as log:
        environment = airflow_environment(home, pipedrive) | {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": address,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(reserve_port()),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(reserve_port()),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(FOLDER / "warehouse.sqlite")}),
        }
        with process(BIN / "airflow", "standalone", env=environment, stdout=log, stderr=subprocess.STDOUT) as airflow:
            with console.status("Starting Airflow …"):
                wait_until_healthy(airflow, address, PARTS)
            user, password = login_of(home)
            console.print(f"Airflow     {address}\nuser        {user}\npassword    {password}")
            console.print(f"Pipedrive   {pipedrive.url} ({LEADS:,} leads)\nAPI token   {pipedrive.token}")
            console.print(KNOWN)
            airflow.wait()
    raise DemoError("Airflow ended by itself.")


def wait_until_healthy(airflow: subprocess.Popen[str], address: str, parts: tuple[str, ...]) -> None:
    """Return as soon as these parts of a starting Airflow are well."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and airflow.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=5) as reply:  # noqa: S310
                health = json.load(reply)
            if all(health[part]["status"] == "healthy" for part in parts):
                return
        except (OSError, urllib.error.URLError, KeyError, ValueError):
            pass
        time.sleep(0.5)
    raise DemoError("Airflow did not become healthy.")


def login_of(home: Path) -> tuple[str, str]:
    """Give the user and the password that Airflow has made up."""
    passwords: dict[str, str] = json.loads((home / "simple_auth_manager_passwords.json.generated").read_text())
    return next(iter(passwords.items()))


if __name__ == "__main__":
    sys.exit(main())
