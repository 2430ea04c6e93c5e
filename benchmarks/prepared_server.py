"""A server that costs next to nothing: leads lie ready as bytes, a page is a slice of them.

Run by itself: ``python -m benchmarks.prepared_server --leads 100000``. It answers the lists that an export reads
(docs/pipedrive-api.md, sections 3.2, 3.3 and 4), and two paths of its own: ``POST /settings`` changes how it behaves
and forgets what it counted, ``GET /counters`` tells the calls by path and status.
"""

from __future__ import annotations

import argparse
import math
import socket
import threading
import time
from collections import Counter, deque
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

import msgspec

from benchmarks.prepared_leads import PreparedLeads, catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

READY = "Listening on "
WINDOW_SECONDS = 2.0
LIMIT_WITHOUT_WINDOW = 100_000
DAILY_LIMIT = 100_000_000
USUAL_PAGE, LARGEST_PAGE = 100, 500
NO_DEALS = b'{"success":true,"data":[],"additional_data":{"next_cursor":null}}'
SORTABLE = ("id", "add_time", "update_time")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the server behaves.

    :param leads: how many of the prepared leads there are; None: all.
    :param latency: seconds from the arrival of a call to its reply.
    :param window: calls in any two seconds; None: no limit.
    """

    leads: int | None = None
    latency: float = 0.0
    window: int | None = None


class Count(msgspec.Struct, frozen=True):
    """Calls of one method and path that ended with one status."""

    method: str
    path: str
    status: int
    calls: int


class Request(NamedTuple):
    """What arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    last: bool


class Reply(NamedTuple):
    """What goes back: parts of a body, one after another, none copied."""

    status: int
    parts: tuple[bytes | memoryview, ...]


class Window:
    """Calls in the last two seconds, counted when they arrive; those refused take no place."""

    def __init__(self) -> None:
        self._arrived: deque[float] = deque()
        self._lock = threading.Lock()

    def admit(self, now: float, limit: int) -> tuple[bool, int, int]:
        """Whether a call may pass, how many more may, and whole seconds until the oldest leaves the window."""
        with self._lock:
            while self._arrived and self._arrived[0] <= now - WINDOW_SECONDS:
                self._arrived.popleft()
            admitted = len(self._arrived) < limit
            if admitted:
                self._arrived.append(now)
            reset = max(1, math.ceil(self._arrived[0] + WINDOW_SECONDS - now))
            return admitted, max(0, limit - len(self._arrived)), reset


class LeadsInOrder(Protocol):
    """Leads as bytes, in one order; see :class:`benchmarks.prepared_leads.PreparedLeads`."""

    def __len__(self) -> int: ...

    def first_since(self, updated_since: str) -> int: ...

    def ascending(self, first: int, beyond: int) -> bytes | memoryview: ...

    def descending(self, first: int, beyond: int) -> bytes: ...


class Server:
    """Answers calls; every connection has a thread of its own, so no call waits for another's latency.

    :param create: answers what is posted to the leads; None: nothing can be posted.
    :param more_fields: what the account has besides the fields of prepared leads, as items of the v1 list.
    """

    def __init__(
        self,
        leads: LeadsInOrder,
        create: Callable[[bytes], Reply] | None = None,
        more_fields: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self._leads = leads
        self._create = create
        self._lists = {
            "/v1/leads/archived": _whole_list([]),
            "/api/v2/deals": NO_DEALS,
            "/api/v2/deals/archived": NO_DEALS,
            "/v1/leadFields": _whole_list([*catalogue().fields, *more_fields]),
            "/v1/leadLabels": msgspec.json.encode({"success": True, "data": catalogue().labels}),
        }
        self._start_over(Settings())

    def _start_over(self, settings: Settings) -> None:
        self._settings = settings
        self._window = Window()
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._counting = threading.Lock()

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as arriving:
            try:
                while (request := _read_request(arriving)) is not None:
                    self._answer(connection, request)
                    if request.last:
                        return
            except ConnectionError:
                return

    def _answer(self, connection: socket.socket, request: Request) -> None:
        arrived = time.monotonic()
        if (own := self._own_reply(request)) is not None:
            _send(connection, own, {})
            return
        settings = self._settings
        limit = LIMIT_WITHOUT_WINDOW if settings.window is None else settings.window
        admitted, remaining, reset = self._window.admit(arrived, limit)
        reply = self._reply(request) if admitted else _refusal(429, "request over limit")
        with self._counting:
            self._counts[request.method, request.path, reply.status] += 1
        if settings.latency:
            time.sleep(max(0.0, arrived + settings.latency - time.monotonic()))
        _send(connection, reply, _limit_headers(limit, remaining, reset))

    def _own_reply(self, request: Request) -> Reply | None:
        if request.path == "/settings":
            self._start_over(msgspec.json.decode(request.body, type=Settings))
            return Reply(200, (b"{}",))
        if request.path == "/counters":
            with self._counting:
                counts = [Count(*call, calls) for call, calls in self._counts.items()]
            return Reply(200, (msgspec.json.encode(counts),))
        return None

    def _reply(self, request: Request) -> Reply:
        if request.path == "/v1/leads":
            if request.method == "POST" and self._create is not None:
                return self._create(request.body)
            try:
                return self._page(request.query)
            except ValueError as problem:
                return _refusal(400, str(problem))
        known = self._lists.get(request.path)
        return _refusal(404, "Entity was not found") if known is None else Reply(200, (known,))

    def _page(self, query: Mapping[str, str]) -> Reply:
        count = len(self._leads) if self._settings.leads is None else min(self._settings.leads, len(self._leads))
        start = int(query.get("start", 0))
        limit = min(int(query.get("limit", USUAL_PAGE)), LARGEST_PAGE)
        oldest = self._leads.first_since(query["updated_since"]) if "updated_since" in query else 0
        found = max(0, count - oldest)
        taken = max(0, min(limit, found - start))
        rows: bytes | memoryview
        if _descends(query.get("sort", "add_time ASC")):
            rows = self._leads.descending(count - start - taken, count - start) if taken else b""
        else:
            rows = self._leads.ascending(oldest + start, oldest + start + taken) if taken else b""
        page = {"start": start, "limit": limit, "more_items_in_collection": start + taken < found}
        if page["more_items_in_collection"]:
            page["next_start"] = start + limit
        tail = msgspec.json.encode({"pagination": page})
        return Reply(200, (b'{"success":true,"data":[', rows, b'],"additional_data":' + tail + b"}"))


def _descends(sort: str) -> bool:
    """Whether the first key falls; those behind it decide nothing, for no two leads are alike in any of them.

    :raises ValueError: a key in which the prepared leads have no order.
    """
    key, _, direction = sort.split(",", maxsplit=1)[0].strip().partition(" ")
    if key not in SORTABLE:
        raise ValueError(f"sort: {key!r} is none of {', '.join(SORTABLE)}")
    return direction.strip().upper() == "DESC"


def _whole_list(items: Sequence[Mapping[str, object]]) -> bytes:
    page = {"start": 0, "limit": LARGEST_PAGE, "more_items_in_collection": False}
    return msgspec.json.encode({"success": True, "data": items, "additional_data": {"pagination": page}})


def _refusal(status: int, error: str) -> Reply:
    envelope = {"success": False, "error": error, "error_info": "", "data": None, "additional_data": None}
    return Reply(status, (msgspec.json.encode(envelope),))


def _limit_headers(limit: int, remaining: int, reset: int) -> dict[str, object]:
    return {
        "x-ratelimit-limit": limit,
        "x-ratelimit-remaining": remaining,
        "x-ratelimit-reset": reset,
        "x-daily-ratelimit-token-limit": DAILY_LIMIT,
        "x-daily-ratelimit-token-remaining": DAILY_LIMIT,
    }


def _read_request(arriving: BinaryIO) -> Request | None:
    """The next request of a connection; None when the other side is done."""
    line = arriving.readline()
    if not line:
        return None
    length, last = 0, False
    while (header := arriving.readline().strip().lower()) != b"":
        name, _, value = header.partition(b":")
        if name == b"content-length":
            length = int(value)
        elif name == b"connection":
            last = value.strip() == b"close"
    method, address = line.decode().split(" ")[:2]
    target = urlsplit(address)
    return Request(method, target.path, dict(parse_qsl(target.query)), arriving.read(length), last)


def _send(connection: socket.socket, reply: Reply, headers: Mapping[str, object]) -> None:
    length = sum(len(part) for part in reply.parts)
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"date: {formatdate(usegmt=True)}",
        "content-type: application/json; charset=utf-8",
        f"content-length: {length}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    connection.sendall("\r\n".join([*lines, "\r\n"]).encode(), socket.MSG_MORE)
    for part in reply.parts[:-1]:
        connection.sendall(part, socket.MSG_MORE)
    connection.sendall(reply.parts[-1])


def main() -> None:
    """Prepare, listen, say where."""
    parser = argparse.ArgumentParser(description="Serve prepared leads on loopback.")
    parser.add_argument("--leads", type=int, default=100_000, help="how many to prepare (default: 100000)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    options = parser.parse_args()
    listen(Server(PreparedLeads(options.leads)), options.port)


def listen(server: Server, port: int = 0) -> None:
    """Say where it listens, and serve until the process ends.

    :param port: 0 for any free one.
    """
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener:
        print(f"{READY}http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        server.serve(listener)


if __name__ == "__main__":
    main()
