"""Ports for servers that must be told theirs, such as Airflow's and PostgreSQL's."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from pathlib import Path
from typing import IO

LOWEST, HIGHEST = 20_000, 32_000
"""Below the ports that Linux gives to whoever asks for any: none of these goes to somebody else meanwhile."""
_FOLDER = Path(os.environ.get("TMPDIR") or "/tmp") / f"reserved-ports-{os.getuid()}"  # noqa: S108 - one for all processes
_held: list[IO[str]] = []


def reserve_port(wanted: int = 0) -> int:
    """Give a loopback port on which nothing listens: the wanted one, or any that no other process here has reserved.

    A reservation lasts as long as this process.
    """
    for port in (wanted, *random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST)):
        if port and _reserve(port):
            return port
    raise OSError(f"no port between {LOWEST} and {HIGHEST} is free")


def _reserve(port: int) -> bool:
    _FOLDER.mkdir(exist_ok=True)
    lock = (_FOLDER / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        lock.close()
        return False
    _held.append(lock)
    return True
