"""What is repeated, and when: a table."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.api.retries import (
    LONGEST_TOTAL_SECONDS,
    MOST_REPEATS,
    may_repeat,
    seconds_before_repeat,
)

LEAD_ID = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
GET = endpoints.GET_LEAD.call(ids={"lead_id": LEAD_ID})
PATCH = endpoints.UPDATE_LEAD.call(ids={"lead_id": LEAD_ID}, body={})
DELETE = endpoints.DELETE_LEAD.call(ids={"lead_id": LEAD_ID})
POST = endpoints.ADD_LEAD.call(body={})

NOT_SENT = PipedriveConnectionError("refused")
CUT = PipedriveConnectionError("reset", in_doubt=True)
BROKEN = PipedriveServerError("bad gateway", status=502, in_doubt=True)
NOT_BUILT = PipedriveServerError("not implemented", status=501, in_doubt=True)
TOO_FAST = PipedriveRateLimitError("slow down", retry_after=2.0)
BANNED = PipedriveRateLimitError("banned", retry_after=300.0, banned=True)
DAY_SPENT = PipedriveDailyBudgetError("spent")
FINAL = [
    PipedriveAuthError("401"),
    PipedriveNotFoundError("404"),
    PipedriveValidationError("400"),
    BANNED,
    DAY_SPENT,
    NOT_BUILT,
]


@pytest.mark.parametrize("call", [GET, PATCH, DELETE], ids=lambda call: call.method)
@pytest.mark.parametrize("error", [NOT_SENT, CUT, BROKEN, TOO_FAST], ids=str)
def test_reads_changes_and_deletions_are_repeated(call, error):
    assert may_repeat(call, error)


@pytest.mark.parametrize(("error", "repeated"), [(NOT_SENT, True), (TOO_FAST, True), (CUT, False), (BROKEN, False)])
def test_a_create_is_repeated_only_where_it_cannot_have_been_done(error, repeated):
    assert may_repeat(POST, error) is repeated


@pytest.mark.parametrize("call", [GET, PATCH, DELETE, POST], ids=lambda call: call.method)
@pytest.mark.parametrize("error", FINAL, ids=str)
def test_what_a_repeat_cannot_cure_is_final(call, error):
    assert seconds_before_repeat(call, error, repeats=0, elapsed=0, chance=0.5) is None


def test_backoff_doubles_and_is_jittered_from_zero():
    waits = [seconds_before_repeat(GET, BROKEN, repeats=n, elapsed=0, chance=1.0) for n in range(MOST_REPEATS)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert seconds_before_repeat(GET, BROKEN, repeats=3, elapsed=0, chance=0.0) == 0.0


def test_the_servers_word_is_waited_out():
    assert seconds_before_repeat(GET, TOO_FAST, repeats=0, elapsed=0, chance=0.0) == 2.0


def test_tries_and_time_are_bounded():
    assert seconds_before_repeat(GET, BROKEN, repeats=MOST_REPEATS, elapsed=0, chance=0.5) is None
    assert seconds_before_repeat(GET, TOO_FAST, repeats=0, elapsed=LONGEST_TOTAL_SECONDS, chance=0.5) is None
