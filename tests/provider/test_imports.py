"""What importing costs: DAG files are parsed all the time, so modules for DAG authors stay light."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "airflow_provider_pipedrive_leads"
MODULES = (
    "airflow_provider_pipedrive_leads.operators.leads",
    "airflow_provider_pipedrive_leads.sensors.leads",
    "airflow_provider_pipedrive_leads.hooks.pipedrive_leads",
    "airflow_provider_pipedrive_leads.triggers.conversion",
    "airflow_provider_pipedrive_leads.triggers.daily_budget",
    "airflow_provider_pipedrive_leads.triggers.leads",
    "airflow_provider_pipedrive_leads.triggers.leads_changed",
    "airflow_provider_pipedrive_leads.assets.leads",
    "airflow_provider_pipedrive_leads.links.leads_file",
    "airflow_provider_pipedrive_leads.links.lead",
    "airflow_provider_pipedrive_leads.links.deal",
    "airflow_provider_pipedrive_leads.page.plugin",
    "airflow_provider_pipedrive_leads.transfers.leads_to_sql",
    "airflow_provider_pipedrive_leads.transfers.sql_to_leads",
)
LONGEST_MILLISECONDS = 30
MEASURE = """
import importlib, json, os, sys, time
from airflow.sdk import Asset, BaseHook, BaseOperator, BaseSensorOperator, PokeReturnValue
for module in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    before = set(sys.modules)
    started = time.process_time()
    importlib.import_module(module)
    milliseconds = (time.process_time() - started) * 1000
    print(json.dumps([module, milliseconds, sorted(set(sys.modules) - before)]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def imports():
    """For each module, what importing it costs and loads, three times: each in a fork of what has Airflow's SDK."""
    with_bytecode = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", MEASURE, *MODULES * 3]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=with_bytecode)
    measured = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("[")]
    return {module: [run[1:] for run in measured if run[0] == module] for module in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_importing_is_cheap(imports, module):
    """CPU time, best of three: the first run may compile, and a busy machine can only make it slower."""
    runs = imports[module]
    assert len(runs) == 3
    assert min(milliseconds for milliseconds, _ in runs) < LONGEST_MILLISECONDS
    loaded = runs[0][1]
    assert not [
        name
        for name in loaded
        if name.split(".")[0] in ("requests", "fastapi", "starlette", "uvicorn", "pyarrow", "pandas")
    ]
    assert not [name for name in loaded if name.startswith(("airflow.sdk.lineage", "airflow.providers", "openlineage"))]
    assert "airflow_provider_pipedrive_leads.client" not in loaded


def test_the_metadata_imports_nothing_but_the_standard_library():
    code = (
        "import sys; from airflow_provider_pipedrive_leads.get_provider_info import get_provider_info as info; info();"
        "print(' '.join(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PACKAGE.parent)
    loaded = {name for name in found.stdout.split() if name.startswith(("airflow", "msgspec", "requests"))}
    assert loaded == {
        "airflow_provider_pipedrive_leads",
        "airflow_provider_pipedrive_leads.get_provider_info",
    }


ALLOWED = {
    "api": {"api"},
    "open_connections": {"api", "open_connections"},
    "login": {"api", "open_connections", "login"},
    "client": {"api", "login", "open_connections", "client"},
    "files": {"api", "files"},
    "leads": {"api", "client", "leads", "files"},
    "sql": {"api", "files", "sql"},
    "assets": {"assets"},
    "links": {"assets", "links"},
    "page": {"page"},
    "hooks": {"api", "files", "leads", "login", "client", "assets", "hooks"},
    "operators": {"api", "leads", "files", "exceptions", "hooks", "links", "operators", "retry_policy", "triggers"},
    "transfers": {"api", "leads", "sql", "hooks", "operators", "retry_policy", "transfers"},
    "triggers": {"api", "client", "leads", "hooks", "triggers"},
    "retry_policy": {"api"},
    "sensors": {"api", "leads", "hooks", "links", "operators", "retry_policy", "sensors", "triggers"},
    "sandbox": {"sandbox"},
}
AIRFLOW_FACES = ("assets", "hooks", "links", "operators", "page", "retry_policy", "sensors", "transfers", "triggers")


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("room", ALLOWED)
def test_low_floors_know_nothing_of_high_ones(room):
    files = list((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    for file in files:
        for module in imported(file):
            top, _, rest = module.partition(".")
            if top == PACKAGE.name:
                assert rest.split(".")[0] in ALLOWED[room], f"{file} imports {module}"
            if top == "airflow":
                for_sql = room == "sql" and module.startswith("airflow.providers.common.sql")
                assert room in AIRFLOW_FACES or for_sql, f"{file} imports {module}"
            if top == "requests":
                assert room in ("client", "open_connections"), f"{file} imports {module}"
