"""What a task of this provider keeps for its later tries, and how it names its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


class TaskMemory:
    """Keeps JSON values for all tries of a task in its run, for as long as Airflow knows the run."""

    def __init__(self, context: Context) -> None:
        self._store = context["task_state_store"]

    def get(self, key: str, default: Any = None) -> Any:
        """Give what is kept under a key."""
        return self._store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        self._store.set(key, value, retention=NEVER_EXPIRE)


def run_key(context: Context) -> str:
    """Name this run of this task: the same for each of its tries; empty outside of a run."""
    ti = context.get("ti")
    return f"{ti.dag_id} {ti.run_id} {ti.task_id} {ti.map_index}" if ti else ""
