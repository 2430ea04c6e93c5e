"""What ``archive_time`` tells of archived leads. Nobody has seen its form for sure, so nothing rests on it alone.

Where it is later than ``update_time``, the account does not move ``update_time`` when leads are archived. What cannot
be read, or is not there, is evidence of nothing.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.leads.reading.walk import moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.leads.reading.walk import Head

log = logging.getLogger(__name__)

SECONDS = len("2026-01-31T09:30:00")
STAMPED_APART = timedelta(seconds=1)
"""By which the two times of one archiving may differ."""


def archived_at(archive_time: object) -> datetime | None:
    """Read an ``archive_time``, to the second; None for what is no time of day on some day."""
    if not isinstance(archive_time, str) or len(archive_time) < SECONDS:
        return None
    try:
        told = datetime.fromisoformat(archive_time)
    except ValueError:
        return None
    told = told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    return told.replace(microsecond=0)


def moved_unseen(head: Head) -> bool:
    """Whether a lead shows that it was archived later than its ``update_time`` says."""
    archived = head.archive_time
    if not archived or _same_second(archived, head.update_time):
        return False
    told = archived_at(archived)
    return told is not None and told - moment(head.update_time) > STAMPED_APART


def _same_second(archived: object, changed: str) -> bool:
    return isinstance(archived, str) and archived[:10] + archived[11:19] == changed[:10] + changed[11:19]


class ArchiveTimes:
    """Looks at pages of archived leads, and says once what they fail to tell.

    :param partly: whether only leads that changed lately are read: then an archiving may go unnoticed.
    """

    def __init__(self, *, partly: bool) -> None:
        self._partly = partly
        self._told_form = self._told_none = False

    def look(self, heads: Sequence[Head]) -> bool:
        """Whether some lead shows that the account does not move ``update_time`` when leads are archived."""
        told = [head.archive_time for head in heads if head.archive_time is not None]
        if not self._told_form and any(archived_at(each) is None for each in told):
            self._told_form = True
            log.warning(
                "archive_time of some leads has a form that cannot be read: whether they were archived without a change"
                " of update_time cannot be told."
            )
        if not told and heads and self._partly and not self._told_none:
            self._told_none = True
            log.warning(
                "Archived leads do not tell their archive_time. Should this account leave update_time alone when a lead"
                " is archived, such leads are not found here; full_refresh=True finds them."
            )
        return any(map(moved_unseen, heads))
