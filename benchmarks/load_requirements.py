"""What a load is required to reach, beside what it reached. All figures are medians of one benchmark."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.export_requirements import CALLS_BESIDES_FIRST, PAGE, Verdict
from benchmarks.load_cases import CREATES, LOOP, PLAN, SECOND, Figures, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECONDS_A_CREATE = 0.0525
"""The window alone makes it 0.05: 40 in two seconds."""
TIMES_AS_FAST_AS_A_LOOP = 1.9
CPU_SECONDS_A_ROW = 5.0 / 100_000
BYTES_OF_KEY, BYTES_OF_ID = 150, 100
"""Of each row its key is kept, and of each lead its id while leads are read."""
MOST_MB_BESIDES = 5.0
"""By how much memory may be more for many rows than for few besides: the noise between two runs."""


def median(runs: Sequence[Figures]) -> Figures:
    """The median of each figure by itself."""
    wall, cpu, peak, *calls = (statistics.median(part) for part in zip(*runs, strict=True))
    return Figures(wall, cpu, peak, *map(round, calls))


def verdicts(results: Mapping[Run, Sequence[Figures]]) -> Iterator[Verdict]:
    """All requirements on which the results have something to say."""
    found = {run: median(runs) for run, runs in results.items()}
    for run, figures in found.items():
        if run.name == CREATES:
            yield from _of_creates(run, figures, found)
        elif run.name == SECOND:
            most = -(-run.rows // PAGE) + CALLS_BESIDES_FIRST
            yield Verdict(f"writes: {run}", figures.writes, 0, "writes")
            yield Verdict(f"calls: {run}", figures.calls, most, "calls")
    plans = sorted(run for run in found if run.name == PLAN)
    if plans:
        yield from _of_plans(plans[0], plans[-1], found)


def _of_creates(run: Run, figures: Figures, found: Mapping[Run, Figures]) -> Iterator[Verdict]:
    yield Verdict(f"seconds: {run}", figures.wall, SECONDS_A_CREATE * run.rows, "s")
    yield Verdict(f"replies 429: {run}", figures.refused, 0, "replies")
    if (loop := found.get(Run(LOOP, run.rows))) is not None:
        about = f"{run} against a requests loop"
        yield Verdict(about, loop.wall / figures.wall, TIMES_AS_FAST_AS_A_LOOP, "x faster", at_least=True)


def _of_plans(few: Run, many: Run, found: Mapping[Run, Figures]) -> Iterator[Verdict]:
    yield Verdict(f"CPU: {many}", found[many].cpu, CPU_SECONDS_A_ROW * many.rows, "s")
    yield Verdict(f"writes: {many}", found[many].writes, 0, "writes")
    kept = (many.rows - few.rows) * (BYTES_OF_KEY + BYTES_OF_ID) / 1e6
    above = found[many].peak_mb - found[few].peak_mb
    yield Verdict(f"memory above that of {few.rows:,} rows: {many}", above, kept + MOST_MB_BESIDES, "MB")
