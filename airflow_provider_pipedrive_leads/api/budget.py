"""The company's daily budget of API tokens: what is left, and when a reserve is reached. Figures of one client.

Sizes and headers: docs/pipedrive-api.md, "Daily budget" and "Headers". The headers may be missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveDailyBudgetError, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.api.endpoints import Call

SMALLEST_DAY = 30_000
"""API tokens a day of one seat on the smallest plan: assumed where no reply tells."""
FORGOTTEN_AFTER = 1500.0
"""Seconds after which a figure may be of a day that is over; who waits for the next one looks every 1,800."""
A_DAY = 86_400.0
RESERVE_FIELD = "'Daily token reserve' (daily_token_reserve)"


class DailyBudget(msgspec.Struct):
    """What is known of the day. Not thread-safe: the caller holds a lock. Times are seconds of a clock that only grows.

    :param left: tokens left by the last reply that told; None if none did.
    :param size: tokens of a whole day, likewise.
    :param told_at: when the server last told what is left.
    :param spent: tokens that this client spent.
    :param under_way: tokens of calls that have no reply yet.
    :param counted_from: when the day began by which a client counts that is told nothing, and what was spent by then.
    """

    left: int | None = None
    size: int | None = None
    told_at: float = 0.0
    spent: int = 0
    under_way: int = 0
    counted_from: tuple[float, int] | None = None

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Believe the server."""
        left = number(headers.get("x-daily-ratelimit-token-remaining"))
        size = number(headers.get("x-daily-ratelimit-token-limit"))
        if left is not None:
            self.left, self.told_at = int(left), now
        self.size = self.size if size is None else int(size)

    def guess_left(self, now: float) -> int:
        """Tokens left as far as known: where the server does not tell, the smallest day less one's own spending."""
        if self.left is not None:
            return self.left
        if self.counted_from is None or now - self.counted_from[0] > A_DAY:
            self.counted_from = (now, self.spent if self.counted_from else 0)
        return SMALLEST_DAY - (self.spent - self.counted_from[1])

    def may_be_spent(self, call: Call, now: float) -> bool:
        """Whether the day may have too few tokens left for a call: not if the server told lately that it has enough."""
        return self.left is None or self.left < call.cost or now - self.told_at > FORGOTTEN_AFTER

    def check(self, call: Call, reserve: int, connection: str, now: float) -> None:
        """Refuse a call that would touch the reserve; what was told long ago lets one call pass, to be told anew.

        :raises PipedriveConfigError: the reserve is larger than a whole day.
        :raises PipedriveDailyBudgetError: the call would leave less than the reserve.
        """
        if self.size is not None and reserve >= self.size:
            raise PipedriveConfigError(
                f"{connection}, field {RESERVE_FIELD}: keeps {reserve} API tokens, but the company's whole day has"
                f" {self.size}. Lower it."
            )
        told_long_ago = self.left is not None and now - self.told_at > FORGOTTEN_AFTER
        if told_long_ago and not self.under_way:
            return
        left = self.guess_left(now) - self.under_way
        if left - call.cost < reserve:
            raise PipedriveDailyBudgetError(
                f"{call.method} {call.path} was not sent: it costs {call.cost} API tokens, about {left} are left of the"
                f" company's day, and {RESERVE_FIELD} of {connection} keeps {reserve}.",
                method=call.method,
                path=call.path,
            )


class Usage(msgspec.Struct):
    """What a client has used so far.

    :param requests: calls that reached the server, or may have; repeats included.
    :param retries: calls that were repeats.
    :param rate_limited: replies 429.
    :param tokens: API tokens that the calls cost.
    :param daily_tokens_left: what is left of the company's day by the last reply that said so, else None.
    :param daily_tokens: tokens of the company's whole day, likewise.
    :param first_reply_at: the server's clock at the first reply, such as ``2026-01-31T09:30:00Z``; None if untold.
    :param last_reply_at: likewise at the last reply.
    """

    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    tokens: int = 0
    daily_tokens_left: int | None = None
    daily_tokens: int | None = None
    first_reply_at: str | None = None
    last_reply_at: str | None = None
