"""429s over HTTP, from a server that says more, or less, than Pipedrive does. The client's time is the test's own."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError, PipedriveRateLimitError
from airflow_provider_pipedrive_leads.api.pacing import LEAST_ALLOWED, WINDOW_SECONDS
from airflow_provider_pipedrive_leads.api.retries import MOST_REPEATS
from airflow_provider_pipedrive_leads.client import PipedriveClient

pytestmark = pytest.mark.slow

MOST_SLEEPS = 20_000
"""Without a call between them: who sleeps so often waits for what never comes."""
PLENTY = {"x-daily-ratelimit-token-remaining": "100000"}


class VirtualTime:
    """A clock that jumps when the client sleeps, and when the server takes its time."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.sleeps += 1
        if self.sleeps > MOST_SLEEPS:
            raise AssertionError("It waits for ever.")


class Handler(BaseHTTPRequestHandler):
    """Answers each call as the test says."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body: two wait for each other

    def do_GET(self):
        seconds, status, headers = self.server.answer(len(self.server.calls))
        self.server.calls.append(self.server.virtual_time.now)
        self.server.virtual_time.now += seconds
        self.server.virtual_time.sleeps = 0
        body = json.dumps({"success": status == 200, "data": [], "error": "request over limit"}).encode()
        self.send_response_only(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def telling(answer, **extra):
    """Serve, and give a client of it with the server.

    :param answer: gives for the number of calls before how long one takes, its status and its headers.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.answer, server.calls, server.virtual_time = answer, [], VirtualTime()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    settings = read_connection(password="0" * 40, extra={"base_url": url, **extra})
    client = PipedriveClient(
        settings, clock=server.virtual_time.clock, sleep=server.virtual_time.sleep, chance=lambda: 0.0
    )
    try:
        yield client, server
    finally:
        client.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("seconds", [2.1, 2.3, 2.5, 29.0])
def test_slow_calls_beside_others_never_stop(seconds):
    """Others on the token leave five places of twenty, and no call takes less than a window."""
    headers = {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "5"}
    with telling(lambda _: (seconds, 200, headers)) as (client, server):
        for _ in range(20):
            client.get_lead_sources()
    assert len(server.calls) == 20


@pytest.mark.parametrize("told", ["by the 429s", "by an earlier reply"])
def test_a_storm_with_tokens_left_is_no_spent_day(told):
    def answer(before):
        if not before:
            return 0.1, 200, PLENTY
        return 0.1, 429, PLENTY if told == "by the 429s" else {}

    with telling(answer) as (client, server):
        client.get_lead_sources()
        with pytest.raises(PipedriveRateLimitError) as raised:
            client.get_lead_sources()
    assert raised.value.retry_after == WINDOW_SECONDS
    assert len(server.calls) == 2 + MOST_REPEATS


@pytest.mark.parametrize("left", [None, "19"])
def test_a_storm_without_a_word_of_the_day_may_be_its_end(left):
    headers = {} if left is None else {"x-daily-ratelimit-token-remaining": left}
    with telling(lambda _: (0.1, 429, headers)) as (client, server), pytest.raises(PipedriveDailyBudgetError):
        next(iter(client.get_leads()))
    assert len(server.calls) == (1 + MOST_REPEATS if left is None else 1)


@pytest.mark.parametrize("asked", ["3600", "1e12", "1e300", "1767225600"])
def test_a_long_wait_with_tokens_left_is_left_to_the_task(asked):
    headers = {**PLENTY, "Retry-After": asked}
    with telling(lambda _: (0.1, 429, headers)) as (client, server), pytest.raises(PipedriveRateLimitError) as raised:
        client.get_lead_sources()
    assert raised.value.retry_after == (3600 if asked == "3600" else WINDOW_SECONDS)
    assert len(server.calls) == (1 if asked == "3600" else 1 + MOST_REPEATS)


def test_a_moment_for_the_next_window_is_waited_for():
    """A gateway that puts seconds since 1970 where Pipedrive puts seconds from now."""
    headers = {"x-ratelimit-reset": "1772359205", "Date": "Sun, 01 Mar 2026 10:00:00 GMT"}
    with telling(lambda before: (0.0, 200 if before else 429, headers)) as (client, server):
        client.get_lead_sources()
    first, second = server.calls
    assert second - first == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(("limit", "calls"), [(120, 120), (None, LEAST_ALLOWED)])
def test_without_rate_headers_a_window_holds_what_the_connection_says(limit, calls):
    extra = {} if limit is None else {"burst_limit": limit}
    with telling(lambda _: (0.0, 200, {}), **extra) as (client, server):
        for _ in range(400):
            client.get_lead_sources()
    last = server.calls[-1]
    assert sum(moment > last - WINDOW_SECONDS for moment in server.calls) <= calls
    fullest = max(sum(first <= moment < first + WINDOW_SECONDS for moment in server.calls) for first in server.calls)
    assert fullest == calls
