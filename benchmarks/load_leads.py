"""How fast, how lean and how sparing a load is: creations beside a loop by hand, a plan, the same load twice.

A thousand new leads go to a server 100 ms away that takes 40 calls in two seconds. A hundred thousand rows, all of
which are there, are planned. Ten thousand rows are loaded twice. Every run has a fresh process that imports everything
first. A round takes about four minutes; medians of the rounds are shown.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.export_cases import RunFailedError
from benchmarks.load_cases import CASES, Figures, Run, Sizes
from benchmarks.load_requirements import median, verdicts
from benchmarks.report import machine, print_verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.export_requirements import Verdict


def main() -> None:
    """Measure what the options say, print it, and keep it as JSON if asked to."""
    options = _options()
    results: dict[Run, list[Figures]] = {}
    failures: list[str] = []
    sizes = Sizes(options.creates, options.rows, options.twice)
    chosen = [name for name in CASES if not options.only or name in options.only.split(",")]
    for _ in range(options.runs):
        for name in chosen:
            _measure(name, sizes, results, failures)
    judged = list(verdicts(results))
    _print_report(results, judged, failures)
    if options.json:
        Path(options.json).write_text(json.dumps(_as_json(results, judged, failures), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_leads", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--runs", type=int, default=3, help="rounds to take the median of (default: 3)")
    add("--only", help=f"cases, split by commas: {', '.join(CASES)}")
    add("--creates", type=int, default=1_000, help="new leads beside a loop (default: 1000)")
    add("--rows", type=int, default=100_000, help="rows to plan; also a tenth of them (default: 100000)")
    add("--twice", type=int, default=10_000, help="rows to load twice (default: 10000)")
    add("--json", help="path of a file for the same figures as JSON")
    return parser.parse_args()


def _measure(name: str, sizes: Sizes, results: dict[Run, list[Figures]], failures: list[str]) -> None:
    try:
        for run, figures in CASES[name](sizes):
            results.setdefault(run, []).append(figures)
            print(f"  {run}: {figures.wall:.2f} s", flush=True)
    except RunFailedError as problem:
        failures.append(f"{name}: {problem}")


def _print_report(results: Mapping[Run, Sequence[Figures]], judged: Sequence[Verdict], failures: Sequence[str]) -> None:
    print(f"\n{machine()}; medians\n")
    print("| load | wall s | CPU s | peak MB | calls | writes | 429 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for run, runs in results.items():
        wall, cpu, peak, calls, writes, refused = median(runs)
        print(f"| {run} | {wall:.2f} | {cpu:.2f} | {peak:.1f} | {calls} | {writes} | {refused} |")
    print_verdicts(judged, failures)


def _as_json(
    results: Mapping[Run, Sequence[Figures]], judged: Sequence[Verdict], failures: Sequence[str]
) -> dict[str, object]:
    return {
        "machine": machine(),
        "runs": [
            {**run._asdict(), "median": median(runs)._asdict(), "each": [each._asdict() for each in runs]}
            for run, runs in results.items()
        ],
        "requirements": [{**verdict._asdict(), "holds": verdict.holds} for verdict in judged],
        "not_measured": failures,
    }


if __name__ == "__main__":
    main()
