"""A process that runs tries of tasks that create leads, each in a child of its own that can be killed.

It imports everything once, so that a child begins at once. Each line of its standard input is an order in JSON: a first
try of a task in a new run, or the next try of one whose process was killed. What it and its children tell goes to its
standard output, a JSON value a line. Run by ``tests/kills/test_killed_creates.py``.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import requests  # noqa: F401 - imported here, so that no child spends time on it
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.sdk.definitions.dag import _run_task
from airflow.sdk.execution_time.supervisor import in_process_api_server
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState

from airflow_provider_pipedrive_leads.leads.writing import lead, notes  # noqa: F401 - see above
from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator

DAY = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN, END = "begin", "end"
"""Places of a try besides its calls: before and after ``execute``."""


class Told:
    """What the test reads, apart from what Airflow prints."""

    def __init__(self) -> None:
        self._to = os.dup(1)
        os.dup2(2, 1)

    def __call__(self, value: object) -> None:
        os.write(self._to, json.dumps(value).encode() + b"\n")


class Places:
    """The places that a try passes: its begin, each call before it is sent (``POST /v1/leads``), its end.

    :param held: where it is to stand still.
    :param nth: at which time of passing that place.
    """

    def __init__(self, told: Told, held: str | None, nth: int) -> None:
        self._told = told
        self._held = held
        self._nth = nth
        self._passed: Counter[str] = Counter()

    def passed(self, place: str) -> None:
        self._passed[place] += 1
        self._told(place)
        if place == self._held and self._passed[place] == self._nth:
            signal.pause()

    def watch(self, event: str, details: tuple[Any, ...]) -> None:
        """Of all that Python reports of itself, take the calls."""
        if event == "http.client.send":
            first_line = bytes(details[1]).partition(b"\r\n")[0].decode(errors="replace")
            if first_line.endswith(" HTTP/1.1"):
                self.passed(first_line.removesuffix(" HTTP/1.1").partition("?")[0])


def dag_of(order: dict[str, Any], places: Places) -> DAG:
    with DAG(order["dag_id"], schedule=None) as dag:
        PipedriveCreateLeadOperator(
            task_id="create",
            retries=9,
            pre_execute=lambda context: places.passed(BEGIN),
            post_execute=lambda context, result: places.passed(END),
            **order["task"],
        )
    return dag


def first_try(dag: DAG) -> None:
    """Run a task as ``airflow dags test`` does."""
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag("/dev/null", bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    dag.test(logical_date=DAY, run_after=DAY)


def next_try(dag: DAG) -> None:
    """Run a task again as the scheduler does when its process has died: that try failed, and has retries left."""
    with create_session() as session:
        (dag_run,) = DagRun.find(dag_id=dag.dag_id, session=session)
        (ti,) = dag_run.get_task_instances(session=session)
        assert ti.state == TaskInstanceState.RUNNING
        ti.handle_failure("its process died", session=session)
        assert ti.state == TaskInstanceState.UP_FOR_RETRY
        ti.try_number += 1
        ti.state = TaskInstanceState.SCHEDULED
        session.commit()
        _run_task(ti=ti, task=dag.get_task("create"))


def outcome(dag: DAG) -> dict[str, Any]:
    with create_session() as session:
        (dag_run,) = DagRun.find(dag_id=dag.dag_id, session=session)
        (ti,) = dag_run.get_task_instances(session=session)
        row = session.scalars(XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag.dag_id, key="return_value")).first()
        lead_id = None if row is None else XComModel.deserialize_value(row)
        return {"state": str(ti.state), "try": ti.try_number, "lead_id": lead_id}


def run_child(order: dict[str, Any], told: Told) -> None:
    """Run a try, tell what came of it, and leave this process."""
    try:
        os.environ["AIRFLOW_CONN_PIPEDRIVE_DEFAULT"] = order["connection"]
        places = Places(told, order["held"], order["nth"])
        sys.addaudithook(places.watch)
        dag = dag_of(order, places)
        (first_try if order["first"] else next_try)(dag)
        told(outcome(dag))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def warm_up() -> None:
    """Let Airflow's API build what it builds at its first call, which takes seconds; then end the thread of it."""
    api = in_process_api_server()
    with httpx.Client(transport=api.transport, base_url="http://airflow.invalid") as client:
        client.get("/health")
    del api.transport
    gc.collect()


def main() -> None:
    """Obey until the input ends: start a child, tell its id, wait for its end, tell how it ended."""
    told = Told()
    warm_up()
    told("ready")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run_child(json.loads(line), told)
        told({"pid": child})
        told({"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


if __name__ == "__main__":
    main()
