"""What users say of how often to look for changes."""

from __future__ import annotations

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import number_value, wrong

POLL_INTERVAL = 300.0
"""Seconds between two polls where nothing else is wanted."""
SHORTEST_INTERVAL = 10.0
"""Seconds; what fires sooner can outrun Airflow's own bookkeeping of a task that is still leaving its worker."""
DAILY_SHARE = 0.1
"""The part of the company's day that waiting may cost where nothing else is wanted."""


def poll_interval_value(value: float | str) -> float:
    """Read an interval.

    :raises PipedriveValidationError: it is no number of at least 10 seconds.
    """
    seconds = float(number_value("poll_interval", value))
    if seconds < SHORTEST_INTERVAL:
        raise wrong("poll_interval", value, f"a number of seconds from {SHORTEST_INTERVAL:g} on")
    return seconds


def daily_share_value(value: float | str) -> float:
    """Read a share of the day.

    :raises PipedriveValidationError: it is not above 0 and at most 1.
    """
    share = float(number_value("daily_share", value))
    if not 0 < share <= 1:
        raise PipedriveValidationError(f"daily_share: {str(value)[:80]!r} is not a part of the day above 0, at most 1.")
    return share
