"""Many leads as JSON, made ahead of any request: one run of bytes from which every page is a slice."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left
from typing import NamedTuple

import msgspec

from airflow_provider_pipedrive_leads.sandbox import seed
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, parse_time, to_ms
from airflow_provider_pipedrive_leads.sandbox.fields import as_v1, standard_fields
from airflow_provider_pipedrive_leads.sandbox.leads import Company

CUSTOM_FIELD_TYPES = (
    *("enum", "set", "double", "monetary", "date", "daterange"),
    *("time", "varchar", "text", "address", "phone", "user"),
)
SHAPES = 5_003
"""Different leads but for id, times and number in the title; prime, so that no page begins like another."""
MOST_LEADS = 1_000_000
ID_STEP = (1 << 32) // MOST_LEADS
SECOND_MS, UPDATED_AFTER_MS = 1_000, 3_600_000
IMPORT_EVERY, IMPORT_SIZE, IMPORT_GAP_MS = 5_000, 300, 25
QUIET_TO_BUSY = 3.0
"""How much rarer new leads were two years ago than they are now."""


class PreparedLeads:
    """Active leads in one order: by id, by ``add_time`` and by ``update_time`` they follow each other alike.

    :param count: how many to make; at most a million.
    """

    def __init__(self, count: int) -> None:
        if not 0 < count <= MOST_LEADS:
            raise ValueError(f"leads: {count} is not between 1 and {MOST_LEADS}")
        templates = _templates()
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        self._updated_ms = array("Q")
        for number, made in enumerate(_times(count)):
            updated = made + UPDATED_AFTER_MS
            moments = {b"add": iso_ms(made).encode(), b"update": iso_ms(updated).encode()}
            facts = {b"low": number * ID_STEP, b"number": number, **moments}
            self._bytes += templates[number % SHAPES] % facts
            self._ends.append(len(self._bytes))
            self._updated_ms.append(updated)
        self._view = memoryview(self._bytes)

    def __len__(self) -> int:
        return len(self._updated_ms)

    def first_since(self, updated_since: str) -> int:
        """The place of the first lead that was updated at that second or later."""
        return bisect_left(self._updated_ms, to_ms(parse_time(updated_since)))

    def ascending(self, first: int, beyond: int) -> memoryview:
        """Leads from one place to before another, with commas between: no byte is copied."""
        return self._view[self._ends[first] : max(self._ends[first], self._ends[beyond] - 1)]

    def descending(self, first: int, beyond: int) -> bytes:
        """The same leads, the last one first."""
        return b",".join(self.ascending(place, place + 1) for place in range(beyond - 1, first - 1, -1))


class Catalogue(NamedTuple):
    """What leads refer to, as items of the v1 lists."""

    fields: list[dict[str, object]]
    labels: list[dict[str, object]]


def catalogue() -> Catalogue:
    """Standard fields, a dozen custom ones, and the three labels of a new account."""
    fields = [*standard_fields("lead", seed.ANCHOR - 2 * seed.TWO_YEARS_MS), *_custom_fields()]
    return Catalogue([item for field in fields for item in as_v1(field)], seed.labels())


def _custom_fields() -> list[seed.Document]:
    return [field for field in seed.custom_fields(0) if field["field_type"] in CUSTOM_FIELD_TYPES]


def _templates() -> list[bytes]:
    """Leads as JSON with a comma behind, and with holes for what no two leads share."""
    people = seed.contacts(0, SHAPES)
    organizations = {each["id"]: each for each in people.organizations}
    labels = [label["id"] for label in seed.labels()]
    setting = seed.Setting(Company(), people, organizations, _custom_fields(), labels)
    drawn, again = (seed.leads(seed.LeadRecipe(SHAPES, number, archived_share=0), setting) for number in (0, 1))
    return [_template({**lead, **_without(other, lead)}) for lead, other in zip(drawn, again, strict=True)]


def _without(other: seed.Document, lead: seed.Document) -> seed.Document:
    """Custom values that a lead does not have: the sandbox fills a quarter of them, a used account more."""
    return {name: value for name, value in other.items() if name not in lead}


def _template(lead: seed.Document) -> bytes:
    holes = {
        "id": "%(low)08x-9c1e-11f0-9a3d-0242ac120002",
        "title": f"{lead['title']} %(number)d",
        "add_time": "%(add)s",
        "update_time": "%(update)s",
    }
    return msgspec.json.encode({name: holes.get(name, value) for name, value in lead.items()}) + b","


def _times(count: int) -> list[int]:
    """Strictly growing milliseconds over two years: irregular, denser towards the end, with imports in bulk."""
    chance = random.Random(count)  # noqa: S311 - of a measurement, not of a secret
    gaps = []
    for number in range(count):
        busy = 1 + (QUIET_TO_BUSY - 1) * number / count
        imported = number % IMPORT_EVERY < IMPORT_SIZE
        gaps.append(0.0 if imported else chance.expovariate(busy))
    scale = (seed.TWO_YEARS_MS - count * IMPORT_GAP_MS) / sum(gaps)
    made = float(seed.ANCHOR - seed.TWO_YEARS_MS)
    times = []
    for gap in gaps:
        made += IMPORT_GAP_MS + gap * scale
        times.append(int(made))
    return times
