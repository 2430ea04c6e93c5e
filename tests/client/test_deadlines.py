"""A call has one deadline, whatever the server keeps sending: from the connection to the last byte, for logins too."""

from __future__ import annotations

import itertools
import socket
import threading

import pytest

from airflow_provider_pipedrive_leads import open_connections
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.deadlines import Deadline, Watchdog
from airflow_provider_pipedrive_leads.exceptions import PipedriveConnectionError
from tests.client.raw_server import JSON_200, raw_server
from tests.until import until

pytestmark = pytest.mark.slow

TIMEOUT = 600
"""Seconds: it never passes here, for the test ends deadlines by hand once the server drips."""
CHUNKED = JSON_200 + b"transfer-encoding: chunked\r\n\r\n"
LETTERS = itertools.repeat(b"a")
DRIPS = {
    "status line": (b"HTTP/1.1 200 ", LETTERS),
    "header value": (JSON_200 + b"x-long: ", LETTERS),
    "headers": (JSON_200, (b"x-%d: a\r\n" % number for number in itertools.count())),
    "100 Continue": (b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "body of known length": (JSON_200 + b"content-length: 100000000\r\n\r\n", itertools.repeat(b" ")),
    "body until the end": (JSON_200 + b"connection: close\r\n\r\n", itertools.repeat(b" ")),
    "chunks": (CHUNKED, itertools.repeat(b"1\r\n \r\n")),
    "chunk size": (CHUNKED, itertools.repeat(b"0")),
    "chunk extension": (CHUNKED + b"1;", LETTERS),
    "trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nx-end: ", LETTERS),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", itertools.repeat(b"x-end: a\r\n")),
    "packed": (JSON_200 + b"content-encoding: gzip\r\n\r\n", itertools.repeat(b"\0\0\0\xff\xff")),
}


def dripping(name):
    head, pieces = DRIPS[name]

    def answer(server, connection):
        connection.sendall(head)
        server.drip(connection, pieces)

    return answer


@pytest.fixture
def deadlines(monkeypatch):
    """All deadlines there are, and nobody but the test who ends them."""
    known = []

    class ByHand:
        def watch(self, deadline):
            known.append(deadline)

        def end_all(self):
            for deadline in known:
                deadline.end()

    by_hand = ByHand()
    monkeypatch.setattr(open_connections, "watchdog", by_hand)
    return by_hand


def client_of(url, **login):
    extra = {"base_url": url, "timeout": TIMEOUT, **login}
    password = None if login else "t" * 40
    return PipedriveClient(read_connection(password=password, extra=extra), chance=lambda: 0.0)


@pytest.mark.parametrize("name", DRIPS)
def test_a_server_that_drips_for_ever_is_given_up(name, deadlines):
    with raw_server(dripping(name)) as server:
        server.when_dripping = deadlines.end_all
        client = client_of(server.url)
        with pytest.raises(PipedriveConnectionError, match=r"within 600 s") as raised:
            client.add_lead_label("Slow", "blue")
        assert raised.value.in_doubt
        assert len(server.requests) == 1
        client.close()


@pytest.mark.parametrize("name", DRIPS)
def test_a_token_server_that_drips_for_ever_holds_nobody_up(name, no_waiting, deadlines):
    """Two threads: the second one waits for the first one's lock."""
    with raw_server(dripping(name)) as server:
        server.when_dripping = deadlines.end_all
        client = client_of(server.url, client_id="app", client_secret="kept", refresh_token="kept-too")
        failures = []

        def call():
            try:
                client.get_current_user()
            except PipedriveConnectionError as error:
                failures.append(error.path)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == ["/oauth/token"] * 2
        client.close()


def test_tls_that_never_comes_about_is_given_up_and_leaves_no_doubt(deadlines, monkeypatch, no_waiting):
    monkeypatch.setattr(open_connections, "CONNECT_TIMEOUT", TIMEOUT)

    def never(server, connection):
        server.drip(connection, itertools.chain([b"\x16\x03\x03\x3f\xff"], itertools.repeat(b"\x02")))

    with raw_server(never) as server:
        server.when_dripping = deadlines.end_all
        client = client_of(server.url.replace("http://", "https://"))
        with pytest.raises(PipedriveConnectionError, match=r"within 600 s") as raised:
            client.get_current_user()
        assert not raised.value.in_doubt
        client.close()


def test_an_interrupted_call_ends_though_its_server_closes_no_connection():
    """With ``Connection: close`` the socket has left its connection before the body is read."""
    with raw_server(dripping("body until the end")) as server:
        client = client_of(server.url)
        failures = []

        def call():
            try:
                client.get_current_user()
            except PipedriveConnectionError as error:
                failures.append(str(error))

        calling = threading.Thread(target=call)
        calling.start()
        until(lambda: server.requests)
        client.interrupt()
        calling.join()
        assert len(failures) == 1


def test_a_deadline_that_is_met_shuts_nothing_down():
    one, other = socket.socketpair()
    with one, other:
        deadline = Deadline(600)
        deadline.hold(one)
        deadline.meet()
        deadline.end()
        one.sendall(b"alive")
        assert other.recv(5) == b"alive"
        assert not deadline.over


def test_deadlines_end_in_their_order_whatever_order_they_came_in():
    ended = []

    class Noted(Deadline):
        def end(self):
            ended.append(self.name)

    watchdog = Watchdog()
    with watchdog._changed:  # none ends before all are there
        for name, seconds in (("last", 0.2), ("first", 0.0), ("second", 0.1)):
            deadline = Noted(seconds)
            deadline.name = name
            watchdog.watch(deadline)
    until(lambda: len(ended) == 3)
    assert ended == ["first", "second", "last"]


def test_the_thread_of_deadlines_ends_with_the_last_of_them():
    watchdog = Watchdog()
    deadline = Deadline(0.0)
    watchdog.watch(deadline)
    until(lambda: deadline.over and not watchdog.running)
    again = Deadline(0.0)
    watchdog.watch(again)
    until(lambda: again.over)
