"""The Airflow connection as one checked value: what the form, a URI, JSON or the environment gave.

The form stores null for blank fields and real numbers, a URI gives only strings, JSON what was typed: all are taken.
"""

from __future__ import annotations

import math
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED_HOST = "https://api.pipedrive.com"
LONGEST_TIMEOUT = 600.0
MAX_BURST_LIMIT = 10_000
OAUTH_HOST = "https://oauth.pipedrive.com"
USUAL_PORTS = {"https": 443, "http": 80}
OAUTH_LABELS = {
    "client_id": "OAuth client id",
    "client_secret": "OAuth client secret",
    "refresh_token": "OAuth refresh token",
}
EXTRA_NAMES = (*OAUTH_LABELS, "timeout", "daily_token_reserve", "burst_limit", "base_url")
API_TOKEN_FIELD = "'API token' (Password)"  # noqa: S105 - the name of a field
BASE_URL_FIELD = "'Base URL' (base_url)"
HOST_FIELD = "'Company domain' (Host)"


class Secret(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A string that does not show itself in logs, tracebacks or errors."""

    reveal: str

    def __repr__(self) -> str:
        return "Secret(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What ``rich`` shows of it, in tracebacks for example."""
        return [("reveal", "***")]


def can_be_sent(secret: str) -> bool:
    """Whether a text can stand in a header or form as it is: a library that refused it would show it."""
    return re.fullmatch(r"[!-~]+", secret) is not None


class ApiToken(msgspec.Struct, frozen=True):
    """The login by a user's personal API token."""

    token: Secret


class OAuthApp(msgspec.Struct, frozen=True):
    """The login by an OAuth 2 app that a user installed.

    :param refresh_token: the one in the connection; access tokens are fetched with it.
    :param token_url: where they are fetched.
    """

    client_id: str
    client_secret: Secret
    refresh_token: Secret
    token_url: str


class ConnectionSettings(msgspec.Struct, frozen=True):
    """All that a client must know to reach one Pipedrive company.

    :param name: how to call the connection in an error, for example ``connection 'pipedrive_default'``.
    :param base_url: scheme, host and port; no path.
    :param burst_limit: calls in any two seconds that one process makes at most; None: as many as replies report.
    :param server_field: the form's field that it comes from.
    :param timeout: seconds until a silent server is given up.
    :param daily_token_reserve: API tokens of the company's day that must stay untouched.
    :param unknown_extras: names in the connection's extra that mean nothing here.
    """

    name: str
    base_url: str
    login: ApiToken | OAuthApp
    timeout: float = 30.0
    daily_token_reserve: int = 0
    burst_limit: int | None = None
    server_field: str = HOST_FIELD
    unknown_extras: tuple[str, ...] = ()


def read_connection(
    *,
    name: str = "the connection",
    host: str | None = None,
    login: str | None = None,
    password: str | None = None,
    port: int | None = None,
    extra: Mapping[str, object] | None = None,
) -> ConnectionSettings:
    """Check the parts of a connection and put them together.

    :raises PipedriveConfigError: names the field as the form shows it, and says what belongs there.
    """
    values = {key: value for key, value in (extra or {}).items() if value not in (None, "")}
    try:
        return ConnectionSettings(
            name=name,
            base_url=_base_url(name, host, port, values.get("base_url")),
            login=_login(name, login, password, values),
            timeout=_timeout(name, values.get("timeout", 30)),
            daily_token_reserve=_reserve(name, values.get("daily_token_reserve", 0)),
            burst_limit=_burst_limit(name, values.get("burst_limit")),
            server_field=BASE_URL_FIELD if "base_url" in values else HOST_FIELD,
            unknown_extras=tuple(sorted(set(values) - set(EXTRA_NAMES))),
        )
    except PipedriveConfigError as error:
        del password, extra, values
        error.__traceback__ = None  # the frames below hold secrets, too
        raise


def _fail(name: str, field: str, words: str) -> PipedriveConfigError:
    return PipedriveConfigError(f"{name[0].upper()}{name[1:]}, field {field}: {words}")


def _login(name: str, login: str | None, password: str | None, values: Mapping[str, object]) -> ApiToken | OAuthApp:
    token = (password or "").strip()
    if login and login.strip():
        raise _fail(name, "'Login'", "must be empty; the API token belongs into 'API token' (Password).")
    if any(key in values for key in OAUTH_LABELS):
        return _oauth_app(name, token, values)
    if not token:
        words = (
            "is empty. Pipedrive shows the token under Personal preferences > API; for OAuth fill in the OAuth fields."
        )
        raise _fail(name, API_TOKEN_FIELD, words)
    return ApiToken(_secret(name, API_TOKEN_FIELD, token))


def _oauth_app(name: str, api_token: str, values: Mapping[str, object]) -> OAuthApp:
    if api_token:
        words = "is filled in, and so are OAuth fields. Clear one of the two logins."
        raise _fail(name, API_TOKEN_FIELD, words)
    for key, label in OAUTH_LABELS.items():
        if key not in values:
            raise _fail(name, f"'{label}' ({key})", "is empty; OAuth needs client id, client secret and refresh token.")
    client_id, client_secret, refresh_token = (
        _secret(name, f"'{label}' ({key})", str(values[key]).strip()) for key, label in OAUTH_LABELS.items()
    )
    base_url = values.get("base_url")
    host = OAUTH_HOST if base_url is None else _checked_url(name, BASE_URL_FIELD, str(base_url).strip())
    return OAuthApp(client_id.reveal, client_secret, refresh_token, f"{host}/oauth/token")


def _secret(name: str, field: str, text: str) -> Secret:
    if not can_be_sent(text):
        raise _fail(name, field, "holds spaces or characters that cannot be part of it. Copy it again.")
    return Secret(text)


def _base_url(name: str, host: str | None, port: int | None, base_url: object) -> str:
    if base_url is not None:
        return _checked_url(name, BASE_URL_FIELD, str(base_url).strip())
    text = (host or "").strip()
    if "://" in text:
        with_port = f"{text}:{port}" if port and urlsplit(text).port is None else text
        url = _checked_url(name, HOST_FIELD, with_port)
        if is_loopback(urlsplit(url).hostname or "") or _is_pipedrive(urlsplit(url).hostname or ""):
            return url
        text = urlsplit(url).hostname or ""
    if not text:
        return SHARED_HOST
    company = text.lower().removesuffix(".pipedrive.com")
    if re.fullmatch("[0-9a-f]{40}", company):
        raise _fail(name, HOST_FIELD, f"holds an API token by the look of it; that belongs into {API_TOKEN_FIELD}.")
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", company):
        return f"https://{company}.pipedrive.com"
    raise _fail(
        name,
        HOST_FIELD,
        f"{text[:80]!r} is no company domain. Write acme or acme.pipedrive.com, leave it empty for the shared API host,"
        " or name another server in 'Base URL'.",
    )


def _checked_url(name: str, field: str, text: str) -> str:
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("https", "http") or re.search(r"[\s\\]", text):
        raise _fail(name, field, "is no URL. Write it like https://proxy.example.com.")
    if url.username or url.password or url.query or url.fragment or url.path.strip("/"):
        raise _fail(name, field, "takes scheme, host and port only, like https://proxy.example.com:8443.")
    if url.scheme == "http" and not is_loopback(host):
        raise _fail(
            name, field, "http:// is allowed to this machine only, for it shows the token to the network. Use https://."
        )
    shown = f"[{host}]" if ":" in host else host
    is_usual = port in (None, 0, USUAL_PORTS[url.scheme])
    return f"{url.scheme}://{shown}" + ("" if is_usual else f":{port}")


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_pipedrive(host: str) -> bool:
    return host.endswith(".pipedrive.com")


def _timeout(name: str, value: object) -> float:
    seconds = _number(value)
    if seconds is None or not 0 < seconds <= LONGEST_TIMEOUT:
        raise _fail(name, "'Timeout' (timeout)", f"{value!r} is not a number of seconds above 0 and up to 600.")
    return seconds


def _reserve(name: str, value: object) -> int:
    tokens = _number(value)
    if tokens is None or tokens < 0 or tokens != int(tokens):
        raise _fail(name, "'Daily token reserve' (daily_token_reserve)", f"{value!r} is not a whole number from 0.")
    return int(tokens)


def _burst_limit(name: str, value: object) -> int | None:
    if value is None:
        return None
    calls = _number(value)
    if calls is None or not 1 <= calls <= MAX_BURST_LIMIT or calls != int(calls):
        words = f"{value!r} is not a whole number from 1 to {MAX_BURST_LIMIT}. Take your plan's calls in two seconds."
        raise _fail(name, "'Burst limit' (burst_limit)", words)
    return int(calls)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
