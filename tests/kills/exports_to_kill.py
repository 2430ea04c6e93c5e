"""A process that exports leads again and again, each time in a child of its own, and kills the child when told to.

It imports everything once, so that a child begins at once. Each line of its standard input is an order in JSON, each
line of its standard output tells what became of one. Run by ``tests/kills/test_kills.py``.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import sys
import tempfile
import time
from typing import Any

import pyarrow.parquet  # noqa: F401 - imported here, so that no child spends time on it
import s3fs  # noqa: F401 - see above
from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir"}
LONGEST_SECONDS = 30.0


def export(order: dict[str, Any], steps: int) -> None:
    """Export once, and write a byte to ``steps`` before each operation on files of the destination or its spool."""
    left = itertools.count(order["kill"]["step"] if order["kill"] else 0, -1)

    def tell(event: str, details: tuple[Any, ...]) -> None:
        if event in OPERATIONS and order["watched"] in str(details[0]):
            os.write(steps, b".")
            if next(left) == 1 and order["kill"]["hold"]:
                signal.pause()

    client = PipedriveClient(read_connection(password=order["token"], extra={"base_url": order["server"]}))
    place = UPath(order["path"], **order["storage"])
    sys.addaudithook(tell)
    export_leads(
        client,
        Selection(),
        place,
        columns=order["columns"],
        rows_per_file=order["rows_per_file"],
        run_key=order["run_key"],
    )


def run_child(order: dict[str, Any], steps: int) -> None:
    """Export, and leave this process; one that is to be killed waits for that."""
    code = 1
    try:
        export(order, steps)
        code = 0
        if order["kill"]:
            os.close(steps)
            signal.pause()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def wait_for_steps(told: int, wanted: float, until: float) -> int:
    """Wait until a child has taken so many steps, has ended or has taken too long; give the number it took."""
    taken = 0
    while taken < wanted and select.select([told], [], [], max(0.0, until - time.monotonic()))[0]:
        new = os.read(told, 1)
        if not new:
            break
        taken += 1
    return taken


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Let a child export; kill it, if told so, ``seconds`` after its step number ``step``, or in the midst of that."""
    told, steps = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.close(told)
        run_child(order, steps)
    os.close(steps)
    kill = order["kill"]
    taken = wait_for_steps(told, kill["step"] if kill else float("inf"), started + LONGEST_SECONDS)
    if kill:
        time.sleep(kill["seconds"])
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(told)
    return {"status": status, "steps": taken, "seconds": time.monotonic() - started}


def main() -> None:
    """Obey until the input ends."""
    tempfile.gettempdir()  # found out by writing a file there: no child is to be killed in the midst of that
    print("ready", flush=True)  # noqa: T201 - the other side reads it
    for line in sys.stdin:
        print(json.dumps(obey(json.loads(line))), flush=True)  # noqa: T201 - see above


if __name__ == "__main__":
    main()
