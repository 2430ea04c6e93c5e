"""An Airflow with many workers: each part a process, as in a deployment, and each that ends is started again."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING

import requests

from demo.ports import reserve_port
from demo.stage import BIN
from tests.cluster.processes import Session, end_all
from tests.standalone.running_airflow import BETWEEN_LOOKS, RunningAirflow, login_of
from tests.until import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.services import PostgreSQL, Redis

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
TASKS_OF_WORKER = 4
WORKERS = 2
SECONDS_BETWEEN_LOOKS = 0.5
TAIL = 25
"""Lines of each log that are shown after a failure."""


def settings(database: str, broker: str, port: int) -> dict[str, str]:
    """Give Airflow's settings for a deployment in which any part may fail at any time."""
    address = f"http://127.0.0.1:{port}"
    named = {
        "CORE__EXECUTOR": "CeleryExecutor",
        # Somewhat more than all workers take at once: a lost message does not leave a worker idle.
        "CORE__PARALLELISM": str(WORKERS * TASKS_OF_WORKER + 4),
        "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__BASE_URL": address,
        "API__WORKERS": "1",
        "API__MAXIMUM_PAGE_LIMIT": "1000",
        "API__SECRET_KEY": "a throw-away key of this test alone",
        "API_AUTH__JWT_SECRET": "a throw-away secret of this test alone, of sixty-four characters",
        "CELERY__BROKER_URL": broker,
        "CELERY__RESULT_BACKEND": f"db+{database}",
        "CELERY__WORKER_CONCURRENCY": str(TASKS_OF_WORKER),
        # A message counts as taken when its task has ended, so that a killed worker loses none; and a worker takes none
        # that it cannot begin, so that nothing waits behind a long load while the other worker has room.
        "CELERY__TASK_ACKS_LATE": "True",
        "CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
        # After so long Redis hands out a message again that nobody confirmed. It must exceed the longest task, or that
        # one would be handed out while it runs; lost tasks are found sooner, by the two timeouts below.
        "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "3600",
        # A task whose worker is gone is found by its silence, and one whose message is lost by its waiting: usually
        # after 5 and 10 minutes, here sooner. A task must be silent for long enough that no busy machine explains it.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
        "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # The pulse is quicker, for a task is seen to have ended at one; then it may miss more, to outlast an outage.
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        "WORKERS__MAX_FAILED_HEARTBEATS": "8",
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(reserve_port()),
    }
    return {f"AIRFLOW__{name}": value for name, value in named.items()}


class Deployment:
    """Airflow with an API server, a scheduler, a DAG processor, a triggerer and workers.

    :param home: an empty folder; each part's output goes to a file of its name in there.
    :param environment: of all parts, without what this deployment sets itself.
    :ivar restarts: how often each part ended by itself and was started again.
    :ivar airflow: its public API, once it is healthy.
    """

    def __init__(self, home: Path, environment: dict[str, str], database: PostgreSQL, broker: Redis) -> None:
        port = reserve_port()
        self.home = home
        self.restarts: Counter[str] = Counter()
        self.address = f"http://127.0.0.1:{port}"
        self.airflow: RunningAirflow
        self._environment = environment | settings(database.address, broker.address, port)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Make the database, start all but workers, and wait until it is healthy."""
        migrated = subprocess.run(
            [BIN / "airflow", "db", "migrate"],
            env=self._environment,
            capture_output=True,
            text=True,
        )
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        for name in COMPONENTS:
            self._begin(name)
        self._keeper.start()
        until(self._is_healthy, BETWEEN_LOOKS)
        self.airflow = RunningAirflow(self.address, login_of(self.home), self._environment)

    def stop(self) -> None:
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        end_all(self._sessions.values())

    def add_worker(self, name: str) -> None:
        """Start a worker; it takes tasks some seconds later."""
        self._begin(name)

    def worker_of(self, pid: int) -> str | None:
        """The name of the worker that a process belongs to."""
        return next((name for name, each in self._sessions.items() if pid in each.members()), None)

    def kill(self, name: str) -> int:
        """Kill a worker with all that it runs, for good, and give how many processes that were."""
        with self._lock:
            session = self._sessions.pop(name)
            count = len(session.members())
            session.kill()
        return count

    def _begin(self, name: str) -> None:
        command = [name] if name in COMPONENTS else ["celery", "worker", "--celery-hostname", name]
        if name not in COMPONENTS:
            command += ["--skip-serve-logs", "--without-mingle", "--without-gossip"]
        log = self.home / f"{name}.log"
        self._sessions[name] = Session([BIN / "airflow", *command], env=self._environment, log=log)

    def _keep(self) -> None:
        while not self._ending.wait(SECONDS_BETWEEN_LOOKS):
            with self._lock:
                for name, session in list(self._sessions.items()):
                    if not session.is_running():
                        session.kill()
                        self.restarts[name] += 1
                        self._begin(name)

    def _is_healthy(self) -> bool:
        try:
            parts = requests.get(f"{self.address}/api/v2/monitor/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        wanted = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((parts.get(name) or {}).get("status") == "healthy" for name in wanted)


def tails(folder: Path) -> str:
    """The last lines of the logs of all parts and services below a folder."""
    logs = sorted([*folder.glob("*.log"), *folder.glob("*/*.log")])
    return "\n".join(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:]) for log in logs)


def own_environment(home: Path, dags: Path) -> dict[str, str]:
    """The environment of a deployment in a folder, without anything of Airflow's that is set outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    (home / "tmp").mkdir()
    return {
        **inherited,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "NO_PROXY": "127.0.0.1,localhost",
        "TMPDIR": str(home / "tmp"),
        # Compiling Airflow anew in each process would take more time than all tasks.
        "PYTHONDONTWRITEBYTECODE": "",
    }
