"""What changed since the last look: every change given once, nothing missed, from a cursor that a caller keeps.

Each poll reads from a minute before what the last one came to, because clocks differ and changes show late, and drops
what was given already. Where little happens, a poll costs one page of each list that it reads.

Not seen: deletes and conversions (a lead that is gone is in no list), and in accounts that do not move ``update_time``
when leads are archived or restored, those of which nothing else changed lately.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.complete import LARGEST_PAGE, Filters, Reading
from airflow_provider_pipedrive_leads.leads.reading.incremental import LOOKBACK
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadHead, LeadPages, Shape, headless
from airflow_provider_pipedrive_leads.leads.waiting.one_look import OneLook
from airflow_provider_pipedrive_leads.leads.writing.settling import CLOCKS_APART

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi
    from airflow_provider_pipedrive_leads.leads.reading.complete import Source

ARCHIVED = "archived"


class Cursor(msgspec.Struct, frozen=True):
    """Where a series of polls has come to.

    :param since: second by Pipedrive's clock, such as ``2026-01-31T09:30:00Z``, from which the next poll reads.
    :param seen: what was given of that second and later: ``update_time`` by lead id, with a mark on archived leads.
    """

    since: str
    seen: dict[str, str] = {}


class Change(msgspec.Struct, frozen=True):
    """A lead that changed.

    :param lead: as the API gives it, in its latest state.
    :param kind: ``created``, ``updated`` (restored ones, too) or ``archived``.
    """

    lead: dict[str, Any]
    kind: str


def cursor_at(now: str) -> Cursor:
    """Begin at a moment.

    :param now: ISO time by Pipedrive's clock.
    :raises PipedriveValidationError: it is no time.
    """
    return Cursor(moment_value("now", now))


def before_all(cursors: Sequence[Cursor]) -> Cursor:
    """From where a poll gives each of several readers all that is new to it, and some that is not.

    :param cursors: at least one.
    """
    first, *others = cursors
    known = {
        lead_id: seen for lead_id, seen in first.seen.items() if all(each.seen.get(lead_id) == seen for each in others)
    }
    return Cursor(min(each.since for each in cursors), known)


def poll(
    api: LeadsApi, cursor: Cursor, *, archived: bool, filter_id: int | str | None = None
) -> tuple[list[Change], Cursor]:
    """Read what changed since a cursor (20 tokens a page of active leads, 40 a page of archived ones).

    :param archived: whether to look at archived leads, too.
    :param filter_id: only leads that match this saved filter.
    :return: the changes, oldest first, and the cursor for the next poll.
    """
    filters = Filters(owner_id=None, person_id=None, organization_id=None, filter_id=filter_id)
    look = OneLook(api)
    with LeadPages(look, filters, AS_DICTS) as pages:
        return read_changes(pages, cursor, archived=archived, answered_at=lambda: look.answered_at)


def read_changes(
    source: Source,
    cursor: Cursor,
    *,
    archived: bool,
    limit: int = LARGEST_PAGE,
    clock: Callable[[], float] = time.monotonic,
    answered_at: Callable[[], str | None] = lambda: None,
) -> tuple[list[Change], Cursor]:
    """Do what :func:`poll` does, from any source of pages whose rows are leads.

    :param limit: leads a page.
    :param clock: seconds that only grow.
    :param answered_at: Pipedrive's clock at the first answer, once there is one; None if it is not told.
    """
    began = clock()
    reading = Reading(
        source,
        archived="include" if archived else "exclude",
        updated_since=cursor.since,
        changed_since=cursor.since,  # one pass over each list: what changes meanwhile belongs to the next poll
        moves_unseen=True,  # not to be told of at each poll
        limit=limit,
    )
    leads: list[Lead] = [lead for batch in reading.batches() for lead in batch]
    changes = [Change(lead, _kind(lead, cursor)) for lead in leads if cursor.seen.get(lead["id"]) != version(lead)]
    changes.sort(key=lambda change: (change.lead["update_time"], change.lead["id"]))
    since = _next_since(cursor.since, reading.updated_until, answered_at(), took=clock() - began)
    return changes, _moved_on(cursor, leads, since)


def _next_since(since: str, latest: str | None, answered_at: str | None, *, took: float) -> str:
    """Where the next poll begins, after one that took some seconds.

    Whatever slipped through between the pages changed while the poll ran: not longer before the latest change that it
    saw than it took. Once that change is old, by as much as clocks may be apart, it need not be read again.
    """
    if latest is None:
        return since
    behind = [datetime.fromisoformat(latest) - timedelta(seconds=took + LOOKBACK)]
    if answered_at is not None:
        behind.append(datetime.fromisoformat(answered_at) - timedelta(seconds=LOOKBACK) - CLOCKS_APART)
    return max(since, *(moment_value("since", each) for each in behind))


def _moved_on(cursor: Cursor, leads: Sequence[Lead], since: str) -> Cursor:
    bound = since.removesuffix("Z")
    versions = {**cursor.seen, **{lead["id"]: version(lead) for lead in leads}}
    return Cursor(since, {lead_id: version for lead_id, version in versions.items() if version >= bound})


def version(lead: Lead) -> str:
    """Tell a state of a lead from its other ones."""
    mark = f" {ARCHIVED}" if lead.get("is_archived") else ""
    return f"{lead['update_time']}{mark}"


def _kind(lead: Lead, cursor: Cursor) -> str:
    if lead.get("is_archived"):
        return ARCHIVED
    is_new = lead["id"] not in cursor.seen and (lead.get("add_time") or "") >= cursor.since.removesuffix("Z")
    return "created" if is_new else "updated"


def _heads(leads: Sequence[Lead]) -> list[LeadHead]:
    try:
        return msgspec.convert(leads, list[LeadHead])
    except msgspec.ValidationError:
        raise headless() from None


AS_DICTS = Shape(dict, _heads)
"""Each lead as the API gives it, decoded."""
