"""Running DAGs for real: a database, a bundle, and ``dag.test()``."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest


class Ran(NamedTuple):
    """What is left of a DAG run."""

    state: str
    tasks: dict[Any, str]
    returned: dict[Any, Any]


@pytest.fixture(scope="session")
def airflow_database():
    from airflow.utils import db

    db.initdb()


@pytest.fixture
def connection(sandbox, monkeypatch):
    """Point ``pipedrive_default`` at the sandbox."""
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))


@pytest.fixture
def run_dag(airflow_database):
    """Give a function that runs a DAG in this process and tells what came of it."""

    def run(dag, **options) -> Ran:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
        from airflow.utils.session import create_session

        with create_session() as session:
            DagBundlesManager().sync_bundles_to_db(session=session)
        bag = DagBag("/dev/null", bundle_name="dags-folder")
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        return _what_is_left(dag.test(**options))

    return run


@pytest.fixture
def clear_and_run(run_dag):
    """Give a function that clears the tasks of a run, as people do in Airflow's interface, and runs them again."""

    def run(dag, day) -> Ran:
        from airflow.models import DagRun
        from airflow.models.taskinstance import clear_task_instances
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState

        with create_session() as session:
            (dag_run,) = DagRun.find(dag_id=dag.dag_id, logical_date=day["logical_date"], session=session)
            clear_task_instances(dag_run.get_task_instances(session=session), session=session)
            session.commit()
            for ti in dag_run.get_task_instances(session=session):
                ti.try_number += 1
                ti.state = TaskInstanceState.SCHEDULED
                session.commit()
                _run_task(ti=ti, task=dag.get_task(ti.task_id), run_triggerer=True)
            session.expire_all()
            return _what_is_left(dag_run)

    return run


def _what_is_left(dag_run) -> Ran:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    def name(task_id, map_index):
        return task_id if map_index < 0 else (task_id, map_index)

    with create_session() as session:
        tasks = {name(ti.task_id, ti.map_index): str(ti.state) for ti in dag_run.get_task_instances(session=session)}
        query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key="return_value")
        returned = {
            name(row.task_id, row.map_index): XComModel.deserialize_value(row) for row in session.scalars(query)
        }
    return Ran(str(dag_run.state), tasks, returned)
