"""Many leads, each created by a mapped task that may be killed at any moment and is tried again.

A task stands still at places for which there is a file, and says in another one that it does: so it is killed exactly
there, however long it takes to come there.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator

NUMBERS = 24
BEGIN, END = "begin", "end"
SENT = {"POST /v1/leads": "lead", "POST /v1/notes": "note", "GET /v1/leads": "look"}
"""Places behind calls that are sent and not yet answered."""


class Places:
    """The places that a task passes.

    :param folder: where it is said at which ones it is to stand still: a file ``7-note`` for the task with that index.
    :param index: of the task.
    """

    def __init__(self, folder: Path, index: int) -> None:
        self._folder = folder
        self._index = index
        self._called = ""

    def passed(self, place: str) -> None:
        wanted = self._folder / f"{self._index}-{place}"
        if wanted.exists():
            wanted.rename(f"{wanted}.taken")  # the next try passes
            written = Path(f"{wanted}.new")
            written.write_text(str(os.getpid()))
            written.rename(f"{wanted}.pid")
            signal.pause()

    def watch(self) -> None:
        """Pass a place whenever a call is sent."""
        get_response = http.client.HTTPConnection.getresponse

        def note(event: str, details: tuple[Any, ...]) -> None:
            if event == "http.client.send":
                first_line = bytes(details[1]).partition(b"\r\n")[0].decode(errors="replace")
                if first_line.endswith(" HTTP/1.1"):  # else it is a body, sent behind its head
                    self._called = first_line.removesuffix(" HTTP/1.1").partition("?")[0]

        def pass_and_get(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
            if self._called in SENT:
                self.passed(SENT[self._called])
            return get_response(connection)

        sys.addaudithook(note)
        http.client.HTTPConnection.getresponse = pass_and_get


def begin(context: Any) -> None:
    places = places_of(context)
    places.passed(BEGIN)
    places.watch()


def end(context: Any, result: object) -> None:
    places_of(context).passed(END)


def places_of(context: Any) -> Places:
    return Places(Path(context["params"]["folder"]), context["ti"].map_index)


with DAG("created_once", schedule=None, params={"person_id": 0, "folder": ""}):
    PipedriveCreateLeadOperator.partial(
        task_id="create",
        person_id="{{ params.person_id }}",
        note="Made by the task of this number.",
        settle=1.5,
        retries=30,
        retry_delay=timedelta(seconds=1),
        pre_execute=begin,
        post_execute=end,
    ).expand(title=[f"Lead {number}" for number in range(NUMBERS)])
