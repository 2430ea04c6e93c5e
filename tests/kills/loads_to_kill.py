"""A process that runs tries of loads, each in a child of its own that can be killed.

A child that waits for the server to settle tells for how long, and goes on when it gets ``GO_ON``. Run by
``tests/kills/test_killed_loads.py``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.files.folders import folder_at
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from airflow_provider_pipedrive_leads.leads.loading import results
from airflow_provider_pipedrive_leads.leads.loading.load import load_leads
from airflow_provider_pipedrive_leads.leads.loading.settings import read_load
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from tests.kills.obeying import Told, obey, stand_still

TIMEOUT = 30.0
READ, CREATE, CHANGE, PUBLISH, WAIT, SETTLE = "read", "create", "change", "publish", "wait", "settle"
"""What a try tells of itself, just before it does it; it waits for an earlier try, and settles its own doubts."""
METHODS = {"GET": READ, "POST": CREATE, "PATCH": CHANGE}


class FileMemory:
    """What the tries of a run keep, in a file that outlives them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any) -> None:
        written = self._path.with_suffix(".new")
        with written.open("w") as file:
            json.dump(self._all() | {key: value}, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)

    def _all(self) -> dict[str, Any]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}


class Places:
    """The places that a try passes.

    :param held: where it is to stand still: whatever thread comes to a place after that stands still, too.
    :param nth: at which time of passing that place.
    """

    def __init__(self, told: Told, held: str | None, nth: int, parts: str) -> None:
        self._told = told
        self._held = held
        self._nth = nth
        self._parts = parts
        self._passed: Counter[str] = Counter()
        self._lock = threading.Lock()

    def passed(self, place: str) -> None:
        with self._lock:
            self._passed[place] += 1
            self._told(place)
            if place == self._held and self._passed[place] == self._nth:
                stand_still()

    def watch(self, event: str, details: tuple[Any, ...]) -> None:
        """Of all that Python reports of itself, take the calls about leads, and parts that are about to appear."""
        if event == "http.client.send":
            method, _, rest = bytes(details[1][:200]).decode(errors="replace").partition(" ")
            if method in METHODS and rest.startswith("/v1/leads"):
                self.passed(METHODS[method])
        elif event == "os.rename" and str(details[1]).startswith(self._parts):
            self.passed(PUBLISH)

    def wait(self, seconds: float) -> None:
        """Wait until the server has done what it still had to do."""
        self.passed(SETTLE if self._passed[CREATE] else WAIT)
        self._told({"wait": seconds})
        stand_still()


class JumpingClock:
    """A clock for clients on which sleeping takes no time."""

    def __init__(self) -> None:
        self._jumped = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return time.monotonic() + self._jumped  # real time: only what is added to it decides when a client goes on

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._jumped += seconds


def load(order: dict[str, Any], places: Places) -> dict[str, Any]:
    """Load once; tell how many rows came to what, or the error."""
    clock = JumpingClock()
    now = datetime.fromisoformat(order["now"])
    settings = read_connection(password=order["token"], extra={"base_url": order["server"]})
    client = PipedriveClient(settings, clock=clock.now, sleep=clock.sleep, chance=lambda: 0.0)
    todo = read_load(**order["load"])
    try:
        with reading_rows(UPath(order["rows"])) as rows:
            loaded = load_leads(
                client,
                rows,
                todo,
                results=results.Results(folder_at(UPath(order["results"])), order["label"], clock=lambda: 0.0),
                memory=FileMemory(Path(order["memory"])),
                patience=Patience(order["settle"], TIMEOUT, sleep=places.wait, now=lambda: now),
            )
    except PipedriveError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"counts": loaded.counts}


def run(order: dict[str, Any], told: Told) -> None:
    """Load, and tell what came of it."""
    results.ROWS_OF_PART = order["rows_of_part"]
    places = Places(told, order["held"], order["nth"], f"{order['results']}/")
    sys.addaudithook(places.watch)
    told(load(order, places))


def main() -> None:
    """Obey."""
    told = Told()
    obey(lambda order: run(order, told), told)


if __name__ == "__main__":
    main()
