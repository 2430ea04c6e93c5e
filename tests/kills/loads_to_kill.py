"""A process that runs tries of loads, each in a child of its own that can be killed.

It imports everything once, so that a child begins at once. Each line of its standard input is an order in JSON. What it
and its children tell goes to its standard output, a JSON value a line. Run by ``tests/kills/test_killed_loads.py``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
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

    :param held: where it is to stand still, if it is to be killed exactly there.
    :param nth: at which time of passing that place.
    """

    def __init__(self, to: int, held: str | None, nth: int, parts: str) -> None:
        self._to = to
        self._held = held
        self._nth = nth
        self._parts = parts
        self._passed: Counter[str] = Counter()

    def passed(self, place: str) -> None:
        tell(self._to, place)
        self._passed[place] += 1
        if place == self._held and self._passed[place] == self._nth:
            signal.pause()

    def watch(self, event: str, details: tuple[Any, ...]) -> None:
        """Of all that Python reports of itself, take the calls about leads, and parts that are about to appear."""
        if event == "http.client.send":
            method, _, rest = bytes(details[1][:200]).decode(errors="replace").partition(" ")
            if method in METHODS and rest.startswith("/v1/leads"):
                self.passed(METHODS[method])
        elif event == "os.rename" and str(details[1]).startswith(self._parts):
            self.passed(PUBLISH)

    def wait(self, seconds: float) -> None:
        self.passed(SETTLE if self._passed[CREATE] else WAIT)
        time.sleep(seconds)


class JumpingClock:
    """A clock for clients on which sleeping takes no time."""

    def __init__(self) -> None:
        self._jumped = 0.0

    def now(self) -> float:
        return time.monotonic() + self._jumped

    def sleep(self, seconds: float) -> None:
        self._jumped += seconds


def tell(to: int, value: object) -> None:
    os.write(to, json.dumps(value).encode() + b"\n")


def load(order: dict[str, Any], places: Places) -> dict[str, Any]:
    """Load once; tell how many rows came to what, or the error."""
    clock = JumpingClock()
    settings = read_connection(password=order["token"], extra={"base_url": order["server"]})
    client = PipedriveClient(settings, clock=clock.now, sleep=clock.sleep, chance=lambda: 0.0)
    todo = read_load(**order["load"])
    try:
        with reading_rows(UPath(order["rows"])) as rows:
            loaded = load_leads(
                client,
                rows,
                todo,
                results=results.Results(folder_at(UPath(order["results"])), order["label"]),
                memory=FileMemory(Path(order["memory"])),
                patience=Patience(order["settle"], TIMEOUT, sleep=places.wait),
            )
    except PipedriveError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"counts": loaded.counts}


def run_child(order: dict[str, Any], to: int) -> None:
    """Load, tell what came of it, and leave this process."""
    try:
        results.ROWS_OF_PART = order["rows_of_part"]
        places = Places(to, order["held"], order["nth"], f"{order['results']}/")
        sys.addaudithook(places.watch)
        tell(to, load(order, places))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def main() -> None:
    """Obey until the input ends: start a child, tell its id, wait for its end, tell how it ended."""
    to = os.dup(1)
    os.dup2(2, 1)
    tell(to, "ready")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run_child(json.loads(line), to)
        tell(to, {"pid": child})
        tell(to, {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


if __name__ == "__main__":
    main()
