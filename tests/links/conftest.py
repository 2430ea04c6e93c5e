"""Links are left by tasks of real DAGs."""

from __future__ import annotations

from tests.operators.conftest import airflow_database, run_dag  # noqa: F401
