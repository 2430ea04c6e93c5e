"""The Airflow connection as one checked value: what the form, a URI, JSON or the environment gave.

The form stores null for blank fields and real numbers, a URI gives only strings, JSON what was typed: all are taken.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.foreign_words import basic_login
from airflow_provider_pipedrive_leads.api.server_address import (
    MAX_PORT,
    USUAL_PORTS,
    ServerAddress,
    company_url,
    is_loopback,
    server_address,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED_HOST = "https://api.pipedrive.com"
LONGEST_TIMEOUT = 600.0
MAX_BURST_LIMIT = 10_000
OAUTH_HOST = "https://oauth.pipedrive.com"
OAUTH_LABELS = {
    "client_id": "OAuth client id",
    "client_secret": "OAuth client secret",
    "refresh_token": "OAuth refresh token",
}
EXTRA_NAMES = (*OAUTH_LABELS, "timeout", "daily_token_reserve", "burst_limit", "base_url")
API_TOKEN_FIELD = "'API token' (Password)"  # noqa: S105 - the name of a field
BASE_URL_FIELD = "'Base URL' (base_url)"
HOST_FIELD = "'Company domain' (Host)"
PORT_FIELD = "'Port'"


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


def secrets_of(login: ApiToken | OAuthApp) -> tuple[Secret, ...]:
    """Give what no error may show of a login, in each form in which it is sent."""
    if isinstance(login, ApiToken):
        return (login.token,)
    pair = basic_login(login.client_id, login.client_secret.reveal)
    return (login.client_secret, login.refresh_token, Secret(pair))


def read_connection(
    *,
    name: str = "the connection",
    host: str | None = None,
    login: str | None = None,
    password: str | None = None,
    port: int | str | None = None,
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
    host = OAUTH_HOST if base_url is None else _address(name, BASE_URL_FIELD, str(base_url).strip()).url
    return OAuthApp(client_id.reveal, client_secret, refresh_token, f"{host}/oauth/token")


def _secret(name: str, field: str, text: str) -> Secret:
    if not can_be_sent(text):
        raise _fail(name, field, "holds spaces or characters that cannot be part of it. Copy it again.")
    return Secret(text)


def _base_url(name: str, host: str | None, port: object, base_url: object) -> str:
    text, number = (host or "").strip(), _port(name, port)
    if base_url is not None:
        own = _address(name, BASE_URL_FIELD, str(base_url).strip())
        return _with_port(name, BASE_URL_FIELD, own, number).url
    if "://" in text:
        address = _address(name, HOST_FIELD, text)
        if is_loopback(address.host):
            alone = address.port is None and number is not None
            return (address._replace(port=number) if alone else _with_port(name, HOST_FIELD, address, number)).url
        text, number = address.host, address.port or number
    if number not in (None, USUAL_PORTS["https"]):
        words = f"Pipedrive does not answer at {number}. Leave it empty, or name another server in {BASE_URL_FIELD}."
        raise _fail(name, PORT_FIELD, words)
    return _company_url(name, text) if text else SHARED_HOST


def _company_url(name: str, text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{40}(\.pipedrive\.com)?", text, re.IGNORECASE):
        raise _fail(name, HOST_FIELD, f"holds an API token by the look of it; that belongs into {API_TOKEN_FIELD}.")
    url = company_url(text)
    if url is None:
        raise _fail(
            name,
            HOST_FIELD,
            f"{text.rpartition('@')[2][:80]!r} is no company domain. Write acme or acme.pipedrive.com, leave it empty"
            " for the shared API host, or name another server in 'Base URL'.",
        )
    return url


def _address(name: str, field: str, text: str) -> ServerAddress:
    try:
        return server_address(text)
    except ValueError as problem:
        words = str(problem)
    raise _fail(name, field, words)


def _with_port(name: str, field: str, address: ServerAddress, number: int | None) -> ServerAddress:
    """Let an address's own port win over the form's usual one, which Airflow's Test button asks for."""
    if number not in (None, USUAL_PORTS["https"], address.port or USUAL_PORTS[address.scheme]):
        raise _fail(name, PORT_FIELD, f"says {number}, but {field} says otherwise. Write the port into {field} alone.")
    return address


def _port(name: str, value: object) -> int | None:
    if value in (None, "", 0):
        return None
    number = _number(value)
    if number is None or number != int(number) or not 1 <= number <= MAX_PORT:
        raise _fail(name, PORT_FIELD, f"{value!r} is not a port: a whole number from 1 to {MAX_PORT}.")
    return int(number)


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
