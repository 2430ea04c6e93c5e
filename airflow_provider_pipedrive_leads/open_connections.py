"""The connections that a client has open, so that calls under way in other threads can be broken off."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

import requests  # noqa: TID253 - this module is itself imported only when the first call is made

if TYPE_CHECKING:
    import urllib3

LONGEST_CONNECT = 4.0
"""Seconds: while a connection comes about it cannot be broken off, and a stopped task has five."""


class OpenConnections:
    """Keeps an eye on every connection of an adapter."""

    def __init__(self) -> None:
        self.closed_for_good = threading.Event()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def adapter(self, pool_size: int) -> requests.adapters.HTTPAdapter:
        """Make an adapter whose connections are known here."""
        return _Adapter(self, pool_size)

    def watch(self, manager: urllib3.PoolManager) -> None:
        """Let a manager make pools whose connections are known here."""
        manager.pool_classes_by_scheme = {
            scheme: self._watched_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
        }

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
    def __init__(self, connections: OpenConnections, pool_size: int) -> None:
        self._connections = connections
        super().__init__(pool_maxsize=pool_size)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        timeout = options.pop("timeout", None)
        connect = LONGEST_CONNECT if timeout is None else min(LONGEST_CONNECT, timeout)
        return super().send(request, timeout=(connect, timeout), **options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._connections.watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if not known:
            self._connections.watch(manager)
        return manager


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it may be closed already, or between two sockets
        connection.sock.shutdown(socket.SHUT_RDWR)
