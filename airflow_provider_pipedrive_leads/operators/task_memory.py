"""What a task of this provider keeps for its later tries, and how it names its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.leads.writing.settling import Patience


LEAST_SETTLING, LONGEST_SETTLING = 30.0, 3600


class TaskMemory:
    """Keeps JSON values for all tries of a task in its run, for as long as Airflow knows the run.

    Outside of a run it keeps them itself, and there is no later try.
    """

    def __init__(self, context: Context) -> None:
        self._store = context.get("task_state_store")
        self._own: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Give what is kept under a key."""
        return self._own.get(key, default) if self._store is None else self._store.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

        if self._store is None:
            self._own[key] = value
        else:
            self._store.set(key, value, retention=NEVER_EXPIRE)


def run_key(context: Context) -> str:
    """Name this run of this task: the same for each of its tries; empty outside of a run."""
    ti = context.get("ti")
    return "\n".join((ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index))) if ti else ""


def began_earlier(context: Context) -> str | None:
    """When an earlier try of this task may have begun, at the earliest; None on the first."""
    ti, run = context.get("ti"), context.get("dag_run")
    if ti is None or ti.try_number <= 1 or run is None:
        return None
    # Clearing a run sets its start anew; that it was to run after some time stays.
    known = [moment for moment in (getattr(run, "run_after", None), getattr(run, "start_date", None)) if moment]
    return str(min(known).isoformat()) if known else None


def patience_of(hook: PipedriveLeadsHook, settle: float | str | None) -> Patience:
    """Read how long a server may go on with a call that was given up; default: the connection's timeout, but no
    less than 30: a server does not know it.

    :raises PipedriveValidationError: that is no number of seconds.
    """
    from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
    from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

    timeout = hook.get_conn().settings.timeout
    try:
        seconds = max(timeout, LEAST_SETTLING) if settle in (None, "") else float(str(settle))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_SETTLING:
        raise PipedriveValidationError(f"settle: {settle!r} is no number of seconds from 0 to {LONGEST_SETTLING}.")
    return Patience(seconds, timeout)
