"""Waiting for the next day's budget, when nobody says at what hour it comes: a timetable of cheap probes.

The budget renews at midnight of a zone that Pipedrive does not name (docs/pipedrive-api.md, "Daily budget").
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.client import PipedriveClient

BETWEEN_PROBES = timedelta(minutes=30)
AFTER_MIDNIGHT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(hours=26)


def next_probe(now: datetime, since: datetime) -> datetime | None:
    """When to ask again whether the budget is back.

    :param now: with zone.
    :param since: when the waiting began, with zone.
    :return: just after the first midnight UTC, then every 30 minutes; None once 26 hours have passed.
    """
    midnight = datetime.combine(since.astimezone(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    probe = midnight + AFTER_MIDNIGHT
    if now >= probe:
        probe += BETWEEN_PROBES * ((now - probe) // BETWEEN_PROBES + 1)
    return probe if probe <= since + LONGEST_WAIT else None


def budget_is_back(client: PipedriveClient) -> bool:
    """Ask with one cheap call (``getCurrentUser``, 2 tokens) whether calls pass again.

    :raises PipedriveError: something else is wrong.
    """
    try:
        client.get_current_user()
    except PipedriveDailyBudgetError:
        return False
    left = client.usage.daily_tokens_left
    return left is None or left > client.settings.daily_token_reserve
