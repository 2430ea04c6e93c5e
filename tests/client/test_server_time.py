"""What counts as the server's time: only what an answer of the API itself says."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveError
from tests.answering import Answer, Asked, client_of

EARLY, LATE = datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(2026, 1, 31, 10, tzinfo=UTC)
USER = {"success": True, "data": {"id": 1}}


def at(moment: datetime) -> dict[str, str]:
    return {"date": format_datetime(moment, usegmt=True)}


NO_SUCCESS = {
    "429": Answer({"success": False}, 429, at(LATE)),
    "500": Answer({"success": False}, 500, at(LATE)),
    "a web page for an error": Answer(b"<html>", 502, {**at(LATE), "content-type": "text/html"}),
    "a web page for a success": Answer(b"<html>", 200, {**at(LATE), "content-type": "text/html"}),
    "broken JSON": Answer(b'{"data', 200, at(LATE)),
    "a redirect": Answer(b"", 302, {**at(LATE), "location": "/elsewhere"}),
    "404": Answer({"success": False}, 404, at(LATE)),
    "success: false": Answer({"success": False, "error": "no"}, 200, at(LATE)),
}


@pytest.mark.parametrize("first", NO_SUCCESS.values(), ids=list(NO_SUCCESS))
def test_an_answer_that_is_no_success_does_not_tell_the_servers_time(first):
    answers = iter([first])

    def answer(_: Asked) -> Answer:
        return next(answers, None) or Answer(USER, 200, at(EARLY))

    with client_of(answer) as (client, _):
        try:
            client.get_current_user()
        except PipedriveError:
            assert client.usage.first_reply_at is None
            client.get_current_user()
        assert client.usage.first_reply_at == "2026-01-31T09:00:00Z"


def test_the_first_success_tells_it_and_no_later_one():
    times = iter([EARLY, LATE])
    with client_of(lambda _: Answer(USER, 200, at(next(times)))) as (client, _):
        client.get_current_user()
        client.get_current_user()
        assert client.usage.first_reply_at == "2026-01-31T09:00:00Z"
