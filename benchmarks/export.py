"""How fast, how lean and how sparing an export is, beside ways to write it by hand and beside ``dlt``.

A hundred thousand leads with a dozen custom fields go from a server on loopback into a local file, from the first
request to the closed file. Every run has a fresh process that imports everything first; the contestants take turns,
and medians of five rounds are shown. All of it takes about thirteen minutes; ``--million`` adds about five.

``dlt`` and ``orjson`` are no dependencies of this project: they are installed into ``.bench/peers``, and the
contestants that need them are left out, with the reason, where that fails.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.export_cases import (
    HTTP_CLIENT,
    OUR_KEYS,
    OURS,
    PEER_CONTESTANTS,
    Contestant,
    Figures,
    RunFailedError,
    Setting,
    fat_server,
    make_peers_environment,
    prepared_server,
    run_once,
)
from benchmarks.export_requirements import MOST_LEADS, Verdict, median, verdicts
from benchmarks.report import machine, print_verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

FAR = 0.1
FEW_LEADS = 10_000
FAT_LEADS = 30_000
USUAL_WINDOW = 40


class Series(NamedTuple):
    """Contestants that take turns under one setting."""

    setting: Setting
    contestants: Sequence[Contestant]


def main() -> None:
    """Measure what the options say, print it, and keep it as JSON if asked to."""
    options = _options()
    plan = _chosen(_plan(options), options.only)
    plan, failures = _without_missing_peers(plan)
    most = max((series.setting.leads for series in plan if not series.setting.fat), default=1)
    results: dict[tuple[Contestant, Setting], list[Figures]] = {}
    with prepared_server(most) as url:
        for series in plan:
            if not series.setting.fat:
                _measure(series, options.runs, url, results, failures)
    for series in plan:
        if series.setting.fat:
            with fat_server(series.setting.leads) as url:
                _measure(series, options.runs, url, results, failures)
    judged = list(verdicts(results))
    _print_report(results, judged, failures)
    if options.json:
        Path(options.json).write_text(json.dumps(_as_json(results, judged, failures), indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__.split("\n")[0])
    add = parser.add_argument
    names = ", ".join(contestant.name for contestant in (*PEER_CONTESTANTS, *OURS))
    add("--runs", type=int, default=5, help="rounds to take the median of (default: 5)")
    add("--leads", type=int, default=100_000, help="default: 100000")
    add("--only", help=f"contestants by name or part of it, split by commas: {names}")
    add("--latency", type=float, help="seconds a call; with this or --window, only that one setting is measured")
    add("--window", type=int, help="calls in any two seconds")
    add("--million", action="store_true", help="our exports once more with a million leads, one run each")
    add("--json", help="path of a file for the same figures as JSON")
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> list[Series]:
    leads: int = options.leads
    everyone = (*PEER_CONTESTANTS, *OURS)
    if options.latency is not None or options.window is not None:
        plan = [Series(Setting(leads, options.latency or 0.0, options.window), everyone)]
    else:
        plan = [
            Series(Setting(leads), everyone),
            Series(Setting(leads, latency=FAR), (HTTP_CLIENT, *OURS)),
            Series(Setting(leads, latency=FAR, window=USUAL_WINDOW), OURS),
            Series(Setting(leads, known=False), (OUR_KEYS,)),
            Series(Setting(min(leads, FEW_LEADS)), OURS),
            Series(Setting(min(leads, FAT_LEADS), fat=True), OURS),
        ]
    return [*plan, Series(Setting(MOST_LEADS), OURS)] if options.million else plan


def _chosen(plan: Sequence[Series], only: str | None) -> list[Series]:
    if not only:
        return list(plan)
    texts = [text.strip() for text in only.split(",")]
    names = {contestant.name for contestant in (*PEER_CONTESTANTS, *OURS)}
    names = {name for name in names if name in texts or any(text in name for text in texts if text not in names)}
    return [Series(setting, [one for one in contestants if one.name in names]) for setting, contestants in plan]


def _without_missing_peers(plan: list[Series]) -> tuple[list[Series], list[str]]:
    """The plan, without those whose packages cannot be installed, and a sentence if there are any."""
    if not any(one.apart for series in plan for one in series.contestants):
        return plan, []
    reason = make_peers_environment()
    if reason is None:
        return plan, []
    left = [Series(setting, [one for one in contestants if not one.apart]) for setting, contestants in plan]
    return left, [f"left out, for dlt and orjson could not be installed: {reason}"]


def _measure(
    series: Series,
    runs: int,
    url: str,
    results: dict[tuple[Contestant, Setting], list[Figures]],
    failures: list[str],
) -> None:
    """Rounds in which all take their turn; who fails is out of the rest."""
    setting, contestants = series
    remaining = list(contestants)
    for _ in range(1 if setting.leads >= MOST_LEADS else runs):
        for contestant in tuple(remaining):
            try:
                figures = run_once(contestant, setting, url)
            except RunFailedError as problem:
                failures.append(f"{contestant.name}, {setting}: {problem}")
                remaining.remove(contestant)
                results.pop((contestant, setting), None)
                continue
            results.setdefault((contestant, setting), []).append(figures)
            print(f"  {contestant.name}, {setting}: {figures.wall:.2f} s", flush=True)


def _print_report(
    results: dict[tuple[Contestant, Setting], list[Figures]], judged: Sequence[Verdict], failures: Sequence[str]
) -> None:
    print(f"\n{machine()}; medians\n")
    fastest = {setting: min(median(r).wall for (_, s), r in results.items() if s == setting) for _, setting in results}
    print("| leads and server | contestant | wall s | times the fastest | CPU s | peak MB | calls | tokens |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (contestant, setting), runs in results.items():
        wall, cpu, peak, calls, tokens = median(runs)
        print(
            f"| {setting} | {contestant.name} | {wall:.2f} | {wall / fastest[setting]:.1f} | {cpu:.2f} | {peak:.0f}"
            f" | {calls} | {tokens} |"
        )
    print_verdicts(judged, failures)


def _as_json(
    results: dict[tuple[Contestant, Setting], list[Figures]], judged: Sequence[Verdict], failures: Sequence[str]
) -> dict[str, object]:
    return {
        "machine": machine(),
        "runs": [
            {
                "contestant": contestant.name,
                **setting._asdict(),
                "median": median(runs)._asdict(),
                "each": [run._asdict() for run in runs],
            }
            for (contestant, setting), runs in results.items()
        ],
        "requirements": [{**verdict._asdict(), "holds": verdict.holds} for verdict in judged],
        "not_measured": failures,
    }


if __name__ == "__main__":
    main()
