"""A whole load: read what is wanted, wait for what an earlier try may have under way, plan, and write."""

from __future__ import annotations

import logging
import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveDailyBudgetError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.loading.applying import Applying, Writer
from airflow_provider_pipedrive_leads.leads.loading.mapping import UpToDateReader
from airflow_provider_pipedrive_leads.leads.loading.planning import Plan, check_budget
from airflow_provider_pipedrive_leads.leads.loading.results import Outcome, Results
from airflow_provider_pipedrive_leads.leads.writing.comparing import Comparison
from airflow_provider_pipedrive_leads.leads.writing.settling import LONGEST_CALL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_pipedrive_leads.api.errors import PipedriveError
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.files.row import Row
    from airflow_provider_pipedrive_leads.leads.loading.settings import Load
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

log = logging.getLogger(__name__)

QUOTED = re.compile(r"['\"].*['\"]", re.DOTALL)
ANSWER = re.compile(r"Pipedrive answered \d{3}")

NOTE = "pipedrive_load"
SECONDS_BETWEEN_NOTES = 240.0
LONGEST_SINCE_NOTE = 300.0
"""The last write of a try began at most so many seconds after its last note."""
SECONDS_BETWEEN_REPORTS = 10.0
PLANNED = {"created": "would create", "updated": "would update", "archived": "would archive"}


class Loaded(msgspec.Struct):
    """What a load did.

    :param counts: rows by outcome.
    :param rows: of the source.
    :param cost: API tokens that writing was to cost.
    :param results: files, or outcomes.
    """

    counts: dict[str, int]
    rows: int
    cost: int
    results: list[Any]

    def facts(self, load: Load) -> dict[str, Any]:
        """The load's result as JSON."""
        wording = PLANNED if load.dry_run else {name: name for name in PLANNED}
        return {
            "created": self.counts.get(wording["created"], 0),
            "updated": self.counts.get(wording["updated"], 0),
            "unchanged": self.counts.get("unchanged", 0),
            **({"archived": self.counts.get(wording["archived"], 0)} if load.archive_missing else {}),
            "converted": self.counts.get("converted", 0),
            "conflicts": self.counts.get("conflict", 0),
            "failed": self.counts.get("failed", 0),
            "rows": self.rows,
            **({"dry_run": True, "cost": self.cost} if load.dry_run else {}),
            "results": msgspec.to_builtins(self.results),
        }


class Tries:
    """What the tries of a run tell each other: when one was last writing.

    :param memory: of this task, for all its tries; None where there is none.
    """

    def __init__(self, memory: Memory | None, patience: Patience) -> None:
        self._memory = memory
        self._patience = patience
        self._began = patience.now()
        self._noted: datetime | None = None

    def wait_for_the_last(self) -> None:
        """Wait until what an earlier try may have had under way has surely ended, on the server too."""
        noted = None if self._memory is None else self._memory.get(NOTE)
        if not noted:
            return
        seconds = seconds_to_wait(datetime.fromisoformat(noted), self._began, self._patience)
        if seconds > 0:
            log.info("An earlier try was writing; waiting %.0f s for what it may have under way.", seconds)
            self._patience.sleep(seconds)

    def writing(self) -> None:
        """Note that this try is writing, now and then anew."""
        now = self._patience.now()
        if self._memory is None:
            return
        if self._noted is None or now - self._noted >= timedelta(seconds=SECONDS_BETWEEN_NOTES):
            self._noted = now
            self._memory.set(NOTE, now.isoformat())

    def done(self) -> None:
        """Note that nothing is under way any more."""
        if self._memory is not None and self._noted is not None:
            self._memory.set(NOTE, "")


def seconds_to_wait(noted: datetime, began: datetime, patience: Patience) -> float:
    """How long a try has to wait before it plans.

    :param noted: when an earlier try said last that it was writing.
    :param began: when this try began.
    """
    now = patience.now()
    longest = LONGEST_CALL * patience.timeout + patience.settle + LONGEST_SINCE_NOTE
    if (now - noted).total_seconds() > longest:
        return 0.0
    return max(0.0, patience.settle - (now - began).total_seconds())


def load_leads(
    api: LeadsApi,
    rows: Iterable[Row],
    load: Load,
    *,
    results: Results,
    memory: Memory | None,
    patience: Patience,
    reserve: int | None = 0,
) -> Loaded:
    """Bring the leads to what the rows want, with as few writes as it takes.

    :param memory: of this task, for all its tries; None where there is none.
    :param reserve: API tokens of the day that are to stay; None: write as far as the day's tokens go.
    :return: counts by outcome, and where the outcomes are.
    :raises PipedriveConfigError: columns, key or parameters cannot work; nothing was written.
    :raises PipedriveDailyBudgetError: the day has too few API tokens left; nothing was written unless it says so.
    :raises PipedriveValidationError: too many rows failed, or too many leads are missing.
    :raises PipedriveServerError: likewise, and another try may go better.
    """
    tries = Tries(memory, patience)
    reader = UpToDateReader(load, api)
    with Plan(load, reader) as plan, results:
        plan.want(rows)
        tries.wait_for_the_last()
        plan.join(api)
        read = api.usage.tokens
        _announce(api, plan, None if load.dry_run else reserve)
        for outcome in plan.decided():
            results.add(outcome)
        if load.dry_run:
            _add_planned(plan, results)
            return _loaded(plan, results)
        if load.stop_at_first and results.counts["failed"]:
            _give_all_up(plan, results)
            results.flush()
            raise _too_many_failed(load, plan, results, transient=False)
        writer = Writer(api, Comparison(reader.catalogue), patience, key=str(reader.key.key), names=reader.names)
        applying = Applying(
            api,
            writer,
            patience,
            report=results.add,
            tick=_Due(plan, results, tries).look,
            stop_at_first=load.stop_at_first,
            key_name=reader.key.name,
        )
        if plan.cost:
            tries.writing()
            applying.run(plan.actions())
        if isinstance(applying.fatal, PipedriveDailyBudgetError):
            written = api.usage.tokens - read
            applying.fatal.needed = read + max(0, plan.cost - written)
        return _concluded(load, plan, results, tries=tries, applying=applying)


def _concluded(load: Load, plan: Plan, results: Results, *, tries: Tries, applying: Applying) -> Loaded:
    """Say what was done, or why the load has failed.

    :raises PipedriveError: it was ended before its time, or too many rows failed.
    """
    results.flush()
    if applying.fatal is not None:
        raise applying.fatal
    if not applying.in_doubt:
        tries.done()
    bad = results.counts["failed"] + results.counts["conflict"]
    if bad > (0 if load.stop_at_first else load.max_failed):
        raise _too_many_failed(load, plan, results, transient=applying.transient)
    return _loaded(plan, results)


def _announce(api: LeadsApi, plan: Plan, reserve: int | None) -> None:
    """Tell the log what is to be done, and see whether the day can pay it."""
    left = api.usage.daily_tokens_left
    log.info(
        "Of %d rows, %d are to be created, %d to be updated, %d are unchanged, %d have become deals; leads to be"
        " archived: %d. That costs about %d API tokens; %s are left of the company's day.",
        plan.rows,
        plan.creates,
        plan.updates,
        plan.unchanged,
        plan.converted,
        plan.archives,
        plan.cost,
        "it is not known how many" if left is None else left,
    )
    if plan.keyless and plan.archiving:
        log.warning("Nothing is archived: the keys of some rows could not be read, so their leads would seem missing.")
    if plan.may_be_cut and plan.archiving:
        log.warning(
            "Nothing is archived: the file does not end with a line feed, so its last row may be cut off. End it with"
            " one."
        )
    if left is not None and reserve is not None:
        usage = api.usage
        check_budget(plan.cost, left, reserve=reserve, whole_day=usage.daily_tokens, read=usage.tokens)


def _add_planned(plan: Plan, results: Results) -> None:
    for action in plan.actions():
        results.add(Outcome(action.row, action.key, PLANNED[action.outcome], action.lead_id))


def _give_all_up(plan: Plan, results: Results) -> None:
    for action in plan.actions():
        results.add(Outcome(action.row, action.key, "not sent", action.lead_id, "row: another row failed."))


class _Due:
    """Does what is due by time while a load writes: parts of the results, the note to later tries, a line of log."""

    def __init__(self, plan: Plan, results: Results, tries: Tries) -> None:
        self._actions = plan.creates + plan.updates + plan.archives
        self._decided = results.counts.total()
        self._results = results
        self._tries = tries
        self._last = time.monotonic()

    def look(self) -> None:
        """Do it, if it is time."""
        self._results.tick()
        self._tries.writing()
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_REPORTS:
            self._last = now
            log.info("%d of %d written so far.", self._results.counts.total() - self._decided, self._actions)


def _loaded(plan: Plan, results: Results) -> Loaded:
    results.flush()
    return Loaded(dict(results.counts), plan.rows, plan.cost, results.files or results.kept)


def _too_many_failed(load: Load, plan: Plan, results: Results, *, transient: bool) -> PipedriveError:
    """The error for a load that ended with failures; it names the first rows, fields and reasons, but no values."""
    counts = results.counts
    named = ", ".join(map(_named, results.bad))
    where = (
        f" See {results.files[0]}{' and those beside it' if len(results.files) > 1 else ''}." if results.files else ""
    )
    name = "on_row_error" if load.stop_at_first else "max_failed"
    kind = PipedriveServerError if transient else PipedriveValidationError
    return kind(
        f"{name}: of {plan.rows} rows, {counts['failed']} failed and {counts['conflict']} are in conflict, among them"
        f" {named}. {counts['created']} were created, {counts['updated']} updated, {counts['archived']} archived,"
        f" {counts['unchanged']} were unchanged.{where}"
    )


def _named(bad: Outcome) -> str:
    where = f"lead {bad.lead_id}" if bad.row is None else f"row {bad.row}"
    return f"{where} ({_reason(bad.error or bad.outcome)})"


def _reason(error: str) -> str:
    """Why a row failed, without its values, which do not belong in a log; the full words are in the results."""
    answer = ANSWER.search(error)
    if answer is not None:
        return f"{error.split(':', maxsplit=1)[0]}: {answer[0]}"
    first = QUOTED.sub("'…'", error).split(". ", maxsplit=1)[0]
    return first.rstrip(".")
