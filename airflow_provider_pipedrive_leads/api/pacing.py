"""Keeping the burst window: so many calls in any two seconds, decided from times and reports alone.

A call takes a place when it is sent and gives it back two seconds after its reply, because the server counted it at
some moment in between: within one process no call is too many. Where calls take steadily long, the way there and back
is the same for all of them, and the place is given back earlier by that much: the next call will be as long under way.
Other processes on the same token show only in what
the server reports: while there are any, this one takes a share that shrinks when the window gets tight and grows slowly
when it does not, so that all come to live side by side. Limits by plan: docs/pipedrive-api.md, "Limits".
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from statistics import median, quantiles
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WINDOW_SECONDS = 2.0
LEAST_ALLOWED = 20
"""Calls per window of the smallest plan with an API token: assumed until a reply says more."""
SEARCHES_ALLOWED = 10
"""Search calls per window, on every plan."""
SHORT_SLEEP = 0.01
SHORTEST_SLEEP = 0.0001
"""No place is never 0 s, however times round."""
LONGEST_MEMORY = 10.0
"""Seconds for which ended calls are remembered beyond the window, to compare with reports that were long under way."""

LATENCIES_REMEMBERED = 25
"""Of the last replies; their spread tells how much of a latency can be relied on."""
SPREADS_OFF = 8
MOST_TAKEN_IN = 200.0
"""Pages a second that a process can read and write."""

FIRST_SHARE = 1.0
"""Calls that a process dares before it knows anything."""
TIGHT = 0.2
"""The part of the window that stays free for others to come in."""
SHRINK = 0.8
SHRINK_REJECTED = 0.5
SHRINK_PAUSE = 0.5
"""Seconds between two shrinkings, so that the first can show."""
GROWTH = 0.08
"""The part of the room reported that a process takes in a second."""
BLIND_SHARE = 5.0
"""Places that a process takes when the first reply reports nothing."""
BLIND_START = 1.5
"""Factor for each window in which nothing was reported and no 429 came yet."""
BLIND_GROWTH = 0.0025
"""The part of the window that is added for each one without a 429, once one came and nothing is reported."""
SECONDS_TO_FORGET_OTHERS = 6.0


class BurstWindow:
    """The places of one rolling window. Not thread-safe: the caller holds a lock.

    :param allowed: calls in any two seconds that the server takes from all processes together.
    :param share: how many of them this process takes to begin with.
    :param limit: calls in any two seconds that this process never exceeds, and takes where no reply reports a limit;
        None where nobody said.
    """

    def __init__(self, allowed: int = LEAST_ALLOWED, share: float = FIRST_SHARE, limit: int | None = None) -> None:
        self.allowed = allowed
        self.share = share
        self.limit = limit
        self._reported = False
        self._in_flight = 0
        self._replied: list[tuple[float, float]] = []
        """When each reply came, and how long the call took."""
        self._latencies: deque[float] = deque(maxlen=LATENCIES_REMEMBERED)
        self._steady_latency = 0.0
        self._closed_until = 0.0
        self._others_seen: float | None = None
        self._shrunk_at = -math.inf
        self._grown_at = 0.0

    def delay(self, now: float) -> float:
        """Seconds until asking again makes sense; 0 if a call may go now. ``now`` is any steadily growing clock."""
        del self._replied[: bisect_right(self._replied, (now - WINDOW_SECONDS - LONGEST_MEMORY, math.inf))]
        if now < self._closed_until:
            return self._closed_until - now
        taken = self._taken_since(now - WINDOW_SECONDS)
        if taken < min(self.allowed, int(self.share)):
            return 0.0
        if taken == self._in_flight:
            return SHORT_SLEEP
        wait = self._next_back(now - WINDOW_SECONDS) + WINDOW_SECONDS - now
        return min(max(wait, SHORTEST_SLEEP), self._patience())

    def _patience(self) -> float:
        """A share that is still growing is looked at again soon."""
        return WINDOW_SECONDS if self.share >= self.allowed else SHORT_SLEEP * 5

    def _taken_since(self, moment: float) -> int:
        """Calls under way, and calls that the server may have counted after a moment."""
        surely, quick = self._counted_since(moment)
        return self._in_flight + len(self._replied) - surely + len(quick)

    def _next_back(self, moment: float) -> float:
        """When the server counted, at the latest, the oldest call that it may have counted after a moment."""
        surely, quick = self._counted_since(moment)
        steady = self._steady_latency
        return min(replied - min(steady, latency) for replied, latency in [*quick, *self._replied[surely : surely + 1]])

    def _counted_since(self, moment: float) -> tuple[int, list[tuple[float, float]]]:
        """The place from which on all calls were counted after a moment, and those before that were too.

        A call was counted when its reply came, less the steady latency, but not before it was sent.
        """
        surely = bisect_right(self._replied, (moment + self._steady_latency, math.inf))
        early = bisect_right(self._replied, (moment, math.inf), hi=surely)
        return surely, [call for call in self._replied[early:surely] if call[0] - call[1] > moment]

    def take(self) -> None:
        """Note that a call is being sent."""
        self._in_flight += 1

    def give_back(self, sent: float, now: float, headers: Mapping[str, str], *, rejected: bool = False) -> None:
        """Note that a call that was sent at ``sent`` ended, however it ended, and what the server reported with it."""
        own = self._taken_since(sent - WINDOW_SECONDS)
        self._in_flight -= 1
        insort(self._replied, (now, now - sent))
        self._latencies.append(now - sent)
        self._steady_latency = steady_latency(self._latencies)
        limit, remaining = (number(headers.get(f"x-ratelimit-{name}")) for name in ("limit", "remaining"))
        if rejected:  # alone it would not have been too many
            self._others_seen = now
            self._shrink(now, SHRINK_REJECTED)
        elif limit is not None and limit >= 1 and remaining is not None:
            self._reported = True
            if limit - remaining > own:
                self._others_seen = now
            self._share_by_report(int(limit), remaining, now)
        elif not self._reported:
            self._share_blindly(now)

    def calls_ahead(self) -> int:
        """Calls that are worth having under way at once: what passes during one latency, and one more.

        Passing is limited by the window, and by what one process can make of replies.
        """
        if not self._latencies:
            return 1
        rate = min(self.allowed / WINDOW_SECONDS, self.share / WINDOW_SECONDS, MOST_TAKEN_IN)
        return 1 + math.ceil(rate * median(self._latencies))

    def close(self, until: float) -> None:
        """Let nothing pass before ``until``: after a 429."""
        self._closed_until = max(self._closed_until, until)

    def _share_by_report(self, limit: int, remaining: float, now: float) -> None:
        self.allowed = min(limit, self.limit or limit)
        if self._others_seen is None or now - self._others_seen > SECONDS_TO_FORGET_OTHERS:
            self._share_at_most(self.allowed)
        elif remaining < limit * TIGHT:
            self._shrink(now, SHRINK)
        else:
            room = remaining - limit * TIGHT
            grown = self.share + room * GROWTH * max(now - self._grown_at, 0.0)  # replies come in any order
            self._share_at_most(min(grown, self._taken_since(now - WINDOW_SECONDS) + room / 2))
        self._grown_at = max(now, self._grown_at)

    def _share_blindly(self, now: float) -> None:
        """Without reports: take the limit that a person gave, or grow fast until a first 429; after one, creep."""
        if self._others_seen is None:
            self.allowed = self.limit or self.allowed
            self._share_at_most(max(self.share, self.limit or BLIND_SHARE))
        if now - self._grown_at >= WINDOW_SECONDS:
            self._grown_at = now
            creeping = self.share + BLIND_GROWTH * self.allowed
            grown = self.share * BLIND_START if self._others_seen is None else creeping
            self._share_at_most(grown)

    def _shrink(self, now: float, factor: float) -> None:
        if now - self._shrunk_at >= SHRINK_PAUSE:
            self._shrunk_at = now
            self._share_at_most(min(self.share, self._taken_since(now - WINDOW_SECONDS)) * factor)

    def _share_at_most(self, share: float) -> None:
        """Take a share of at least one call: only replies let it grow, so without a place none would ever come."""
        self.share = max(FIRST_SHARE, min(share, float(self.allowed)))


def steady_latency(latencies: Sequence[float]) -> float:
    """Seconds that surely every call takes: the least of the last ones, less their spread; 0 where they vary."""
    if len(latencies) < LATENCIES_REMEMBERED // 5:
        return 0.0
    least = min(latencies)
    return max(0.0, least - SPREADS_OFF * (quantiles(latencies, n=4)[0] - least))
