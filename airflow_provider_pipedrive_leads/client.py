"""Floor 2: the one place that sends.

``PipedriveClient`` puts the login on a call, keeps the burst window, repeats what is safe to repeat, and turns
replies into values or typed errors. It needs no Airflow.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import closing
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec
import requests  # noqa: TID253 - this module is itself imported only when the first call is made
import urllib3

from airflow_provider_pipedrive_leads.api.budget import SMALLEST_DAY, DailyBudget, Usage
from airflow_provider_pipedrive_leads.api.connection import ApiToken, Secret
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    error_from_reply,
)
from airflow_provider_pipedrive_leads.api.oauth import fingerprint
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.api.pacing import SEARCHES_ALLOWED, BurstWindow
from airflow_provider_pipedrive_leads.api.replies import Reply, reply_from, server_time
from airflow_provider_pipedrive_leads.api.retries import MOST_REPEATS, as_day_spent, seconds_before_repeat
from airflow_provider_pipedrive_leads.login import login_for
from airflow_provider_pipedrive_leads.open_connections import OpenConnections, is_certificate_error, was_never_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings
    from airflow_provider_pipedrive_leads.api.endpoints import Call
    from airflow_provider_pipedrive_leads.login import TokenStore

log = logging.getLogger(__name__)

LARGEST_REPLY = 64 * 1024 * 1024
"""Bytes; a page of 500 leads is about one megabyte."""
CHUNK = 256 * 1024
"""Bytes read at once at most: after each read a thread waits for its turn among those that make rows."""
LONGEST_NAP = 1.0
"""Seconds after which a sleeping call looks whether it was interrupted."""
LONGEST_STANDSTILL = 10.0
"""Seconds for which one 429 holds up the other calls of this process."""
HEADERS = {
    "Accept-Encoding": requests.utils.default_headers()["Accept-Encoding"],
    "Accept": "application/json",
}


class _Pace:
    """The burst windows that every client of one token in this process shares."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all_calls = BurstWindow()
        self.searches = BurstWindow(SEARCHES_ALLOWED, share=SEARCHES_ALLOWED)

    def windows(self, call: Call) -> tuple[BurstWindow, ...]:
        return (self.all_calls, self.searches) if call.search else (self.all_calls,)


_paces: dict[str, _Pace] = {}
_paces_lock = threading.Lock()


def account_of(settings: ConnectionSettings) -> str:
    """Name the account behind a connection without giving its login away: the same for the same server and login."""
    login = settings.login
    secret = login.token if isinstance(login, ApiToken) else login.refresh_token
    return fingerprint(Secret(f"{settings.base_url} {secret.reveal}"))


def _shared_pace(settings: ConnectionSettings) -> _Pace:
    with _paces_lock:
        pace = _paces.setdefault(account_of(settings), _Pace())
    with pace.lock:
        pace.all_calls.limit = settings.burst_limit or pace.all_calls.limit
    return pace


class Account(NamedTuple):
    """What it takes to make clients for an account; it may be shared, while each client is closed by its owner.

    :param settings: from :func:`api.connection.read_connection`.
    :param token_store: where OAuth tokens are kept; default: in memory of each client.
    """

    settings: ConnectionSettings
    token_store: TokenStore | None = None

    def connect(self) -> PipedriveClient:
        """Make a client."""
        return PipedriveClient(self.settings, token_store=self.token_store)


class PipedriveClient(LeadsApi):
    """The leads API of one company. Safe to use from many threads.

    :param settings: from :func:`api.connection.read_connection`.
    :param token_store: where OAuth tokens are kept; default: in memory.
    :param clock: seconds that only grow; default: the machine's.
    :param sleep: waits so many seconds; default: really.
    :param chance: a random number in [0, 1), for jitter.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        token_store: TokenStore | None = None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._usage = Usage()
        self._clock = clock or time.monotonic
        self._sleep = sleep or self._nap
        self._chance = chance
        self._usage_lock = threading.Lock()
        self._day = DailyBudget()
        self._warned = False
        self._pace = _shared_pace(settings)
        self._connections = OpenConnections()
        self._login = login_for(settings, self._connections, token_store)

    @property
    def usage(self) -> Usage:
        """What this client has used so far."""
        return self._usage

    def close(self) -> None:
        """Give the sockets back."""
        self._connections.close()

    def calls_ahead(self) -> int:
        """How many calls are worth having under way at once, by latency and burst window."""
        with self._pace.lock:
            return self._pace.all_calls.calls_ahead()

    def interrupt(self) -> None:
        """End all calls under way and refuse later ones: they raise :class:`PipedriveConnectionError`.

        For threads that would otherwise go on after their task was stopped.
        """
        self._connections.shut_down()

    def send(self, call: Call) -> Reply:
        """Send a call, within the windows and with repeats where they are safe.

        :raises PipedriveError: the typed error of the last try.
        """
        started = self._clock()
        repeats = rejections = 0
        doubted = renewed = False
        header: Mapping[str, Secret] = {}
        stale: Mapping[str, Secret] = {}
        while True:
            self._check_interrupted(call)
            try:
                if stale:
                    self._login.renew(stale)
                    stale = {}
                server, header = self._login.sign()
                return self._send_once(call, server, header, repeat=repeats > 0)
            except PipedriveNotFoundError:
                if call.method == "DELETE" and doubted:  # the first try had deleted it
                    return Reply(200, {}, {"success": True, "data": None})
                raise
            except PipedriveAuthError as error:
                refused = error.status == requests.codes.unauthorized and bool(header)
                if renewed or not refused or not self._login.renewable:
                    raise
                renewed, stale = True, header
                wait = 0.0
            except PipedriveError as error:
                error.in_doubt = doubted = doubted or error.in_doubt
                elapsed = self._clock() - started
                delay = seconds_before_repeat(call, error, repeats=repeats, elapsed=elapsed, chance=self._chance())
                if delay is None and isinstance(error, PipedriveRateLimitError) and rejections >= MOST_REPEATS:
                    raise as_day_spent(error) from None
                if delay is None:
                    raise
                rejections += isinstance(error, PipedriveRateLimitError)
                log.info("%s Sending it again in %.1f s.", error, delay)
                wait = delay
            repeats += 1
            self._sleep(wait)

    def _check_interrupted(self, call: Call) -> None:
        if self._connections.closed_for_good.is_set():
            raise PipedriveConnectionError(
                f"{call.method} {call.path} was broken off.", method=call.method, path=call.path
            )

    def _nap(self, seconds: float) -> None:
        """Sleep, but wake up when interrupted."""
        while seconds > 0 and not self._connections.closed_for_good.is_set():
            step = min(seconds, LONGEST_NAP)
            time.sleep(step)
            seconds -= step

    def _send_once(self, call: Call, server: str, header: Mapping[str, Secret], *, repeat: bool) -> Reply:
        self._check_reserve(call)
        sent = self._take_places(call)
        status, headers, arrived, answered = 0, dict[str, str](), True, None
        try:
            status, headers, body, answered = self._exchange(call, server, header)
        except PipedriveConnectionError as lost:
            arrived = lost.in_doubt
            raise
        finally:
            rejected = status == requests.codes.too_many_requests
            self._give_places_back(call, sent, answered, headers, rejected=rejected)
            self._count(call, headers, arrived=arrived, repeat=repeat, rate_limited=rejected)
        if 300 <= status < 400:
            raise self._redirected(call, status, headers)
        if not 200 <= status < 300:
            error = error_from_reply(call, status, headers, body, connection=self.settings.name)
            if isinstance(error, PipedriveRateLimitError) and not error.banned:
                self._hold_still(call, error.retry_after)
            raise error
        return reply_from(call, status, headers, body)

    def _exchange(
        self, call: Call, server: str, header: Mapping[str, Secret]
    ) -> tuple[int, dict[str, str], bytes, float]:
        """Send, and give status, headers, body and the time at which the answer began to arrive."""
        try:
            with closing(self._begin(call, server, header)) as response:
                answered = self._clock()
                body = self._read_body(call, response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return response.status, headers, body, answered
        except urllib3.exceptions.HTTPError as problem:
            failure = self._no_reply(call, server, problem)
        except BaseException as interruption:
            interruption.__traceback__ = None  # the frames below hold the token in headers
            raise
        raise failure

    def _begin(self, call: Call, server: str, header: Mapping[str, Secret]) -> urllib3.BaseHTTPResponse:
        headers = {**HEADERS, **{name: value.reveal for name, value in header.items()}}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        return self._connections.send(
            server,
            call.method,
            f"{call.path}?{urlencode(call.query)}" if call.query else call.path,
            headers=headers,
            body=None if call.body is None else msgspec.json.encode(call.body),
            timeout=self.settings.timeout,
        )

    def _read_body(self, call: Call, response: urllib3.BaseHTTPResponse) -> bytes:
        """Take each piece as it arrives: who waits for full blocks, or for output of gzip, forgets the time."""
        parts, size = [], 0
        deadline = self._clock() + self.settings.timeout
        while part := response.read1(CHUNK, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > LARGEST_REPLY or self._clock() > deadline:
                limit = f"{LARGEST_REPLY >> 20} MiB" if size > LARGEST_REPLY else f"{self.settings.timeout:g} s"
                raise PipedriveConnectionError(
                    f"{call.method} {call.path}: the reply did not end within {limit}.",
                    method=call.method,
                    path=call.path,
                    in_doubt=True,
                )
        packed = b"".join(parts)
        if "content-encoding" not in response.headers:
            return packed
        unpacking = urllib3.HTTPResponse(BytesIO(packed), headers=response.headers, preload_content=False)
        return unpacking.read(LARGEST_REPLY, decode_content=True)

    def _no_reply(self, call: Call, server: str, problem: urllib3.exceptions.HTTPError) -> PipedriveConnectionError:
        return PipedriveConnectionError(
            f"{call.method} {call.path}: {urlsplit(server).netloc} {self._explained(problem)}.",
            method=call.method,
            path=call.path,
            in_doubt=not was_never_sent(problem),
        )

    def _explained(self, problem: urllib3.exceptions.HTTPError) -> str:
        if is_certificate_error(problem):
            return "did not prove its identity (TLS)"
        if isinstance(problem, urllib3.exceptions.ReadTimeoutError):
            return f"did not answer within {self.settings.timeout:g} s"
        if not was_never_sent(problem):
            return "ended the connection before its reply was whole"
        if isinstance(problem, urllib3.exceptions.ProxyError):
            return "cannot be reached through the worker's proxy. Check its variables HTTPS_PROXY and NO_PROXY"
        return f"cannot be reached. Check {self.settings.server_field} of {self.settings.name}, and the network"

    def _redirected(self, call: Call, status: int, headers: Mapping[str, str]) -> PipedriveError:
        target = urlsplit(headers.get("location", "")).netloc or "another address"
        return PipedriveError(
            f"{call.method} {call.path}: the server points to {target}. Redirects are not followed, so that the token"
            f" goes to no other host; set {self.settings.server_field} of {self.settings.name} to the right one.",
            status=status,
            method=call.method,
            path=call.path,
        )

    def _check_reserve(self, call: Call) -> None:
        reserve = self.settings.daily_token_reserve
        with self._usage_lock:
            untold = self._day.left is None and self._usage.requests > 0
            if reserve and not self._warned and untold:
                self._warned = True
                log.warning(
                    "Pipedrive does not tell what is left of the day: 'Daily token reserve' of %s is kept by counting"
                    " this task's own calls against %d API tokens.",
                    self.settings.name,
                    SMALLEST_DAY,
                )
            if reserve and (self._day.left is not None or untold):
                self._day.check(call, reserve, self.settings.name, self._clock())
            self._day.under_way += call.cost

    def _take_places(self, call: Call) -> float:
        """Wait for a place in each window; give the time at which they were taken."""
        windows = self._pace.windows(call)
        while True:
            self._check_interrupted(call)
            with self._pace.lock:
                now = self._clock()
                wait = max(window.delay(now) for window in windows)
                if wait <= 0:
                    for window in windows:
                        window.take()
                    return now
            self._sleep(wait)

    def _give_places_back(
        self, call: Call, sent: float, answered: float | None, headers: Mapping[str, str], *, rejected: bool
    ) -> None:
        with self._pace.lock:
            now = self._clock() if answered is None else answered
            told = {} if call.search else headers
            self._pace.all_calls.give_back(sent, now, told, rejected=rejected and not call.search)
            if call.search:
                self._pace.searches.give_back(sent, now, {}, rejected=rejected)

    def _hold_still(self, call: Call, seconds: float) -> None:
        with self._pace.lock:
            self._pace.windows(call)[-1].close(self._clock() + min(seconds, LONGEST_STANDSTILL))

    def _count(
        self, call: Call, headers: Mapping[str, str], *, arrived: bool, repeat: bool, rate_limited: bool
    ) -> None:
        """Count a call that ended; one that may have arrived counts as if it had."""
        with self._usage_lock:
            self._day.learn(headers, self._clock())
            self._day.under_way -= call.cost
            self._day.spent += call.cost if arrived and not rate_limited else 0
            self._usage.requests += arrived
            self._usage.retries += repeat
            self._usage.rate_limited += rate_limited
            self._usage.tokens = self._day.spent
            self._usage.daily_tokens_left = self._day.left
            self._usage.daily_tokens = self._day.size
            self._usage.first_reply_at = self._usage.first_reply_at or server_time(headers)
