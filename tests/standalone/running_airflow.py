"""A whole Airflow of its own for a test: scheduler, workers and API in one process group, steered over REST."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import requests

from demo.ports import reserve_port
from demo.stage import BIN, LocalPipedrive, airflow_environment, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS_TO_START = 180
SECONDS_TO_WAIT = 60
ENDED = ("success", "failed")


class RunningAirflow:
    """Airflow's public API.

    :param address: of the API server, once it answers.
    :param login: user and password.
    :param environment: of its processes.
    """

    def __init__(self, address: str, login: tuple[str, str], environment: dict[str, str]) -> None:
        self.address = address
        self.login = login
        self._environment = environment
        self._session = requests.Session()
        self._session.trust_env = False
        who = dict(zip(("username", "password"), login, strict=True))
        token = self._session.post(f"{address}/auth/token", json=who, timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **body: Any) -> Any:
        reply = self._session.request(method, f"{self.address}/api/v2/{path}", json=body or None, timeout=60)
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def command(self, *words: str) -> str:
        """What an ``airflow`` command prints in this Airflow."""
        done = subprocess.run(
            [BIN / "airflow", *words], env=self._environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def switch_on(self, dag_id: str) -> None:
        """Wait until a DAG is parsed, and let it run."""
        until(lambda: dag_id in [dag["dag_id"] for dag in self.ask("GET", "dags")["dags"]], f"{dag_id} is parsed")
        self.ask("PATCH", f"dags/{dag_id}", is_paused=False)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"dags/{dag_id}/dagRuns?order_by=run_after")["dag_runs"])

    def trigger(self, dag_id: str) -> str:
        return str(self.ask("POST", f"dags/{dag_id}/dagRuns", logical_date=None)["dag_run_id"])

    def clear(self, dag_id: str, run_id: str) -> None:
        """Let all tasks of a run run again."""
        self.ask("POST", f"dags/{dag_id}/clearTaskInstances", dag_run_id=run_id, dry_run=False, only_failed=False)

    def try_of(self, dag_id: str, run_id: str, task_id: str) -> tuple[str | None, int]:
        """The state of a task and the number of its try."""
        found = self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found["state"], found["try_number"]

    def returned(self, dag_id: str, run_id: str, task_id: str, *, tries: int = 1) -> Any:
        """Wait for the end of a task, and give what it returned.

        :param tries: how many times it is to have run.
        """

        def ended() -> bool:
            state, number = self.try_of(dag_id, run_id, task_id)
            return state in ENDED and number == tries

        until(ended, f"{dag_id}.{task_id} of {run_id} ends")
        state, _ = self.try_of(dag_id, run_id, task_id)
        assert state == "success", self.log(dag_id, run_id, task_id, tries)
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.ask("GET", f"{path}?deserialize=false&stringify=false")["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, number: int = 1) -> str:
        """What a try of a task wrote to its log."""
        lines = self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}")["content"]
        return "\n".join(str(line["event"]) if isinstance(line, dict) else str(line) for line in lines)


def until(happened: Callable[[], Any], what: str, seconds: float = SECONDS_TO_WAIT) -> Any:
    """Wait for something, and give what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline, f"Not within {seconds} s: {what}."
        time.sleep(0.2)
    return found


@contextmanager
def running_airflow(
    home: Path, dags: Path, pipedrive: LocalPipedrive, more: dict[str, str] | None = None
) -> Iterator[RunningAirflow]:
    """Start a standalone Airflow on free ports; on leaving, nothing of it is left running.

    :param home: an empty folder; its output goes to ``airflow.log`` in there.
    :param more: further environment variables, of the API server's own place too: a port, a base URL with a sub-path.
    """
    port, worker_logs, trigger_logs = (str(reserve_port()) for _ in range(3))
    address = f"http://127.0.0.1:{port}"
    environment = airflow_environment(home, pipedrive) | {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        **(more or {}),
    }
    address = environment["AIRFLOW__API__BASE_URL"]
    with (
        (home / "airflow.log").open("wb") as log,
        process(BIN / "airflow", "standalone", env=environment, stdout=log, stderr=subprocess.STDOUT) as running,
    ):
        until(lambda: _is_healthy(running, address, home), "Airflow is healthy", SECONDS_TO_START)
        yield RunningAirflow(address, login_of(home), environment)


def _is_healthy(running: subprocess.Popen[str], address: str, home: Path) -> bool:
    assert running.poll() is None, (home / "airflow.log").read_text()
    try:
        parts = requests.get(f"{address}/api/v2/monitor/health", timeout=5).json()
    except (requests.RequestException, ValueError):
        return False
    return all(parts[name]["status"] == "healthy" for name in ("scheduler", "dag_processor", "triggerer"))


def login_of(home: Path) -> tuple[str, str]:
    ((user, password),) = json.loads((home / "simple_auth_manager_passwords.json.generated").read_text()).items()
    return user, password
