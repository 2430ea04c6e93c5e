"""The example DAGs run in a real Airflow, on a local Pipedrive."""

from __future__ import annotations

import pytest

from tests.example_dags.runs import EXAMPLES
from tests.operators.conftest import airflow_database, clear_and_run, connection, run_dag, while_waiting  # noqa: F401

SHORTEST_WORD = 6


@pytest.fixture
def example(request):
    """The example that the module is called after, read anew: ``dag.test()`` keeps a run's parameters in the DAG."""
    return dags_of(request)[f"example_pipedrive_{_name(request)}"]


@pytest.fixture
def second_example(request):
    """The other DAG of the same file."""
    (found,) = (dag for name, dag in dags_of(request).items() if name != f"example_pipedrive_{_name(request)}")
    return found


def dags_of(request):
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(EXAMPLES / f"example_pipedrive_{_name(request)}.py"), bundle_name="dags-folder").dags


def _name(request):
    return request.path.stem.removeprefix("test_")


@pytest.fixture
def quiet_logs(sandbox, capfd):
    """Look through all that is logged while a test runs for what only leads can tell: titles and names of contacts."""
    sandbox.control.advance(3600)  # what is there already lies behind every overlap
    yield
    logged = "".join(capfd.readouterr())
    assert "DagRun Finished" in logged
    told = {lead[name] or "" for lead in sandbox.control.all_leads() for name in ("title", "person_name")}
    assert {word for word in told if len(word) >= SHORTEST_WORD and word in logged} == set()
