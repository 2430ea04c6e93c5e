"""OAuth, served by the sandbox's own address instead of another host.

Vendor operations: authorize, get-tokens, refresh-tokens, and revocation as its page on uninstalling describes it.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl, urlencode, urlsplit

from airflow_provider_pipedrive_leads.sandbox import oauth
from airflow_provider_pipedrive_leads.sandbox.call import Call, Endpoint
from airflow_provider_pipedrive_leads.sandbox.replies import ApiError, Reply, json_reply


def authorize(call: Call) -> Reply:
    """The consent page, with the answer yes: sends the browser back with a code for the administrator."""
    redirect_uri = call.query.get("redirect_uri", "")
    if call.query.get("client_id") != oauth.APP.client_id or urlsplit(redirect_uri).scheme not in ("http", "https"):
        raise ApiError(400, "invalid_request")
    administrator = min(member.id for member in call.world.members.values() if member.admin)
    code = oauth.issue(
        call.world, "code", administrator, oauth.ALL_SCOPES, oauth.CODE_SECONDS, redirect_uri=redirect_uri
    )
    back = {"code": code, **({"state": call.query["state"]} if "state" in call.query else {})}
    joint = "&" if urlsplit(redirect_uri).query else "?"
    return Reply(302, b"", {"location": f"{redirect_uri}{joint}{urlencode(back)}"})


def token(call: Call) -> Reply:
    """An access token for a code or a refresh token; a form, the app named by Basic auth or in the form."""
    form = dict(parse_qsl(call.content.decode("utf-8", "replace")))
    if _credentials(call, form) != (oauth.APP.client_id, oauth.APP.client_secret):
        raise ApiError(401, "invalid_client")
    if form.get("grant_type") == "authorization_code":
        grant, refresh_token = oauth.exchange_code(call.world, form.get("code", ""), form.get("redirect_uri", ""))
    elif form.get("grant_type") == "refresh_token":
        refresh_token = form.get("refresh_token", "")
        grant = oauth.use_refresh_token(call.world, refresh_token)
    else:
        raise ApiError(400, "unsupported_grant_type")
    scopes = tuple(grant["scopes"])
    access = oauth.issue(call.world, "access", grant["user_id"], scopes, oauth.ACCESS_SECONDS)
    return json_reply(
        {
            "access_token": access,
            "token_type": "Bearer",
            "refresh_token": refresh_token,
            "scope": " ".join(scopes),
            "expires_in": oauth.ACCESS_SECONDS,
            "api_domain": f"http://{call.headers.get('host', '127.0.0.1')}",
        }
    )


def revoke(call: Call) -> Reply:
    """A token ended, a refresh token with all that hangs on it; 200 for an unknown one too (RFC 7009)."""
    form = dict(parse_qsl(call.content.decode("utf-8", "replace")))
    if _credentials(call, form) != (oauth.APP.client_id, oauth.APP.client_secret):
        raise ApiError(401, "invalid_client")
    oauth.revoke(call.world, form.get("token", ""))
    return Reply(200, b"")


def redirect_without_slash(_: Call) -> Reply:
    """The trap of the trailing slash: a redirect, on which clients drop the body."""
    return Reply(301, b"", {"location": "/oauth/token"})


def _credentials(call: Call, form: dict[str, str]) -> tuple[str, str]:
    scheme, _, encoded = call.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return client_id, secret


ENDPOINTS = (
    Endpoint("GET", "/oauth/authorize", 0, (), authorize, open=True),
    Endpoint("POST", "/oauth/token", 0, (), token, open=True),
    Endpoint("POST", "/oauth/revoke", 0, (), revoke, open=True),
    Endpoint("POST", "/oauth/token/", 0, (), redirect_without_slash, open=True),
)
