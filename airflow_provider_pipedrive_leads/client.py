"""Floor 2: the one place that sends.

``PipedriveClient`` puts the login on a call, keeps the burst window, repeats what is safe to repeat, and turns
replies into values or typed errors. It needs no Airflow.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies
from weakref import WeakSet

import msgspec

from airflow_provider_pipedrive_leads.api.budget import SMALLEST_DAY, DailyBudget, Usage
from airflow_provider_pipedrive_leads.api.compression import ACCEPTED
from airflow_provider_pipedrive_leads.api.connection import ApiToken, Secret, secrets_of
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    ReplyTooLargeError,
    error_from_reply,
)
from airflow_provider_pipedrive_leads.api.foreign_words import host_in, secrets_of_proxy
from airflow_provider_pipedrive_leads.api.oauth import fingerprint
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.api.pacing import SEARCHES_ALLOWED, BurstWindow
from airflow_provider_pipedrive_leads.api.replies import Reply, reply_from, server_time
from airflow_provider_pipedrive_leads.api.retries import MOST_REPEATS, as_day_spent, seconds_before_repeat
from airflow_provider_pipedrive_leads.api.texts import ToldOnce
from airflow_provider_pipedrive_leads.login import MemoryTokenStore, login_for
from airflow_provider_pipedrive_leads.open_connections import Answer, NoAnswerError, OpenConnections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings
    from airflow_provider_pipedrive_leads.api.endpoints import Call
    from airflow_provider_pipedrive_leads.login import TokenStore
    from airflow_provider_pipedrive_leads.open_connections import Trouble

log = logging.getLogger(__name__)

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Packed and unpacked; a page of 500 leads is about one megabyte."""
LONGEST_NAP = 1.0
"""Seconds after which a sleeping call looks whether it was interrupted."""
LONGEST_STANDSTILL = 10.0
"""Seconds for which one 429 holds up the other calls of this process."""
NO_ANSWER = Answer(0, {}, b"", 0.0)
HEADERS = {"Accept-Encoding": ACCEPTED, "Accept": "application/json"}


class _Pace:
    """The burst windows that every client of one token in this process shares."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.all_calls = BurstWindow()
        self.searches = BurstWindow(SEARCHES_ALLOWED, share=SEARCHES_ALLOWED)

    def windows(self, call: Call) -> tuple[BurstWindow, ...]:
        return (self.all_calls, self.searches) if call.search else (self.all_calls,)


class _Paces:
    """The pace of each account of this process."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all accounts."""
        self._lock = threading.Lock()
        self._by_account: dict[str, _Pace] = {}

    def of(self, settings: ConnectionSettings) -> _Pace:
        """Give the pace that all clients of an account share; the latest to say a limit sets it."""
        with self._lock:
            pace = self._by_account.setdefault(account_of(settings), _Pace())
        with pace.lock:
            pace.all_calls.limit = settings.burst_limit or pace.all_calls.limit
        return pace


_paces = _Paces()
_clients: WeakSet[PipedriveClient] = WeakSet()


def account_of(settings: ConnectionSettings) -> str:
    """Name the account behind a connection without giving its login away: the same for the same server and login."""
    login = settings.login
    secret = login.token if isinstance(login, ApiToken) else login.refresh_token
    return fingerprint(Secret(f"{settings.base_url} {secret.reveal}"))


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
        self._pause = sleep
        self._chance = chance
        self._day = DailyBudget()
        self._warned = False
        self._told = ToldOnce()
        self._connections = OpenConnections()
        self._token_store = token_store or MemoryTokenStore()
        self._begin_in_this_process()
        _clients.add(self)

    def _begin_in_this_process(self) -> None:
        """Take what a forked process must not share with the one that it comes from: locks, windows, tokens in use."""
        self._usage_lock = threading.Lock()
        self._day.under_way = 0
        self._pace = _paces.of(self.settings)
        self._login = login_for(self.settings, self._connections, self._token_store)

    def start_anew(self) -> None:
        """Open connections of one's own: in a process that was just forked."""
        self._connections.start_anew()
        self._begin_in_this_process()

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
        self._catalogue = None if call.changes_names else self._catalogue
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
                refused = error.status == HTTPStatus.UNAUTHORIZED and bool(header)
                if renewed or not refused or not self._login.renewable:
                    raise
                renewed, stale = True, header
                wait = 0.0
            except PipedriveError as error:
                error.in_doubt = doubted = doubted or error.in_doubt
                elapsed = self._clock() - started
                delay = seconds_before_repeat(call, error, repeats=repeats, elapsed=elapsed, chance=self._chance())
                if delay is None and isinstance(error, PipedriveRateLimitError) and rejections >= MOST_REPEATS:
                    raise self._outlasting(call, error) from None
                if delay is None:
                    raise
                rejections += isinstance(error, PipedriveRateLimitError)
                log.info("%s Sending it again in %.1f s.", error, delay)
                wait = delay
            repeats += 1
            self._sleep(wait)

    def _outlasting(self, call: Call, error: PipedriveRateLimitError) -> PipedriveError:
        """What a 429 means that outlasted some windows."""
        with self._usage_lock:
            return as_day_spent(error) if self._day.may_be_spent(call, self._clock()) else error

    def _check_interrupted(self, call: Call) -> None:
        if self._connections.closed_for_good:
            raise PipedriveConnectionError(
                f"{call.method} {call.path} was broken off.", method=call.method, path=call.path
            )

    def _sleep(self, seconds: float) -> None:
        """Sleep, but wake up when interrupted."""
        if self._pause is not None:
            self._pause(seconds)
            return
        while seconds > 0 and not self._connections.closed_for_good:
            step = min(seconds, LONGEST_NAP)
            time.sleep(step)
            seconds -= step

    def _send_once(self, call: Call, server: str, header: Mapping[str, Secret], *, repeat: bool) -> Reply:
        self._check_reserve(call)
        sent = self._take_places(call)
        answer, arrived = NO_ANSWER, True
        try:
            answer = self._exchange(call, server, header)
        except PipedriveConnectionError as lost:
            arrived = lost.in_doubt
            raise
        finally:
            rejected = answer.status == HTTPStatus.TOO_MANY_REQUESTS
            self._give_places_back(call, sent, answer, rejected=rejected)
            self._count(call, answer.headers, arrived=arrived, repeat=repeat, rate_limited=rejected)
        try:
            return self._heard(self._read(call, answer, header))
        except BaseException as failure:
            answer = NO_ANSWER  # what a server says may hold secrets and leads: no frame of a traceback shows it
            failure.__traceback__ = None
            raise

    def _read(self, call: Call, answer: Answer, header: Mapping[str, Secret]) -> Reply:
        secrets = partial(_sent_secrets, self.settings, header)
        status, headers, body, _ = answer
        if 300 <= status < 400:
            raise self._redirected(call, status, headers, secrets())
        if not 200 <= status < 300:
            error = error_from_reply(call, status, headers, body, connection=self.settings.name, secrets=secrets())
            if isinstance(error, PipedriveRateLimitError) and not error.banned:
                self._hold_still(call, error.retry_after)
            raise error
        return reply_from(call, status, headers, body, secrets=secrets)

    def _heard(self, reply: Reply) -> Reply:
        """Learn what only an answer of the API itself tells: a proxy's has another clock."""
        with self._usage_lock:
            self._usage.last_reply_at = server_time(reply.headers) or self._usage.last_reply_at
            self._usage.first_reply_at = self._usage.first_reply_at or self._usage.last_reply_at
            warnings = self._told.sentences(reply.mended)
        for warning in warnings:
            log.warning("%s", warning)
        return reply

    def _exchange(self, call: Call, server: str, header: Mapping[str, Secret]) -> Answer:
        try:
            return self._connections.exchange(
                server,
                call.method,
                f"{call.path}?{urlencode(call.query)}" if call.query else call.path,
                headers=_revealed(header, has_body=call.body is not None),
                body=None if call.body is None else msgspec.json.encode(call.body),
                timeout=self.settings.timeout,
                max_bytes=MAX_REPLY_BYTES,
                clock=self._clock,
            )
        except NoAnswerError as problem:
            failure = self._no_answer(call, server, problem)
        except BaseException as interruption:
            interruption.__traceback__ = None  # the frames below hold the token in headers
            raise
        raise failure

    def _no_answer(self, call: Call, server: str, problem: NoAnswerError) -> PipedriveConnectionError:
        kind = ReplyTooLargeError if problem.trouble == "too large" else PipedriveConnectionError
        return kind(
            f"{call.method} {call.path}: {urlsplit(server).netloc} {self._explained(problem)}.",
            method=call.method,
            path=call.path,
            in_doubt=problem.sent,
        )

    def _explained(self, problem: NoAnswerError) -> str:
        explained: dict[Trouble, str] = {
            "certificate": "did not prove its identity (TLS)",
            "late": f"did not {'end its answer' if problem.began else 'answer'} within {self.settings.timeout:g} s",
            "too large": f"sent more than {MAX_REPLY_BYTES >> 20} MiB, which no reply has",
            "cut off": "ended the connection before its reply was whole",
            "proxy": ("cannot be reached through the worker's proxy. Check its variables HTTPS_PROXY and NO_PROXY"),
            "unreachable": (
                f"cannot be reached. Check {self.settings.server_field} of {self.settings.name}, and the network"
            ),
        }
        return explained[problem.trouble]

    def _redirected(
        self, call: Call, status: int, headers: Mapping[str, str], secrets: Iterable[Secret]
    ) -> PipedriveError:
        target = host_in(headers.get("location", ""), secrets) or "another address"
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

    def _give_places_back(self, call: Call, sent: float, answer: Answer, *, rejected: bool) -> None:
        with self._pace.lock:
            now = self._clock() if answer is NO_ANSWER else answer.began_at
            told = {} if call.search else answer.headers
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


def _revealed(header: Mapping[str, Secret], *, has_body: bool) -> dict[str, str]:
    """All headers of a request. No frame that an error's traceback shows may keep them."""
    kind = {"Content-Type": "application/json"} if has_body else {}
    return {**HEADERS, **kind, **{name: value.reveal for name, value in header.items()}}


def _after_fork() -> None:
    """Leave the parent's sockets alone, and whatever its threads were at: they are not in this process."""
    _paces.clear()
    for client in list(_clients):
        client.start_anew()


os.register_at_fork(after_in_child=_after_fork)


def _sent_secrets(settings: ConnectionSettings, header: Mapping[str, Secret]) -> tuple[Secret, ...]:
    """Give what was sent with a call, to the server or a proxy before it, and may come back in its words."""
    proxies = {secret for address in getproxies().values() for secret in secrets_of_proxy(address)}
    return (*secrets_of(settings.login), *header.values(), *map(Secret, sorted(proxies)))
