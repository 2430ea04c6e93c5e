"""Settling what became of a call that got no clean answer.

The API knows no idempotency keys. What a server did shows in its lists, but perhaps only some time later: it may finish
what its client gave up. So a look comes first, a second one after a while, and only then the call is sent again.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

log = logging.getLogger(__name__)

Found = TypeVar("Found")

MOST_SENT = 3
"""How often one try of a task sends a call, if each time it is in doubt and then found to be undone."""
CLOCKS_APART = timedelta(minutes=5)
"""By which clocks may differ: Pipedrive's, and those of the machines on which two tries ran."""
LONGEST_CALL = 3
"""Timeouts after which a call has surely ended on this side."""


class Memory(Protocol):
    """Keeps JSON values for all tries of a task."""

    def get(self, key: str, default: Any = None) -> Any:
        """Give what is kept under a key."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""


class Patience(msgspec.Struct, frozen=True):
    """How long to wait, and by which clock.

    :param settle: seconds for which a server may go on with a call after its client gave up.
    :param timeout: seconds after which the client gives up.
    :param sleep: waits so many seconds.
    :param now: this machine's time.
    """

    settle: float
    timeout: float
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def seconds_until_settled(sent_at: str, patience: Patience) -> float:
    """How long to wait until a call that an earlier try sent has surely ended, on the server too.

    Until when that try held on to the call is not known, but for at most a few timeouts.
    """
    longest = LONGEST_CALL * patience.timeout + patience.settle + CLOCKS_APART.total_seconds()
    passed = (patience.now() - datetime.fromisoformat(sent_at)).total_seconds()
    return max(0.0, min(patience.settle, longest - passed))


def surely_before(api: LeadsApi, moment: str, patience: Patience) -> datetime:
    """Give a time by Pipedrive's clock that is not after a moment of this machine's, by as much as clocks may differ.

    Where the last reply tells that Pipedrive's clock is behind this machine's by more than that, it goes further back.

    :param moment: ISO 8601.
    """
    told = api.usage.last_reply_at
    behind = timedelta() if told is None else patience.now() - datetime.fromisoformat(told)
    return datetime.fromisoformat(moment) - CLOCKS_APART - max(behind, timedelta())


def find_after(look: Callable[[], Found | None], wait: float, patience: Patience) -> Found | None:
    """Look for something now, and again after so many seconds if it is not there."""
    found = look()
    if found is None and wait > 0:
        log.info("It is not there; looking again in %.0f s.", wait)
        patience.sleep(wait)
        found = look()
    return found


def sent_until_sure(send: Callable[[], Found], look: Callable[[], Found | None], patience: Patience) -> Found:
    """Send a create; where its outcome is unknown look for what it made, and send again only what is not there.

    :param send: makes the call, and gives what was made.
    :param look: gives what was made, None if it is not there (yet).
    :param patience: how long it may take to appear.
    :return: what ``send`` or ``look`` gave.
    :raises PipedriveError: it cannot be made; not in doubt any more where its absence was seen.
    """
    for last in (False,) * (MOST_SENT - 1) + (True,):
        try:
            return send()
        except PipedriveError as error:
            if not error.in_doubt:
                raise
            log.warning("%s Looking whether it was done.", error)
            found = find_after(look, patience.settle, patience)
            if found is not None:
                return found
            if last:
                error.in_doubt = False  # it was looked for: a later try does no harm
                raise
    raise AssertionError("unreachable")
