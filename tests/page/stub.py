"""Airflow's API as the page asks it, with records of a test's choice, and the page beside it as in Airflow."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from airflow_provider_pipedrive_leads.page.files import FOLDER, HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "/a/sub-path"
LIST = "dags/~/dagRuns/~/taskInstances/~/xcomEntries"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Airflow:
    """What the stub tells, and what it was asked.

    :ivar records: newest first, each with the names of its task and the value that the task left.
    :ivar status: of the answer to the list.
    :ivar released: without it, what is asked of a single record waits for its answer.
    :ivar asked: path and query of each question, in turn.
    :ivar most_at_once: how many questions were under way at once, at most.
    """

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records
        self.status = 200
        self.released = threading.Event()
        self.released.set()
        self.asked: list[str] = []
        self.url = ""
        self.under_way = self.most_at_once = 0
        self.lock = threading.Lock()

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if path == LIST:
            limit = int(query["limit"][0])
            listed = [{name: row[name] for name in row if name != "value"} for row in self.records[:limit]]
            return self.status, {"xcom_entries": listed, "total_entries": len(self.records)}
        _, dag_id, _, run_id, _, task_id, _, _ = (unquote(part) for part in path.split("/"))
        wanted = (dag_id, run_id, task_id, int(query["map_index"][0]))
        for row in self.records:
            if wanted == (row["dag_id"], row["run_id"], row["task_id"], row["map_index"]):
                return row.get("status", 200), {"value": json.dumps(row["value"])}
        return 404, {"detail": "not found"}


def row(
    value: dict[str, Any], *, dag_id: str = "crm", task_id: str = "export", run_id: str = "", **more: Any
) -> dict[str, Any]:
    """An entry of the list with its value."""
    return {
        "dag_id": dag_id,
        "task_id": task_id,
        "run_id": run_id or f"manual__{value.get('at')}",
        "map_index": -1,
        "timestamp": value.get("at"),
        "value": value,
        **more,
    }


@contextmanager
def airflow_with(*records: dict[str, Any]) -> Iterator[Airflow]:
    """Serve the page under a sub-path, and records to it."""
    airflow = Airflow(list(records))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            page = url.path.removeprefix(f"{BASE}/pipedrive-leads/")
            if page != url.path:
                file = FOLDER / (page or "index.html")
                return self.tell(200, file.read_bytes(), KINDS[file.suffix], HEADERS)
            with airflow.lock:
                airflow.asked.append(self.path.removeprefix(f"{BASE}/api/v2/"))
                airflow.under_way += 1
                airflow.most_at_once = max(airflow.most_at_once, airflow.under_way)
            path = url.path.removeprefix(f"{BASE}/api/v2/")
            if path != LIST:
                airflow.released.wait()
            status, body = airflow.answer(path, parse_qs(url.query))
            with airflow.lock:
                airflow.under_way -= 1
            return self.tell(status, json.dumps(body).encode(), "application/json", {})

        def tell(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        airflow.url = f"http://127.0.0.1:{server.server_port}{BASE}/pipedrive-leads/"
        try:
            yield airflow
        finally:
            airflow.released.set()
            server.shutdown()
            thread.join()
