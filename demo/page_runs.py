"""Runs tasks against a Pipedrive that changes meanwhile, so that the page in Airflow has something to show."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG

ROUNDS = 9
ROUND_IN_TROUBLE = 5
NOBODY = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"


def main() -> None:
    """Run an export and a load time after time, and a task that fails once."""
    for number in range(ROUNDS):
        for dag in (_load(number), _export(), *([_trouble()] if number == ROUND_IN_TROUBLE else [])):
            _run(dag)


def _export() -> DAG:
    from airflow.sdk import DAG, Asset

    from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator

    folder = Path(os.environ["AIRFLOW_HOME"]) / "lake"
    changes = Asset((folder / "changes.jsonl").as_uri())
    with DAG("crm_to_lake", schedule=None) as dag:
        PipedriveExportLeadsOperator(
            task_id="changed_leads", path=changes.uri, incremental=True, overwrite=True, outlets=[changes]
        )
        PipedriveExportLeadsOperator(task_id="all_leads", path=(folder / "leads.csv").as_uri())
    return dag


def _load(number: int) -> DAG:
    from airflow.sdk import DAG

    from airflow_provider_pipedrive_leads.operators.leads import PipedriveLoadLeadsOperator

    rows = [
        {"origin_id": f"score:{row}", "title": f"Scored {number // 2 if row % 3 else number}", "person_id": 1 + row % 7}
        for row in range(8 + number * 5 % 13)
    ]
    with DAG("scores_to_crm", schedule=None) as dag:
        PipedriveLoadLeadsOperator(task_id="load_scores", rows=rows, key="origin_id", key_prefix="score:")
    return dag


def _trouble() -> DAG:
    from airflow.sdk import DAG

    from airflow_provider_pipedrive_leads.operators.leads import PipedriveGetLeadOperator

    with DAG("lead_of_the_week", schedule=None) as dag:
        PipedriveGetLeadOperator(task_id="fetch_lead", lead_id=NOBODY)
        PipedriveGetLeadOperator(task_id="fetch_from_sales", lead_id=NOBODY, pipedrive_conn_id="pipedrive_sales")
    return dag


def _run(dag: DAG) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.session import create_session

    with create_session() as session:
        DagBundlesManager().sync_bundles_to_db(session=session)
    bag = DagBag(os.devnull, bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    dag.test()


if __name__ == "__main__":
    main()
