"""The client of the sandbox's control API: time, counters, faults, unknowns, data. Standard library only."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence


class SandboxControl:
    """Steers a sandbox at ``url`` from outside; raises ValueError with the sandbox's words for an order it refuses."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def freeze(self, at: str | None = None) -> None:
        """Stop the sandbox's clock, now or at an ISO time."""
        self._ask("POST", "clock/freeze", {"at": at})

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._ask("POST", "clock/advance", {"seconds": seconds})

    def unfreeze(self) -> None:
        """Let the clock run on from where it stands."""
        self._ask("POST", "clock/unfreeze")

    def now(self) -> str:
        """The sandbox's time, ISO with milliseconds."""
        return str(self._ask("GET", "clock")["now"])

    def counters(self) -> dict[str, Any]:
        """calls, tokens, rejected (429s), failures, in_flight, peak_concurrency, and per route calls and tokens."""
        return self._ask("GET", "counters")

    def reset_counters(self) -> None:
        """Start counters and the list of requests anew."""
        self._ask("DELETE", "counters")

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests, oldest first, without secrets.

        Each has time, method, path, query, json, status, auth, user_id, tokens, fault.
        """
        found: list[dict[str, Any]] = self._ask("GET", "requests")["requests"]
        return found

    def fault(self, method: str, path: str, kind: str, *, times: int = 1, **options: Any) -> None:
        """Let the next ``times`` calls of ``method`` to ``path`` fail in the way ``kind``.

        ``method`` and ``path`` may hold ``*``; without one the whole path must match. Kinds: status (status=), html
        (status=403), close_before, close_after, close_and_finish (after=), cut_body, slow_body (seconds=), broken_json,
        no_success, no_data, delay (seconds=), hold (until :meth:`let_go`).
        """
        self._ask("POST", "faults", {"method": method, "path": path, "kind": kind, "times": times, **options})

    def clear_faults(self) -> None:
        """Forget all faults ordered."""
        self._ask("DELETE", "faults")

    def held(self) -> int:
        """How many calls a fault ``hold`` keeps waiting."""
        return int(self._ask("GET", "held")["held"])

    def let_go(self) -> None:
        """Let the held calls go on; those that are held later wait again."""
        self._ask("DELETE", "held")

    def set_choice(self, name: str, value: object) -> None:
        """Play one unknown in another way."""
        self._ask("PUT", f"choices/{quote(name)}", {"value": value})

    def choices(self) -> dict[str, str]:
        """All unknowns as they are played."""
        return dict(self._ask("GET", "choices")["choices"])

    def set_profile(self, name: str) -> None:
        """Play all unknowns as ``likely`` or ``contrary``."""
        self._ask("PUT", "profile", {"value": name})

    def set_budget(self, remaining: int) -> None:
        """Leave this many tokens of today's budget."""
        self._ask("PUT", "budget", {"remaining": remaining})

    def set_burst(self, calls: int | None = None, search: int | None = None) -> None:
        """Allow this many calls and searches in two seconds; None stands for the plan's own figure."""
        self._ask("PUT", "burst", {"calls": calls, "search": search})

    def set_delay(self, name: str, seconds: float) -> None:
        """How long ``search_index`` or ``conversion`` takes (sandbox time), or each ``reply`` (real time)."""
        self._ask("PUT", f"delays/{quote(name)}", {"seconds": seconds})

    def leads(self, count: int, **options: Any) -> None:
        """Add seeded leads: seed=, until= (ISO time), spread= (seconds before until), archived= (share from 0 to 1)."""
        self._ask("POST", "leads", {"count": count, **options})

    def all_leads(self) -> list[dict[str, Any]]:
        """All leads in order of creation, archived ones included, without a call to the API.

        Each is as the API gives it, and has besides: person_name, organization_name, labels (their names) and fields
        (custom values by the field's name, options by their labels).
        """
        found: list[dict[str, Any]] = self._ask("GET", "leads")["leads"]
        return found

    def lead_count(self, archived: bool | None = None) -> int:
        """How many leads there are: all, active (False) or archived (True)."""
        counts = self.overview()["leads"]
        if archived is None:
            return int(counts["active"] + counts["archived"])
        return int(counts["archived" if archived else "active"])

    def overview(self) -> dict[str, Any]:
        """What there is to see at a glance: counts, labels, users, budget, the newest leads and requests."""
        return self._ask("GET", "overview")

    def token_for(self, user_id: int) -> str:
        """The API token of a user."""
        return str(self._ask("GET", f"users/{user_id}/token")["token"])

    def oauth_grant(self, scopes: Sequence[str] = (), user_id: int | None = None) -> dict[str, str]:
        """Install the OAuth app: client_id, client_secret, a code and a refresh_token; by default with all scopes."""
        return self._ask("POST", "oauth", {"scopes": list(scopes), "user_id": user_id})

    def revoke_oauth(self) -> None:
        """End all OAuth grants, as when the app is uninstalled."""
        self._ask("DELETE", "oauth")

    def next_conversion(self, outcome: str) -> None:
        """Let the conversion that is begun next end as ``completed``, ``failed`` or ``rejected``."""
        self._ask("POST", "conversions", {"outcome": outcome})

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/__sandbox__/{path}", content, {"content-type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ValueError(answer.get("error", f"status {response.status}"))
        return answer
