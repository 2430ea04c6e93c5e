"""Carrying out a plan: writes in threads, and a result for each.

A creation whose outcome is in doubt is put aside while the others go on. In the end its lead is looked for, at once and
again after a settling time; what is not there then is sent once more.
"""

from __future__ import annotations

import logging
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
)
from airflow_provider_pipedrive_leads.leads.loading.planning import Action  # noqa: TC001 - msgspec reads it
from airflow_provider_pipedrive_leads.leads.loading.results import Outcome
from airflow_provider_pipedrive_leads.leads.reading.pages import SECONDS_TO_STOP
from airflow_provider_pipedrive_leads.leads.writing.create_once import Marker, find_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.comparing import Comparison
    from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

log = logging.getLogger(__name__)

MOST_THREADS = 32
SPARE = 2
"""Calls begun for each one that is worth having under way: a place in the window is never free for want of one."""
MOST_IN_A_ROW = 20
"""Rows for which Pipedrive may fail one after the other before the load ends."""
MOST_FORBIDDEN_IN_A_ROW = 5
"""Rows that the token may not write, one after the other, before the load ends: some leads may be hidden from it."""
LONGEST_NAP = 1.0
"""Seconds after which the main thread looks what else is due."""
FOR_ALL_ROWS = (PipedriveDailyBudgetError, PipedriveRateLimitError, PipedriveConfigError)
"""Errors that every further call would meet."""
TRANSIENT = (PipedriveConnectionError, PipedriveServerError)
"""Errors after which another try may go well."""


class Doubt(msgspec.Struct, frozen=True):
    """A creation of which nobody knows whether it was done.

    :param since: when it was sent, ISO 8601.
    """

    action: Action
    since: str


class Ended(msgspec.Struct, frozen=True):
    """What a thread came back with: an outcome, or a doubt, and the error behind it.

    :param kept: whether a new lead came back with its key; None if no lead was created.
    """

    action: Action
    outcome: Outcome | None
    error: PipedriveError | None = None
    doubt: Doubt | None = None
    kept: bool | None = None


class Writer:
    """Carries out single actions. Safe to use from many threads.

    :param key: the wire key that carries the leads' own keys.
    :param names: what each wire key is called in results.
    :ivar key_is_kept: whether a new lead came back with its key.
    """

    def __init__(
        self, api: LeadsApi, comparison: Comparison, patience: Patience, *, key: str, names: Mapping[str, str]
    ) -> None:
        self._api = api
        self._comparison = comparison
        self._patience = patience
        self.key_is_kept = False
        self._key = key
        self._names = names

    def write(self, action: Action) -> Ended:
        """Send what an action has to send."""
        since = self._patience.now().isoformat()
        try:
            if action.lead_id is not None:
                return self._change(action, action.lead_id)
            lead = self._api.add_lead(**action.bodies[0])
        except PipedriveError as error:
            if action.lead_id is None and error.in_doubt:
                return Ended(action, None, error, Doubt(action, since))
            return self._failed(action, error)
        return self._created(action, lead)

    def look(self, doubt: Doubt) -> Ended:
        """Look whether a creation in doubt was done; ends in a doubt again if its lead is not there."""
        action = doubt.action
        marker = Marker(self._key, action.key, kept=self.key_is_kept)
        try:
            lead = find_created(self._api, action.bodies[0], marker, doubt.since, self._patience)
        except (PipedriveConnectionError, PipedriveServerError) as error:
            return Ended(action, None, error, doubt)
        except PipedriveError as error:
            return self._failed(action, error)
        return Ended(action, None, None, doubt) if lead is None else self._created(action, lead)

    def _created(self, action: Action, lead: Lead) -> Ended:
        kept = str(lead.get(self._key) or "").strip() == action.key
        rewritten = self._rewritten(action.bodies[0], lead)
        if action.bodies[1:]:
            try:
                self._api.update_lead(lead["id"], **action.bodies[1])
            except PipedriveError as error:
                return self._failed(action, error, lead["id"])
        outcome = Outcome(action.row, action.key, action.outcome, lead["id"], None, rewritten)
        return Ended(action, outcome, kept=kept)

    def _change(self, action: Action, lead_id: str) -> Ended:
        rewritten: list[str] = []
        for body in action.bodies:
            rewritten = self._rewritten(body, self._api.update_lead(lead_id, **body))
        return Ended(action, Outcome(action.row, action.key, action.outcome, lead_id, None, rewritten))

    def _rewritten(self, sent: Mapping[str, Any], lead: Lead) -> list[str]:
        keys = self._comparison.rewritten(sent, lead)
        return list(dict.fromkeys(self._names.get(key, key) for key in keys))

    def _failed(self, action: Action, error: PipedriveError, lead_id: str | None = None) -> Ended:
        lead_id = lead_id or action.lead_id
        return Ended(action, Outcome(action.row, action.key, "failed", lead_id, str(error)), error)


class Threads:
    """Runs calls side by side. Leaving the ``with`` block by an error breaks off what is under way."""

    def __init__(self, api: LeadsApi) -> None:
        self._api = api
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="pipedrive-writes")
        self._under_way: set[Future[Ended]] = set()

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        if kind is not None:
            self._api.interrupt()
        wait(self._under_way, SECONDS_TO_STOP)

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, function: Callable[..., Ended], argument: Any) -> None:
        """Let a thread do it."""
        self._under_way.add(self._pool.submit(function, argument))

    def ended(self, seconds: float) -> list[Ended]:
        """What has ended, or ends within so many seconds."""
        done, self._under_way = wait(self._under_way, seconds, FIRST_COMPLETED)
        return [future.result() for future in done]


class Applying:
    """Carries out a plan's actions.

    :param report: takes the outcomes.
    :param tick: called about once a second, for what is due by time.
    :param stop_at_first: whether the first failure ends it.
    :param key_name: what the field that tells leads apart is called.
    :ivar transient: whether some row failed for a reason that may be gone by another try.
    :ivar fatal: the error that ended it, if one did.
    :ivar in_doubt: whether it ended while the outcome of some write was unknown.
    """

    def __init__(
        self,
        api: LeadsApi,
        writer: Writer,
        patience: Patience,
        *,
        report: Callable[[Outcome], None],
        tick: Callable[[], None],
        stop_at_first: bool,
        key_name: str,
    ) -> None:
        self.transient = False
        self.fatal: PipedriveError | None = None
        self.in_doubt = False
        self._api = api
        self._writer = writer
        self._patience = patience
        self._report = report
        self._tick = tick
        self._stop_at_first = stop_at_first
        self._key_name = key_name
        self._stopped_by: str | None = None
        self._in_a_row = self._forbidden_in_a_row = 0
        self._doubts: list[Doubt] = []

    def run(self, actions: Iterable[Action]) -> None:
        """Write, and report what became of each action."""
        with Threads(self._api) as threads:
            for action in actions:
                self._wait_for_room(threads, action)
                if self._stopped_by is not None:
                    self._give_up(action)
                else:
                    threads.begin(self._writer.write, action)
            self._drain(threads)
            self._settle(threads)

    def _wait_for_room(self, threads: Threads, action: Action) -> None:
        """Until one creation came back with its key, there is but one at a time: so that one lead at most is wrong."""
        while self._stopped_by is None and len(threads) >= self._room(action):
            self._take(threads)

    def _room(self, action: Action) -> int:
        if action.lead_id is None and not self._writer.key_is_kept:
            return 1
        return self._ahead()

    def _ahead(self) -> int:
        return max(1, min(SPARE * self._api.calls_ahead(), MOST_THREADS))

    def _drain(self, threads: Threads) -> None:
        while len(threads):
            self._take(threads)

    def _take(self, threads: Threads) -> None:
        for ended in threads.ended(LONGEST_NAP):
            self._note(ended)
        self._tick()

    def _note(self, ended: Ended) -> None:
        if ended.doubt is not None:
            self._doubts.append(ended.doubt)
        if ended.error is not None and _ends_all(ended.error):
            self._stop(ended.error)
        self._count(ended.error)
        if ended.outcome is None:
            return
        if ended.outcome.outcome == "failed":
            if ended.error is not None:
                self.transient = self.transient or isinstance(ended.error, TRANSIENT)
                self.in_doubt = self.in_doubt or ended.error.in_doubt
            if self._stop_at_first and self._stopped_by is None:
                self._stopped_by = f"the load stopped at row {ended.outcome.row}"
        self._report(ended.outcome)
        if ended.kept:
            self._writer.key_is_kept = True
        elif ended.kept is False and self.fatal is None:
            self._stop(self._key_not_kept(ended.outcome))

    def _count(self, error: PipedriveError | None) -> None:
        """A server that fails or refuses one row after the other will do so for the rest."""
        forbidden = isinstance(error, PipedriveAuthError) and error.status == HTTPStatus.FORBIDDEN
        self._forbidden_in_a_row = self._forbidden_in_a_row + 1 if forbidden else 0
        if error is not None and self._forbidden_in_a_row == MOST_FORBIDDEN_IN_A_ROW:
            self._stop(error)
        self._in_a_row = self._in_a_row + 1 if isinstance(error, TRANSIENT) else 0
        if self._in_a_row == MOST_IN_A_ROW:
            self._stop(
                PipedriveServerError(f"Pipedrive failed for {MOST_IN_A_ROW} rows in a row; the last time: {error}")
            )

    def _stop(self, error: PipedriveError) -> None:
        self.fatal = self.fatal or error
        self._stopped_by = f"{type(error).__name__} ended the load"

    def _key_not_kept(self, outcome: Outcome) -> PipedriveError:
        return PipedriveConfigError(
            f"key: lead {outcome.lead_id} was created for row {outcome.row}, but came back with another"
            f" {self._key_name} than it was sent with: this account does not keep it, and the next load would create"
            " the lead again. Delete that lead, and let a custom text field be the key."
        )

    def _give_up(self, action: Action) -> None:
        self._report(Outcome(action.row, action.key, "not sent", action.lead_id, f"row: {self._stopped_by}."))

    def _settle(self, threads: Threads) -> None:
        """See to the creations in doubt: look now and after the settling time, send what is not there, look again."""
        for again in (True, False):
            if self._look(threads, 0.0) and self._look(threads, self._patience.settle) and again:
                doubts, self._doubts = self._doubts, []
                self._each(threads, self._writer.write, [doubt.action for doubt in doubts])
        for doubt in self._doubts:
            self._report(self._unknown(doubt.action))
        self.in_doubt = self.in_doubt or bool(self._doubts)
        self.transient = self.transient or bool(self._doubts)

    def _look(self, threads: Threads, after: float) -> bool:
        """Look for the leads of creations in doubt, and tell whether some are not there."""
        if self.fatal is not None or not self._doubts:
            return False
        self._sleep(after)
        doubts, self._doubts = self._doubts, []
        self._each(threads, self._writer.look, doubts)
        return bool(self._doubts) and self.fatal is None

    def _each(self, threads: Threads, function: Callable[..., Ended], arguments: Iterable[Any]) -> None:
        for argument in arguments:
            while len(threads) >= self._ahead():
                self._take(threads)
            threads.begin(function, argument)
        self._drain(threads)

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            log.info(
                "%d creations are in doubt and not to be seen; looking again in %.0f s.", len(self._doubts), seconds
            )
        while seconds > 0:
            self._patience.sleep(min(seconds, LONGEST_NAP))
            seconds -= LONGEST_NAP
            self._tick()

    def _unknown(self, action: Action) -> Outcome:
        words = (
            "row: it is not known whether the lead was created: no answer came, and it was not to be seen"
            f" {self._patience.settle:g} s later. The next load finds it by its key, or creates it."
        )
        return Outcome(action.row, action.key, "failed", None, words)


def _ends_all(error: PipedriveError) -> bool:
    """Whether every further call would meet the error too."""
    return isinstance(error, FOR_ALL_ROWS) or (isinstance(error, PipedriveAuthError) and error.status in (401, 402))
