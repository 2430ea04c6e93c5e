"""``pipedrive-sandbox`` as a process: start-up lines, clean end, a state that survives a kill."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.cli import main
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl

COMMAND = (sys.executable, "-m", "airflow_provider_pipedrive_leads.sandbox.cli")


class Running:
    """A sandbox process that has begun to listen."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen((*COMMAND, *arguments), stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Listening on "):
                break
        self.url = self.lines[-1].removeprefix("Listening on ")
        exported = next(line for line in self.lines if line.startswith("export "))
        self.connection: dict[str, Any] = json.loads(shlex.split(exported)[1].partition("=")[2])
        self.control = SandboxControl(self.url)

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"x-api-token": self.connection["password"]}
        return requests.request(method, self.url + path, headers=headers, **more)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait()


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(*arguments: str) -> Running:
        running.append(Running(*arguments))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        assert each.process.stdout
        each.process.stdout.close()


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Give this process its signals back, which the command takes over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_ends_cleanly(run: Callable[..., Running], number: int) -> None:
    running = run("--leads", "7", "--token", "a" * 40)
    assert re.fullmatch(r"Listening on http://127\.0\.0\.1:\d+", running.lines[-1])
    assert running.connection == {"conn_type": "pipedrive", "password": "a" * 40, "extra": {"base_url": running.url}}
    assert running.call("GET", "/v1/users/me").status_code == 200
    assert running.control.lead_count() == 7
    assert running.end(number) == 0


def test_a_state_file_survives_a_kill(run: Callable[..., Running], tmp_path: Path) -> None:
    state = str(tmp_path / "state.sqlite")
    first = run("--leads", "20", "--state", state)
    first.control.freeze()  # the conversion is under way when it is killed, however long that takes
    lead = first.call("POST", "/v1/leads", json={"title": "Kept", "person_id": 1}).json()["data"]
    first.control.set_delay("conversion", 1)
    other = first.call("POST", "/v1/leads", json={"title": "Converted", "person_id": 1}).json()["data"]
    begun = first.call("POST", f"/api/v2/leads/{other['id']}/convert/deal", json={}).json()["data"]
    first.end(signal.SIGKILL)
    second = run("--leads", "20", "--state", state)
    assert second.call("GET", f"/v1/leads/{lead['id']}").json()["data"] == lead
    second.control.advance(5)
    assert second.control.lead_count() == 21
    status = second.call("GET", f"/api/v2/leads/{other['id']}/convert/status/{begun['conversion_id']}")
    assert status.json()["data"]["status"] == "completed"
    newer = second.call("POST", "/v1/leads", json={"title": "New", "person_id": 1}).json()["data"]
    assert newer["id"] not in {lead["id"], other["id"]}


def test_options_reach_the_sandbox(run: Callable[..., Running]) -> None:
    running = run(
        *("--plan", "lite", "--seats", "2", "--profile", "contrary", "--choice", "rate_headers=present", "--seed", "3")
    )
    reply = running.call("POST", "/v1/leads", json={"title": "x", "person_id": 1})
    assert reply.status_code == 200
    assert reply.headers["x-daily-ratelimit-token-limit"] == "60000"


@pytest.mark.parametrize(
    "arguments",
    [["--host", "0.0.0.0"], ["--host", "example.com"], ["--choice", "x"], ["--plan", "free"], ["--profile", "odd"]],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[1] in capsys.readouterr().err


@pytest.mark.usefixtures("own_signals")
def test_an_unknown_choice_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--choice", "colour=red"]) == 2
    assert "colour" in capsys.readouterr().err


def test_help_tells_every_choice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "archived_lead_edit = 400 | 403 | 409" in out
    assert "--state" in out
