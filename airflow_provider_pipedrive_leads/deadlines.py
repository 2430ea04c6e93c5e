"""Deadlines of calls, kept by one thread of the process that shuts their sockets down.

A time-out of a socket counts from byte to byte: a server that sends one now and then is never late by it. Whoever waits
on a socket that is shut down sees the end of the stream at once, in whatever phase the call is.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import socket
import threading
import time


class Deadline:
    """The time of one call, and the socket that it uses.

    ``over`` becomes True when the time has passed, or the call was broken off. ``sent`` is False as long as no byte of
    the request can have left.
    """

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self.over = False
        self.sent = False
        self.met = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def hold(self, used: socket.socket) -> None:
        """Shut this socket down when the time is over, which may be now; it takes the place of the one before."""
        with self._lock:
            self._socket = used
            if self.over:
                _shut(used)

    def meet(self) -> None:
        """Note that the call has ended in time: nothing is shut down any more."""
        with self._lock:
            self.met, self._socket = True, None

    def end(self) -> None:
        """End the call now."""
        with self._lock:
            if not self.met:
                self.over = True
            if self._socket is not None:
                _shut(self._socket)


class Watchdog:
    """Ends deadlines when their time comes. Its thread begins with the first one, and ends when none is left."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything: in a process that was just forked, where the thread is not."""
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread, because there is something to watch."""
        with self._changed:
            return self._thread is not None

    def watch(self, deadline: Deadline) -> None:
        """End this one when its time comes, unless it is met before."""
        with self._changed:
            heapq.heappush(self._waiting, (deadline.at, next(self._numbers), deadline))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pipedrive-deadlines", daemon=True)
                self._thread.start()
            elif self._waiting[0][2] is deadline:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while self._waiting:
                at, _, deadline = self._waiting[0]
                left = at - time.monotonic()
                if left > 0 and not deadline.met:
                    self._changed.wait(left)
                    continue
                heapq.heappop(self._waiting)
                deadline.end()
            self._thread = None


def _shut(used: socket.socket) -> None:
    """Shut a socket down below TLS, whose own shutdown would confuse the thread that reads from it."""
    bare = getattr(used, "socket", used)  # TLS inside the TLS of a proxy wraps a socket that is one
    with contextlib.suppress(OSError):
        socket.socket.shutdown(bare, socket.SHUT_RDWR)


watchdog = Watchdog()
os.register_at_fork(after_in_child=watchdog.start_anew)
