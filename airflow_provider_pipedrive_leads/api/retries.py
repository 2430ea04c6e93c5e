"""What follows a failure: pure decisions, for one call and for a whole task.

Only what cannot do harm is repeated. A POST goes again only where the server certainly did not do it: no connection
came about, or it answered 429. Waiting follows the server's word, else exponential backoff with full jitter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import (
    MAX_WAIT,
    Facts,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
    ReplyTooLargeError,
)

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import Call

MOST_REPEATS = 5
LONGEST_TOTAL_SECONDS = 120.0
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 20.0
SHORTEST_RATE_LIMIT_WAIT = 2.0
"""Seconds: the length of the burst window, so that each repeat meets a new one."""
SHORTEST_TASK_PAUSE = 30.0
"""Seconds before a task is tried again that met too many calls: its call was repeated over some windows already."""
NOT_BUILT = 501
FIRST_FAILURE = 400
"""The lowest status that tells of a failure."""


def seconds_before_repeat(
    call: Call, error: PipedriveError, *, repeats: int, elapsed: float, chance: float
) -> float | None:
    """Decide about one more try of a call.

    :param repeats: how often the call was repeated already.
    :param elapsed: seconds since the call was first sent.
    :param chance: a random number in [0, 1), for the jitter.
    :return: seconds to wait before the next try, or None to raise the error.
    """
    if repeats >= MOST_REPEATS or not may_repeat(call, error):
        return None
    backoff = chance * min(FIRST_BACKOFF * 2**repeats, LONGEST_BACKOFF)
    if isinstance(error, PipedriveRateLimitError):
        wait = max(error.retry_after, SHORTEST_RATE_LIMIT_WAIT) + backoff
    else:
        wait = backoff
    return wait if elapsed + wait <= LONGEST_TOTAL_SECONDS else None


def may_repeat(call: Call, error: PipedriveError) -> bool:
    """Whether sending the call again is safe and could help."""
    if isinstance(error, PipedriveRateLimitError):
        return not error.banned
    if isinstance(error, ReplyTooLargeError) or _is_answer(error):
        return False
    if isinstance(error, PipedriveConnectionError | PipedriveServerError):
        return error.status != NOT_BUILT and (call.repeatable or not error.in_doubt)
    return False


def _is_answer(error: PipedriveError) -> bool:
    """Whether the server read the call and said no, in a reply that counts as a success by its status."""
    return error.status is not None and error.status < FIRST_FAILURE and error.error is not None


def as_day_spent(error: PipedriveRateLimitError) -> PipedriveDailyBudgetError:
    """Read a 429 that outlasts five burst windows as the end of the day's budget: for where no reply tells of it."""
    facts = Facts(status=error.status, error=error.error, error_info=error.error_info, method=error.method)
    facts |= Facts(correlation_id=error.correlation_id, path=error.path)
    return PipedriveDailyBudgetError(
        f"{error} It stayed so over {MOST_REPEATS} waits of at least {SHORTEST_RATE_LIMIT_WAIT:g} s:"
        " the company's API tokens of the day are most likely spent.",
        **facts,
    )


class AfterFailure(msgspec.Struct, frozen=True):
    """What a failed task should do.

    :param retry: True to try again, False to fail now, None to leave it to the task's own settings.
    :param delay: seconds until the next try; None for the task's own delay.
    :param reason: for the log.
    """

    retry: bool | None
    delay: float | None = None
    reason: str = ""


def after_failure(error: BaseException, *, chance: float) -> AfterFailure:
    """Decide about one more try of a task that ended with ``error``."""
    if isinstance(error, PipedriveRateLimitError):
        delay = min(max(error.retry_after, SHORTEST_TASK_PAUSE), MAX_WAIT) * (1 + chance)
        return AfterFailure(True, delay, f"Pipedrive asks to wait; next try in {delay:.0f} s.")
    if isinstance(error, PipedriveConnectionError | PipedriveServerError):
        if error.in_doubt and error.method == "POST":
            return AfterFailure(False, reason="It may have been done all the same; a retry could do it twice.")
        return AfterFailure(None)
    if isinstance(error, PipedriveError):
        return AfterFailure(False, reason="A retry would meet the same error.")
    return AfterFailure(None)
