"""Who exports, under which circumstances, and one run of it in a fresh process against the prepared server."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

from benchmarks.prepared_server import READY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUILD = Path(".bench").absolute()
PEERS = BUILD / "peers"
OUTPUT = BUILD / "output"
COSTS = {"/v1/leads": 20, "/v1/leads/archived": 40, "/v1/leadFields": 20, "/v1/leadLabels": 10}
LONGEST_RUN = 600.0


class Contestant(NamedTuple):
    """One way to export.

    :param name: as ``--only`` takes it.
    :param function: ``module:function`` that ``benchmarks.export_run`` loads.
    :param columns: ``keys`` or ``names``; the peers know keys only.
    :param apart: whether it needs packages that the project does not have, and so an environment of its own.
    """

    name: str
    function: str
    suffix: str
    columns: str = "keys"
    apart: bool = False

    @property
    def python(self) -> str:
        """The interpreter to run it with."""
        return str(PEERS / "bin" / "python") if self.apart else sys.executable


HTTP_CLIENT = Contestant("http.client", "benchmarks.export_peers:http_client", ".jsonl")
REQUESTS = Contestant("requests", "benchmarks.export_peers:plain_requests", ".jsonl")
ORJSON = Contestant("requests+orjson", "benchmarks.export_peers:requests_orjson", ".jsonl", apart=True)
DLT_JSONL = Contestant("dlt.jsonl.gz", "benchmarks.export_peers:dlt_jsonl", ".jsonl", apart=True)
DLT_PLAIN = Contestant("dlt.jsonl", "benchmarks.export_peers:dlt_plain_jsonl", ".jsonl", apart=True)
DLT_PARQUET = Contestant("dlt.parquet", "benchmarks.export_peers:dlt_parquet", ".parquet", apart=True)
PEER_CONTESTANTS = (HTTP_CLIENT, REQUESTS, ORJSON, DLT_JSONL, DLT_PLAIN, DLT_PARQUET)

OUR_KEYS = Contestant("ours keys.jsonl", "benchmarks.export_ours:ours", ".jsonl")
OUR_NAMES = Contestant("ours names.jsonl", "benchmarks.export_ours:ours", ".jsonl", "names")
OUR_CSV = Contestant("ours names.csv", "benchmarks.export_ours:ours", ".csv", "names")
OUR_PARQUET = Contestant("ours names.parquet", "benchmarks.export_ours:ours", ".parquet", "names")
OURS = (OUR_KEYS, OUR_NAMES, OUR_CSV, OUR_PARQUET)


class Setting(NamedTuple):
    """What a run meets.

    :param latency: seconds a call.
    :param window: calls in any two seconds; None: no limit.
    :param known: whether the number of leads is known from last time.
    :param fat: whether each weighs sixty kilobytes.
    """

    leads: int
    latency: float = 0.0
    window: int | None = None
    known: bool = True
    fat: bool = False

    def __str__(self) -> str:
        window = "" if self.window is None else f", {self.window} calls a 2 s"
        first = "" if self.known else ", first time"
        return f"{self.leads:,} {'fat ' if self.fat else ''}leads, {self.latency * 1000:.0f} ms{window}{first}"


class Figures(NamedTuple):
    """What one run took: seconds, MB above the imported interpreter, calls that arrived, tokens they cost."""

    wall: float
    cpu: float
    peak_mb: float
    calls: int
    tokens: int


class RunFailedError(Exception):
    """A run ended with an error, or without all the rows."""


@contextmanager
def prepared_server(leads: int) -> Iterator[str]:
    """Start the server in a process of its own and give its URL."""
    with server("benchmarks.prepared_server", "--leads", str(leads)) as url:
        yield url


@contextmanager
def fat_server(leads: int) -> Iterator[str]:
    """Start the server of heavy leads, likewise."""
    with server("benchmarks.fat_leads", "--leads", str(leads)) as url:
        yield url


@contextmanager
def server(module: str, *options: str) -> Iterator[str]:
    """Start a module that says where it listens in a process of its own, and give its URL."""
    command = (sys.executable, "-m", module, *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield next(line for line in running.stdout or () if line.startswith(READY)).removeprefix(READY).strip()
        finally:
            running.terminate()


def make_peers_environment() -> str | None:
    """Install what the peers need and this project does not; None when it is there, else why it is not."""
    packages = ("dlt[filesystem,parquet,duckdb,postgres]", "orjson", f"requests=={version('requests')}")
    ready = PEERS / "ready"
    if ready.exists() and ready.read_text() == " ".join(packages):
        return None
    print(f"Installing dlt and orjson into {PEERS} …", flush=True)
    shutil.rmtree(PEERS, ignore_errors=True)
    pip = (str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    for command in ((sys.executable, "-m", "venv", str(PEERS)), (*pip, *packages)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return _last_line(done.stderr or done.stdout)
    ready.write_text(" ".join(packages))
    return None


def run_once(contestant: Contestant, setting: Setting, url: str) -> Figures:
    """One run, its rows counted.

    :raises RunFailedError: it did not end well.
    """
    settings = {"leads": setting.leads, "latency": setting.latency, "window": setting.window}
    requests.post(f"{url}/settings", json=settings).raise_for_status()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    path = OUTPUT / f"leads{contestant.suffix}"
    job = {"url": url, "path": str(path), "leads": setting.leads, "columns": contestant.columns, "known": setting.known}
    command = (contestant.python, "-m", "benchmarks.export_run", contestant.function, json.dumps(job))
    measured = in_fresh_process(command)
    rows = _rows(path)
    if rows != setting.leads:
        raise RunFailedError(f"{rows:,} rows instead of {setting.leads:,}")
    counts = requests.get(f"{url}/counters").json()
    calls = sum(count["calls"] for count in counts)
    tokens = sum(count["calls"] * COSTS.get(count["path"], 0) for count in counts)
    shutil.rmtree(OUTPUT)
    return Figures(measured["wall"], measured["cpu"], measured["peak_mb"], calls, tokens)


def in_fresh_process(command: Sequence[str]) -> dict[str, Any]:
    """Run a command, and read the line of JSON that it prints at last.

    :raises RunFailedError: it did not end well.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired as problem:
        raise RunFailedError(f"still running after {LONGEST_RUN:.0f} s") from problem
    if done.returncode:
        raise RunFailedError(_last_line(done.stderr))
    figures: dict[str, Any] = json.loads(_last_line(done.stdout))
    return figures


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def _rows(path: Path) -> int:
    """Rows of a file, or of the files of the table ``leads`` in a folder that dlt wrote."""
    files = sorted(path.glob("*/leads/*")) if path.is_dir() else [path]
    return sum(_rows_of_file(file) for file in files)


def _rows_of_file(file: Path) -> int:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        rows: int = pyarrow.parquet.read_metadata(file).num_rows
        return rows
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        return sum(1 for _ in lines) - (file.suffix == ".csv")
