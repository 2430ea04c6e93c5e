"""A process that runs tries of tasks that create leads, each in a child of its own that can be killed.

An order is a first try of a task in a new run, or the next try of one whose process was killed. A child that sleeps
tells for how long, and goes on when it gets ``GO_ON``: the time that passes is the sandbox's. Run by
``tests/kills/test_killed_creates.py``.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
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
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from airflow_provider_pipedrive_leads.operators import task_memory
from airflow_provider_pipedrive_leads.operators.leads import PipedriveCreateLeadOperator
from tests.kills.obeying import Told, obey, stand_still

DAY = datetime(2020, 1, 1, tzinfo=UTC)
BEGIN, KEEP, END = "begin", "keep", "end"
"""Places of a try besides its calls: before ``execute``, before it notes something for later tries, after ``execute``.
"""


class Places:
    """The places that a try passes: its begin, each call before it is sent (``POST /v1/leads``), its end.

    :param held: where it is to stand still.
    :param nth: at which time of passing that place.
    :param step: the number of the place where it is to stand still, whichever it is.
    :param now: the sandbox's time.
    """

    def __init__(self, told: Told, held: str | None, nth: int, step: int | None, now: str) -> None:
        self._told = told
        self._held = held
        self._nth = nth
        self._step = step
        self._now = datetime.fromisoformat(now)
        self._passed: Counter[str] = Counter()

    def passed(self, place: str) -> None:
        self._passed[place] += 1
        self._told(place)
        if (place == self._held and self._passed[place] == self._nth) or self._passed.total() == self._step:
            stand_still()

    def watch(self, event: str, details: tuple[Any, ...]) -> None:
        """Of all that Python reports of itself, take the calls."""
        if event == "http.client.send":
            first_line = bytes(details[1]).partition(b"\r\n")[0].decode(errors="replace")
            if first_line.endswith(" HTTP/1.1"):
                self.passed(first_line.removesuffix(" HTTP/1.1").partition("?")[0])

    def sleep(self, seconds: float) -> None:
        """Let the sandbox's time pass."""
        self._now += timedelta(seconds=seconds)
        self._told({"sleep": seconds})
        stand_still()

    def watch_the_operator(self) -> None:
        """Let it sleep here, and pass a place whenever it notes something."""
        patience_of, keep = task_memory.patience_of, task_memory.TaskMemory.set

        def patience_in_sandbox_time(*arguments: Any) -> Patience:
            return msgspec.structs.replace(patience_of(*arguments), sleep=self.sleep, now=lambda: self._now)

        def tell_and_keep(*arguments: Any) -> None:
            self.passed(KEEP)
            keep(*arguments)

        task_memory.patience_of = patience_in_sandbox_time
        task_memory.TaskMemory.set = tell_and_keep


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


def run(order: dict[str, Any], told: Told) -> None:
    """Run a try, and tell what came of it."""
    os.environ["AIRFLOW_CONN_PIPEDRIVE_DEFAULT"] = order["connection"]
    places = Places(told, order["held"], order["nth"], order["step"], order["now"])
    places.watch_the_operator()
    sys.addaudithook(places.watch)
    dag = dag_of(order, places)
    (first_try if order["first"] else next_try)(dag)
    told(outcome(dag))


def warm_up() -> None:
    """Let Airflow's API build what it builds at its first call, which takes seconds; then end the thread of it."""
    api = in_process_api_server()
    with httpx.Client(transport=api.transport, base_url="http://airflow.invalid") as client:
        client.get("/health")
    del api.transport
    gc.collect()


def main() -> None:
    """Obey."""
    told = Told()
    warm_up()
    obey(lambda order: run(order, told), told)


if __name__ == "__main__":
    main()
