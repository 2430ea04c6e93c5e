"""Every example: short, described, tested, parsed fast and without network, and harmless until it is switched on."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example_dags.runs import EXAMPLES

FILES = sorted(EXAMPLES.glob("*.py"))
MOST_LINES = 59
MOST_SECONDS = 1.0
PARSE = """
import json, sys, time
reached, seconds = [], {}
sys.addaudithook(lambda event, arguments: event in ("socket.connect", "socket.getaddrinfo") and reached.append(event))
from airflow.dag_processing.dagbag import DagBag
dags, errors = {}, {}
for file in sys.argv[1:]:
    began = time.process_time()
    bag = DagBag(file, bundle_name="dags-folder")
    seconds[file] = time.process_time() - began
    errors.update(bag.import_errors)
    dags[file] = {name: [dag.catchup, dag.is_paused_upon_creation] for name, dag in bag.dags.items()}
print(json.dumps([dags, errors, seconds, reached]))
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


def test_they_are_parsed_fast_and_without_network(parsed):
    _, errors, seconds, reached = parsed
    assert (errors, reached) == ({}, [])
    assert {file: spent for file, spent in seconds.items() if spent > MOST_SECONDS} == {}


def test_a_dag_is_called_as_its_file_and_starts_by_nobody_s_surprise(parsed):
    for file, dags in parsed[0].items():
        name = Path(file).stem
        assert name in dags
        assert all(dag_id.startswith(name) for dag_id in dags)
        assert all(dag == [False, None] for dag in dags.values())  # no runs for the past; paused as Airflow is set
