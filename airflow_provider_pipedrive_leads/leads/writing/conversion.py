"""Turning a lead into a deal or a deal into a lead, once, however often the task is tried.

Pipedrive converts in the background: a start is answered with the conversion's id, and its status is asked until it
has ended. That a start is about to be sent is noted first, and the id as soon as it is known. A try that finds an id
goes on waiting for that conversion. A try that finds only the intent, or gets no clear answer itself, looks for what
the conversion would have made (each deal and lead tells what it was converted from), and starts again only if that is
not there some time later, and the source still is.

Not covered: a start that Pipedrive carries out later than that without ever having answered it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConnectionError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import find_deal
from airflow_provider_pipedrive_leads.leads.reading.one_lead import lead_is_there
from airflow_provider_pipedrive_leads.leads.writing.settling import seconds_until_settled, surely_before

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

log = logging.getLogger(__name__)

UNDER_WAY = ("not_started", "running")
MOST_STARTS = 3
"""How often a conversion is started in all, if each time no answer came and nothing was found."""
LONGEST_WORD = 80
SLOWING = 0.1
LONGEST_PAUSE = 900.0

TargetId = int | str
"""A deal's number, or a lead's UUID."""


class Direction(msgspec.Struct, frozen=True):
    """One of the two ways of converting.

    :param source: what is converted: ``lead`` or ``deal``.
    :param target: what it becomes.
    :param start: begins it and gives the conversion's id.
    :param ask: gives its status.
    :param is_there: whether the source is there still; it is gone once it is converted.
    :param find: what a source was converted into since a time; None if there is nothing.
    """

    source: str
    target: str
    start: Callable[..., str]
    ask: Callable[[LeadsApi, str, str], dict[str, Any]]
    is_there: Callable[[LeadsApi, str], bool]
    find: Callable[[LeadsApi, str, datetime], TargetId | None]


def find_lead(api: LeadsApi, deal_id: str, since: datetime) -> str | None:
    """Look for the lead that a deal was converted to, archived ones included (20 and 40 tokens a page)."""
    newest_first = "update_time DESC"
    active = api.get_leads(updated_since=since, sort=newest_first)
    archived = takewhile(
        lambda lead: datetime.fromisoformat(lead["update_time"]) >= since, api.get_archived_leads(sort=newest_first)
    )
    leads = chain(active, archived)
    return next((str(lead["id"]) for lead in leads if str(lead.get("source_deal_id")) == deal_id), None)


def deal_is_there(api: LeadsApi, deal_id: str) -> bool:
    """Whether there is a deal (1 token). The API shows deleted deals, too."""
    try:
        deal = api.request("GET", f"/api/v2/deals/{deal_id}")["data"]
    except PipedriveNotFoundError:
        return False
    return not deal.get("is_deleted") and deal.get("status") != "deleted"


DIRECTIONS = {
    "lead": Direction(
        "lead", "deal", LeadsApi.convert_lead_to_deal, LeadsApi.get_lead_conversion_status, lead_is_there, find_deal
    ),
    "deal": Direction(
        "deal", "lead", LeadsApi.convert_deal_to_lead, LeadsApi.get_deal_conversion_status, deal_is_there, find_lead
    ),
}
"""The two ways, by what is converted."""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the status of a conversion means.

    :param outcome: ``wait``; ``completed``, ``failed`` or ``rejected`` as Pipedrive says; ``forgotten`` where it no
        longer tells (statuses are kept for some days); ``unknown`` for a word that is not in the API's description.
    :param target_id: the deal or lead that was made.
    :param said: Pipedrive's own word, or why there is none.
    :param again_after: seconds before which Pipedrive does not want to be asked again.
    """

    outcome: Literal["wait", "completed", "failed", "rejected", "forgotten", "unknown"]
    target_id: TargetId | None = None
    said: str = ""
    again_after: float = 0.0


def judge(direction: Direction, reply: Mapping[str, Any]) -> Verdict:
    """Decide what to do with a status."""
    status = str(reply.get("status"))[:LONGEST_WORD]
    target_id = reply.get(f"{direction.target}_id")
    if status in UNDER_WAY:
        return Verdict("wait", said=status)
    if status == "completed":
        return Verdict("completed", target_id, status) if target_id else Verdict("forgotten", said=status)
    if status == "failed":
        return Verdict("failed", said=status)
    if status == "rejected":
        return Verdict("rejected", said=status)
    return Verdict("unknown", said=status)


def ask(api: LeadsApi, direction: Direction, source_id: str, conversion_id: str) -> Verdict:
    """Ask how a conversion stands (1 token).

    :return: ``wait``, too, where Pipedrive cannot be reached at the moment.
    """
    try:
        return judge(direction, direction.ask(api, source_id, conversion_id))
    except PipedriveNotFoundError:
        return Verdict("forgotten", said="404")
    except (PipedriveConnectionError, PipedriveRateLimitError, PipedriveServerError) as error:
        log.info("%s Asking again later.", error)
        again_after = error.retry_after if isinstance(error, PipedriveRateLimitError) else 0.0
        return Verdict("wait", said=str(error), again_after=again_after)


def seconds_to_next_question(poll_interval: float, waited: float, again_after: float) -> float:
    """Decide when to ask again: less and less often, so that what lasts for days does not cost them.

    :param poll_interval: seconds wanted.
    :param waited: seconds so far.
    :param again_after: seconds before which Pipedrive does not want to be asked.
    """
    return max(poll_interval, min(waited * SLOWING, LONGEST_PAUSE), again_after)


def read_verdict(event: Mapping[str, Any]) -> Verdict:
    """Read a verdict out of a trigger's event.

    :raises PipedriveError: there is none that can be understood.
    """
    try:
        return msgspec.convert(dict(event), Verdict)
    except msgspec.ValidationError as problem:
        raise PipedriveError(f"The trigger woke the task with an event that cannot be understood: {problem}.") from None


class Order(msgspec.Struct, frozen=True):
    """What is to be converted.

    :param direction: ``lead`` or ``deal``, see :data:`DIRECTIONS`.
    :param source_id: the lead or deal.
    :param account: names the connection, for ids of deals are unique in one company only.
    :param options: further parameters of the start.
    """

    direction: Direction
    source_id: str
    account: str
    options: Mapping[str, Any] = {}


def order_of(source: str, source_id: int | str, account: str, **options: Any) -> Order:
    """Put an order together.

    :param source: ``lead`` or ``deal``.
    :param options: ``stage_id`` and ``pipeline_id`` for a lead; None is left out.
    :raises PipedriveValidationError: the id is none.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return Order(DIRECTIONS[source], path_id(f"{source}_id", source_id), account, given)


class Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task notes of its conversion, for its own later tries.

    :param account: as in :class:`Order`.
    :param started_at: when it was last started, ISO 8601 in UTC; time-outs count from here. Before a start it is looked
        for what an earlier one made, so what is found later was made since.
    :param starts: how often it was started.
    :param conversion_id: Pipedrive's id of the conversion; None where no answer came.
    :param target_id: what was made, once it is.
    """

    account: str
    started_at: str
    starts: int
    conversion_id: str | None = None
    target_id: TargetId | None = None


class Conversion:
    """One conversion that a task brings about.

    :param memory: of this task, for all its tries.
    :param patience: how long to wait until absence is believed, and by which clock.
    :param timeout: seconds from its start within which it must end.
    """

    def __init__(self, api: LeadsApi, order: Order, memory: Memory, patience: Patience, *, timeout: float) -> None:
        self._api = api
        self._order = order
        self._memory = memory
        self._patience = patience
        self._timeout = timeout
        self._key = f"pipedrive_convert_{order.direction.source}_{order.source_id}"
        self._name = f"{order.direction.source} {order.source_id}"
        noted = memory.get(self._key)
        found = msgspec.convert(noted, Noted) if noted else None
        self.noted = found if found and found.account == order.account else None

    @property
    def conversion_id(self) -> str | None:
        """Pipedrive's id of the conversion; None where no answer came."""
        return self._started().conversion_id

    @property
    def deadline(self) -> datetime:
        """Until when it must have ended."""
        return datetime.fromisoformat(self._started().started_at) + timedelta(seconds=self._timeout)

    def begin(self) -> None:
        """Make sure that the conversion is under way or done; start it only if it is neither.

        :raises PipedriveNotFoundError: what is to be converted is gone, and nothing was made of it.
        """
        if self.noted is None:
            self._start()
        while self._started().conversion_id is None and self._started().target_id is None:
            self._settle()

    def ask(self) -> Verdict:
        """Ask how the conversion stands; to be called after :meth:`begin`."""
        noted = self._started()
        if noted.target_id is not None or noted.conversion_id is None:
            return Verdict("completed", noted.target_id)
        return ask(self._api, self._order.direction, self._order.source_id, noted.conversion_id)

    def conclude(self, verdict: Verdict) -> TargetId | None:
        """Do what follows from a verdict.

        :return: the id of what was made; None if there is still something to wait for.
        :raises PipedriveError: the conversion failed, was rejected, is too late, or nobody knows how it stands.
        """
        if verdict.outcome == "completed":
            return self._done(verdict.target_id)
        if verdict.outcome == "forgotten":
            log.info("Pipedrive no longer tells how the conversion of %s stands; looking what came of it.", self._name)
            self._note(msgspec.structs.replace(self._started(), conversion_id=None))
            self.begin()
            return self._started().target_id
        if verdict.outcome in ("failed", "rejected"):
            return self._done(self._find()) or self._give_up(verdict)
        if verdict.outcome == "unknown":
            raise PipedriveError(
                f"{self._order.direction.source}_id: Pipedrive says {verdict.said!r} of the conversion of {self._name},"
                " a word that this provider does not know. Look in Pipedrive what became of it."
            )
        if self._patience.now() < self.deadline:
            return None
        raise PipedriveError(
            f"conversion_timeout: the conversion of {self._name} has not ended {self._timeout:g} s after its start"
            f" ({verdict.said}). It may yet: set more seconds and clear the task, which goes on waiting for it."
        )

    def wait(self, poll_interval: float) -> TargetId:
        """Wait here until it is done.

        :param poll_interval: seconds between two questions.
        """
        while (target_id := self.conclude(self.ask())) is None:
            self._patience.sleep(poll_interval)
        return target_id

    def _start(self) -> None:
        before = self.noted
        starts = 1 if before is None else before.starts + 1
        intent = Noted(self._order.account, self._patience.now().isoformat(), starts)
        self._note(intent)
        try:
            conversion_id = self._order.direction.start(self._api, self._order.source_id, **self._order.options)
        except PipedriveError as error:
            gone_meanwhile = before is not None and isinstance(error, PipedriveNotFoundError)
            if not error.in_doubt and not gone_meanwhile:
                self._note(before)
                raise
            log.warning("%s Looking what came of it.", error)
        else:
            log.info("Pipedrive began to convert %s: conversion %s.", self._name, conversion_id)
            self._note(msgspec.structs.replace(intent, conversion_id=conversion_id))

    def _settle(self) -> None:
        """Find out what came of a start without an answer, and start again if nothing did."""
        noted = self._started()
        target_id = self._find()
        if target_id is None:
            self._patience.sleep(seconds_until_settled(noted.started_at, self._patience))
            # Asked before the look: if the conversion takes place in between, the look finds what it made.
            is_there = self._order.direction.is_there(self._api, self._order.source_id)
            target_id = self._find()
            if target_id is None:
                self._check_startable(noted, is_there=is_there)
                self._start()
                return
        self._done(target_id)

    def _check_startable(self, noted: Noted, *, is_there: bool) -> None:
        source, target = self._order.direction.source, self._order.direction.target
        if not is_there:
            raise PipedriveNotFoundError(
                f"{source}_id: {self._name} is gone, and no {target} was made of it since {noted.started_at}: it"
                f" was deleted, or it was converted and the {target} deleted, or the token may not see them."
            )
        if noted.starts >= MOST_STARTS:
            self._note(msgspec.structs.replace(noted, starts=0))
            raise PipedriveError(
                f"{source}_id: the conversion of {self._name} was started {noted.starts} times, no time with a clear"
                " answer, and nothing came of it. Clear the task when Pipedrive is well again."
            )

    def _done(self, target_id: TargetId | None) -> TargetId | None:
        if target_id is not None and self.noted is not None:
            self._note(msgspec.structs.replace(self.noted, target_id=target_id))
        return target_id

    def _give_up(self, verdict: Verdict) -> TargetId:
        self._note(None)
        direction = self._order.direction
        again = "then clear this task, which starts a new conversion."
        if verdict.outcome == "rejected":
            raise PipedriveValidationError(
                f"{direction.source}_id: Pipedrive refused to convert {self._name} to a {direction.target} ('rejected')"
                f". Mend what stands against it, such as required fields or the rights of the token's user; {again}"
            )
        raise PipedriveError(
            f"{direction.source}_id: Pipedrive could not convert {self._name} to a {direction.target} ('failed')."
            f" Look whether the {direction.source} is still there, and try it in Pipedrive itself; {again}"
        )

    def _find(self) -> TargetId | None:
        started_at = self._started().started_at
        if self._api.usage.last_reply_at is None:
            self._order.direction.is_there(self._api, self._order.source_id)  # any answer tells Pipedrive's time
        since = surely_before(self._api, started_at, self._patience)
        return self._order.direction.find(self._api, self._order.source_id, since)

    def _started(self) -> Noted:
        if self.noted is None:
            raise PipedriveError(
                f"{self._order.direction.source}_id: what this task noted of the conversion of {self._name} is lost."
                f" Look in Pipedrive what became of it before you clear the task."
            )
        return self.noted

    def _note(self, noted: Noted | None) -> None:
        self.noted = noted
        self._memory.set(self._key, {} if noted is None else msgspec.to_builtins(noted))
