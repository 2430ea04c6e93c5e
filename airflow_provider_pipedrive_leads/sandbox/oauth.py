"""OAuth 2 as an installed app meets it: codes, refresh tokens, access tokens and their lives.

Source: section 8.2 of ``docs/pipedrive-api.md``. The sandbox knows one app.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox.clock import to_ms
from airflow_provider_pipedrive_leads.sandbox.replies import ApiError

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.sandbox.world import World

Document = dict[str, Any]

CODE_SECONDS = 300
ACCESS_SECONDS = 3_600
REFRESH_IDLE_SECONDS = 60 * 86_400
ALL_SCOPES = (
    "base",
    "leads:full",
    "deals:full",
    "deal-fields:full",
    "contacts:full",
    "activities:full",
    "search:read",
    "users:read",
    "webhooks:full",
    "admin",
)


@dataclass(frozen=True)
class App:
    """The app that is installed in the invented company."""

    client_id: str = "5a6e64626f78"
    client_secret: str = "sandbox-app-secret"  # noqa: S105
    name: str = "Sandbox App"


APP = App()


def issue(world: World, kind: str, user: int, scopes: tuple[str, ...], seconds: float, **more: object) -> str:
    """A new secret of a kind: ``code``, ``refresh`` or ``access``; it lives for so many seconds."""
    secret = f"{world.chance.getrandbits(160):040x}"
    grant = {
        "id": f"1:{world.company.id}:{secret}" if kind == "refresh" else secret,
        "kind": kind,
        "user_id": user,
        "scopes": list(scopes),
        "expires_ms": world.now_ms + to_ms(seconds),
        **more,
    }
    world.state.grants.add(grant)
    return str(grant["id"])


def living(world: World, kind: str, secret: str) -> Document | None:
    """The grant behind a secret, unless it is unknown or has expired."""
    grant = world.state.grants.get(secret)
    alive = grant is not None and grant["kind"] == kind and grant["expires_ms"] > world.now_ms
    return grant if alive else None


def exchange_code(world: World, code: str, redirect_uri: str) -> tuple[Document, str]:
    """Spend a code on a refresh token. Raises ApiError ``invalid_grant``."""
    grant = living(world, "code", code)
    if grant is None or grant["redirect_uri"] not in ("", redirect_uri):
        raise invalid_grant()
    world.state.grants.remove(code)
    refresh = issue(world, "refresh", grant["user_id"], tuple(grant["scopes"]), REFRESH_IDLE_SECONDS)
    return grant, refresh


def use_refresh_token(world: World, refresh_token: str) -> Document:
    """The grant behind a refresh token, whose idle expiry starts anew. Raises ApiError ``invalid_grant``."""
    grant = living(world, "refresh", refresh_token)
    if grant is None:
        raise invalid_grant()
    grant["expires_ms"] = world.now_ms + to_ms(REFRESH_IDLE_SECONDS)
    world.state.grants.put(grant)
    return grant


def revoke(world: World, secret: str) -> None:
    """End an access token alone, or with a refresh token the app's whole access for its user; else do nothing."""
    grant = living(world, "refresh", secret) or living(world, "access", secret)
    if grant is None:
        return
    for each in world.state.grants.all() if grant["kind"] == "refresh" else [grant]:
        if each["user_id"] == grant["user_id"]:
            world.state.grants.remove(each["id"])


def invalid_grant() -> ApiError:
    """400 for a code or refresh token that is unknown, spent or expired."""
    return ApiError(400, "invalid_grant", "The grant is invalid, expired or was issued to another app")
