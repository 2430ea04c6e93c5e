"""By which names a request may call the sandbox: those of this machine, and the one that it was told to listen at.

A page of the internet can let its own name lead to this machine (DNS rebinding) and read what it asks; the browser then
names it as ``Host``. Under the right name the browser asks first, and is not answered, before it sends JSON.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[0-9a-z._-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def may_call(hosts: Sequence[str], named: str) -> bool:
    """Whether a request calls the sandbox by a name of its own.

    ``hosts`` are the values of its ``Host`` headers, of which there must be one; ``named`` is where it listens.
    """
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None:
        return False
    host = (found["v6"] or found["name"]).lower()
    return is_this_machine(host) or host == named.lower()


def is_this_machine(host: str) -> bool:
    """Whether a host name, an IPv6 one without brackets, leads to this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
