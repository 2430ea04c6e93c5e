"""Whether a failed call is sent again, and when: a pure decision.

Only what cannot do harm is repeated. A POST goes again only where the server certainly did not do it: no connection
came about, or it answered 429. Waiting follows the server's word, else exponential backoff with full jitter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConnectionError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
)

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import Call

MOST_REPEATS = 5
LONGEST_TOTAL_SECONDS = 120.0
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 20.0
NOT_BUILT = 501


def seconds_before_repeat(
    call: Call, error: PipedriveError, *, repeats: int, elapsed: float, chance: float
) -> float | None:
    """Decide about one more try.

    :param repeats: how often the call was repeated already.
    :param elapsed: seconds since the call was first sent.
    :param chance: a random number in [0, 1), for the jitter.
    :return: seconds to wait before the next try, or None to raise the error.
    """
    if repeats >= MOST_REPEATS or not may_repeat(call, error):
        return None
    if isinstance(error, PipedriveRateLimitError):
        wait = error.retry_after + chance * FIRST_BACKOFF * 2**repeats
    else:
        wait = chance * min(FIRST_BACKOFF * 2**repeats, LONGEST_BACKOFF)
    return wait if elapsed + wait <= LONGEST_TOTAL_SECONDS else None


def may_repeat(call: Call, error: PipedriveError) -> bool:
    """Whether sending the call again is safe and could help."""
    if isinstance(error, PipedriveRateLimitError):
        return not error.banned
    if isinstance(error, PipedriveConnectionError | PipedriveServerError):
        return error.status != NOT_BUILT and (call.repeatable or not error.in_doubt)
    return False
