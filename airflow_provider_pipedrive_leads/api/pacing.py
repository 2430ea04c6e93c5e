"""Keeping the burst window: so many calls in any two seconds, decided from times alone.

A call takes a place when it is sent and gives it back two seconds after its reply, because the server counted it
at some moment in between. Limits by plan: docs/pipedrive-api.md, "Limits".
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import number

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_SECONDS = 2.0
LEAST_ALLOWED = 20
"""Calls per window of the smallest plan with an API token: assumed until a reply says more."""
SEARCHES_ALLOWED = 10
"""Search calls per window, on every plan."""
SHORT_SLEEP = 0.01


class BurstWindow:
    """The places of one rolling window. Not thread-safe: the caller holds a lock.

    :param allowed: calls in any two seconds.
    """

    def __init__(self, allowed: int = LEAST_ALLOWED) -> None:
        self.allowed = allowed
        self._in_flight = 0
        self._replied: deque[float] = deque()
        self._closed_until = 0.0

    def delay(self, now: float) -> float:
        """Seconds until asking again makes sense; 0 if a call may go now. ``now`` is any steadily growing clock."""
        while self._replied and self._replied[0] + WINDOW_SECONDS <= now:
            self._replied.popleft()
        if now < self._closed_until:
            return self._closed_until - now
        if self._in_flight + len(self._replied) < self.allowed:
            return 0.0
        if not self._replied:
            return SHORT_SLEEP
        return max(self._replied[0] + WINDOW_SECONDS - now, 0.0)

    def take(self) -> None:
        """Note that a call is being sent."""
        self._in_flight += 1

    def give_back(self, now: float) -> None:
        """Note that a call ended, however it ended."""
        self._in_flight -= 1
        self._replied.append(now)

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Believe the server about the size of the window, and hold still when others have used it up."""
        limit = number(headers.get("x-ratelimit-limit"))
        if limit is not None and limit >= 1:
            self.allowed = int(limit)
        remaining, reset = (number(headers.get(f"x-ratelimit-{name}")) for name in ("remaining", "reset"))
        others_are_busy = self._in_flight + len(self._replied) < self.allowed
        if remaining == 0 and others_are_busy and reset is not None:
            self.close(now + min(reset, WINDOW_SECONDS))

    def close(self, until: float) -> None:
        """Let nothing pass before ``until``: after a 429."""
        self._closed_until = max(self._closed_until, until)
