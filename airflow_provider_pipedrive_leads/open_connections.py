"""The sockets of a client: how a request leaves, how its answer is read, and how both are broken off."""

from __future__ import annotations

import ssl
import threading
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import requests  # noqa: TID253 - this module is itself imported only when the first call is made
import urllib3

from airflow_provider_pipedrive_leads.api.compression import TooLargeError, unpacked
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.deadlines import Deadline, watchdog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

USER_AGENT = "airflow-provider-pipedrive-leads"
POOL_SIZE = 32
CONNECT_TIMEOUT = 4.0
"""Seconds: while a name is looked up and a server answers nothing a call cannot be broken off, and a stopped task has
five."""
CHUNK = 256 * 1024
"""Bytes read at once at most: after each read a thread waits for its turn among those that make rows."""
NO_REPEATS = urllib3.Retry(total=False)
_calls = threading.local()
"""The deadline of the call that each thread is making."""

Trouble = Literal["late", "cut off", "certificate", "proxy", "unreachable", "too large"]


class Answer(NamedTuple):
    """A whole answer.

    :param headers: with lower-case names.
    :param body: unpacked.
    :param began_at: when its first bytes had come, by the clock that was given.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    began_at: float


class NoAnswerError(Exception):
    """There is no whole answer.

    :param trouble: what went wrong.
    :param sent: False if it is certain that the server got nothing of the request.
    :param began: whether an answer had begun.
    """

    def __init__(self, trouble: Trouble, *, sent: bool, began: bool) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.sent = sent
        self.began = began


class _Route(NamedTuple):
    """How calls reach a server.

    :param pool: of connections to it, or to the proxy before it.
    :param prefix: what stands before a path: nothing, or the server's address for a proxy that reads it.
    """

    pool: urllib3.HTTPConnectionPool
    prefix: str


class OpenConnections:
    """Sends requests, and keeps an eye on every call under way.

    Proxies and certificates are those of the environment, as ``requests`` reads it (``HTTPS_PROXY``, ``NO_PROXY``,
    ``REQUESTS_CA_BUNDLE``). Requests go to the pool of their server directly: a session would look for cookies, hooks
    and ``.netrc`` at the price of the sending. Sockets are closed when nobody holds this object any more.
    """

    def __init__(self) -> None:
        self.closed_for_good = False
        self.start_anew()

    def start_anew(self) -> None:
        """Leave all sockets to the process that opened them: in a process that was just forked."""
        self._lock = threading.Lock()
        self._under_way: set[Deadline] = set()
        self._routes: dict[str, _Route] = {}
        self._adapter = _Adapter(pool_maxsize=POOL_SIZE)

    def exchange(
        self,
        server: str,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> Answer:
        """Send a request once and read its answer; redirects are not followed.

        :param server: address without a path.
        :param target: path and query.
        :param timeout: seconds from here to the last byte of the answer.
        :param max_bytes: of the answer's body, packed and unpacked.
        :raises NoAnswerError: there is no whole answer.
        :raises PipedriveConfigError: the server's address, or what the environment says, cannot be used.
        """
        route = self._routes.get(server) or self._route_to(server)
        began_at: float | None = None
        with self._call(timeout) as deadline:
            try:
                response = route.pool.urlopen(
                    method,
                    route.prefix + target,
                    body=body,
                    headers={"User-Agent": USER_AGENT, **headers},
                    retries=NO_REPEATS,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout),
                    preload_content=False,
                    decode_content=False,
                )
                with closing(response):
                    began_at = clock()
                    packed = _read(response, max_bytes)
                    answered = {name.lower(): value for name, value in response.headers.items()}
                whole = unpacked(packed, answered.get("content-encoding", ""), max_bytes)
            except TooLargeError:
                trouble: Trouble | None = "too large"
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as problem:
                trouble = _trouble(problem, sent=deadline.sent)
            else:
                trouble = None
            if trouble is None and not deadline.over and began_at is not None:  # shut down, it may look whole
                return Answer(response.status, answered, whole, began_at)
        trouble = "late" if deadline.over else trouble or "cut off"
        raise NoAnswerError(trouble, sent=deadline.sent, began=began_at is not None)

    @contextmanager
    def _call(self, timeout: float) -> Iterator[Deadline]:
        """Give the call of this thread its time."""
        deadline = Deadline(timeout)
        with self._lock:
            self._under_way.add(deadline)
        if self.closed_for_good:
            deadline.end()
        watchdog.watch(deadline)
        _calls.deadline = deadline
        try:
            yield deadline
        finally:
            _calls.deadline = None
            deadline.meet()
            with self._lock:
                self._under_way.discard(deadline)

    def _route_to(self, server: str) -> _Route:
        """Ask the environment, which takes a while."""
        try:
            with self._lock:
                self._routes[server] = route = self._adapter.route_to(server)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError):
            words = (
                f"{urlsplit(server).netloc}: it, or the proxy that HTTPS_PROXY names in the worker's environment, is no"
                " address that can be used. For a proxy by SOCKS, install PySocks."
            )
        except OSError:
            words = "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE in the worker's environment names a file that is not there."
        else:
            return route
        raise PipedriveConfigError(words)  # what was caught may show the password of the proxy

    def close(self) -> None:
        """Give the sockets back that no call uses."""
        self._routes.clear()
        self._adapter.close()

    def shut_down(self) -> None:
        """End all calls under way, and let none begin."""
        self.closed_for_good = True
        with self._lock:
            known = list(self._under_way)
        for deadline in known:
            deadline.end()


class _Adapter(requests.adapters.HTTPAdapter):
    def route_to(self, server: str) -> _Route:
        request = requests.Request("GET", server).prepare()
        url = str(request.url)
        found: dict[str, Any] = {**requests.Session().merge_environment_settings(url, {}, None, None, None)}
        # http:// goes to this machine alone: to any proxy it would show the token
        verify, proxies, cert = found["verify"], {} if url.startswith("http:") else found["proxies"], found["cert"]
        pool: Any = self.get_connection_with_tls_context(request, verify, proxies, cert)
        self.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        return _Route(pool, self.request_url(request, proxies).rstrip("/"))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            _watch(manager)
        return manager


def _watch(manager: urllib3.PoolManager) -> None:
    """Let a manager make pools whose connections know the deadline of the call that uses them."""
    manager.pool_classes_by_scheme = {
        scheme: _watched_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


@cache
def _watched_pool(plain: Any) -> type:
    return type("WatchedPool", (plain,), {"ConnectionCls": _watched_connection(plain.ConnectionCls)})


@cache
def _watched_connection(plain: Any) -> type:
    """Make a class of connections whose socket is in the hands of the present call's deadline from the first moment."""

    class WatchedConnection(plain):  # type: ignore[misc]
        def connect(self) -> None:
            self.opening: socket.socket | None = None
            try:
                plain.connect(self)
            finally:
                if self.opening is not None:
                    self.opening.close()

        def _new_conn(self) -> socket.socket:
            made: socket.socket = plain._new_conn(self)  # noqa: SLF001 - what urllib3's own proxies override
            deadline: Deadline | None = getattr(_calls, "deadline", None)
            if deadline is not None:  # TLS takes the socket itself away, and gives another
                self.opening = made.dup()
                deadline.hold(self.opening)
            return made

        def request(self, *args: Any, **options: Any) -> None:
            if self.sock is None:
                self.connect()
            deadline: Deadline | None = getattr(_calls, "deadline", None)
            if deadline is not None:
                deadline.hold(self.sock)
                deadline.sent = True
            plain.request(self, *args, **options)

    return WatchedConnection


def _read(response: urllib3.BaseHTTPResponse, max_bytes: int) -> bytes:
    """Take each piece as it arrives."""
    parts, size = [], 0
    while part := response.read1(CHUNK, decode_content=False):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise TooLargeError
    return b"".join(parts)


def _trouble(problem: Exception, *, sent: bool) -> Trouble:
    if isinstance(problem.args[0] if problem.args else None, ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(problem, urllib3.exceptions.ReadTimeoutError):
        return "late"
    if sent:
        return "cut off"
    return "proxy" if isinstance(problem, urllib3.exceptions.ProxyError) else "unreachable"
