"""The processes of this machine that a test has begun, told apart from those of tests that run beside it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

KEEPS_THE_MARK = {"SPT_NOENV": "1"}
"""For the environment: processes that rename themselves write over it otherwise."""


def processes_with(variable: str) -> dict[int, str]:
    """Give pid and command line of each process that has this ``NAME=value`` in its environment, the eldest first."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or it is another user's
            if variable in _words(folder / "environ"):
                found[int(folder.name)] = " ".join(_words(folder / "cmdline"))
    return dict(sorted(found.items()))


def _words(file: Path) -> list[str]:
    return file.read_bytes().decode(errors="replace").split("\0")
