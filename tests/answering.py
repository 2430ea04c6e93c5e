"""A Pipedrive that answers whatever a test wants it to, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient

AMPLE = 10_000


class Asked(NamedTuple):
    """One call, as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def number(self, name: str, default: int = 0) -> int:
        return int(self.query.get(name, default))


class Answer(NamedTuple):
    """What goes back; content that is no bytes goes as JSON."""

    content: Any = b""
    status: int = 200
    headers: dict[str, str] = {}

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


Answering = Callable[[Asked], Answer]


class Server:
    """Where it listens, and what it was asked so far."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[Asked] = []

    @property
    def connection(self) -> dict[str, Any]:
        extra = {"base_url": self.url, "burst_limit": AMPLE}
        return {"conn_type": "pipedrive", "password": "0" * 40, "extra": extra}

    def times(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that hang up."""


@contextmanager
def answering(answer: Answering) -> Iterator[Server]:
    """Serve as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for head and body: two wait for each other

        def _answer(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
            server.asked.append(asked)
            answered = answer(asked)
            told = {"content-type": "application/json", **answered.headers}
            self.send_response_only(answered.status)
            for name, value in told.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answered.body)))
            self.end_headers()
            self.wfile.write(answered.body)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that the library calls

        def log_message(self, *_: Any) -> None:
            pass

    with _Http(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1])
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()


class OwnTime:
    """A clock that nothing but sleeping moves on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


@contextmanager
def client_of(answer: Answering) -> Iterator[tuple[PipedriveClient, Server]]:
    """A client of such a Pipedrive that waits for nothing."""
    with answering(answer) as server:
        settings = read_connection(password="0" * 40, extra=server.connection["extra"])
        own = OwnTime()
        client = PipedriveClient(settings, clock=own.clock, sleep=own.sleep, chance=lambda: 0.0)
        yield client, server
        client.close()


def leads(count: int, **more: Any) -> list[dict[str, Any]]:
    """So many leads, each a second after the one before."""
    return [
        {
            "id": f"4d1b0a50-1f7a-11ef-8c3b-{number:012x}",
            "title": f"Lead {number}",
            "is_archived": False,
            "archive_time": None,
            "add_time": (time := f"2026-01-31T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"),
            "update_time": time,
            **more,
        }
        for number in range(count)
    ]


def listing(rows: list[Any], *, start: int = 0, more: bool = False, **paging: Any) -> Answer:
    """A page of a list that is told by start and limit."""
    pagination = {"start": start, "limit": len(rows), "more_items_in_collection": more, **paging}
    return Answer({"success": True, "data": rows, "additional_data": {"pagination": pagination}})


class Leads:
    """The lists of leads as the API gives them, sorted by change, and an account without custom fields and labels.

    :param most: rows of a page at most, however many are asked for.
    """

    def __init__(self, active: list[dict[str, Any]], archived: list[dict[str, Any]] = [], *, most: int = 500) -> None:  # noqa: B006
        self._lists = {"/v1/leads": active, "/v1/leads/archived": archived}
        self._most = most

    def __call__(self, asked: Asked) -> Answer:
        if asked.path not in self._lists:
            return listing([])
        rows = [row for row in self._lists[asked.path] if row["update_time"] >= asked.query.get("updated_since", "")]
        rows.sort(key=lambda row: row["update_time"], reverse="DESC" in asked.query.get("sort", ""))
        start = asked.number("start")
        end = start + min(asked.number("limit", 100), self._most)
        return listing(rows[start:end], start=start, more=end < len(rows))
