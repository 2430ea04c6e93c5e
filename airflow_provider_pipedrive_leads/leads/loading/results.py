"""What became of each row: counted, and written down in parts as it becomes known."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_pipedrive_leads.files.folders import Folder

ROWS_OF_PART = 1_000
SECONDS_OF_PART = 5.0
MOST_KEPT = 1_000
MOST_NAMED = 5
SILENT = ("unchanged",)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a row, or of a lead that no row names any more.

    :param row: its number in the source; None for a lead without a row.
    :param key: the whole key; None if it could not be read.
    :param outcome: ``created``, ``updated``, ``unchanged``, ``archived``, ``converted`` where the lead has become a
        deal, ``conflict``, ``failed``, or ``not sent`` where the load ended before; of a dry run ``would create``,
        ``would update`` and ``would archive``.
    :param lead_id: the lead, if there is one.
    :param error: why it failed or is in conflict; begins with the field.
    :param rewritten: fields that Pipedrive stored otherwise than they were sent: trimmed, rounded, reformatted.
    :param deal_id: the deal that the lead became.
    """

    row: int | None
    key: str | None
    outcome: str
    lead_id: str | None = None
    error: str | None = None
    rewritten: list[str] = []
    deal_id: int | None = None


class Results:
    """Takes outcomes. Those not yet written are written when the ``with`` block ends, however it ends.

    :param folder: where parts of at most 1,000 lines go; None: the outcomes worth telling are kept in memory, at most
        1,000.
    :param label: how the names of this try's parts begin.
    :ivar counts: rows by outcome.
    :ivar files: the parts, as a user would open them.
    :ivar kept: outcomes other than ``unchanged``, where there is no folder.
    :ivar bad: the first few outcomes that are failures or conflicts.
    """

    def __init__(self, folder: Folder | None, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter()
        self.files: list[str] = []
        self.kept: list[Outcome] = []
        self.bad: list[Outcome] = []
        self._folder = folder
        self._label = label
        self._clock = clock
        self._lines: list[bytes] = []
        self._oldest = 0.0

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def add(self, outcome: Outcome) -> None:
        """Take an outcome."""
        self.counts[outcome.outcome] += 1
        if outcome.outcome in ("failed", "conflict") and len(self.bad) < MOST_NAMED:
            self.bad.append(outcome)
        if self._folder is None:
            if outcome.outcome not in SILENT and len(self.kept) < MOST_KEPT:
                self.kept.append(outcome)
            return
        if not self._lines:
            self._oldest = self._clock()
        self._lines.append(msgspec.json.encode(outcome))
        if len(self._lines) >= ROWS_OF_PART:
            self.flush()

    def tick(self) -> None:
        """Write what has waited for 5 seconds."""
        if self._lines and self._clock() - self._oldest >= SECONDS_OF_PART:
            self.flush()

    def flush(self) -> None:
        """Write what waits as a part of its own, which appears whole."""
        if self._folder is None or not self._lines:
            return
        name = f"{self._label}-{len(self.files):05}.jsonl"
        with self._folder.publishing(name) as file:
            file.write(b"\n".join(self._lines) + b"\n")
        self._lines = []
        self.files.append(f"{self._folder.place}/{name}")
