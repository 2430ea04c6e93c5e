"""What one test leaves in Airflow's database, no other test finds there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.sdk import DAG, Variable, task

DAY = {"logical_date": datetime(2026, 1, 1, tzinfo=UTC), "run_after": datetime(2026, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_time_is_the_first(run_dag, time):
    """Whichever of the two comes second would find the variable and the run of the other."""
    with DAG("own", schedule=None) as dag:

        @task
        def look_and_leave():
            found = Variable.get("left", default=None)
            Variable.set("left", time)
            return found

        look_and_leave()
    ran = run_dag(dag, **DAY)
    assert (ran.tasks, ran.returned) == ({"look_and_leave": "success"}, {})
