"""One throw-away Airflow for the whole run. Its settings must stand before the first ``import airflow``."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck

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

hypothesis.settings.register_profile(
    "any machine", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

PROFILES = ("likely", "contrary")
RUNS_DAGS_IN_LONG_TESTS = "likely"
ROOMS_THAT_TAKE_LONGEST = ("standalone", "kills", "browser")
"""Their tests come first, so that no worker is left with one at the end."""
AMPLE = 10_000
"""Calls in two seconds: more than a test makes by accident. Tests of the window set one themselves."""


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
            seconds = told.args[0] if told else float(item.config.getoption("timeout") or item.config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds, method="thread"), append=False)


class LongestFirst:
    """Sorts what is left once the tests to run are chosen and shuffled."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: not any(room in item.path.parts for room in ROOMS_THAT_TAKE_LONGEST))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LongestFirst())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a green run did not prove."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("not tested here")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:>6}  {reason}")
        terminalreporter.write_line("`make test-all-services` says what brings the services, and runs everything.")


class AmpleSandbox(Sandbox):
    """A sandbox whose window no test fills by being fast, and connections that say so where its replies do not."""

    def __enter__(self) -> AmpleSandbox:
        super().__enter__()
        self.control.set_burst(AMPLE, search=AMPLE)
        return self

    @property
    def connection(self) -> dict[str, Any]:
        return _with_burst_limit(super().connection)

    @property
    def oauth_connection(self) -> dict[str, Any]:
        return _with_burst_limit(super().oauth_connection)


def _with_burst_limit(connection: dict[str, Any]) -> dict[str, Any]:
    return {**connection, "extra": {**connection["extra"], "burst_limit": AMPLE}}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Let nothing be known of an account from a test before, whose server may have had the same port."""
    client_module._paces.clear()
    shutil.rmtree(HOME / "tmp" / f"pipedrive-leads-{os.getuid()}", ignore_errors=True)


@pytest.fixture(scope="session")
def stopping() -> Iterator[Executor]:
    """Stops sandboxes beside the tests that follow: a server takes a fifth of a second to say goodbye."""
    with ThreadPoolExecutor(4, thread_name_prefix="stopping") as executor:
        yield executor


@pytest.fixture(params=PROFILES)
def sandbox(request: pytest.FixtureRequest, stopping: Executor) -> Iterator[Sandbox]:
    """A local Pipedrive with 60 leads, under each reading of what nobody knows about the real one.

    Each test has its own, with a token that was never used before: nothing that an earlier test did, neither there nor
    in what clients remember of an account, is met again.
    """
    running = AmpleSandbox(leads=60, seed=7, profile=request.param, token=secrets.token_hex(20))
    with ExitStack() as stack:
        stack.enter_context(running)
        yield running
        stopping.submit(stack.pop_all().close)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[PipedriveClient]:
    """A client of the sandbox that does not wait between tries."""
    settings = read_connection(password=sandbox.token, extra=sandbox.connection["extra"])
    made = PipedriveClient(settings, chance=lambda: 0.0)
    yield made
    made.close()


@pytest.fixture
def person_id(client: PipedriveClient) -> int:
    return client.add_person("Robin Example")["id"]


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Catch logs in the first test of a process that uses Airflow, too: importing it sets logging up anew."""
    importlib.import_module("airflow.sdk")
    return caplog


SHORT = 0.01
"""Seconds that a call waits for one of another thread: jumping over them, it would jump thousands of times."""


class JumpingTime:
    """A clock on which sleeping takes no time."""

    def __init__(self) -> None:
        self._jumped = 0.0
        self._lock = threading.Lock()  # without it a jump of one thread undoes another's, and time runs backwards

    def monotonic(self) -> float:
        return time.monotonic() + self._jumped  # real time: nobody waits by it, for every sleep is a jump

    def sleep(self, seconds: float) -> None:
        if seconds <= SHORT:
            time.sleep(seconds)  # real time: gives way to the other thread, however long that takes
            return
        with self._lock:
            self._jumped += seconds


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients wait in no time: for repeats, windows and bans."""
    monkeypatch.setattr(client_module, "time", JumpingTime())
