"""What was asked of the sandbox: counters and the list of requests, without secrets."""

from __future__ import annotations

from collections import deque
from typing import Any

KEPT_REQUESTS = 5_000
SECRET_NAMES = frozenset(
    (
        "api_token",
        "password",
        "http_auth_password",
        "client_secret",
        "refresh_token",
        "access_token",
        "code",
        "token",
    )
)


class Journal:
    """Counts calls, tokens, 429s and concurrency, and keeps the latest requests."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.requests: deque[dict[str, Any]] = deque(maxlen=KEPT_REQUESTS)
        self.reset()

    def reset(self) -> None:
        """Start all counters from zero; calls in flight go on counting as such."""
        self.calls = self.tokens = self.rejected = self.failures = 0
        self.peak_concurrency = self.in_flight
        self.routes: dict[str, dict[str, int]] = {}
        self.requests.clear()

    def begin(self) -> None:
        """A call has come in."""
        self.in_flight += 1
        self.peak_concurrency = max(self.peak_concurrency, self.in_flight)

    def end(self, route: str, tokens: int, entry: dict[str, Any]) -> None:
        """A call is over; ``entry`` tells what it was."""
        self.in_flight -= 1
        self.calls += 1
        self.tokens += tokens
        self.rejected += entry["status"] == 429
        counts = self.routes.setdefault(route, {"calls": 0, "tokens": 0})
        counts["calls"] += 1
        counts["tokens"] += tokens
        self.requests.append(entry)

    def counters(self) -> dict[str, Any]:
        """All counters; ``failures`` are replies of status 500 that nobody ordered."""
        return {
            "calls": self.calls,
            "tokens": self.tokens,
            "rejected": self.rejected,
            "failures": self.failures,
            "in_flight": self.in_flight,
            "peak_concurrency": self.peak_concurrency,
            "routes": self.routes,
        }


def without_secrets(value: Any) -> Any:
    """A copy of a JSON value in which secrets by name are starred out."""
    if isinstance(value, dict):
        return {
            name: "***" if name in SECRET_NAMES and item is not None else without_secrets(item)
            for name, item in value.items()
        }
    return [without_secrets(item) for item in value] if isinstance(value, list) else value
