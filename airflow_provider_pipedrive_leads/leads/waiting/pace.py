"""When a series of polls goes on: its pace, and what stands against it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import MAX_WAIT, PipedriveRateLimitError
from airflow_provider_pipedrive_leads.leads.waiting.allowance import Allowance
from airflow_provider_pipedrive_leads.leads.waiting.daily_budget import next_probe
from airflow_provider_pipedrive_leads.leads.waiting.polling import DAILY_SHARE, POLL_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_pipedrive_leads.api.errors import PipedriveDailyBudgetError, PipedriveError

log = logging.getLogger(__name__)


class Pace:
    """When to poll next.

    :param now: seconds of a clock that only grows, as all times here.
    :ivar seconds: between the last poll and the next.
    :ivar allowance: whose pace it is.
    """

    def __init__(self, now: float) -> None:
        self.seconds = 0.0
        self.allowance = Allowance(POLL_INTERVAL, None, DAILY_SHARE)
        self._cost = 1
        self._owed = 0.0
        self._polled_at = now
        self._told = ""

    @property
    def due(self) -> float:
        """When to poll next."""
        return self._polled_at + self.seconds

    def begin_again(self, now: float) -> None:
        """Go on after a pause, with what is still owed."""
        self._owed = self.allowance.owed(self._owed, now - self._polled_at, 0, self._cost)
        self._polled_at = now

    def choose(self, allowances: Iterable[Allowance], cost: int) -> None:
        """Take the allowance that lets the next poll come first, and say so.

        :param cost: API tokens of a usual poll.
        """
        self._cost = cost
        self.seconds, self.allowance = min(
            ((each.seconds_to_next(cost, self._owed), each) for each in allowances), key=lambda each: each[0]
        )
        if (why := self.allowance.why(cost)) != self._told:
            log.info("%s", why)
            self._told = why

    def polled(self, began: float, tokens: int, cost: int) -> None:
        """Count a poll.

        :param tokens: what it cost.
        :param cost: what a usual one costs.
        """
        self._owed = self.allowance.owed(self._owed, began - self._polled_at, tokens, cost)
        self._polled_at = began


class Trouble:
    """What stands against polling, from one poll to the next.

    :ivar answered: whether something was found out in this poll.
    :ivar day_error: what said in the last poll that the day is spent.
    """

    def __init__(self) -> None:
        self.answered = False
        self._is_told = False
        self._not_before: datetime | None = None
        self._refused_now = False
        self._refused_before = False
        self.day_error: PipedriveDailyBudgetError | None = None
        self._spent_since: datetime | None = None

    def begin_poll(self) -> None:
        """A poll begins."""
        self.answered = False
        self.day_error = self._not_before = None
        self._refused_before, self._refused_now = self._refused_now, False

    def end_poll(self) -> None:
        """A poll has ended."""
        if self.answered:
            self._is_told = False
        if self.answered and self.day_error is None:
            self._spent_since = None

    def passing(self, error: PipedriveError, now: datetime) -> None:
        """Meet something that passes by itself; it is not asked again earlier than Pipedrive says."""
        log.log(logging.INFO if self._is_told else logging.WARNING, "%s Asking again later.", error)
        self._is_told = True
        if isinstance(error, PipedriveRateLimitError):
            self._wait_until(now + timedelta(seconds=min(error.retry_after, MAX_WAIT)))

    def refused(self, error: PipedriveError) -> bool:
        """Meet a login that is refused; True if the last poll did, too."""
        if not (self._refused_now or self._refused_before):
            log.warning("%s Asking once more.", error)
        self._refused_now = True
        return self._refused_before

    @property
    def stands_against_more(self) -> bool:
        """Whether the rest of a poll would meet the same."""
        return self._refused_now or self._not_before is not None or self.day_error is not None

    def day_spent(self, error: PipedriveDailyBudgetError, now: datetime) -> bool:
        """Meet a spent day; True if it lasts longer than a day."""
        self.day_error = error
        self._spent_since = self._spent_since or now
        probe = next_probe(now, self._spent_since, error.resets_at)
        if probe is not None:
            self._wait_until(probe)
        return probe is None

    def seconds_left(self, now: datetime) -> float:
        """Seconds to wait yet."""
        return (self._not_before - now).total_seconds() if self._not_before else 0.0

    def _wait_until(self, when: datetime) -> None:
        self._not_before = max(when, self._not_before or when)
