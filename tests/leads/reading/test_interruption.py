"""A task that is stopped stops its threads, whatever they wait for: here for what would never come."""

from __future__ import annotations

import contextlib
import math
import secrets
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3
from upath import UPath

from airflow_provider_pipedrive_leads import client as client_module
from airflow_provider_pipedrive_leads import open_connections
from airflow_provider_pipedrive_leads.api import retries
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveConnectionError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import ContactsOfLeads
from airflow_provider_pipedrive_leads.leads.reading.export import Window, deliver, export_leads
from airflow_provider_pipedrive_leads.leads.reading.pages import AS_GIVEN, LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import BY_CHANGE, Page, Question
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.leads.stops import stop
from tests.until import until

pytestmark = pytest.mark.slow

SECONDS_TO_STOP = 5.0
"""What a task has that is stopped."""
TIMEOUT, DAYS, AN_HOUR = 600, 1e6, 3_600
"""Seconds of the connection, the most that it takes, and of other waits: longer than any test lasts."""
LEADS = 10
EXPECTED = 5_000
"""More leads than there are, so that many pages are asked for at once."""
SEVERAL, MANY = 3, 8


class EagerClient(PipedriveClient):
    """Finds several calls worth having under way from the first on, as if it knew that they take long."""

    def calls_ahead(self) -> int:
        return SEVERAL


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(leads=LEADS, seed=5, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[PipedriveClient]:
    made = client_of(sandbox.url, sandbox.token)
    yield made
    made.close()


def client_of(url: str, token: str = "x", chance: float = 0.0) -> PipedriveClient:
    """A client that waits long for replies, and for whose windows time stands still."""
    settings = read_connection(password=token, extra={"base_url": url, "timeout": TIMEOUT})
    return EagerClient(settings, clock=lambda: 0.0, chance=lambda: chance)


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> dict[threading.Thread, float]:
    """The longest nap so far of each thread that a client let sleep."""
    longest: dict[threading.Thread, float] = {}
    real = client_module.time  # real time: the naps last as long as they like, the clocks of clients stand still

    def sleep(seconds: float) -> None:
        thread = threading.current_thread()
        longest[thread] = max(seconds, longest.get(thread, 0.0))
        real.sleep(seconds)

    monkeypatch.setattr(client_module, "time", SimpleNamespace(sleep=sleep, monotonic=real.monotonic))
    return longest


def read(client: PipedriveClient) -> None:
    """Read pages, several at once."""
    selection = Selection(archived="exclude")
    deliver(client, selection, AS_GIVEN, lambda leads: None, Window(expected=EXPECTED))


@pytest.mark.parametrize("kind", ["hold", "slow_body"])
def test_slow_replies_are_not_waited_for(sandbox, client, kind):
    client.get_current_user()  # the first call goes alone
    sandbox.control.fault("GET", "/v1/leads", kind, times=100, seconds=AN_HOUR)
    assert len(stop(lambda: read(client), lambda: sandbox.control.counters()["in_flight"] >= SEVERAL)) >= SEVERAL


class Asked(list[Future[Page]]):
    """Many pages, asked for at once."""

    def ask(self, client: PipedriveClient) -> None:
        """Ask for them, and wait for them."""
        with LeadPages(client, Selection().filters()) as pages:
            for start in range(MANY):
                self.append(pages.ask(BY_CHANGE, Question(None, start), 9, archived=False))
            for page in self:
                page.result()

    def assert_broken_off(self) -> None:
        """None came to its end by itself."""
        assert len(self) == MANY
        for page in self:
            assert isinstance(page.exception(), PipedriveConnectionError)
            assert "was broken off" in str(page.exception())


def test_calls_do_not_wait_for_the_burst_window(sandbox, client, naps):
    sandbox.control.set_burst(calls=1)
    client.get_current_user()
    asked = Asked()
    stop(lambda: asked.ask(client), lambda: len(asked) == len(naps) == MANY)
    asked.assert_broken_off()
    assert client.usage.rate_limited == 0
    assert max(naps.values()) < SECONDS_TO_STOP


def test_calls_do_not_wait_for_a_window_that_a_429_closed(sandbox, client, naps):
    sandbox.control.fault("GET", "/v1/leads", "status", times=100, status=429, retry_after=30)
    asked = Asked()
    stop(lambda: asked.ask(client), lambda: client.usage.rate_limited and len(asked) == len(naps) == MANY)
    asked.assert_broken_off()
    assert max(naps.values()) < SECONDS_TO_STOP


def test_calls_do_not_wait_for_their_next_try(sandbox, naps, monkeypatch):
    monkeypatch.setattr(retries, "LONGEST_TOTAL_SECONDS", math.inf)
    client = client_of(sandbox.url, sandbox.token, chance=DAYS)
    client.get_current_user()
    sandbox.control.fault("GET", "/v1/leads", "status", times=100, status=503)
    asked = Asked()
    stop(lambda: asked.ask(client), lambda: client.usage.requests == MANY + 1 and len(asked) == len(naps) == MANY)
    asked.assert_broken_off()
    assert client.usage.requests == MANY + 1
    assert max(naps.values()) < SECONDS_TO_STOP
    client.close()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that lets nobody in: its queue of newcomers is full, so that connecting takes forever."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_lets_nobody_in_is_not_waited_for(silent_server, monkeypatch):
    """What cannot be broken off ends in time by itself, and is not begun again."""
    assert open_connections.CONNECT_TIMEOUT < SECONDS_TO_STOP
    monkeypatch.setattr(open_connections, "CONNECT_TIMEOUT", 0.1)
    client, asked, tries = client_of(silent_server), Asked(), []
    connect = urllib3.util.connection.create_connection

    def connect_slowly(address, timeout, **options):
        tries.append(timeout)
        until(lambda: client._connections.closed_for_good)
        return connect(address, timeout, **options)

    monkeypatch.setattr(urllib3.util.connection, "create_connection", connect_slowly)
    stop(lambda: asked.ask(client), lambda: tries and len(asked) == MANY)
    asked.assert_broken_off()
    assert tries == [0.1]
    client.close()


@pytest.mark.parametrize("slow", ["/v1/leads", "/v1/leadFields"])
def test_a_stopped_export_is_over_and_leaves_nothing(sandbox, client, tmp_path: Path, slow):
    sandbox.control.fault("GET", slow, "hold", times=100)
    stop(lambda: export_leads(client, Selection(), UPath(tmp_path / "leads.csv")), sandbox.control.held)
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_look_up_of_contacts_is_over(sandbox, client):
    leads = [SimpleNamespace(person_id=number) for number in range(1, 500)]
    sandbox.control.fault("GET", "*persons*", "hold", times=100)

    def look_up() -> None:
        with ContactsOfLeads(client, ["person"]) as contacts:
            contacts.look_up(leads)

    assert stop(look_up, sandbox.control.held)
