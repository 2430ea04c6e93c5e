"""OAuth 2 as an installed app meets it, and API tokens (sections 7 and 8 of docs/pipedrive-api.md)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

ME = "/v1/users/me"


def _token(api: Any, grant: dict[str, str], **form: str) -> requests.Response:
    credentials = (grant["client_id"], grant["client_secret"])
    return requests.post(api.sandbox.url + "/oauth/token", form, auth=credentials, allow_redirects=False)


def _refresh(api: Any, grant: dict[str, str]) -> requests.Response:
    return _token(api, grant, grant_type="refresh_token", refresh_token=grant["refresh_token"])


def _get(api: Any, access_token: str, path: str = ME) -> int:
    headers = {"authorization": f"Bearer {access_token}"}
    return requests.get(api.sandbox.url + path, headers=headers).status_code


def test_the_live_401(api: Any) -> None:
    """7, L: probed live in September 2026."""
    for headers in ({}, {"x-api-token": "0" * 40}, {"authorization": "Bearer x"}, {"authorization": "Basic eDp5"}):
        reply = requests.get(api.sandbox.url + ME, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["x-401-by-gw"] == "true"
        assert reply.json() == {
            "success": False,
            "error": "unauthorized access",
            "errorCode": 401,
            "error_info": "Please check developers.pipedrive.com",
        }


def test_a_refresh_token_comes_back_the_same(api: Any) -> None:
    """8.2, A."""
    grant = api.control.oauth_grant(["base", "leads:read"])
    reply = _refresh(api, grant).json()
    assert reply["refresh_token"] == grant["refresh_token"]
    assert (reply["token_type"], reply["expires_in"], reply["scope"]) == ("Bearer", 3600, "base leads:read")
    assert reply["api_domain"] == api.sandbox.url
    assert _get(api, reply["access_token"]) == 200


def test_an_access_token_lives_an_hour(api: Any) -> None:
    """8.2, A."""
    access = _refresh(api, api.control.oauth_grant()).json()["access_token"]
    api.control.advance(3599)
    assert _get(api, access) == 200
    api.control.advance(2)
    assert _get(api, access) == 401


def test_a_refresh_token_dies_after_sixty_idle_days(api: Any) -> None:
    """8.2, A: each use starts the sixty days anew."""
    grant = api.control.oauth_grant()
    for _ in range(3):
        api.control.advance(59 * 86_400)
        assert _refresh(api, grant).status_code == 200
    api.control.advance(61 * 86_400)
    gone = _refresh(api, grant)
    assert (gone.status_code, gone.json()["error"]) == (400, "invalid_grant")


def test_a_code_is_spent_once_within_five_minutes(api: Any) -> None:
    """8.2, A."""
    grant = api.control.oauth_grant()
    assert _token(api, grant, grant_type="authorization_code", code=grant["code"]).status_code == 200
    assert _token(api, grant, grant_type="authorization_code", code=grant["code"]).json()["error"] == "invalid_grant"
    late = api.control.oauth_grant()
    api.control.advance(301)
    assert _token(api, late, grant_type="authorization_code", code=late["code"]).status_code == 400


def test_the_browser_comes_back_with_a_code_and_the_state(api: Any) -> None:
    grant = api.control.oauth_grant()
    back = "http://127.0.0.1:1/back"
    reply = api.get("/oauth/authorize", client_id=grant["client_id"], redirect_uri=back, state="s1")
    assert reply.status_code == 302
    query = parse_qs(urlsplit(reply.headers["location"]).query)
    assert query["state"] == ["s1"]
    form = {"grant_type": "authorization_code", "code": query["code"][0]}
    assert _token(api, grant, **form, redirect_uri="http://elsewhere").status_code == 400
    assert _token(api, grant, **form, redirect_uri=back).status_code == 200


def test_the_app_may_show_itself_in_the_body(api: Any) -> None:
    """8.2, A."""
    grant = api.control.oauth_grant()
    form = {**grant, "grant_type": "refresh_token"}
    assert requests.post(api.sandbox.url + "/oauth/token", form).status_code == 200
    form["client_secret"] = "wrong"
    assert requests.post(api.sandbox.url + "/oauth/token", form).status_code == 401


def test_a_trailing_slash_redirects_and_loses_the_body(api: Any) -> None:
    """8.2, C."""
    reply = requests.post(api.sandbox.url + "/oauth/token/", {}, allow_redirects=False)
    assert (reply.status_code, reply.headers["location"]) == (301, "/oauth/token")


def _revoke(api: Any, grant: dict[str, str], token: str) -> int:
    credentials = (grant["client_id"], grant["client_secret"])
    return requests.post(api.sandbox.url + "/oauth/revoke", {"token": token}, auth=credentials).status_code


def test_a_revoked_access_token_ends_alone(api: Any) -> None:
    """8.2, A."""
    grant = api.control.oauth_grant()
    first, second = (_refresh(api, grant).json()["access_token"] for _ in range(2))
    assert _revoke(api, {**grant, "client_secret": "wrong"}, first) == 401
    assert _revoke(api, grant, first) == 200
    assert (_get(api, first), _get(api, second)) == (401, 200)
    assert _refresh(api, grant).status_code == 200


def test_a_revoked_refresh_token_ends_the_app_for_its_user_only(api: Any) -> None:
    """8.2, A: revoking an unknown token is no mistake."""
    grant, other = api.control.oauth_grant(), api.control.oauth_grant(user_id=api.data("/v1/users")[1]["id"])
    access = _refresh(api, grant).json()["access_token"]
    assert [_revoke(api, grant, token) for token in (grant["refresh_token"], "unknown")] == [200, 200]
    assert (_get(api, access), _refresh(api, grant).status_code) == (401, 400)
    assert _refresh(api, other).status_code == 200


def test_an_app_calls_a_company_host_which_knows_the_prefix_api_v1(start: Any) -> None:
    """1, L: in the contrary profile too, for an app goes where its token tells it to."""
    api = start(leads=3, profile="contrary")
    access = _refresh(api, api.control.oauth_grant()).json()["access_token"]
    assert (api.get("/api/v1/leads").status_code, _get(api, access, "/api/v1/leads")) == (404, 200)


def test_an_uninstalled_app_is_out(api: Any) -> None:
    grant = api.control.oauth_grant()
    access = _refresh(api, grant).json()["access_token"]
    api.control.revoke_oauth()
    assert _get(api, access) == 401
    assert _refresh(api, grant).status_code == 400


@pytest.mark.parametrize(
    ("scope", "method", "path", "allowed"),
    [
        ("base", "GET", ME, True),
        ("base", "GET", "/v1/leads", False),
        ("leads:read", "GET", "/v1/leads", True),
        ("leads:read", "POST", "/v1/leads", False),
        ("leads:full", "POST", "/v1/leads", True),
        ("search:read", "GET", "/api/v2/leads/search?term=ab", True),
        ("leads:read", "GET", "/api/v2/itemSearch?term=ab", False),
        ("leads:full", "POST", "/api/v2/deals/1/convert/lead", False),
        ("contacts:read", "GET", "/api/v2/persons", True),
        ("contacts:read", "POST", "/api/v2/persons", False),
        ("deals:read", "GET", "/api/v2/dealFields", True),
        ("leads:full", "GET", "/v1/webhooks", False),
        ("webhooks:full", "GET", "/v1/webhooks", True),
    ],
)
def test_scopes(api: Any, as_app: Any, scope: str, method: str, path: str, allowed: bool) -> None:
    """2 and 8.2, A."""
    body = {"json": {"title": "x", "name": "x", "person_id": 1}} if method == "POST" else {}
    reply = as_app(api, scope).call(method, path, **body)
    assert (reply.status_code != 403) == allowed, reply.text


def test_the_ready_connection_of_an_app_works(api: Any) -> None:
    connection = api.sandbox.oauth_connection
    assert set(connection) == {"conn_type", "extra"}
    assert _refresh(api, connection["extra"]).status_code == 200
    assert api.sandbox.connection == {
        "conn_type": "pipedrive",
        "password": api.sandbox.token,
        "extra": {"base_url": api.sandbox.url},
    }
