"""What operators that load leads share: their parameters as values, and one run of a load."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_pipedrive_leads.operators.daily_budget import daily_budget
from airflow_provider_pipedrive_leads.operators.usage_record import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_pipedrive_leads.files.row import Row
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
    from airflow_provider_pipedrive_leads.leads.loading.results import Results
    from airflow_provider_pipedrive_leads.leads.loading.settings import Load

log = logging.getLogger(__name__)

RESULTS_KEY = "results"


class LoadsLeads(Protocol):
    """The parameters of an operator that loads leads."""

    key: str
    key_prefix: str | None
    fields: Mapping[str, str] | None
    on_row_error: str
    max_failed: int | str
    on_missing: str
    max_missing: float | str
    on_converted: str
    restore: bool | str
    settle: float | str | None
    pipedrive_conn_id: str
    on_daily_budget: str
    do_xcom_push: bool

    @property
    def dry_run(self) -> Any:
        """True or false, also as a text. Airflow's own method of that name gives way to it."""

    def defer(self, *, trigger: Any, method_name: str) -> None:
        """Airflow's own: leave the worker until the trigger fires."""


def run_load(
    task: LoadsLeads,
    context: Context,
    hook: PipedriveLeadsHook,
    rows: AbstractContextManager[Iterator[Row]],
    results_folder: ObjectStoragePath | None,
    *,
    kind: str,
    waited: bool,
) -> dict[str, Any]:
    """Load the rows and tell what came of it.

    :param rows: opens the rows.
    :param results_folder: where the parts of the results go; None: the outcomes come back.
    :param kind: what the task's record says that it did.
    :param waited: whether the task waited for the day's budget: then it writes as far as the day's API tokens go.
    """
    from airflow_provider_pipedrive_leads.leads.loading.load import load_leads
    from airflow_provider_pipedrive_leads.operators.task_memory import TaskMemory, patience_of

    started = time.monotonic()
    with recorded(task, context, hook, kind) as record, daily_budget(task, hook=hook):
        load = _read(task)
        patience = patience_of(hook, task.settle)
        results = _results(context, results_folder)
        try:
            with rows as opened:
                loaded = load_leads(
                    hook,
                    opened,
                    load,
                    results=results,
                    memory=TaskMemory(context),
                    patience=patience,
                    reserve=None if waited else hook.get_conn().settings.daily_token_reserve,
                )
        finally:
            _tell_what_is_kept(context, results)
        facts = {**loaded.facts(load), "requests": hook.usage.requests, "tokens": hook.usage.tokens}
        record.rows = facts["rows"]
    sentence = (
        "Loaded %(rows)d rows: %(created)d created, %(updated)d updated, %(unchanged)d unchanged, %(converted)d"
        " converted, %(conflicts)d in conflict, %(failed)d failed; %(requests)d requests, %(tokens)d API tokens,"
        " %(seconds).1f s."
    )
    log.info(sentence, {**facts, "seconds": time.monotonic() - started})
    return facts


def _read(task: LoadsLeads) -> Load:
    from airflow_provider_pipedrive_leads.leads.loading.settings import read_load

    return read_load(
        key=task.key,
        key_prefix=task.key_prefix,
        fields=task.fields,
        dry_run=task.dry_run,
        on_row_error=task.on_row_error,
        max_failed=task.max_failed,
        on_missing=task.on_missing,
        max_missing=task.max_missing,
        on_converted=task.on_converted,
        restore=task.restore,
    )


def _results(context: Context, folder: ObjectStoragePath | None) -> Results:
    """Results whose parts are named by run, try and time: those of one try are no other's."""
    from airflow_provider_pipedrive_leads.files.folders import folder_at
    from airflow_provider_pipedrive_leads.files.publishing import mark_of
    from airflow_provider_pipedrive_leads.leads.loading.results import Results
    from airflow_provider_pipedrive_leads.operators.task_memory import run_key

    ti = context.get("ti")
    tried = ti.try_number if ti else 1
    label = f"results-{mark_of(run_key(context))}-{tried:02}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    return Results(None if folder is None else folder_at(folder), label)


def _tell_what_is_kept(context: Context, results: Results) -> None:
    """Leave the outcomes that are in no file as an XCom of their own, also when the load fails."""
    import msgspec

    if results.kept and context.get("ti") is not None:
        context["ti"].xcom_push(key=RESULTS_KEY, value=msgspec.to_builtins(results.kept))
        log.info("What became of rows, and what is wrong with those that failed, is in the XCom %r.", RESULTS_KEY)


def place_of(parameter: str, path: str | ObjectStoragePath) -> ObjectStoragePath:
    """Give a path as a place.

    :param parameter: what it was given as, used in the error.
    :raises PipedriveConfigError: nothing installed can open a path of that scheme.
    """
    from airflow.sdk import ObjectStoragePath

    from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
    from airflow_provider_pipedrive_leads.files.publishing import check_whole, no_filesystem

    check_whole(str(path), parameter)
    try:
        return ObjectStoragePath(path)
    except (ImportError, ValueError) as problem:
        words = str(no_filesystem(str(path), problem)).removeprefix("path")
        raise PipedriveConfigError(f"{parameter}{words}") from problem
