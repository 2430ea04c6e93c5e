"""What the export is required to reach, beside what it reached. All ratios are of medians of one benchmark."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from benchmarks.export_cases import (
    DLT_JSONL,
    DLT_PARQUET,
    HTTP_CLIENT,
    ORJSON,
    OUR_CSV,
    OUR_KEYS,
    OUR_NAMES,
    OUR_PARQUET,
    OURS,
    REQUESTS,
    Contestant,
    Figures,
    Setting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Results: TypeAlias = "Mapping[tuple[Contestant, Setting], Sequence[Figures]]"

PAGE = 500
WINDOW_SECONDS = 2.0
CALLS_BESIDES_KNOWN, CALLS_BESIDES_FIRST = 6, 12
MOST_LEADS = 1_000_000
MB_OF_IDS = 100
"""At a million leads: 100 bytes each."""


class Verdict(NamedTuple):
    """One requirement: ``what`` is ``figure`` and has to be at most, or at least, ``bound``."""

    what: str
    figure: float
    bound: float
    unit: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is met."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound


def median(runs: Sequence[Figures]) -> Figures:
    """The median of each figure by itself."""
    wall, cpu, peak, calls, tokens = (statistics.median(part) for part in zip(*runs, strict=True))
    return Figures(wall, cpu, peak, round(calls), round(tokens))


def verdicts(results: Results) -> Iterator[Verdict]:
    """All requirements on which the results have something to say."""
    for contestant, setting in results:
        if contestant in OURS:
            yield from _beside_peers(results, contestant, setting)
            yield from _of_itself(results[contestant, setting], contestant, setting)


FASTER_THAN = (
    (OUR_KEYS, REQUESTS, 4.5),
    (OUR_KEYS, DLT_JSONL, 20.0),
    (OUR_PARQUET, DLT_PARQUET, 5.0),
)
TIME_OF = (
    (OUR_KEYS, HTTP_CLIENT, 3.0),
    (OUR_NAMES, ORJSON, 1.6),
    (OUR_CSV, ORJSON, 3.0),
)
TIME_OF_HTTP_CLIENT_FAR_AWAY = 1.4


def _beside_peers(results: Results, our: Contestant, setting: Setting) -> Iterator[Verdict]:
    if setting.window is not None or not setting.known:
        return
    wall = median(results[our, setting]).wall
    others = {peer: median(runs).wall for (peer, met), runs in results.items() if met == setting}
    if setting.latency:
        if HTTP_CLIENT in others:
            ratio = wall / others[HTTP_CLIENT]
            yield Verdict(_against(our, HTTP_CLIENT, setting), ratio, TIME_OF_HTTP_CLIENT_FAR_AWAY, "x its time")
        return
    for contestant, peer, bound in FASTER_THAN:
        if contestant == our and peer in others:
            yield Verdict(_against(our, peer, setting), others[peer] / wall, bound, "x faster", at_least=True)
    for contestant, peer, bound in TIME_OF:
        if contestant == our and peer in others:
            yield Verdict(_against(our, peer, setting), wall / others[peer], bound, "x its time")


def _against(our: Contestant, peer: Contestant, setting: Setting) -> str:
    return f"{our.name} against {peer.name}, {setting}"


def _of_itself(runs: Sequence[Figures], our: Contestant, setting: Setting) -> Iterator[Verdict]:
    about = f"{our.name}, {setting}"
    if setting.leads < MOST_LEADS:  # pages overlap by a row, which comes to a few pages more in a million
        calls = setting.leads // PAGE + (CALLS_BESIDES_KNOWN if setting.known else CALLS_BESIDES_FIRST)
        yield Verdict(f"calls: {about}", max(run.calls for run in runs), calls, "calls")
    if setting.window is not None:
        above = statistics.median(run.wall - _least_seconds(run.calls, setting.window) for run in runs)
        yield Verdict(f"above what the window allows: {about}", above, 0.6, "s")
    yield Verdict(f"peak memory: {about}", median(runs).peak_mb, _most_mb(our, setting), "MB")


def _most_mb(our: Contestant, setting: Setting) -> float:
    if setting.fat:
        return 300 if our == OUR_PARQUET else 200
    return (200 if our == OUR_PARQUET else 40) + (MB_OF_IDS if setting.leads >= MOST_LEADS else 0)


def _least_seconds(calls: int, window: int) -> float:
    """How long that many calls take at least, if none is answered slowly."""
    return (calls - 1) // window * WINDOW_SECONDS
