"""One Pipedrive account, called with an API token: slowly, a counted number of times, and without telling the token."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import requests

from airflow_provider_pipedrive_leads.api.connection import ApiToken, ConnectionSettings, is_loopback
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.gate import canonical_path, find_endpoint

Found = TypeVar("Found")
MOST_CALLS = 600
MOST_TOKENS = 6_000
"""API tokens that a run costs at most, sweeping included; the smallest account has 30,000 a day."""
KEPT_FOR_CLEANING = 0.3
"""The share of both that only cleaning may spend."""
DEAREST_CALL = 40
GAP = 0.125
"""Seconds between two calls: 16 in the two seconds in which the smallest plan allows 20."""
MOST_REPEATS = 3
BURST_OVER = 2.5
ANOTHER_SECOND = 1.1


class SpentError(AssertionError):
    """The run has made all the calls that it may make."""


class Account:
    """Calls the account behind checked settings.

    :ivar local: whether it is the local Pipedrive, whose clock is moved wherever a real account is waited for.
    :ivar cleaning: whether the calls that are kept for cleaning may be spent.
    :ivar measured: sentences about what was measured, for the report.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.url = settings.base_url
        self.local = is_loopback(re.sub(r"^https?://|:\d+$", "", self.url))
        self.cleaning = False
        self.calls = 0
        self.tokens = 0
        self.user: dict[str, Any] = {}
        self.measured: list[str] = []
        self._lock = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = not self.local

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send one call, after a pause; again after a 429.

        :raises AssertionError: no answer came. It names the call and the kind of the failure, nothing else.
        """
        for attempt in range(MOST_REPEATS + 1):
            if not self.local:
                time.sleep(GAP)  # real time: of the account
            reply = self._send(method, path, **more)
            if reply.status_code != 429 or attempt == MOST_REPEATS:
                break
            self.rest()
        return reply

    def get(self, path: str, **params: Any) -> requests.Response:
        """Ask for something."""
        return self.call("GET", path, params=params)

    def post(self, path: str, **body: Any) -> requests.Response:
        """Make something."""
        return self.call("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> requests.Response:
        """Change something."""
        return self.call("PATCH", path, json=body)

    def data(self, path: str, **params: Any) -> Any:
        """What is there, whatever an empty list looks like."""
        reply = expect(self.get(path, **params), 200)
        data = reply.json()["data"]
        return [] if data is None else data

    def without_login(self, path: str, headers: dict[str, str]) -> requests.Response:
        """Ask with other headers instead of the token."""
        return self._send("GET", path, login=headers)

    def volley(self, path: str, count: int, **params: Any) -> list[requests.Response]:
        """Ask many times at once, without pauses or repeats, and rest afterwards."""
        with ThreadPoolExecutor(count) as threads:
            replies = list(threads.map(lambda _: self._send("GET", path, params=params), range(count)))
        self.rest()
        return replies

    def rest(self) -> None:
        """Wait until the window of a burst is over."""
        self.wait(BURST_OVER)

    def let_time_pass(self) -> None:
        """Wait so long that what comes next has another time, were it in whole seconds."""
        self.wait(ANOTHER_SECOND)

    def wait(self, seconds: float) -> None:
        """Let so much of the account's time pass."""
        if self.local:
            SandboxControl(self.url).advance(seconds)
        else:
            time.sleep(seconds)  # real time: of the account

    def look_until(self, what: str, look: Callable[[], Found], waits: Sequence[float]) -> Found:
        """Look until there is something to see, and note for the report how long that took.

        :param what: that it is about, as the beginning of a sentence.
        :param waits: seconds between one look and the next; how long the looks take does not count.
        :raises AssertionError: there is nothing after all of them.
        """
        began = self._clock()
        for seconds in waits:
            if found := look():
                self.measured.append(f"{what} after {self._clock() - began:.1f} s.")
                return found
            self.wait(seconds)
        raise AssertionError(f"{what}: not within {sum(waits)} s")

    def _clock(self) -> float:
        if self.local:
            return datetime.fromisoformat(SandboxControl(self.url).now()).timestamp()
        return time.monotonic()  # real time: for the report alone

    def _send(self, method: str, path: str, login: dict[str, str] | None = None, **more: Any) -> requests.Response:
        self._count(method, path)
        try:
            return self._session.request(
                method,
                self.url + path,
                headers=self._login() if login is None else login,
                timeout=30,
                allow_redirects=False,
                **more,
            )
        except requests.RequestException as error:
            failure = type(error).__name__
        raise AssertionError(f"{method} {path}: no answer ({failure})")

    def _login(self) -> dict[str, str]:
        assert isinstance(self.settings.login, ApiToken)
        return {"x-api-token": self.settings.login.token.reveal}

    def _count(self, method: str, path: str) -> None:
        endpoint, _ = find_endpoint(method, canonical_path(path, "served"))
        share = 1 if self.cleaning else 1 - KEPT_FOR_CLEANING
        with self._lock:
            self.calls += 1
            self.tokens += endpoint.cost if endpoint else DEAREST_CALL
            if self.calls > MOST_CALLS * share or self.tokens > MOST_TOKENS * share:
                raise SpentError(f"{self.calls} calls and {self.tokens} API tokens are as much as a run may spend")


def expect(reply: requests.Response, *statuses: int) -> requests.Response:
    """The reply, if it has one of these statuses.

    :raises AssertionError: it has not; with the method, the path and the account's words.
    """
    if reply.status_code not in statuses:
        call = f"{reply.request.method} {reply.request.path_url.partition('?')[0]}"
        raise AssertionError(
            f"{call}: {reply.status_code} instead of {' or '.join(map(str, statuses))}; {words(reply)}"
        )
    return reply


def words(reply: requests.Response) -> str:
    """What a refusal says, in one short line."""
    return " ".join(reply.text.split())[:200]


def rows(reply: requests.Response) -> list[dict[str, Any]]:
    """The rows of a list, whatever an empty one looks like."""
    return expect(reply, 200).json()["data"] or []


def page_of(reply: requests.Response) -> dict[str, Any]:
    """The page object of a v1 list, nested or flat."""
    additional = expect(reply, 200).json()["additional_data"]
    return additional.get("pagination", additional)
