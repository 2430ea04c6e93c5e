"""A process that exports leads again and again, each time in a child of its own that can be killed.

A child tells each step: every operation on files of the destination or its spool and every call to Pipedrive, before it
begins, and every call to an object store, before it begins and when it has ended. One that is to be killed stands still
at each, with all its threads, until it gets ``GO_ON``. Run by ``tests/kills/test_kills.py``.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from typing import Any

import pyarrow.parquet  # noqa: F401 - imported here, so that no child spends time on it
import s3fs  # noqa: F401 - see above
from aiobotocore.httpsession import AIOHTTPSession
from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads
from tests.kills.obeying import Told, obey, stand_still

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir"}
CALL, STORE, STORED, END = "call", "store", "stored", "end"


class Steps:
    """The steps of an export.

    :param watched: folder whose files count.
    :param stands_still: at each of them.
    """

    def __init__(self, told: Told, watched: str, *, stands_still: bool) -> None:
        self._told = told
        self._watched = watched
        self._stands_still = stands_still
        self._lock = threading.Lock()

    def tell(self, step: str) -> None:
        with self._lock:
            self._told(step)
            if self._stands_still:
                stand_still()

    def watch(self, event: str, details: tuple[Any, ...]) -> None:
        """Of all that Python reports of itself, take operations on files and calls to Pipedrive."""
        if event in OPERATIONS and self._watched in str(details[0]):
            self.tell(event)
        elif event == "http.client.send" and bytes(details[1][:4]) == b"GET ":
            self.tell(CALL)

    def watch_the_store(self) -> None:
        """Take calls to an object store, of which Python reports nothing."""
        send = AIOHTTPSession.send

        async def tell_and_send(*arguments: Any) -> Any:
            self.tell(STORE)
            reply = await send(*arguments)
            self.tell(STORED)
            return reply

        AIOHTTPSession.send = tell_and_send


def run(order: dict[str, Any], told: Told) -> None:
    """Export once."""
    steps = Steps(told, order["watched"], stands_still=order["killed"])
    client = PipedriveClient(read_connection(password=order["token"], extra={"base_url": order["server"]}))
    place = UPath(order["path"], **order["storage"])
    steps.watch_the_store()
    sys.addaudithook(steps.watch)
    export_leads(
        client,
        Selection(),
        place,
        columns=order["columns"],
        rows_per_file=order["rows_per_file"],
        run_key=order["run_key"],
    )
    steps.tell(END)


def main() -> None:
    """Obey."""
    tempfile.gettempdir()  # found out by writing a file there: no child is to be killed in the midst of that
    told = Told()
    obey(lambda order: run(order, told), told)


if __name__ == "__main__":
    main()
