"""The sockets of a client: how a request leaves, and how those under way in other threads are broken off."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import requests  # noqa: TID253 - this module is itself imported only when the first call is made
import urllib3

if TYPE_CHECKING:
    from collections.abc import Mapping

POOL_SIZE = 32
LONGEST_CONNECT = 4.0
"""Seconds: while a connection comes about it cannot be broken off, and a stopped task has five."""
NO_REPEATS = urllib3.Retry(total=False)


class _Route(NamedTuple):
    """How calls reach a server.

    :param pool: of connections to it, or to the proxy before it.
    :param prefix: what stands before a path: nothing, or the server's address for a proxy that reads it.
    """

    pool: urllib3.HTTPConnectionPool
    prefix: str


class OpenConnections:
    """Sends requests, and keeps an eye on every connection.

    Proxies and certificates are those of the environment, as ``requests`` reads it (``HTTPS_PROXY``, ``NO_PROXY``,
    ``REQUESTS_CA_BUNDLE``). What is sent by :meth:`send` goes to the pool of the server directly: a session would look
    for cookies, hooks and ``.netrc`` at the price of the sending.

    :ivar session: for requests whose speed does not matter.
    """

    def __init__(self) -> None:
        self.closed_for_good = threading.Event()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._routes: dict[str, _Route] = {}
        self._adapter = _Adapter(self)
        self.session = requests.Session()
        self.session.mount("https://", self._adapter)
        self.session.mount("http://", self._adapter)

    def send(
        self, server: str, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> urllib3.BaseHTTPResponse:
        """Send a request once and give the answer, whose body is still to be read; redirects are not followed.

        :param server: address without a path.
        :param target: path and query.
        :param timeout: seconds between two pieces of the answer.
        :raises urllib3.exceptions.HTTPError: there is no answer.
        :raises requests.RequestException: the environment names a proxy that cannot be one.
        """
        route = self._routes.get(server) or self._routes.setdefault(server, self._route_to(server))
        return route.pool.urlopen(
            method,
            route.prefix + target,
            body=body,
            headers=headers,
            retries=NO_REPEATS,
            redirect=False,
            assert_same_host=False,
            timeout=_patience(timeout),
            preload_content=False,
            decode_content=False,
        )

    def _route_to(self, server: str) -> _Route:
        """Ask the environment, which takes a while."""
        request = requests.Request("GET", server).prepare()
        url = str(request.url)
        found: dict[str, Any] = {**self.session.merge_environment_settings(url, {}, None, None, None)}
        verify, proxies, cert = found["verify"], found["proxies"], found["cert"]
        pool: Any = self._adapter.get_connection_with_tls_context(request, verify, proxies, cert)
        self._adapter.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        return _Route(pool, self._adapter.request_url(request, proxies).rstrip("/"))

    def watch(self, manager: urllib3.PoolManager) -> None:
        """Let a manager make pools whose connections are known here."""
        manager.pool_classes_by_scheme = {
            scheme: self._watched_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def close(self) -> None:
        """Give the sockets back that no call uses."""
        self._routes.clear()
        self.session.close()

    def shut_down(self) -> None:
        """End all connections, those that are waited for included, and let no new one live."""
        self.closed_for_good.set()
        with self._lock:
            known = list(self._open)
        for connection in known:
            _shut(connection)

    def _watched_pool(self, plain: Any) -> type:
        return type("WatchedPool", (plain,), {"ConnectionCls": self._watched(plain.ConnectionCls)})

    def _watched(self, plain: Any) -> type:
        def connect(connection: Any) -> None:
            plain.connect(connection)
            with self._lock:
                self._open.add(connection)
            if self.closed_for_good.is_set():
                _shut(connection)

        return type("WatchedConnection", (plain,), {"connect": connect})


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, connections: OpenConnections) -> None:
        self._connections = connections
        super().__init__(pool_maxsize=POOL_SIZE)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**options, "timeout": _patience(options.get("timeout"))})

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._connections.watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._connections.watch(manager)
        return manager


def _patience(timeout: float | None) -> urllib3.Timeout:
    return urllib3.Timeout(LONGEST_CONNECT if timeout is None else min(LONGEST_CONNECT, timeout), timeout)


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it may be closed already, or between two sockets
        connection.sock.shutdown(socket.SHUT_RDWR)
