"""``make test-repeat``: the tests again and again, in another order and under other conditions each time.

A test that depends on the speed, the cores or the load of a machine, or on the tests before it, fails here sooner or
later; the table at the end says which, how often, and with which seed to see it again.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
BUSY_A_CORE = 2
SECONDS_FOR_A_TEST = "1200"
"""A test that hangs is ended; one that is merely slow, on a core of many, is not."""
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"


class Condition(NamedTuple):
    """What a run meets."""

    name: str
    processes: int = 3
    busy: bool = False
    pinned: bool = False


CONDITIONS = (
    Condition("alone"),
    Condition(f"beside {BUSY_A_CORE} busy processes a core", busy=True),
    Condition("pinned to one core", pinned=True),
    Condition("with 6 test processes", processes=6),
)


class Run(NamedTuple):
    """What came of one run."""

    condition: Condition
    seed: int
    seconds: float
    counts: dict[str, int]
    failed: list[str]


def main() -> int:
    """Run the tests as often as asked, then print the table; 1 if anything failed."""
    wanted = read_arguments()
    runs = []
    for number in range(wanted.times):
        condition = CONDITIONS[(wanted.first + number) % len(CONDITIONS)]
        seed = wanted.seed + number
        print(f"\n== Run {number + 1} of {wanted.times}: {condition.name}, seed {seed}", flush=True)
        runs.append(run(condition, seed, wanted.marks, wanted.tests))
    print(table(runs))
    return int(any(each.failed or not each.counts for each in runs))


def read_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=int, help="how often")
    parser.add_argument("--seed", type=int, help="of the first run's order; the next has one more (default: any)")
    parser.add_argument("--first", type=int, default=0, help="the condition of the first run, by its number from 0")
    parser.add_argument("--marks", default="not long and not cluster", help="pytest's -m")
    parser.add_argument("tests", nargs="*", help="files or folders (default: all)")
    wanted = parser.parse_intermixed_args()
    wanted.seed = random.randrange(10_000) if wanted.seed is None else wanted.seed
    return wanted


def run(condition: Condition, seed: int, marks: str, tests: list[str]) -> Run:
    """Run the tests once."""
    with tempfile.TemporaryDirectory() as folder, neighbours(condition):
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", marks, "-p", "randomly", f"--randomly-seed={seed}"]
        command += ["--randomly-dont-reset-seed", f"--timeout={SECONDS_FOR_A_TEST}", f"--junitxml={report}"]
        command += ["--numprocesses", str(condition.processes), "--dist", "loadfile", "--ignore=tests/live", *tests]
        began = time.monotonic()  # real time: for the table only
        subprocess.run(command, cwd=ROOT, check=False, preexec_fn=pin if condition.pinned else None)
        counts, failed = read_report(report)
        seconds = time.monotonic() - began  # real time: for the table only
        return Run(condition, seed, seconds, counts, failed)


def pin() -> None:
    """Let this process and its children use one core only."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@contextmanager
def neighbours(condition: Condition) -> Iterator[None]:
    """Keep the machine busy, if the condition says so; they end with this process, however it ends."""
    count = BUSY_A_CORE * len(os.sched_getaffinity(0)) if condition.busy else 0
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def read_report(report: Path) -> tuple[dict[str, int], list[str]]:
    """How many tests there were by outcome, and the names of those that failed; nothing if pytest broke down."""
    if not report.exists():
        return {}, []
    counts: dict[str, int] = defaultdict(int)
    failed = []
    for case in ET.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        counts[outcome] += 1
        if outcome in ("failure", "error"):
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return counts, failed


def table(runs: list[Run]) -> str:
    """How each run went, and what failed how often and with which seeds."""
    lines = ["", "run  seed   seconds  passed  failed  skipped  condition"]
    for number, each in enumerate(runs, 1):
        counts = each.counts
        bad = counts.get("failure", 0) + counts.get("error", 0) if counts else "none ran"
        lines.append(
            f"{number:>3}  {each.seed:>4}  {each.seconds:>8.0f}  {counts.get('passed', 0):>6}  {bad:>6}"
            f"  {counts.get('skipped', 0):>7}  {each.condition.name}"
        )
    seeds: dict[str, list[str]] = defaultdict(list)
    for each in runs:
        for name in each.failed:
            seeds[name].append(f"{each.seed} ({each.condition.name})")
    lines += ["", *(f"{len(where)} of {len(runs)}  {name}: {', '.join(where)}" for name, where in seeds.items())]
    return "\n".join(lines if seeds else [*lines, "Nothing failed."])


if __name__ == "__main__":
    sys.exit(main())
