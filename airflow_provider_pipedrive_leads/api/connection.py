"""The Airflow connection as one checked value: what the form, a URI, JSON or the environment gave.

The form stores null for blank fields and real numbers, a URI gives only strings, JSON what was typed: all are taken.
"""

from __future__ import annotations

import math
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED_HOST = "https://api.pipedrive.com"
LONGEST_TIMEOUT = 600.0
EXTRA_NAMES = ("client_id", "client_secret", "refresh_token", "timeout", "daily_token_reserve", "base_url")
OAUTH_NAMES = EXTRA_NAMES[:3]


class Secret(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A string that does not show itself in logs, tracebacks or errors."""

    reveal: str

    def __repr__(self) -> str:
        return "Secret(***)"


class ConnectionSettings(msgspec.Struct, frozen=True):
    """All that a client must know to reach one Pipedrive company.

    :param name: how to call the connection in an error, for example ``connection 'pipedrive_default'``.
    :param base_url: scheme, host and port; no path.
    :param api_token: the personal API token.
    :param timeout: seconds until a silent server is given up.
    :param daily_token_reserve: API tokens of the company's day that must stay untouched.
    :param unknown_extras: names in the connection's extra that mean nothing here.
    """

    name: str
    base_url: str
    api_token: Secret
    timeout: float = 30.0
    daily_token_reserve: int = 0
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
    return ConnectionSettings(
        name=name,
        base_url=_base_url(name, host, port, values.get("base_url")),
        api_token=_api_token(name, login, password, values),
        timeout=_timeout(name, values.get("timeout", 30)),
        daily_token_reserve=_reserve(name, values.get("daily_token_reserve", 0)),
        unknown_extras=tuple(sorted(set(values) - set(EXTRA_NAMES))),
    )


def _fail(name: str, field: str, words: str) -> PipedriveConfigError:
    return PipedriveConfigError(f"{name[0].upper()}{name[1:]}, field {field}: {words}")


def _api_token(name: str, login: str | None, password: str | None, values: Mapping[str, object]) -> Secret:
    oauth = [key for key in OAUTH_NAMES if key in values]
    if oauth:
        raise _fail(
            name,
            f"'{oauth[0]}'",
            "OAuth is not supported by this version. Clear client_id, client_secret and refresh_token,"
            " and put a personal API token into 'API token' (Password).",
        )
    token = (password or "").strip()
    if not token and login:
        raise _fail(name, "'Login'", "must be empty; the API token belongs into 'API token' (Password).")
    if not token:
        raise _fail(
            name,
            "'API token' (Password)",
            "is empty. Pipedrive shows the token under Personal preferences > API.",
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise _fail(name, "'API token' (Password)", "holds spaces or characters that no token has. Copy it again.")
    return Secret(token)


def _base_url(name: str, host: str | None, port: int | None, base_url: object) -> str:
    if base_url is not None:
        return _checked_url(name, "'Base URL' (base_url)", str(base_url).strip())
    text = (host or "").strip()
    if "://" in text:
        with_port = f"{text}:{port}" if port and urlsplit(text).port is None else text
        url = _checked_url(name, "'Company domain' (Host)", with_port)
        if is_loopback(urlsplit(url).hostname or "") or _is_pipedrive(urlsplit(url).hostname or ""):
            return url
        text = urlsplit(url).hostname or ""
    if not text:
        return SHARED_HOST
    company = text.lower().removesuffix(".pipedrive.com")
    if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", company):
        return f"https://{company}.pipedrive.com"
    raise _fail(
        name,
        "'Company domain' (Host)",
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
    return f"{url.scheme}://{shown}" + (f":{port}" if port else "")


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


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
