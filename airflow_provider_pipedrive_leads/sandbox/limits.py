"""How much a caller may do: the rolling two-second burst, the search limit, the company's daily budget.

Figures: sections 8.3 and 8.4 of ``docs/pipedrive-api.md``. Times are seconds since 1970 UTC.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

BURST_SECONDS = 2.0
SEARCH_BURST = 10
TOKENS_PER_SEAT = 30_000
BAN_AFTER_REJECTIONS = 30
BAN_COUNTING_SECONDS = 10.0
BAN_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """What a plan allows: its budget multiplier and the calls per burst window by kind of token."""

    multiplier: int
    api_token_burst: int
    oauth_burst: int


PLANS = {
    "lite": Plan(1, 20, 80),
    "growth": Plan(2, 40, 160),
    "premium": Plan(5, 100, 400),
    "ultimate": Plan(7, 120, 480),
}


@dataclass
class Window:
    """Calls counted over the last seconds."""

    limit: int
    seconds: float = BURST_SECONDS
    times: deque[float] = field(default_factory=deque)

    def expire(self, now: float) -> None:
        """Forget calls that have left the window; a clock set back empties it."""
        while self.times and not now - self.seconds < self.times[0] <= now:
            self.times.popleft()

    def remaining(self) -> int:
        """Calls still allowed in the present window."""
        return max(0, self.limit - len(self.times))

    def reset(self, now: float) -> int:
        """Whole seconds until the oldest call leaves the window, at least 1."""
        return max(1, math.ceil(self.times[0] + self.seconds - now)) if self.times else math.ceil(self.seconds)


@dataclass(frozen=True)
class Verdict:
    """What the limits say to one call: ``allowed``, ``burst``, ``daily`` or ``banned``, and the headers' figures."""

    outcome: str
    limit: int
    remaining: int
    reset: int
    daily_limit: int
    daily_remaining: int
    seconds_to_midnight: int


class Limits:
    """Counts calls per token and tokens per day, and judges each call."""

    def __init__(self, plan: str, seats: int) -> None:
        if plan not in PLANS:
            raise ValueError(f"unknown plan {plan!r}: one of {', '.join(PLANS)}")
        self.plan = PLANS[plan]
        self.plan_name = plan
        self.daily_limit = TOKENS_PER_SEAT * self.plan.multiplier * seats
        self.spent = 0
        self.day = ""
        self.search_burst = SEARCH_BURST
        self.burst: int | None = None
        self._bursts: dict[tuple[str, str], Window] = {}
        self._rejections: dict[str, Window] = defaultdict(lambda: Window(BAN_AFTER_REJECTIONS, BAN_COUNTING_SECONDS))
        self._banned_until: dict[str, float] = {}

    def set_burst(self, calls: int | None, search: int) -> None:
        """Allow this many calls and searches per window; None calls mean what the plan says."""
        self.burst, self.search_burst = calls, search

    def set_remaining(self, tokens: int) -> None:
        """Leave this many tokens of today's budget."""
        self.spent = self.daily_limit - tokens

    def remaining_today(self, now: float, zone: str) -> int:
        """Tokens left of the budget of the day in which ``now`` lies."""
        self._turn_day(now, zone)
        return max(0, self.daily_limit - self.spent)

    def judge(self, now: float, token: str, kind: str, cost: int, *, search: bool, zone: str, bans: bool) -> Verdict:
        """Judge one call and, if it is allowed, count it. ``kind`` is ``api_token`` or ``oauth``."""
        self._turn_day(now, zone)
        windows = self._windows(token, kind, search)
        for window in windows:
            window.expire(now)
        if self._is_banned(token, now):
            outcome = "banned"
        elif any(window.remaining() == 0 for window in windows):
            outcome = "burst"
        elif self.spent + cost > self.daily_limit:
            outcome = "daily"
        else:
            outcome = "allowed"
            self.spent += cost
            for window in windows:
                window.times.append(now)
        if outcome in ("burst", "daily") and bans and kind == "api_token":
            self._note_rejection(token, now)
        tightest = min(windows, key=lambda window: (window.remaining(), window.limit))
        return Verdict(
            outcome,
            tightest.limit,
            tightest.remaining(),
            tightest.reset(now),
            self.daily_limit,
            0 if outcome == "daily" else max(0, self.daily_limit - self.spent),
            seconds_to_midnight(now, zone),
        )

    def _windows(self, token: str, kind: str, search: bool) -> list[Window]:
        burst = self.plan.api_token_burst if kind == "api_token" else self.plan.oauth_burst
        windows = [self._window(token, "all", burst if self.burst is None else self.burst)]
        return [*windows, self._window(token, "search", self.search_burst)] if search else windows

    def _window(self, token: str, name: str, limit: int) -> Window:
        window = self._bursts.setdefault((token, name), Window(limit))
        window.limit = limit
        return window

    def _is_banned(self, token: str, now: float) -> bool:
        if self._banned_until.get(token, now) <= now:
            self._banned_until.pop(token, None)
        return token in self._banned_until

    def _note_rejection(self, token: str, now: float) -> None:
        rejections = self._rejections[token]
        rejections.expire(now)
        rejections.times.append(now)
        if rejections.remaining() == 0:
            self._banned_until[token] = now + BAN_SECONDS
            rejections.times.clear()

    def _turn_day(self, now: float, zone: str) -> None:
        today = datetime.fromtimestamp(now, ZoneInfo(zone)).date().isoformat()
        if today != self.day:
            self.spent = 0 if self.day else self.spent
            self.day = today


def seconds_to_midnight(now: float, zone: str) -> int:
    """Whole seconds until the day ends in a zone."""
    here = datetime.fromtimestamp(now, ZoneInfo(zone))
    midnight = datetime(here.year, here.month, here.day, tzinfo=here.tzinfo) + timedelta(days=1)
    return max(1, math.ceil(midnight.timestamp() - now))
