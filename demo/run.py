"""``make demo``: the example DAGs in a real Airflow against a local Pipedrive, and a summary of what they did."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.terminal_theme import SVG_EXPORT_THEME

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from demo.stage import (
    BIN,
    ROOT,
    DemoError,
    airflow_environment,
    empty_folder,
    end_like_ctrl_c,
    local_pipedrive,
    process,
)

LEADS = 1000
FOLDER = ROOT / ".demo"
LOG = FOLDER / "airflow.log"
LONGEST_TITLE = 28
STEPS = {
    "create_lead": "found or created the person, created a lead",
    "update_lead": "set value, close date, label and a custom field",
    "wait_until_hot": "saw the change in Pipedrive",
    "export_jsonl": "exported all leads to JSON lines",
    "export_csv": "exported all leads to CSV",
    "count_by_label": "second DAG: counted the export by label",
}
console = Console(highlight=False, record=True)


def main(picture: str | None = None) -> int:
    """Run it; 0 if all went well.

    :param picture: an SVG file to keep what the terminal shows.
    """
    end_like_ctrl_c()
    try:
        run()
    except DemoError as problem:
        console.print(f"[red]The demo failed.[/] {problem}")
        console.print(f"Airflow's log: {_shown(LOG)}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    if picture:
        _keep_picture(Path(picture))
    return 0


def run() -> None:
    """Set the stage, run the DAGs, show the summary."""
    started = time.monotonic()
    home = empty_folder(FOLDER) / "airflow-home"
    with console.status("Starting a local Pipedrive …") as status, local_pipedrive(LEADS) as pipedrive:
        _done(f"local Pipedrive with {LEADS:,} leads at {pipedrive.url}")
        environment = airflow_environment(home, pipedrive)
        status.update("Making a throw-away Airflow …")
        _airflow_database(environment)
        _done("throw-away Airflow with its own database")
        status.update("Running the example DAG in Airflow …")
        results = _run_dags(environment)
        counters = SandboxControl(pipedrive.url).counters()
    _summary(results, counters, time.monotonic() - started)


def _airflow_database(environment: dict[str, str]) -> None:
    with (
        LOG.open("wb") as log,
        process(BIN / "airflow", "db", "migrate", env=environment, stdout=log, stderr=log) as made,
    ):
        if made.wait() != 0:
            raise DemoError("Airflow could not make its database.")


def _run_dags(environment: dict[str, str]) -> dict[str, Any]:
    read_end, write_end = os.pipe()
    folder = json.dumps({"folder": (FOLDER / "leads").as_uri()})
    command = (sys.executable, "-m", "demo.dags_in_airflow", str(write_end), folder)
    with (
        LOG.open("ab") as log,
        process(*command, env=environment, stdout=log, stderr=subprocess.STDOUT, pass_fds=[write_end]) as running,
    ):
        os.close(write_end)
        results = None
        with os.fdopen(read_end) as progress:
            for line in progress:
                message = json.loads(line)
                results = message.get("results")
                if results is None:
                    _done(f"{message['task']:<16} {STEPS[message['task']]}")
        if running.wait() != 0 or results is None:
            raise DemoError("A task of the example DAG failed.")
    return dict(results)


def _done(what: str) -> None:
    console.print(f"[green]✓[/] {what}")


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _summary(results: dict[str, Any], counters: dict[str, Any], seconds: float) -> None:
    exports = [results["export_jsonl"], results["export_csv"]]
    files = [Path(export["path"].removeprefix("file://")) for export in exports]
    facts = Table.grid(padding=(0, 3))
    facts.add_row("Lead", results["create_lead"])
    for export, file in zip(exports, files, strict=True):
        facts.add_row("Exported", f"{export['rows']:,} leads to {_shown(file)}")
    facts.add_row("By label", ", ".join(f"{label} {count}" for label, count in results["count_by_label"].items()))
    facts.add_row("API", f"{counters['calls']} requests, {counters['tokens']} tokens")
    facts.add_row("Time", f"{seconds:.0f} s")
    facts.add_row("Airflow's log", _shown(LOG))
    console.print()
    console.print(facts)
    console.print()
    console.print(_preview(files[1], results["create_lead"]))


def _preview(file: Path, lead_id: str) -> Table:
    with file.open(encoding="utf-8", newline="") as opened:
        rows = [_previewed(row) for row in csv.DictReader(opened)]
    new = [row for row in rows if row[0] == lead_id]
    full = [row for row in rows if all(row) and row[0] != lead_id]
    table = Table(box=SIMPLE_HEAD, title=f"Five of the rows in {_shown(file)}", title_justify="left", title_style="")
    for column in ("title", "labels", "value", "company size"):
        table.add_column(column, justify="right" if column == "value" else "left", no_wrap=True)
    for row in [*new, *full][:5]:
        table.add_row(*row[1:])
    return table


def _previewed(row: dict[str, str]) -> list[str]:
    value = f"{float(row['value_amount'] or 0):,.0f} {row['value_currency']}" if row["value_amount"] else ""
    title = row["title"] if len(row["title"]) <= LONGEST_TITLE else row["title"][: LONGEST_TITLE - 1] + "…"
    return [row["id"], title, ", ".join(json.loads(row["labels"])), value, row["company_size"]]


def _keep_picture(file: Path) -> None:
    no_fonts_from_elsewhere = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(file), title="make demo", theme=SVG_EXPORT_THEME, code_format=no_fonts_from_elsewhere)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
