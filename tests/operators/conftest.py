"""Running DAGs for real: a database, a bundle, and ``dag.test()``."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec
import pytest

from airflow_provider_pipedrive_leads.operators import task_memory
from tests.until import until

BUSY_MS = 300_000
"""How long a connection to SQLite waits for another one that writes: as long as a test may take."""


class Ran(NamedTuple):
    """What is left of a DAG run."""

    state: str
    tasks: dict[Any, str]
    returned: dict[Any, Any]


@cache
def _new_database() -> sqlite3.Connection:
    """A copy of what Airflow's database holds before anything has run, kept in memory."""
    from airflow import settings
    from airflow.utils import db
    from sqlalchemy import event

    for engine in (settings.engine, settings.async_engine.sync_engine):
        event.listen(engine, "connect", _wait_for_writers)
        engine.dispose()
    db.initdb()
    copy = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(settings.engine.url.database)) as found:
        found.backup(copy)
    return copy


def _wait_for_writers(connection, _) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_MS}")


@pytest.fixture
def airflow_database():
    """Give each test Airflow's database as it is when nothing has run: no DAGs, runs, XComs or variables of others."""
    from airflow import settings

    new = _new_database()
    settings.Session.remove()
    with closing(sqlite3.connect(settings.engine.url.database)) as database:
        new.backup(database)


@pytest.fixture
def connection(sandbox, monkeypatch):
    """Point ``pipedrive_default`` at the sandbox."""
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))


@pytest.fixture
def sandbox_time(sandbox, monkeypatch):
    """Let operators wait in the sandbox's time, which stands still meanwhile: what is due in it never comes too late.

    Gives the sleeps.
    """
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        sandbox.control.advance(seconds)

    def now():
        return datetime.fromisoformat(sandbox.control.now())

    sandbox.control.freeze()
    patience_of = task_memory.patience_of
    monkeypatch.setattr(
        task_memory, "patience_of", lambda *which: msgspec.structs.replace(patience_of(*which), sleep=sleep, now=now)
    )
    return slept


class StandingClock:
    """Stands in for ``datetime`` in a module that asks it for the time, which only a test moves."""

    fromisoformat = staticmethod(datetime.fromisoformat)

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

    def now(self, zone) -> datetime:
        return self.time.astimezone(zone)

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def while_waiting(sandbox):
    """Give a function that lets somebody do something in Pipedrive once a sensor has looked at leads in vain.

    That it asks for the same once more tells so.
    """
    over, done = threading.Event(), []

    def in_vain():
        asked = Counter(seen["path"] for seen in sandbox.control.requests() if seen["method"] == "GET")
        return any(count > 1 and "/leads" in path for path, count in asked.items())

    def wait_and_do(do, *args, **options):
        until(lambda: in_vain() or over.is_set())
        assert not over.is_set(), "nobody looked a second time"
        do(*args, **options)

    with ThreadPoolExecutor(1) as people:

        def let(do, *args, **options):
            sandbox.control.reset_counters()
            done.append(people.submit(wait_and_do, do, *args, **options))

        yield let
        over.set()
    for each in done:
        each.result()


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
