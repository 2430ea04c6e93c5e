"""What a task leaves in Airflow about its use of Pipedrive: figures and names for people to look at, no lead data."""

from __future__ import annotations

import logging
import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from airflow_provider_pipedrive_leads.api.budget import Usage
    from airflow_provider_pipedrive_leads.api.usage_record import UsageRecord
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

log = logging.getLogger(__name__)

USAGE_KEY = "pipedrive_usage"
"""The XCom that every operator leaves, and where a task keeps what its earlier tries spent."""


class Records(Protocol):
    """An operator with what matters here."""

    pipedrive_conn_id: str
    do_xcom_push: bool


@contextmanager
def recorded(task: Records, context: Context, hook: PipedriveLeadsHook, kind: str) -> Iterator[UsageRecord]:
    """Leave a record of a block of API calls, however it ends: well, by an error, or by waiting without a worker.

    A task that is told to stop leaves none. ``do_xcom_push=False`` is respected. A record that cannot be kept is no
    reason for a task to fail.

    :param hook: makes all the calls of the block.
    :return: the record, for what only the block knows.
    """
    from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

    from airflow_provider_pipedrive_leads.api.usage_record import UsageRecord

    record = UsageRecord(conn_id=str(task.pipedrive_conn_id), kind=kind)
    started = time.monotonic()
    try:
        yield record
    except (Exception, AirflowTaskTimeout, TaskDeferred) as problem:
        _tell_the_end(record, task, problem)
        _leave(task, context, hook, record, started)
        raise
    _leave(task, context, hook, record, started)


def _tell_the_end(record: UsageRecord, task: Records, problem: BaseException) -> None:
    from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

    from airflow_provider_pipedrive_leads.api.usage_record import subject_of

    if isinstance(problem, TaskDeferred | AirflowSkipException):
        record.outcome = "waiting" if isinstance(problem, TaskDeferred) else "skipped"
        return
    method, path = getattr(problem, "method", None), getattr(problem, "path", None)
    record.outcome = "failed"
    record.error = type(problem).__name__
    record.about = subject_of(str(problem), lambda name: hasattr(task, name))
    record.call = f"{method} {path}" if method and path else None
    record.status = getattr(problem, "status", None)


def _leave(task: Records, context: Context, hook: PipedriveLeadsHook, record: UsageRecord, started: float) -> None:
    import msgspec

    if not task.do_xcom_push or context.get("ti") is None:
        return
    record.seconds = round(time.monotonic() - started, 3)
    record.at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        _add_usage(record, hook)
        _add_earlier_tries(record, context)
        context["ti"].xcom_push(key=USAGE_KEY, value=msgspec.to_builtins(record))
    except Exception as problem:  # noqa: BLE001 - whatever it is, the task's own end matters more
        log.info("What this task used is not recorded: %s", type(problem).__name__)


def _add_usage(record: UsageRecord, hook: PipedriveLeadsHook) -> None:
    used = _used(hook)
    record.tokens, record.requests = used.tokens, used.requests
    record.daily_tokens, record.daily_tokens_left = used.daily_tokens, used.daily_tokens_left
    if used.requests:
        host = urlsplit(hook.get_conn().settings.base_url).hostname or ""
        looks_like_a_token = re.search("[0-9a-f]{40}", host)
        record.host = None if looks_like_a_token else host


def _used(hook: PipedriveLeadsHook) -> Usage:
    """What a hook has used; nothing where its connection cannot be read, which is then why the task failed."""
    from airflow_provider_pipedrive_leads.api.budget import Usage

    try:
        return hook.usage
    except Exception:  # noqa: BLE001 - Airflow's and the secrets backends' errors are many
        return Usage()


def _add_earlier_tries(record: UsageRecord, context: Context) -> None:
    from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory

    memory, day = TaskMemory(context), record.at[: len("2026-01-31")]
    kept: Any = memory.get(USAGE_KEY)
    if isinstance(kept, dict) and kept.get("day") == day:
        record.tokens += kept["tokens"]
        record.requests += kept["requests"]
    if record.outcome in ("failed", "waiting"):
        memory.set(USAGE_KEY, {"day": day, "tokens": record.tokens, "requests": record.requests})
