"""How often to look for changes: as often as wanted, unless that would eat too much of the company's day."""

from __future__ import annotations

import math

from airflow_provider_pipedrive_leads.api.budget import SMALLEST_DAY
from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import number_value, wrong

POLL_INTERVAL = 300.0
"""Seconds between two polls where nothing else is wanted."""
SHORTEST_INTERVAL = 10.0
"""Seconds; what fires sooner can outrun Airflow's own bookkeeping of a task that is still leaving its worker."""
DAILY_SHARE = 0.1
"""The part of the company's day that waiting may cost where nothing else is wanted."""
SECONDS_A_DAY = 86_400.0
LONGEST_INTERVAL = 30 * SECONDS_A_DAY


def seconds_between_polls(
    poll_interval: float, tokens_per_poll: int, daily_limit: int | None, daily_share: float
) -> tuple[float, str]:
    """Decide how long to wait between two polls: the slower of the wanted pace and the affordable one.

    :param poll_interval: seconds wanted.
    :param tokens_per_poll: what one poll costs.
    :param daily_limit: API tokens of the company's whole day; None where Pipedrive does not tell: 30,000 is assumed.
    :param daily_share: the part of the day that polling may cost, above 0, at most 1.
    :return: seconds, and a sentence for the log that says which pace won and why.
    """
    day = daily_limit or SMALLEST_DAY
    polls = day * daily_share / max(1, tokens_per_poll)
    whole = math.floor(polls) if polls >= 1 else polls  # a day holds as many whole polls, however they fall
    affordable = min(SECONDS_A_DAY / whole, LONGEST_INTERVAL) if whole else LONGEST_INTERVAL
    source = "as Pipedrive tells" if daily_limit else "assumed, for Pipedrive does not tell"
    budget = f"{daily_share:.4g} of the day's {day} API tokens ({source}) at {tokens_per_poll} a poll"
    if affordable > poll_interval:
        return affordable, f"Polling every {affordable:.0f} s instead of {poll_interval:g} s: no more is in {budget}."
    return float(poll_interval), f"Polling every {poll_interval:g} s, as asked for; that is within {budget}."


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
