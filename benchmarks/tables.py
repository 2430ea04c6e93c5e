"""How fast and how lean leads come into a table of each database, beside ``dlt`` and beside our own Parquet export.

A hundred thousand leads with a dozen custom fields go from a server on loopback into a new table; every run has a fresh
process and a new database, the contestants take turns, and medians of three rounds are shown. Servers that are not
installed are left out, and so is ``dlt`` where it cannot be installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, NamedTuple

import requests

from benchmarks.export_cases import OUTPUT, PEERS, RunFailedError, in_fresh_process, make_peers_environment
from benchmarks.export_cases import prepared_server as serving_leads
from benchmarks.export_requirements import Verdict
from benchmarks.report import machine, print_verdicts
from demo.database_servers import (
    LOGIN,
    MissingServerError,
    at_mysql,
    at_postgres,
    running_mysql,
    running_postgres,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_TIMES_PARQUET = 1.4
MOST_MB = 40
"""But for DuckDB, which works in this process and takes what memory there is."""


class Contestant(NamedTuple):
    """One way into a table.

    :param function: ``module:function`` that ``benchmarks.export_run`` loads.
    :param database: where to; empty: into a Parquet file.
    """

    name: str
    function: str
    database: str = ""

    @property
    def python(self) -> str:
        """The interpreter to run it with."""
        return str(PEERS / "bin" / "python") if self.function.startswith("benchmarks.export_peers") else sys.executable


OUR_PARQUET = Contestant("ours Parquet", "benchmarks.export_ours:ours")
OUR_DUCKDB = Contestant("ours DuckDB", "benchmarks.tables_ours:duckdb", "duckdb")
OURS = (
    OUR_DUCKDB,
    Contestant("ours SQLite", "benchmarks.tables_ours:sqlite", "sqlite"),
    Contestant("ours PostgreSQL", "benchmarks.tables_ours:postgres", "postgres"),
    Contestant("ours MySQL", "benchmarks.tables_ours:mysql", "mysql"),
)
DLT = (
    Contestant("dlt DuckDB", "benchmarks.export_peers:dlt_duckdb", "duckdb"),
    Contestant("dlt PostgreSQL", "benchmarks.export_peers:dlt_postgres", "postgres"),
)


class Databases:
    """New, empty databases. Servers run until :meth:`close`."""

    def __init__(self) -> None:
        self._servers = ExitStack()
        self.ports: dict[str, int] = {}
        self.missing: list[str] = []
        for name, running in (("postgres", running_postgres), ("mysql", running_mysql)):
            try:
                self.ports[name] = self._servers.enter_context(running())
            except MissingServerError as missing:
                self.missing.append(f"{name}: {missing}")

    def close(self) -> None:
        """Stop the servers."""
        self._servers.close()

    def new(self, name: str, *, for_dlt: bool) -> str:
        """Make one, and say how it is reached: as JSON for a driver, as a URL for ``dlt``."""
        shutil.rmtree(OUTPUT, ignore_errors=True)
        OUTPUT.mkdir(parents=True)
        if name in ("duckdb", "sqlite"):
            file = str(OUTPUT / f"leads.{name}")
            return file if for_dlt else json.dumps({"database": file})
        if name == "postgres":
            port = self.ports[name]
            at_postgres(port, "DROP DATABASE IF EXISTS bench WITH (FORCE)", "CREATE DATABASE bench TEMPLATE template0")
            if for_dlt:
                return f"postgresql://postgres:unused@127.0.0.1:{port}/bench"
            return json.dumps({"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": "bench"})
        at_mysql(self.ports[name], "DROP DATABASE IF EXISTS bench", "CREATE DATABASE bench")
        return json.dumps({"host": "127.0.0.1", "port": self.ports[name], "database": "bench", **LOGIN})

    def rows(self, contestant: Contestant) -> int:
        """How many rows the table has."""
        table = "exported.leads" if contestant in DLT else "leads"
        query = f"SELECT count(*) FROM {table}"  # noqa: S608 - one of ours
        if contestant.database == "mysql":
            return int(at_mysql(self.ports["mysql"], "USE bench", query)[0][0])
        with closing(self._connection(contestant.database)) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return int(cursor.fetchone()[0])

    def _connection(self, name: str) -> Any:
        if name == "sqlite":
            return sqlite3.connect(OUTPUT / "leads.sqlite")
        if name == "duckdb":
            import duckdb

            return duckdb.connect(str(OUTPUT / "leads.duckdb"))
        import psycopg2

        return psycopg2.connect(host="127.0.0.1", port=self.ports[name], user="postgres", dbname="bench")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds to take the median of (default: 3)")
    parser.add_argument("--leads", type=int, default=100_000, help="default: 100000")
    options = parser.parse_args()
    databases = Databases()
    reason = make_peers_environment()
    left_out = [*databases.missing, *([f"dlt could not be installed: {reason}"] if reason else [])]
    contestants = [
        one
        for one in (OUR_PARQUET, *OURS, *(() if reason else DLT))
        if one.database in ("", "duckdb", "sqlite", *databases.ports)
    ]
    results: dict[Contestant, list[dict[str, Any]]] = {}
    try:
        with serving_leads(options.leads) as url:
            for _ in range(options.runs):
                for one in contestants:
                    try:
                        figures = _run(one, databases, url, options.leads)
                    except RunFailedError as problem:
                        left_out.append(f"{one.name}: {problem}")
                        continue
                    results.setdefault(one, []).append(figures)
                    print(f"  {one.name}: {figures['wall']:.2f} s", flush=True)
    finally:
        databases.close()
    _report(results, left_out, options.leads)


def _run(one: Contestant, databases: Databases, url: str, leads: int) -> dict[str, Any]:
    requests.post(f"{url}/settings", json={"leads": leads}).raise_for_status()
    if one.database:
        path = databases.new(one.database, for_dlt=one in DLT)
    else:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        path = str(OUTPUT / "leads.parquet")
    job = {"url": url, "path": path, "leads": leads, "columns": "names", "known": True}
    figures = in_fresh_process((one.python, "-m", "benchmarks.export_run", one.function, json.dumps(job)))
    if one.database and (rows := databases.rows(one)) != leads:
        raise RunFailedError(f"{rows:,} rows instead of {leads:,}")
    return figures


def _report(results: dict[Contestant, list[dict[str, Any]]], left_out: Sequence[str], leads: int) -> None:
    medians = {
        one: {name: sorted(run[name] for run in runs)[len(runs) // 2] for name in ("wall", "cpu", "peak_mb")}
        for one, runs in results.items()
    }
    parquet = medians[OUR_PARQUET]["wall"]
    print(f"\n{machine()}; medians; {leads:,} leads\n")
    print("| contestant | wall s | times our Parquet export | CPU s of the client | peak MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for one, found in medians.items():
        ratio = found["wall"] / parquet
        print(f"| {one.name} | {found['wall']:.2f} | {ratio:.1f} | {found['cpu']:.2f} | {found['peak_mb']:.0f} |")
    measured = [one for one in OURS if one in medians and one != OUR_DUCKDB]
    judged = [Verdict(f"peak memory: {one.name}", medians[one]["peak_mb"], MOST_MB, "MB") for one in measured]
    duckdb = medians[OUR_DUCKDB]["wall"] / parquet
    judged.append(Verdict("ours DuckDB beside our Parquet export", duckdb, MOST_TIMES_PARQUET, "x its time"))
    print_verdicts(judged, left_out)


if __name__ == "__main__":
    main()
