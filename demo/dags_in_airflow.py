"""Runs the example DAGs in the Airflow of this environment; tells on file descriptor ``argv[1]`` how far it is.

A line is a JSON object: ``{"task": …}`` when a task has ended well, at last ``{"results": {…}}``.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

DAG_IDS = ("example_pipedrive_leads", "example_pipedrive_leads_by_label")


def main() -> int:
    """Run each DAG once, and give what its tasks returned."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import conf
    from airflow.utils.session import create_session

    progress = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag(conf.get("core", "dags_folder"), bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)
    results: dict[str, Any] = {}
    for dag_id in DAG_IDS:
        dag = bag.dags[dag_id]
        for task in dag.tasks:
            task.on_success_callback = [lambda context: _say(progress, task=context["task"].task_id)]
        run = dag.test(run_conf=json.loads(sys.argv[2]) if dag_id == DAG_IDS[0] else None)
        if run.state != "success":
            return 1
        results |= {task.task_id: _returned(run, task.task_id) for task in dag.tasks}
    _say(progress, results=results)
    return 0


def _say(progress: Any, **message: Any) -> None:
    progress.write(json.dumps(message) + "\n")


def _returned(run: Any, task_id: str) -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, task_ids=task_id, key="return_value")
        row = session.scalars(query).first()
        return None if row is None else XComModel.deserialize_value(row)


if __name__ == "__main__":
    sys.exit(main())
