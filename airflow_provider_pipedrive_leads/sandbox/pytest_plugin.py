"""The pytest plugin: the fixture ``pipedrive_sandbox``, a local Pipedrive for one test, and the marker that sets it up.

Every pytest run in an environment loads its plugins: nothing heavy is imported until a test asks for the fixture.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
    from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

MARKER = "pipedrive_sandbox"
DEFAULT_CONNECTION = "pipedrive_default"
OPTIONS = ("leads", "seed", "profile", "plan", "seats", "choices", "token", "latency", "conn_id")


class PipedriveSandbox:
    """A running local Pipedrive as a test sees it: its address, what was done to it, what it shall do next."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.url: str = sandbox.url
        self.token: str = sandbox.token
        self.control: SandboxControl = sandbox.control

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to it, by API token."""
        return self._sandbox.connection

    @property
    def connection_json(self) -> str:
        """The same as text, as an ``AIRFLOW_CONN_...`` variable takes it."""
        return json.dumps(self.connection)

    @property
    def oauth_connection(self) -> dict[str, Any]:
        """The Airflow connection to it of an OAuth app, installed anew each time it is read."""
        return self._sandbox.oauth_connection

    def leads(self, **wanted: Any) -> list[dict[str, Any]]:
        """All leads in order of creation, archived ones too, or those whose keys have the wanted values.

        Each is as the API gives it, and has besides: person_name, organization_name, labels (their names) and fields
        (custom values by the field's name, options by their labels). Looking counts as no call.
        """
        found = self.control.all_leads()
        return [lead for lead in found if all(lead.get(name) == value for name, value in wanted.items())]

    def requests(self, method: str = "*", path: str = "*") -> list[dict[str, Any]]:
        """The requests received, oldest first, without secrets; ``method`` and ``path`` may hold ``*``.

        Each has time, method, path, query, json, status, auth, user_id, tokens, fault.
        """
        found = self.control.requests()
        return [seen for seen in found if fnmatchcase(seen["method"], method) and fnmatchcase(seen["path"], path)]

    def seed(self, count: int, **options: Any) -> None:
        """Add invented leads: seed=, until= (ISO time), spread= (seconds before it), archived= (share from 0 to 1)."""
        self.control.leads(count, **options)

    def fail(self, method: str, path: str, kind: str = "status", *, times: int = 1, **options: Any) -> None:
        """Let the next ``times`` matching calls fail: by status 500 unless status= says otherwise, or by another kind.

        Kinds and their options: see :meth:`SandboxControl.fault`.
        """
        self.control.fault(method, path, kind, times=times, **options)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", f"{MARKER}({', '.join(OPTIONS)}): how the fixture {MARKER} starts its local Pipedrive"
    )


@pytest.fixture
def pipedrive_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipedriveSandbox]:
    """A local Pipedrive for this test, behind the Airflow connection ``pipedrive_default``.

    It has no leads unless ``@pytest.mark.pipedrive_sandbox(leads=20)`` says otherwise; the marker's other options are
    those of ``pipedrive-sandbox --help``, and ``conn_id``.
    """
    from airflow_provider_pipedrive_leads.sandbox.server import Sandbox  # noqa: PLC0415 - heavy, and only needed here

    options = _options(request.node)
    conn_id = options.pop("conn_id", DEFAULT_CONNECTION)
    with Sandbox(**options) as sandbox:
        running = PipedriveSandbox(sandbox)
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", running.connection_json)
        for variable in ("no_proxy", "NO_PROXY"):  # a proxy on the way to the internet cannot reach this machine
            monkeypatch.setenv(variable, "127.0.0.1", prepend=",")
        yield running


def _options(test: pytest.Item) -> dict[str, Any]:
    """The options of all markers upon a test, the nearest winning."""
    options: dict[str, Any] = {}
    for mark in reversed(list(test.iter_markers(MARKER))):
        unknown = [name for name in mark.kwargs if name not in OPTIONS]
        if mark.args or unknown:
            given = ", ".join([*map(repr, mark.args), *unknown])
            pytest.fail(f"@pytest.mark.{MARKER} takes {', '.join(OPTIONS)}, by name; not {given}", pytrace=False)
        options.update(mark.kwargs)
    return options
