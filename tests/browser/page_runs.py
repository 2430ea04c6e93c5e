"""Runs each DAG of the DAGs folder once, in the Airflow of this environment, without a scheduler."""

from __future__ import annotations

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.sdk import conf
from airflow.utils.db import initdb
from airflow.utils.session import create_session

if __name__ == "__main__":
    initdb()
    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag(conf.get("core", "dags_folder"), bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)
    for _, dag in sorted(bag.dags.items()):
        dag.test()
