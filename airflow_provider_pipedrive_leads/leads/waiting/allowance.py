"""How often to look for changes: as often as wanted, unless that would eat too much of the company's day."""

from __future__ import annotations

import math

import msgspec

from airflow_provider_pipedrive_leads.api.budget import A_DAY, SMALLEST_DAY

SAVED = 0.1
LONGEST_INTERVAL = 30 * A_DAY


class Allowance(msgspec.Struct, frozen=True):
    """What polling may cost: a share of the company's day.

    A tenth of the share can be saved up, for polls that find much; the rest comes evenly over the day. So no day costs
    more than the share, but by what a single poll costs that finds more than was saved.

    :param poll_interval: seconds wanted between two polls.
    :param daily_limit: API tokens of the company's whole day; None where Pipedrive does not tell: 30,000 is assumed.
    :param daily_share: the part of the day that polling may cost, above 0, at most 1.
    """

    poll_interval: float
    daily_limit: int | None
    daily_share: float

    @property
    def tokens(self) -> float:
        """For a whole day."""
        return (self.daily_limit or SMALLEST_DAY) * self.daily_share

    def savings(self, cost: int) -> float:
        """Tokens that may be saved up. With a share of few polls there are none, for a poll that is early is one more.

        :param cost: tokens of a usual poll.
        """
        return self.tokens * SAVED if self.tokens * SAVED >= cost else 0.0

    def a_second(self, cost: int) -> float:
        """Tokens that come every second."""
        polls = self.tokens / cost
        whole = math.floor(polls) if polls >= 1 else polls  # a day holds as many whole polls, however they fall
        evenly = self.tokens - self.savings(cost) if self.savings(cost) else whole * cost
        return max(evenly / A_DAY, cost / LONGEST_INTERVAL)

    def tokens_a_poll(self, cost: int) -> float:
        """What a poll may cost that does not slow down the next."""
        return self.a_second(cost) * self.poll_interval

    def seconds_to_next(self, cost: int, owed: float) -> float:
        """How long to wait after a poll: the slower of the wanted pace and the affordable one.

        :param owed: what polls cost so far and is not paid by the share yet.
        """
        room = max(0.0, self.savings(cost) - 2 * cost)  # a poll may read a page more than usual
        return max(self.poll_interval, (min(owed, self.tokens + cost) - room) / self.a_second(cost))

    def owed(self, before: float, seconds: float, spent: int, cost: int) -> float:
        """What is owed after a poll.

        :param before: what was owed after the poll before.
        :param seconds: between the two.
        :param spent: tokens of the poll.
        """
        return max(0.0, before - seconds * self.a_second(cost)) + spent

    def why(self, cost: int) -> str:
        """Say in a sentence for the log which pace wins in the long run."""
        source = "as Pipedrive tells" if self.daily_limit else "assumed, for Pipedrive does not tell"
        day = self.daily_limit or SMALLEST_DAY
        budget = f"{self.daily_share:.4g} of the day's {day} API tokens ({source}) at {cost} a poll"
        affordable, wanted = cost / self.a_second(cost), self.poll_interval
        if affordable > wanted:
            return f"Polling every {affordable:.0f} s in the long run, not every {wanted:g} s: no more is in {budget}."
        return f"Polling every {wanted:g} s, as asked for; that is within {budget}."
