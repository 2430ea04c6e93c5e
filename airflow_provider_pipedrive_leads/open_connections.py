"""The sockets of a client: how a request leaves, and how those under way in other threads are broken off."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests  # noqa: TID253 - this module is itself imported only when the first call is made
import urllib3

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_AGENT = "airflow-provider-pipedrive-leads"
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
    ``REQUESTS_CA_BUNDLE``). Requests go to the pool of their server directly: a session would look for cookies, hooks
    and ``.netrc`` at the price of the sending.
    """

    def __init__(self) -> None:
        self.closed_for_good = threading.Event()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._routes: dict[str, _Route] = {}
        self._adapter = _Adapter(self)

    def send(
        self, server: str, method: str, target: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> urllib3.BaseHTTPResponse:
        """Send a request once and give the answer, whose body is still to be read; redirects are not followed.

        :param server: address without a path.
        :param target: path and query.
        :param timeout: seconds without any byte of the answer.
        :raises urllib3.exceptions.HTTPError: there is no answer; :func:`was_never_sent` tells more.
        :raises PipedriveConfigError: the server's address, or what the environment says, cannot be used.
        """
        route = self._routes.get(server) or self._route_to(server)
        return route.pool.urlopen(
            method,
            route.prefix + target,
            body=body,
            headers={"User-Agent": USER_AGENT, **headers},
            retries=NO_REPEATS,
            redirect=False,
            assert_same_host=False,
            timeout=urllib3.Timeout(connect=min(LONGEST_CONNECT, timeout), read=timeout),
            preload_content=False,
            decode_content=False,
        )

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

    def watch(self, manager: urllib3.PoolManager) -> None:
        """Let a manager make pools whose connections are known here."""
        manager.pool_classes_by_scheme = {
            scheme: self._watched_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def close(self) -> None:
        """Give the sockets back that no call uses."""
        self._routes.clear()
        self._adapter.close()

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

    def route_to(self, server: str) -> _Route:
        request = requests.Request("GET", server).prepare()
        url = str(request.url)
        found: dict[str, Any] = {**requests.Session().merge_environment_settings(url, {}, None, None, None)}
        verify, proxies, cert = found["verify"], found["proxies"], found["cert"]
        pool: Any = self.get_connection_with_tls_context(request, verify, proxies, cert)
        self.cert_verify(pool, url, verify, cert)  # type: ignore[no-untyped-call]
        return _Route(pool, self.request_url(request, proxies).rstrip("/"))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._connections.watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._connections.watch(manager)
        return manager


def was_never_sent(problem: Exception) -> bool:
    """Whether it is certain that a request did not leave: there was no connection, or no proxy that passed it on.

    A proxy's error alone tells nothing: an answer that breaks off is one too.
    """
    if isinstance(problem, urllib3.exceptions.ProxyError):
        problem = problem.original_error
    refused = type(problem) is OSError and str(problem).startswith("Tunnel connection failed")
    return refused or isinstance(problem, urllib3.exceptions.ConnectTimeoutError) or is_certificate_error(problem)


def is_certificate_error(problem: Exception) -> bool:
    """Whether TLS never came about; other TLS errors may come in place of the reply."""
    return isinstance(problem.args[0] if problem.args else None, ssl.SSLCertVerificationError)


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it may be closed already, or between two sockets
        connection.sock.shutdown(socket.SHUT_RDWR)
