"""OAuth 2 as values: the form that asks for tokens, the reply, when a token is too old, which host to believe.

Facts: docs/pipedrive-api.md, "OAuth". The refresh token usually comes back unchanged; it lives 60 days from its last
use.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from airflow_provider_pipedrive_leads.api.connection import (
    BASE_URL_FIELD,
    HOST_FIELD,
    OAUTH_HOST,
    SHARED_HOST,
    Secret,
    can_be_sent,
)
from airflow_provider_pipedrive_leads.api.errors import (
    BAN_SECONDS,
    Facts,
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
    is_html,
    read_error_body,
)
from airflow_provider_pipedrive_leads.api.replies import UNREADABLE
from airflow_provider_pipedrive_leads.api.server_address import told_company_url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings, OAuthApp

SAFETY_MARGIN = 60.0
"""Seconds before its end at which an access token counts as expired."""
LOOK = f"Look at {BASE_URL_FIELD} of the connection, if it is set, and for a proxy in between."
BANNED = "This is a ban after too many calls, or a proxy that refuses: wait some minutes."


class OAuthTokens(msgspec.Struct, frozen=True):
    """Tokens as they came, and what they came from.

    :param expires_at: seconds since 1970 by this machine's clock.
    :param api_domain: scheme and host for which they are good.
    :param grant: fingerprint of the connection's refresh token that started the chain: another one there means that
        somebody authorized again, and what was kept is out of date.
    """

    access_token: Secret
    refresh_token: Secret
    expires_at: float
    api_domain: str
    grant: str

    def fresh(self, now: float) -> bool:
        """Whether the access token can be used for a call that starts now."""
        return now + SAFETY_MARGIN < self.expires_at


def fingerprint(secret: Secret) -> str:
    """Name a secret without giving it away."""
    return hashlib.sha256(secret.reveal.encode()).hexdigest()[:16]


def refresh_form(refresh_token: Secret) -> dict[str, str]:
    """The form that asks for a new access token (vendor operation ``refresh-tokens``)."""
    return {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal}


def code_form(code: str, redirect_uri: str) -> dict[str, str]:
    """The form that turns a code into tokens (vendor operation ``get-tokens``)."""
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}


def authorize_url(base: str, client_id: str, redirect_uri: str) -> str:
    """The page on which a user lets the app in (vendor operation ``authorize``)."""
    return f"{base}?{urlencode({'client_id': client_id, 'redirect_uri': redirect_uri})}"


def read_tokens(body: bytes, *, now: float, grant: str) -> OAuthTokens:
    """Read a token reply.

    :raises PipedriveServerError: it is none.
    """
    try:
        reply = msgspec.json.decode(body, type=_TokenReply)
    except UNREADABLE:
        reply = None
    if reply is None or not can_be_sent(reply.access_token) or not can_be_sent(reply.refresh_token):
        raise PipedriveServerError("POST /oauth/token: the reply holds no tokens.", method="POST", path="/oauth/token")
    return OAuthTokens(
        Secret(reply.access_token),
        Secret(reply.refresh_token),
        now + reply.expires_in,
        reply.api_domain.rstrip("/"),
        grant,
    )


class _TokenReply(msgspec.Struct):
    access_token: str
    refresh_token: str
    expires_in: float
    api_domain: str = ""


def refused(status: int, body: bytes, *, remedy: str, secrets: Iterable[Secret] = ()) -> PipedriveError:
    """Turn a reply of the token endpoint that is no success into a typed error.

    :param remedy: what to do if the code or refresh token is no longer good.
    :param secrets: what must not show, though the server may repeat it.
    """
    said = read_error_body(body, secrets).error or ""
    facts = Facts(status=status, error=said or None, method="POST", path="/oauth/token")
    answer = f"POST /oauth/token: Pipedrive answered {status}{f' ({said})' if said else ''}"
    if status == HTTPStatus.FORBIDDEN and is_html({}, body):
        return PipedriveRateLimitError(
            f"{answer} with a web page. {BANNED}", retry_after=BAN_SECONDS, banned=True, **facts
        )
    if 300 <= status < 400:
        return PipedriveError(
            f"{answer}: it points to another address. Redirects are not followed, so that no secret goes there. {LOOK}",
            **facts,
        )
    if status == HTTPStatus.UNAUTHORIZED or "invalid_client" in said:
        return PipedriveAuthError(f"{answer}. 'OAuth client id' or 'OAuth client secret' is wrong.", **facts)
    if said and status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
        return PipedriveAuthError(f"{answer}. {remedy}", **facts)
    is_servers_own = status >= 500 or status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
    return PipedriveServerError(
        f"{answer}." if is_servers_own else f"{answer}, as no token endpoint does. {LOOK}", **facts
    )


def authorize_again(connection: str) -> str:
    """What to do when a refresh token is no longer good."""
    return (
        f"The OAuth refresh token of {connection} is no longer good: unused for 60 days, or the app was removed."
        " Authorize again with pipedrive-authorize, and put the new one into 'OAuth refresh token'."
    )


def base_url_for(settings: ConnectionSettings, app: OAuthApp, api_domain: str) -> str:
    """Decide to which server calls with an OAuth token go.

    ``api_domain`` comes over the network, so it is believed only as https on pipedrive.com, and only where the
    connection names no server of its own.

    :raises PipedriveConfigError: the connection names another company than the token is for.
    """
    own_server = not app.token_url.startswith(f"{OAUTH_HOST}/")
    told = told_company_url(api_domain)
    if own_server or told is None:
        return settings.base_url
    if settings.base_url not in (SHARED_HOST, told):
        raise PipedriveConfigError(
            f"{settings.name}, field {HOST_FIELD}: names {settings.base_url.removeprefix('https://')}, but the OAuth"
            f" token is for {told.removeprefix('https://')}. Correct it, or leave it empty."
        )
    return told
