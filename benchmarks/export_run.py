"""One timed export in a process of its own: everything is imported first, then the clock starts.

``python -m benchmarks.export_run module:function '{"url": …}'`` prints one line of JSON. The function imports what its
way of exporting needs and gives back what is to be timed. This module needs the standard library only, so that it runs
in any environment.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

RESET_PEAK = "5"


class Job(NamedTuple):
    """What to export, and where to.

    :param url: of the server.
    :param path: of the file; some write a folder of this name.
    :param leads: how many there are.
    :param columns: ``names`` or ``keys``.
    :param known: whether the number of leads is known from last time.
    """

    url: str
    path: str
    leads: int
    columns: str
    known: bool


Export: TypeAlias = "Callable[[Job], object]"


def main() -> None:
    """Import, measure, print."""
    module, function = sys.argv[1].split(":")
    job = Job(**json.loads(sys.argv[2]))
    export: Export = getattr(importlib.import_module(module), function)()
    gc.collect()
    print(json.dumps(measured(lambda: export(job))))


def measured(call: Callable[[], object]) -> dict[str, float]:
    """What a call takes: seconds, seconds of CPU, and MB at its peak above what was there before."""
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    cpu, wall = _cpu_seconds(), time.perf_counter()
    call()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    return {"wall": wall, "cpu": cpu, "peak_mb": _resident("VmHWM") - before}


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def _resident(figure: str) -> float:
    """MB of memory that is really held; the kernel counts in units of 1,024 bytes."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith(figure)).split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
