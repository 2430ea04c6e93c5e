"""Words that came over the network, made fit for an error: on one line, of bounded length, without secrets or tricks.

A server may repeat what it was sent: a token in "api token … is wrong", a form in the page of a gateway, an address
with a login. What is known to be secret is replaced before anything is cut, so that no part of it is left.
"""

from __future__ import annotations

import base64
import html
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_pipedrive_leads.api.connection import Secret

MAX_WORDS = 300
"""Characters of an error's words."""
MAX_CORRELATION_ID = 100
"""Characters: Pipedrive's are UUIDs."""
MAX_READ = 100_000
"""Characters that are looked at; a gateway may send many more."""
MIN_INSIDE_WORDS = 6
"""Characters of a secret that is looked for inside of words, too; a shorter one would be found everywhere."""
HIDDEN = "***"
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
USERINFO = re.compile(r"(?<=//)[^\s/?#]*@")


def fit_for_error(text: str, secrets: Iterable[Secret] = (), *, longest: int = MAX_WORDS) -> str:
    """Make foreign words fit to stand in an error.

    :param secrets: what must not show.
    :param longest: characters.
    """
    hidden = tuple(secret.reveal.rpartition(" ")[2] for secret in secrets)  # a header holds "Bearer" before its token
    words = USERINFO.sub(f"{HIDDEN}@", _visible(text[:MAX_READ]))
    if any(hidden):
        words = _pattern(hidden).sub(HIDDEN, words)
    if len(text) > MAX_READ:  # maybe in a secret, of which a form may have six characters for one
        words = words[: -6 * max(map(len, hidden), default=1)]
    return words if len(words) <= longest else words[: longest - 1] + "…"


def correlation_id(headers: Mapping[str, str], secrets: Iterable[Secret] = ()) -> str | None:
    """Read the name by which Pipedrive's support finds a call.

    :param headers: with lower-case names.
    :param secrets: what must not show.
    """
    told = headers.get("x-correlation-id")
    return fit_for_error(told, secrets, longest=MAX_CORRELATION_ID) if told else None


def uuid_of(headers: Mapping[str, str]) -> str | None:
    """Read that name where it is a UUID, which no secret of Pipedrive's is; for where secrets are not known."""
    told = headers.get("x-correlation-id", "")
    return told if UUID.fullmatch(told) else None


def host_in(address: str, secrets: Iterable[Secret] = ()) -> str | None:
    """Name the host in a foreign address, without login, path and query; None if there is none that can be read.

    :param secrets: what must not show.
    """
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return None
    return fit_for_error(host, secrets) if host and re.fullmatch(r"[a-z0-9._:-]{1,253}", host) else None


def secrets_of_proxy(address: str) -> tuple[str, ...]:
    """Give what no error may show of a proxy's address: its password, and the login as it is sent."""
    try:
        url = urlsplit(address if "//" in address else f"//{address}")
    except ValueError:
        return ()
    if not url.password:
        return ()
    password = unquote(url.password)
    return (password, basic_login(unquote(url.username or ""), password))


def basic_login(name: str, password: str) -> str:
    """Give a login as a header carries it."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def _visible(text: str) -> str:
    """Take out what nobody sees: control, bidi and other format characters, and halves of a pair."""
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(filter(str.isprintable, spaced))


@lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Find secrets in each form in which a server may repeat them."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    longest_first = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(_as_pattern, longest_first)), re.IGNORECASE)


def _forms(secret: str) -> set[str]:
    in_json = msgspec.json.encode(secret).decode()[1:-1]
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        in_json,
        in_json.replace("/", r"\/"),
        html.escape(secret),
    }


def _as_pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= MIN_INSIDE_WORDS else rf"(?<!\w){escaped}(?!\w)"
