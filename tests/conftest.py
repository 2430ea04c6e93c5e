"""One throw-away Airflow for the whole run. Its settings must stand before the first ``import airflow``."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

HOME = Path(tempfile.mkdtemp(prefix="airflow-"))
(HOME / "dags").mkdir()
(HOME / "tmp").mkdir()
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(HOME / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__FERNET_KEY="81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    NO_PROXY="*",
)
tempfile.tempdir = str(HOME / "tmp")  # catalogues that are kept for tasks of a machine stay among the tests of one run
for name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "PIPEDRIVE_"))]:
    del os.environ[name]

from airflow_provider_pipedrive_leads import client as client_module  # noqa: E402
from airflow_provider_pipedrive_leads.api.connection import read_connection  # noqa: E402
from airflow_provider_pipedrive_leads.client import PipedriveClient  # noqa: E402
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox  # noqa: E402

PROFILES = ("likely", "contrary")
RUNS_DAGS_IN_LONG_TESTS = "likely"
ROOMS_THAT_TAKE_LONGEST = ("standalone", "kills", "browser")
"""Their tests come first, so that no worker is left with one at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the usual tests run DAGs under one profile, and the long ones under the other: Airflow takes a second each.

    Operators hold nothing that depends on a profile; what they call is tested under both.
    """
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if parameters.get("sandbox") == RUNS_DAGS_IN_LONG_TESTS and "run_dag" in item.fixturenames:
            item.add_marker(pytest.mark.long)
        if "run_dag" in item.fixturenames:  # Airflow uses the alarm signal itself, and so disarms it
            told = item.get_closest_marker("timeout")
            seconds = told.args[0] if told else float(item.config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds, method="thread"), append=False)
    items.sort(key=lambda item: not any(room in item.path.parts for room in ROOMS_THAT_TAKE_LONGEST))


@pytest.fixture(scope="module", params=PROFILES)
def sandbox(request: pytest.FixtureRequest):
    """A local Pipedrive with 60 leads, under each reading of what nobody knows about the real one."""
    with Sandbox(leads=60, seed=7, profile=request.param) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox):
    """A client of the sandbox that does not wait between tries."""
    settings = read_connection(password=sandbox.token, extra={"base_url": sandbox.url})
    made = PipedriveClient(settings, chance=lambda: 0.0)
    yield made
    made.close()
    sandbox.control.clear_faults()


@pytest.fixture
def person_id(client: PipedriveClient) -> int:
    return client.add_person("Robin Example")["id"]


class JumpingTime:
    """A clock on which sleeping takes no time."""

    def __init__(self) -> None:
        self._jumped = 0.0
        self._lock = threading.Lock()  # without it a jump of one thread undoes another's, and time runs backwards

    def monotonic(self) -> float:
        return time.monotonic() + self._jumped

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._jumped += seconds


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch):
    """Let clients wait in no time: for repeats, windows and bans."""
    monkeypatch.setattr(client_module, "time", JumpingTime())
    yield
    client_module._paces.clear()
