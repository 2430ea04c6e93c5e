"""A whole Airflow of its own for a test: scheduler, workers and API in one process group, steered over REST."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from demo.ports import reserve_port
from demo.stage import BIN, LocalPipedrive, airflow_environment, process
from tests.until import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Found = TypeVar("Found")
ENDED = ("success", "failed")
BUSY = 500
BETWEEN_LOOKS = 0.2
"""Seconds: each look keeps the API server busy."""
NO_HURRY = {
    # What Airflow takes for a failure when it takes longer: on a busy machine it does.
    "AIRFLOW__API__WORKER_TIMEOUT": "3600",
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "3600",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "3600",
    "AIRFLOW__DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD": "3600",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "3600",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "3600",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "3600",
    "AIRFLOW__TRIGGERER__RUNNER_HEALTH_CHECK_THRESHOLD": "0",
    "AIRFLOW__TRIGGERER__SHARED_STREAM_ACK_TIMEOUT": "3600",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "3600",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "3600",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "1000",
}


class RunningAirflow:
    """Airflow's public API.

    :param address: of the API server, once it answers.
    :param login: user and password.
    :param environment: of its processes.
    :param check: fails once nothing can be expected of it any more.
    """

    def __init__(
        self,
        address: str,
        login: tuple[str, str],
        environment: dict[str, str],
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self.address = address
        self.login = login
        self._environment = environment
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Connection"] = "close"  # a kept one the server may close just as it is used again
        who = dict(zip(("username", "password"), login, strict=True))
        token = self._session.post(f"{address}/auth/token", json=who).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **body: Any) -> Any:
        """Ask its API; a question is asked again where the one SQLite of all processes was too busy to answer."""

        def answer() -> requests.Response | None:
            self._check()
            reply = self._session.request(method, f"{self.address}/api/v2/{path}", json=body or None)
            return None if method == "GET" and reply.status_code >= BUSY else reply

        reply = until(answer, BETWEEN_LOOKS)
        assert reply is not None
        assert reply.ok, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def command(self, *words: str) -> str:
        """What an ``airflow`` command prints in this Airflow."""
        done = subprocess.run([BIN / "airflow", *words], env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until(self, happened: Callable[[], Found]) -> Found:
        """Wait for something that this Airflow does, as long as it runs."""
        return until(lambda: self._check() or happened(), BETWEEN_LOOKS)

    def switch_on(self, dag_id: str) -> None:
        """Wait until a DAG is parsed, and let it run."""
        self.until(lambda: dag_id in self._dag_ids())
        self.ask("PATCH", f"dags/{dag_id}", is_paused=False)

    def _dag_ids(self) -> list[str]:
        errors = self.ask("GET", "importErrors")["import_errors"]
        assert not errors, errors
        return [dag["dag_id"] for dag in self.ask("GET", "dags")["dags"]]

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

        self.until(ended)
        state, _ = self.try_of(dag_id, run_id, task_id)
        assert state == "success", self.log(dag_id, run_id, task_id, tries)
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.ask("GET", f"{path}?deserialize=false&stringify=false")["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, number: int = 1) -> str:
        """What a try of a task wrote to its log."""
        lines = self.ask("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}")["content"]
        return "\n".join(str(line["event"]) if isinstance(line, dict) else str(line) for line in lines)


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
        **NO_HURRY,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=3600",
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

        def check() -> None:
            assert running.poll() is None, (home / "airflow.log").read_text()

        until(lambda: check() or _is_healthy(address), BETWEEN_LOOKS)
        yield RunningAirflow(address, login_of(home), environment, check)


def _is_healthy(address: str) -> bool:
    try:
        parts = requests.get(f"{address}/api/v2/monitor/health").json()
    except (requests.RequestException, ValueError):
        return False
    return all(parts[name]["status"] == "healthy" for name in ("scheduler", "dag_processor", "triggerer"))


def login_of(home: Path) -> tuple[str, str]:
    ((user, password),) = json.loads((home / "simple_auth_manager_passwords.json.generated").read_text()).items()
    return user, password
