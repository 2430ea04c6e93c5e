"""What the token endpoint answers is told as what it is: only a grant that ended asks somebody to authorize again."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient
from tests.answering import Answer, answering

AGAIN = "Authorize again"
PAGE = {"content-type": "text/html"}
TOKENS = {"access_token": "a", "refresh_token": "r", "expires_in": 3600}


def told(answer: Answer) -> tuple[PipedriveError, int]:
    """Give the error in which a call ends, and how often a token was asked for."""
    with answering(lambda _: answer) as server:
        extra = {
            **server.connection["extra"],
            "client_id": "i",
            "client_secret": "secret-1",
            "refresh_token": "secret-2",
        }
        client = PipedriveClient(read_connection(extra=extra), sleep=lambda _: None, chance=lambda: 0.0)
        with pytest.raises(PipedriveError) as raised:
            client.get_current_user()
        assert {asked.path for asked in server.asked} == {"/oauth/token"}
        return raised.value, len(server.asked)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://evil.example/oauth/token", "https://[", "/oauth/token/"])
def test_a_redirect_is_told_as_a_redirect(status, location):
    error, times = told(Answer(b"", status, {"location": location}))
    assert "Redirects are not followed" in str(error)
    assert AGAIN not in str(error)
    assert (type(error), error.status, times) == (PipedriveError, status, 1)


@pytest.mark.parametrize("status", [400, 403])
def test_a_grant_that_ended_asks_to_authorize_again(status):
    error, times = told(Answer({"error": "invalid_grant"}, status))
    assert (type(error), AGAIN in str(error), times) == (PipedriveAuthError, True, 1)


@pytest.mark.parametrize("answer", [Answer({"error": "invalid_client"}, 400), Answer(b"", 401)], ids=["400", "401"])
def test_a_wrong_app_is_told_as_that(answer):
    error, _ = told(answer)
    assert (type(error), "OAuth client secret" in str(error), AGAIN in str(error)) == (PipedriveAuthError, True, False)


def test_a_web_page_that_forbids_is_a_ban():
    error, times = told(Answer(b"<html>", 403, PAGE))
    assert isinstance(error, PipedriveRateLimitError)
    assert (error.banned, times) == (True, 1)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>", 400, PAGE),
        Answer(b"", 404),
        Answer({"error": "no such page"}, 404),
        Answer(b"<html>", 404, PAGE),
        Answer(b"[" * 5000, 400),
        Answer(b"<html>", 200, PAGE),
        Answer(b"[" * 5000, 200),
        Answer({"success": False}, 200),
        Answer({**TOKENS, "expires_in": "soon"}, 200),
        Answer({**TOKENS, "access_token": None}, 200),
        Answer({"error": "later"}, 429),
        Answer(b"", 503),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:20]!r}",
)
def test_what_is_no_answer_of_a_token_endpoint_is_a_server_error(answer):
    error, times = told(answer)
    assert isinstance(error, PipedriveServerError)
    assert AGAIN not in str(error)
    assert "secret" not in str(error)
    assert times > 1
