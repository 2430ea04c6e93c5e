"""Leads that are gone: what the last full read had and this one has not.

The API never says that a lead was deleted: it is no longer in the lists. A lead that became a deal is gone as well; the
deal names it (``source_lead_id``). A token that sees less than before looks the same as deletions, so too many at once
are refused.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from contextlib import suppress
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.files.publishing import publishing
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.leads.reading.columns import LeadColumn
from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import deals_of_leads
from airflow_provider_pipedrive_leads.leads.reading.one_lead import lead_is_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.files.publishing import Place

log = logging.getLogger(__name__)

MOST_ASKED_FOR = 500
"""Missing leads that are asked for one by one (2 API tokens each); of the rest the lists are believed."""
BYTES_OF_ID = 16


class Gone(msgspec.Struct, frozen=True):
    """A lead that is no longer there.

    :param converted_deal_id: the deal that it became; None if it was deleted.
    """

    id: str
    converted_deal_id: int | None = None

    @property
    def text(self) -> bytes:
        """The lead as a line beside those that are there, all other fields left out."""
        return msgspec.json.encode({"id": self.id, "is_deleted": True, "converted_deal_id": self.converted_deal_id})


def gone_columns() -> list[LeadColumn]:
    """The columns that tell leads that are gone from the others."""
    return [
        LeadColumn(
            Column("is_deleted", "boolean", "is_deleted"),
            lambda values: list(map(bool, values["is_deleted"])),
            ("is_deleted",),
        ),
        LeadColumn(
            Column("converted_deal_id", "integer", "converted_deal_id"),
            itemgetter("converted_deal_id"),
            ("converted_deal_id",),
        ),
    ]


def check_share(max_deleted: float | str) -> float:
    """Read the largest part of the leads that may be gone at once.

    :raises PipedriveValidationError: it is no number from 0 to 1.
    """
    try:
        share = float(max_deleted)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise PipedriveValidationError(f"max_deleted: {max_deleted!r} is not a part between 0 and 1, like 0.1.")
    return share


def gone_leads(
    api: LeadsApi, before: set[int | str], present: set[int | str], *, max_deleted: float, since: str | None
) -> list[Gone]:
    """Find out which leads are gone.

    :param before: ids of the last full read, as numbers.
    :param present: ids of this one.
    :param max_deleted: the largest part of ``before`` that may be missing.
    :param since: a time at which all of ``before`` were leads; deals made since are looked through. None: all deals.
    :raises PipedriveValidationError: more are missing than ``max_deleted``.
    """
    missing = before - present
    if len(missing) > max_deleted * len(before):
        raise PipedriveValidationError(
            f"max_deleted: {len(missing)} of {len(before)} leads are no longer to be seen, more than {max_deleted:.0%}."
            " If they were deleted, run once with a larger max_deleted; if the token's user lost a permission, give it"
            " back. Nothing was written."
        )
    leads = sorted(str(UUID(int=number)) if isinstance(number, int) else number for number in missing)
    gone = [lead for lead in leads[:MOST_ASKED_FOR] if not _is_there(api, lead)] + leads[MOST_ASKED_FOR:]
    if not gone:
        return []
    deals = dict(deals_of_leads(api, None if since is None else datetime.fromisoformat(since)))
    return [Gone(lead, deals.get(lead)) for lead in gone]


def _is_there(api: LeadsApi, lead_id: str) -> bool:
    there = lead_is_there(api, lead_id)
    if there:
        log.info("Lead %s is in neither list, but still there.", lead_id)
    return there


class KnownIds:
    """The ids of the last full reads, kept in files, and of this one.

    :param before: where those of earlier reads should be, the latest first.
    :param now: where those of this one go.
    :param max_deleted: the largest part of the leads that may be gone at once.
    :param since: when the last full read began, as filters take it; None if it is not known.
    :ivar before: ids of the latest read of which they are still there; None where there is none.
    """

    def __init__(self, before: Sequence[Place], now: Place, *, max_deleted: float | str, since: str | None) -> None:
        self.now = now
        self.before: set[int | str] | None = None
        self._places = before
        self._share = check_share(max_deleted)
        self._since = since

    def look(self) -> None:
        """Read what is kept, before anything is asked of Pipedrive; say so if it is lost."""
        for earlier, place in enumerate(self._places):
            try:
                self.before = _ids_at(place)
            except (FileNotFoundError, PipedriveValidationError) as problem:
                log.warning("%s: the ids that a full read left there are lost (%s).", place, type(problem).__name__)
                continue
            if earlier:
                self._since = None  # what became of leads since that read, not since the last
            return
        if self._places:
            log.warning(
                "Which leads were deleted or converted since the last run cannot be told: this run begins anew, and the"
                " next one compares with it."
            )

    def gone(self, api: LeadsApi, present: set[int | str]) -> list[Gone]:
        """Find out which leads are gone; none where nothing is kept of an earlier read.

        :raises PipedriveValidationError: too many.
        """
        if self.before is None:
            return []
        return gone_leads(api, self.before, present, max_deleted=self._share, since=self._since)

    def keep(self, ids: Iterable[int | str]) -> None:
        """Keep the ids of this read for the next."""
        with publishing(self.now, self.now.path) as file:
            file.write(pack_ids(ids))

    def forget(self, places: Iterable[str]) -> None:
        """Remove kept ids that no run will ask for any more, as far as that is possible."""
        for place in places:
            with suppress(OSError):
                self.now.fs.rm_file(self.now.fs._strip_protocol(place))  # noqa: SLF001 - fsspec's own way


def pack_ids(ids: Iterable[int | str]) -> bytes:
    """Put ids into a few bytes each."""
    numbers = sorted(number for number in ids if isinstance(number, int))
    return gzip.compress(b"".join(number.to_bytes(BYTES_OF_ID, "big") for number in numbers), 1, mtime=0)


def unpack_ids(packed: bytes) -> set[int | str]:
    """Read packed ids.

    :raises PipedriveValidationError: these are none.
    """
    try:
        plain = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as problem:
        raise PipedriveValidationError(f"The kept ids of a full read cannot be read: {problem}.") from None
    if len(plain) % BYTES_OF_ID:
        raise PipedriveValidationError("The kept ids of a full read cannot be read: they end in the middle of one.")
    return set(_numbers(plain))


def _ids_at(place: Place) -> set[int | str]:
    with place.fs.open(place.path, "rb") as file:
        return unpack_ids(file.read())


def _numbers(plain: bytes) -> Iterator[int]:
    for start in range(0, len(plain), BYTES_OF_ID):
        yield int.from_bytes(plain[start : start + BYTES_OF_ID], "big")
