"""Every example: short, described, tested, parsed fast and without network, and harmless until it is switched on."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.imports import MODULES
from tests.example_dags.runs import EXAMPLES

FILES = sorted(EXAMPLES.glob("*.py"))
MOST_LINES = 59
LIGHT = {*MODULES, "airflow.sdk", "airflow.providers.standard.operators.hitl", *sys.stdlib_module_names}
"""All that an example may import: what importing the modules of the provider loads is tested with them."""
PARSE = """
import json, sys
reached = []
sys.addaudithook(lambda event, arguments: event in ("socket.connect", "socket.getaddrinfo") and reached.append(event))
from airflow.dag_processing.dagbag import DagBag
dags, errors = {}, {}
for file in sys.argv[1:]:
    bag = DagBag(file, bundle_name="dags-folder")
    errors.update(bag.import_errors)
    dags[file] = {name: [dag.catchup, dag.is_paused_upon_creation] for name, dag in bag.dags.items()}
print(json.dumps([dags, errors, reached]))
"""


@pytest.fixture(scope="module")
def parsed():
    command = [sys.executable, "-c", PARSE, *map(str, FILES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_eight():
    assert len(FILES) == 8


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_short_described_and_tested(file):
    text = file.read_text()
    words = ast.get_docstring(ast.parse(text)) or ""
    assert len(text.splitlines()) <= MOST_LINES
    assert "pipedrive_default" in words
    assert Path(__file__).with_name(file.name.replace("example_pipedrive_", "test_")).exists()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_imports_nothing_heavy(file):
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names <= LIGHT


def test_they_are_parsed_without_network(parsed):
    _, errors, reached = parsed
    assert (errors, reached) == ({}, [])


def test_a_dag_is_called_as_its_file_and_starts_by_nobody_s_surprise(parsed):
    for file, dags in parsed[0].items():
        name = Path(file).stem
        assert name in dags
        assert all(dag_id.startswith(name) for dag_id in dags)
        assert all(dag == [False, None] for dag in dags.values())  # no runs for the past; paused as Airflow is set
