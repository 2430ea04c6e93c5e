"""Transfers run in real DAGs, into real databases."""

from __future__ import annotations

from tests.operators.conftest import airflow_database, clear_and_run, connection, run_dag  # noqa: F401
from tests.sql.conftest import postgres, postgres_server, sqlite  # noqa: F401
