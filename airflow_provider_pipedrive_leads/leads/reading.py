"""Reading many leads: active and archived as one stream, each lead once."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.values import moment_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi

ARCHIVED_CHOICES = ("include", "exclude", "only")
STEADY_ORDER = "add_time ASC, id ASC"
"""No edit moves a lead in this order, so offset pages stay aligned under updates and new leads."""


class Filters(TypedDict):
    """The filters that both lists of leads take."""

    owner_id: int | str | None
    person_id: int | str | None
    organization_id: int | str | None
    filter_id: int | str | None


class Selection(msgspec.Struct, frozen=True):
    """Which leads to read. Ids may be texts; None means any.

    :param filter_id: a saved filter of type leads; the API lets it win over the three ids.
    :param updated_since: lower bound of ``update_time``, inclusive, whole seconds.
    :param archived: ``include``, ``exclude`` or ``only``.
    """

    owner_id: int | str | None = None
    person_id: int | str | None = None
    organization_id: int | str | None = None
    filter_id: int | str | None = None
    updated_since: datetime | str | None = None
    archived: str = "include"

    def checked(self) -> Selection:
        """Check what can be checked without asking the server.

        :raises PipedriveConfigError: ``archived`` is no choice.
        :raises PipedriveValidationError: ``updated_since`` is no time.
        """
        if self.archived not in ARCHIVED_CHOICES:
            raise PipedriveConfigError(f"archived: {self.archived!r} is none of {', '.join(ARCHIVED_CHOICES)}.")
        since = None if self.updated_since in (None, "") else moment_value("updated_since", self.updated_since)
        return msgspec.structs.replace(self, updated_since=since)

    def filters(self) -> Filters:
        """The part that the server filters active and archived leads by."""
        return Filters(
            owner_id=self.owner_id,
            person_id=self.person_id,
            organization_id=self.organization_id,
            filter_id=self.filter_id,
        )


def read_leads(api: LeadsApi, selection: Selection) -> Iterator[Lead]:
    """Yield the selected leads, active ones first, each once."""
    seen: set[str] = set()
    for lead in _active_then_archived(api, selection.checked()):
        if lead["id"] not in seen:
            seen.add(lead["id"])
            yield lead


def _active_then_archived(api: LeadsApi, selection: Selection) -> Iterator[Lead]:
    filters = selection.filters()
    since = selection.updated_since
    if selection.archived != "only":
        yield from api.get_leads(**filters, updated_since=since, sort=STEADY_ORDER)
    if selection.archived != "exclude" and since is None:
        yield from api.get_archived_leads(**filters, sort=STEADY_ORDER)
    elif selection.archived != "exclude":
        yield from _archived_since(api, str(since), filters)


def _archived_since(api: LeadsApi, since: str, filters: Filters) -> Iterator[Lead]:
    """The archived list takes no lower bound: read it newest change first, down to the bound."""
    for lead in api.get_archived_leads(**filters, sort="update_time DESC"):
        if lead["update_time"] < since:
            return
        yield lead
