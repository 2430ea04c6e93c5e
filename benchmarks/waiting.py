"""What waiting costs: a thousand triggers that share a feed, beside a thousand waits that each ask for themselves.

Each has a process of its own with one event loop, and a sandbox of its own. First nothing changes for two intervals,
and what is asked for is counted; then leads are changed one after another, and it is measured how late their waits
end. What a day costs follows from that, at the default settings and the pace that these lead to. A round takes about
two minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_pipedrive_leads.api.budget import A_DAY, SMALLEST_DAY
from airflow_provider_pipedrive_leads.leads.waiting.allowance import Allowance
from airflow_provider_pipedrive_leads.leads.waiting.pace import Pace
from airflow_provider_pipedrive_leads.leads.waiting.polling import DAILY_SHARE, POLL_INTERVAL
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from benchmarks.export_cases import RunFailedError, in_fresh_process, server
from benchmarks.export_ours import TOKEN
from benchmarks.export_requirements import Verdict
from benchmarks.report import machine, print_verdicts
from benchmarks.waiting_run import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OURS = "ours"
CONTESTANTS = {
    OURS: "triggers that share a feed",
    "by id": "each asks for its lead",
    "by list": "each reads what changed",
}
SANDBOX = "airflow_provider_pipedrive_leads.sandbox.cli"
NO_LIMIT = 1_000_000_000
MOST_CALLS = 3
"""One list, and two leads by id in turns."""
LATEST, LONGEST_HOLD = 1.25, 100.0
HELD_BY_MACHINE = 20.0
"""Milliseconds: more, in a loop without work, and the machine is too busy to tell for how long work held a loop up."""


class Figures(NamedTuple):
    """What one run took.

    :param calls: an interval, while nothing changed; ``tokens`` likewise.
    :param day: API tokens of a day at the default settings, on a plan whose day has 30,000.
    :param middle: median time from a change to the end of the wait for it, in intervals.
    :param latest: the longest.
    :param held: milliseconds for which the event loop was held up at most.
    :param computed: milliseconds for which it computed without a break at most.
    :param idle: milliseconds for which it was held up before there was work for it: the noise of the machine.
    :param cpu: share of a core.
    :param peak_mb: MB above the imported interpreter.
    """

    calls: float
    tokens: float
    day: float
    middle: float
    latest: float
    held: float
    computed: float
    idle: float
    cpu: float
    peak_mb: float


def main() -> None:
    """Measure what the options say, print it, and keep it as JSON if asked to."""
    options = _options()
    results: dict[str, list[Figures]] = {}
    failures: list[str] = []
    chosen = [name for name in CONTESTANTS if not options.only or name in options.only.split(",")]
    for _ in range(options.runs):
        for name in chosen:
            try:
                figures = _measured(name, options.interval, options.waiting, options.changes)
            except RunFailedError as problem:
                failures.append(f"{name}: {problem}")
            else:
                results.setdefault(name, []).append(figures)
                print(f"  {name}: {figures.calls:g} calls an interval", flush=True)
    judged = list(verdicts(results))
    _print_report(options, results, judged, failures)
    if options.json:
        Path(options.json).write_text(json.dumps(_as_json(results, judged, failures), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--runs", type=int, default=1, help="rounds to take the median of (default: 1)")
    add("--only", help=f"contestants, split by commas: {', '.join(CONTESTANTS)}")
    add("--waiting", type=int, default=1_000, help="how many wait (default: 1000)")
    add("--changes", type=int, default=20, help="leads that are changed (default: 20)")
    add("--interval", type=float, default=5.0, help="seconds between two polls (default: 5)")
    add("--json", help="path of a file for the same figures as JSON")
    return parser.parse_args()


def _measured(name: str, interval: float, waiting: int, changes: int) -> Figures:
    """One run against a sandbox on the smallest plan whose limits stop nobody.

    :raises RunFailedError: it did not end well.
    """
    with server(SANDBOX, "--leads", "0", "--plan", "lite", "--token", TOKEN) as url:
        control = SandboxControl(url)
        control.leads(waiting, archived=0.0)
        control.set_burst(NO_LIMIT)
        control.set_budget(NO_LIMIT)
        job = Job(url, interval, waiting, changes)
        done = in_fresh_process((sys.executable, "-m", "benchmarks.waiting_run", name, json.dumps(job._asdict())))
    return Figures(
        calls=done["calls"],
        tokens=done["tokens"],
        day=_ours_a_day(round(done["tokens"])) if name == OURS else _theirs_a_day(done, waiting),
        middle=statistics.median(done["late"]),
        latest=max(done["late"]),
        held=done["held"] * 1_000,
        computed=done["computed"] * 1_000,
        idle=done["held_idle"] * 1_000,
        cpu=done["cpu"] / done["wall"],
        peak_mb=done["peak_mb"],
    )


def _theirs_a_day(done: Mapping[str, float], waiting: int) -> float:
    """What a day costs where each that waits looks at the default interval, be the server fast enough or not."""
    return done["tokens"] / done["calls"] * waiting * A_DAY / POLL_INTERVAL


def _ours_a_day(cost: int) -> float:
    """What a day of polls costs on the smallest plan, as often as the feed's own pace lets them be.

    :param cost: tokens of a poll.
    """
    pace, polls = Pace(0.0), 0
    while True:
        pace.choose([Allowance(POLL_INTERVAL, SMALLEST_DAY, DAILY_SHARE)], cost)
        if pace.due > A_DAY:
            return polls * cost
        pace.polled(pace.due, cost, cost)
        polls += 1


def verdicts(results: Mapping[str, Sequence[Figures]]) -> Iterator[Verdict]:
    """All requirements on which the results have something to say."""
    if OURS not in results:
        return
    figures = median(results[OURS])
    yield Verdict("calls an interval", figures.calls, MOST_CALLS, "calls")
    yield Verdict("tokens a day", figures.day, SMALLEST_DAY * DAILY_SHARE, "tokens")
    yield Verdict("from a change to the last wake", figures.latest, LATEST, "intervals")
    yield Verdict("the event loop computed without a break", figures.computed, LONGEST_HOLD, "ms")
    if figures.idle < HELD_BY_MACHINE:
        yield Verdict("the event loop was held up", figures.held, LONGEST_HOLD, "ms")


def median(runs: Sequence[Figures]) -> Figures:
    """The median of each figure by itself."""
    return Figures(*(statistics.median(part) for part in zip(*runs, strict=True)))


def _print_report(
    options: argparse.Namespace,
    results: Mapping[str, Sequence[Figures]],
    judged: Sequence[Verdict],
    failures: Sequence[str],
) -> None:
    print(f"\n{machine()}; {options.waiting:,} waits, a poll every {options.interval:g} s; medians of {options.runs}\n")
    print("| waits | calls / interval | tokens / interval | tokens / day | wake: median, last (intervals) ", end="")
    print("| loop held ms (computing; idle) | CPU % | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, runs in results.items():
        found = median(runs)
        print(
            f"| {CONTESTANTS[name]} | {found.calls:,.0f} | {found.tokens:,.0f} | {found.day:,.0f}"
            f" | {found.middle:.2f}, {found.latest:.2f} | {found.held:.0f} ({found.computed:.0f}; {found.idle:.0f})"
            f" | {found.cpu:.0%} | {found.peak_mb:.0f} |"
        )
    print_verdicts(judged, failures)


def _as_json(
    results: Mapping[str, Sequence[Figures]], judged: Sequence[Verdict], failures: Sequence[str]
) -> dict[str, object]:
    return {
        "machine": machine(),
        "runs": [
            {"name": name, "median": median(runs)._asdict(), "each": [each._asdict() for each in runs]}
            for name, runs in results.items()
        ],
        "requirements": [{**verdict._asdict(), "holds": verdict.holds} for verdict in judged],
        "not_measured": failures,
    }


if __name__ == "__main__":
    main()
