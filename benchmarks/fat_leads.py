"""The prepared server with leads that weigh much: thirty text fields of two kilobytes each, no two texts alike.

Run by itself: ``python -m benchmarks.fat_leads``. The leads are put together as they are asked for: all of
them would be two gigabytes.
"""

from __future__ import annotations

import argparse
import random
from bisect import bisect_left

from airflow_provider_pipedrive_leads.sandbox import seed
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, parse_time, to_ms
from benchmarks.prepared_leads import ID_STEP, SECOND_MS
from benchmarks.prepared_server import Server, listen

TEXT_FIELDS, TEXT_BYTES = 30, 2_000
POOL_BYTES = 1 << 20
FIRST_FIELD = 20_000
LEAD = (
    b'{"id":"%08x-9c1e-11f0-9a3d-0242ac120002","title":"Lead %d","add_time":"%b","update_time":"%b",'
    b'"is_archived":false,"archive_time":null,"owner_id":11400001'
)


class FatLeads:
    """Active leads a second apart, each of sixty kilobytes.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        chance = random.Random(7)  # noqa: S311 - of a measurement, not of a secret
        self._count = count
        self._pool = chance.randbytes(POOL_BYTES // 2).hex().encode()
        self._keys = [str(field["key"]).encode() for field in text_fields()]

    def __len__(self) -> int:
        return self._count

    def first_since(self, updated_since: str) -> int:
        """The place of the first lead that was updated at that second or later."""
        return bisect_left(range(self._count), to_ms(parse_time(updated_since)), key=_updated_ms)

    def ascending(self, first: int, beyond: int) -> bytes:
        """Leads from one place to before another, with commas between."""
        return b",".join(map(self._lead, range(first, beyond)))

    def descending(self, first: int, beyond: int) -> bytes:
        """The same leads, the last one first."""
        return b",".join(map(self._lead, range(beyond - 1, first - 1, -1)))

    def _lead(self, number: int) -> bytes:
        time = iso_ms(_updated_ms(number)).encode()
        parts = [LEAD % (number * ID_STEP, number, time, time)]
        for place, key in enumerate(self._keys):
            begin = (number * 7_919 + place * 104_729) % (POOL_BYTES - TEXT_BYTES)
            parts.append(b',"%b":"%b"' % (key, self._pool[begin : begin + TEXT_BYTES]))
        return b"".join([*parts, b"}"])


def _updated_ms(number: int) -> int:
    return seed.ANCHOR + number * SECOND_MS


def text_fields() -> list[dict[str, object]]:
    """The custom fields of such leads, as items of the v1 list."""
    return [
        {"id": FIRST_FIELD + place, "key": f"{place:040x}", "name": f"Text {place}", "field_type": "text"}
        for place in range(1, TEXT_FIELDS + 1)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve leads of sixty kilobytes on loopback.")
    parser.add_argument("--leads", type=int, default=30_000, help="how many (default: 30000)")
    listen(Server(FatLeads(parser.parse_args().leads), more_fields=text_fields()))
