"""The prepared server for writes: no leads at first, and a posted lead costs it next to nothing.

Run by itself: ``python -m benchmarks.prepared_writes``. A reply is what was sent, with an id and times before it; the
lead is kept as these bytes, and the lists give them as ``benchmarks.prepared_server`` gives prepared leads.
"""

from __future__ import annotations

import threading
from bisect import bisect_left

from airflow_provider_pipedrive_leads.sandbox import seed
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, parse_time, to_ms
from benchmarks.prepared_leads import ID_STEP, SECOND_MS
from benchmarks.prepared_server import Reply, Server, listen

LEAD = (
    b'{"id":"%08x-9c1e-11f0-9a3d-0242ac120002","add_time":"%b","update_time":"%b","creator_id":11400001,'
    b'"is_archived":false,"archive_time":null,"source_name":"API","origin":"API",'
)


class CreatedLeads:
    """Active leads in the order in which they were created, a second apart by their own times."""

    def __init__(self) -> None:
        self._leads: list[bytes] = []
        self._updated_ms: list[int] = []
        self._lock = threading.Lock()

    def create(self, body: bytes) -> Reply:
        """Keep a lead, and answer with it."""
        with self._lock:
            number = len(self._leads)
            made = seed.ANCHOR + number * SECOND_MS
            time = iso_ms(made).encode()
            lead = LEAD % (number * ID_STEP, time, time) + body.lstrip().removeprefix(b"{")
            self._leads.append(lead)
            self._updated_ms.append(made)
        return Reply(201, (b'{"success":true,"data":', lead, b"}"))

    def __len__(self) -> int:
        return len(self._leads)

    def first_since(self, updated_since: str) -> int:
        """The place of the first lead that was updated at that second or later."""
        return bisect_left(self._updated_ms, to_ms(parse_time(updated_since)))

    def ascending(self, first: int, beyond: int) -> bytes:
        """Leads from one place to before another, with commas between."""
        return b",".join(self._leads[first:beyond])

    def descending(self, first: int, beyond: int) -> bytes:
        """The same leads, the last one first."""
        return b",".join(reversed(self._leads[first:beyond]))


if __name__ == "__main__":
    created = CreatedLeads()
    listen(Server(created, created.create))
