"""A task that is stopped stops its threads: the call is over within 5 seconds, and so is every thread it had begun.

The exception comes as Airflow raises one at the end of ``execution_timeout``: in the main thread, by a signal.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads import client as client_module
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import ContactsOfLeads
from airflow_provider_pipedrive_leads.leads.reading.export import Window, deliver, export_leads
from airflow_provider_pipedrive_leads.leads.reading.pages import AS_GIVEN, LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import BY_CHANGE, Question
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

SECONDS_TO_STOP = 5.0
SECONDS_BEFORE = 0.5
"""After which the exception comes: long enough for the calls to be where the test wants them."""
TIMEOUT = 60.0
"""Of the connection: longer than anything here lasts."""
OURS = ("pipedrive-pages", "pipedrive-contacts")
LEADS = 1_200
EXPECTED = 5_000
"""More than there are, so that many pages are asked for at once."""
SEVERAL, MANY = 3, 8
LONG_BACKOFF = 60.0
"""In place of a number below 1, so that a call waits half a minute for its second try."""


class StoppedError(BaseException):
    """What Airflow's ``AirflowTaskTimeout`` is: no ``Exception``, so that nobody catches it by the way."""


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Raise in the main thread after some seconds."""

    def stop(*_: object) -> None:
        raise StoppedError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(OURS)}


def stop(call: Callable[[], object], after: float = SECONDS_BEFORE) -> list[str]:
    """Stop a call, see that it and its threads end soon, and give the threads that it had when it was stopped."""
    before, there = our_threads(), set[threading.Thread]()
    watch = threading.Timer(after * 0.9, lambda: there.update(our_threads() - before))
    watch.start()
    started = time.monotonic()
    with pytest.raises(StoppedError), stopped_after(after):
        call()
    stopped = started + after
    assert time.monotonic() - stopped < SECONDS_TO_STOP
    while our_threads() - before and time.monotonic() - stopped < SECONDS_TO_STOP:
        time.sleep(0.02)
    assert our_threads() - before == set()
    watch.join()
    return [thread.name for thread in there]


@pytest.fixture(autouse=True)
def windows_of_their_own():
    """No test waits for the calls of another."""
    client_module._paces.clear()
    yield
    client_module._paces.clear()


@pytest.fixture
def sandbox():
    with Sandbox(leads=LEADS, seed=5) as running:
        yield running


@pytest.fixture
def client(sandbox):
    made = client_of(sandbox.url, sandbox.token)
    yield made
    made.close()


def client_of(url: str, token: str = "x", chance: float = 0.0) -> PipedriveClient:
    """A client that waits for replies longer than anything here lasts."""
    settings = read_connection(password=token, extra={"base_url": url, "timeout": TIMEOUT})
    return PipedriveClient(settings, chance=lambda: chance)


def read(client: PipedriveClient) -> None:
    """Read pages, several at once as soon as calls take some time."""
    selection = Selection(archived="exclude")
    deliver(client, selection, AS_GIVEN, lambda leads: None, Window(expected=EXPECTED))


def read_slowly_once(sandbox: Sandbox, client: PipedriveClient) -> None:
    """Let a client know that calls take their time, so that it has several under way from now on."""
    sandbox.control.set_delay("reply", 0.15)
    read(client)
    sandbox.control.set_delay("reply", 0.0)


@pytest.mark.parametrize("kind", ["delay", "slow_body"])
def test_slow_replies_are_not_waited_for(sandbox, client, kind):
    read_slowly_once(sandbox, client)
    sandbox.control.fault("GET", "/v1/leads", kind, times=100, seconds=20)
    assert len(stop(lambda: read(client))) >= SEVERAL


def ask_for_pages(client: PipedriveClient) -> None:
    """Ask for many pages at once, and wait for them."""
    with LeadPages(client, Selection().filters()) as pages:
        concurrent.futures.wait(
            [pages.ask(BY_CHANGE, Question(None, start), 9, archived=False) for start in range(MANY)]
        )


def test_calls_do_not_wait_for_the_burst_window(sandbox, client):
    sandbox.control.set_burst(calls=1)
    client.get_current_user()
    assert len(stop(lambda: ask_for_pages(client))) == MANY
    assert client.usage.rate_limited == 0


def test_calls_do_not_wait_for_a_window_that_a_429_closed(sandbox, client):
    sandbox.control.fault("GET", "/v1/leads", "status", times=100, status=429, retry_after=30)
    assert len(stop(lambda: ask_for_pages(client))) == MANY


def test_calls_do_not_wait_for_their_next_try(sandbox):
    client = client_of(sandbox.url, sandbox.token, chance=LONG_BACKOFF)
    client.get_current_user()
    sandbox.control.fault("GET", "/v1/leads", "status", times=100, status=503, retry_after=30)
    assert len(stop(lambda: ask_for_pages(client))) == MANY
    assert client.usage.requests == MANY + 1
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


def test_a_server_that_lets_nobody_in_is_not_waited_for(silent_server):
    client = client_of(silent_server)
    assert stop(lambda: read(client))
    client.close()


@pytest.mark.parametrize("slow", ["/v1/leads", "/v1/leadFields"])
def test_a_stopped_export_is_over_and_leaves_nothing(sandbox, client, tmp_path: Path, slow):
    sandbox.control.fault("GET", slow, "delay", times=100, seconds=20)
    stop(lambda: export_leads(client, Selection(), UPath(tmp_path / "leads.csv")))
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_look_up_of_contacts_is_over(sandbox, client):
    leads = [SimpleNamespace(person_id=number) for number in range(1, 500)]
    sandbox.control.fault("GET", "*persons*", "delay", times=100, seconds=20)

    def look_up() -> None:
        with ContactsOfLeads(client, ["person"]) as contacts:
            contacts.look_up(leads)

    assert stop(look_up)
