"""What importing costs: DAG files are parsed all the time, so modules for DAG authors stay light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.imports import MODULES

PACKAGE = Path(__file__).parents[2] / "airflow_provider_pipedrive_leads"
LIGHT = ("airflow.sdk", "airflow.triggers", "pydantic")
"""All that may be loaded of what is neither ours nor Python's own library."""
HEAVY = ("airflow.sdk.lineage", "airflow_provider_pipedrive_leads.client", "airflow_provider_pipedrive_leads.sandbox")
LOADED = """
import importlib, json, os, sys
from airflow.sdk import Asset, BaseHook, BaseOperator, BaseSensorOperator, PokeReturnValue
for module in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    before = set(sys.modules)
    importlib.import_module(module)
    print(json.dumps([module, sorted(set(sys.modules) - before)]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def loaded():
    """For each module, what importing it loads: each in a fork of a process that has Airflow's SDK."""
    found = subprocess.run([sys.executable, "-c", LOADED, *MODULES], check=True, capture_output=True, text=True)
    return dict(json.loads(line) for line in found.stdout.splitlines() if line.startswith("["))


@pytest.mark.parametrize("module", MODULES)
def test_importing_loads_nothing_heavy(loaded, module):
    """What it costs in time is measured by ``benchmarks/imports.py``, beside the SDK."""
    light = {*LIGHT, PACKAGE.name, *sys.stdlib_module_names}
    names = [name.split(".") for name in loaded[module]]
    strange = [".".join(name) for name in names if not light & {".".join(name[:length]) for length in (1, 2)}]
    assert strange == []
    assert [name for name in loaded[module] if name.startswith(HEAVY)] == []


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
    "deadlines": {"deadlines"},
    "open_connections": {"api", "deadlines", "open_connections"},
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
                assert room == "open_connections", f"{file} imports {module}"
