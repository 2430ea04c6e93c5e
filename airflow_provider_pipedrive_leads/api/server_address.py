"""Addresses of servers, built from what was strictly matched: no part of a text that was not understood goes into one.

What reads an address and what connects to it may take a backslash, a tab or a wide dot for different things; then a
token goes to a host that nobody checked. So only plain names, numbers and ports are addresses here.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

USUAL_PORTS = {"https": 443, "http": 80}
MAX_PORT = 65_535
MAX_HOST = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*))(?::(?P<port>[0-9]{{1,5}}))?/*",
    re.ASCII | re.IGNORECASE,
)
_COMPANY = re.compile(
    r"(?P<company>[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.pipedrive\.com)?", re.ASCII | re.IGNORECASE
)
_MORE = re.compile(r"https?://[^\s\\/?#@]+(?P<rest>[/?#@])", re.ASCII | re.IGNORECASE)


class ServerAddress(NamedTuple):
    """Where calls go.

    :param scheme: ``https`` or ``http``.
    :param host: in lower case; an IPv6 address without brackets.
    :param port: None for the scheme's usual one.
    """

    scheme: str
    host: str
    port: int | None = None

    @property
    def url(self) -> str:
        """The address as calls take it: without a path."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{shown}" + ("" if self.port is None else f":{self.port}")


def server_address(text: str) -> ServerAddress:
    """Read the address of a server.

    :raises ValueError: with words that continue a sentence about it: it is none, holds more than scheme, host and port,
        or is ``http://`` beyond this machine.
    """
    found = _ADDRESS.fullmatch(text)
    address = _address(found) if found else None
    if address is None and _MORE.match(text):
        raise ValueError("takes scheme, host and port only, like https://proxy.example.com:8443.")
    if address is None:
        raise ValueError("is no URL. Write it like https://proxy.example.com.")
    if address.scheme == "http" and not is_loopback(address.host):
        raise ValueError(
            "http:// is allowed to this machine only, for it shows the token to the network. Use https://."
        )
    return address


def company_url(host: str) -> str | None:
    """Give the address of a Pipedrive company by its domain or host name, ``acme`` or ``acme.pipedrive.com``."""
    found = _COMPANY.fullmatch(host)
    return f"https://{found['company'].lower()}.pipedrive.com" if found else None


def told_company_url(text: str) -> str | None:
    """Read an address that came over the network; None unless it is that of a Pipedrive company, at the usual port."""
    found = _ADDRESS.fullmatch(text)
    address = _address(found) if found else None
    if address is None or address.scheme != "https" or address.port or not address.host.endswith(".pipedrive.com"):
        return None
    return company_url(address.host)


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _address(found: re.Match[str]) -> ServerAddress | None:
    scheme, host = found["scheme"].lower(), (found["v6"] or found["name"]).lower()
    port = None if found["port"] is None else int(found["port"])
    if len(host) > MAX_HOST or (port is not None and not 1 <= port <= MAX_PORT) or (found["v6"] and not _is_ip(host)):
        return None
    return ServerAddress(scheme, host, None if port == USUAL_PORTS[scheme] else port)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
