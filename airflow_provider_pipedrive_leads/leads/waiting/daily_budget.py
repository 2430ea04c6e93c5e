"""Waiting for the next day's budget: when to look for it, and whether what is there is enough.

The budget renews at midnight of a zone that Pipedrive does not name (docs/pipedrive-api.md, "Daily budget"). Where no
reply said when, it is looked for just after each half hour, for it is midnight somewhere then. So all who wait look at
the same moments, and those of one account can share a call: see :mod:`leads.waiting.budget_probe`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

BETWEEN_PROBES = timedelta(minutes=30)
AFTER_RESET = timedelta(seconds=30)
SHORTEST_WAIT = timedelta(seconds=15)
"""Airflow 3.3 loses the event of a trigger that fires while the worker is still leaving its task."""
LONGEST_WAIT = timedelta(hours=26)
SMALLEST_NEED = 200
"""API tokens for a task that does not say what it needs: more than any takes that handles a single lead."""
FRESH_PART = 0.9
"""The part of a day that is surely left when it is first looked at: others may have been quicker."""


class Told(msgspec.Struct, frozen=True):
    """What a probe found.

    :param passes: whether calls pass again.
    :param left: API tokens left of the day; None where Pipedrive does not tell.
    :param size: API tokens of a whole day, likewise.
    :param resets_at: when the budget is full again, if calls do not pass and the server said.
    """

    passes: bool
    left: int | None = None
    size: int | None = None
    resets_at: datetime | None = None


def next_probe(now: datetime, since: datetime, resets_at: datetime | None = None) -> datetime | None:
    """When to look next whether the budget is back.

    :param now: with zone.
    :param since: when the waiting began, with zone.
    :param resets_at: when the server said that the budget is full again; what is no moment of this wait is ignored.
    :return: just after that moment if it is known, then, or else, just after each half hour; None once 26 hours have
        passed.
    """
    last = since + LONGEST_WAIT
    if resets_at is not None and since < resets_at <= last - AFTER_RESET and now < resets_at + AFTER_RESET:
        return resets_at + AFTER_RESET
    earliest = max(now, since + SHORTEST_WAIT)
    first = _midnight(earliest) + AFTER_RESET
    probe = first + BETWEEN_PROBES * ((earliest - first) // BETWEEN_PROBES + 1)
    return probe if probe <= last else None


def _midnight(moment: datetime) -> datetime:
    """The last one, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def is_back(told: Told, *, needed: int | None, reserve: int, since: datetime, now: datetime) -> bool:
    """Whether a task that waits has a chance now.

    :param needed: API tokens that it needs; None if it does not say. A whole day less the reserve is always enough.
    :param reserve: API tokens that are to stay.
    :param since: when the waiting began, with zone.
    """
    if not told.passes:
        return False
    if told.left is None:  # a reserve that is kept by counting is good for one day
        return not reserve or now >= _midnight(since) + timedelta(days=1)
    if told.size is not None and reserve >= told.size:
        return True  # the task itself says best what is wrong
    enough = float(max(needed or 0, SMALLEST_NEED))
    if told.size is not None:
        enough = min(enough, FRESH_PART * (told.size - reserve))
    return told.left - reserve >= enough
