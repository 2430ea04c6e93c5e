"""Replies that nobody expects end in the typed error that says what was wrong, with the server's own words."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveServerError
from airflow_provider_pipedrive_leads.api.retries import MOST_REPEATS
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import BY_CHANGE, Question
from tests.answering import Answer, Answering, Asked, Server, answering, client_of, leads

LEAD = leads(1)[0]["id"]
READS = {
    "get_lead": lambda client: client.get_lead(LEAD),
    "get_leads": lambda client: list(client.get_leads()),
    "get_archived_leads": lambda client: list(client.get_archived_leads()),
    "get_lead_users": lambda client: client.get_lead_users(LEAD),
    "search_leads": lambda client: list(client.search_leads("term")),
    "get_lead_labels": lambda client: client.get_lead_labels(),
    "get_lead_sources": lambda client: client.get_lead_sources(),
    "get_lead_fields": lambda client: client.get_lead_fields(),
    "read_catalogue": lambda client: client.read_catalogue(),
    "get_current_user": lambda client: client.get_current_user(),
    "get_users": lambda client: client.get_users(),
    "get_persons": lambda client: list(client.get_persons(ids=[1])),
    "get_deals": lambda client: list(client.get_deals()),
    "get_notes": lambda client: list(client.get_notes()),
    "get_webhooks": lambda client: client.get_webhooks(),
    "get_lead_conversion_status": lambda client: client.get_lead_conversion_status(LEAD, LEAD),
}
WRITES = {
    "add_person": lambda client: client.add_person("Robin Example"),
    "add_lead_label": lambda client: client.add_lead_label("Hot", "red"),
    "update_lead_label": lambda client: client.update_lead_label(LEAD, color="red"),
    "convert_lead_to_deal": lambda client: client.convert_lead_to_deal(LEAD),
    "add_note": lambda client: client.add_note("text", lead_id=LEAD),
}
DELETES = {
    "delete_lead": lambda client: client.delete_lead(LEAD),
    "delete_webhook": lambda client: client.delete_webhook(1),
}
DEEP = b'{"success":true,"data":' + b"[" * 5000 + b"]" * 5000 + b"}"
REFUSAL = {"success": False, "error": "No lead today", "error_info": "ask tomorrow", "code": "closed"}


LISTS = (
    *("get_leads", "get_archived_leads", "search_leads", "get_lead_labels", "get_lead_sources", "get_lead_fields"),
    *("read_catalogue", "get_users", "get_persons", "get_deals", "get_notes", "get_webhooks"),
)
CALLS = {**READS, **WRITES, **DELETES}


def failing(operation: str, answer: Answering | Answer) -> tuple[PipedriveError, Server]:
    """Give the error in which a call ends, and the server that it met."""
    answered = answer if callable(answer) else lambda _: answer
    with client_of(answered) as (client, server), pytest.raises(PipedriveError) as raised:
        CALLS[operation](client)
    return raised.value, server


@pytest.mark.parametrize("operation", [*READS, *WRITES])
@pytest.mark.parametrize(
    "content",
    [DEEP, b"[]", b'{"success":true}', b'{"success":true,"data":7}', b'{"success":true,"data":"text"}'],
    ids=["nested without end", "no envelope", "no data", "a number", "a text"],
)
def test_what_is_not_of_the_form_that_is_due_is_a_server_error(operation, content):
    error, _ = failing(operation, Answer(content))
    assert isinstance(error, PipedriveServerError)
    assert str(error.path) in str(error)


@pytest.mark.parametrize("operation", LISTS)
@pytest.mark.parametrize(
    "content",
    [
        {"success": True, "data": [7]},
        {"success": True, "data": {"items": [7]}},
        {"success": True, "data": {"items": 7}},
        {"success": True, "data": [], "additional_data": [1]},
        {"success": True, "data": [], "additional_data": {"pagination": 7}},
    ],
    ids=str,
)
def test_a_list_that_is_none_is_a_server_error(operation, content):
    assert isinstance(failing(operation, Answer(content))[0], PipedriveServerError)


@pytest.mark.parametrize("operation", ["add_person", "add_lead_label", "add_note"])
def test_what_was_made_has_an_id_or_is_in_doubt(operation):
    error, server = failing(operation, Answer({"success": True, "data": {"name": "x"}}))
    assert (type(error), error.in_doubt, len(server.asked)) == (PipedriveServerError, True, 1)


@pytest.mark.parametrize("operation", ["get_leads", "search_leads", "get_lead_labels", "get_users", "get_notes"])
def test_a_list_may_be_null(operation):
    with client_of(lambda _: Answer({"success": True, "data": None})) as (client, _):
        assert READS[operation](client) == []


@pytest.mark.parametrize("operation", ["get_lead", "get_current_user", *WRITES])
def test_one_thing_may_not_be_null(operation):
    assert isinstance(failing(operation, Answer({"success": True, "data": None}))[0], PipedriveServerError)


@pytest.mark.parametrize("operation", DELETES)
@pytest.mark.parametrize("content", [{"success": True, "status": "ok"}, {"success": True, "data": None}])
def test_a_delete_need_not_tell_what_it_deleted(operation, content):
    with client_of(lambda _: Answer(content)) as (client, server):
        DELETES[operation](client)
    assert len(server.asked) == 1


@pytest.mark.parametrize("operation", DELETES)
def test_a_delete_that_does_not_say_that_it_succeeded_is_in_doubt(operation):
    error, _ = failing(operation, Answer({}))
    assert (type(error), error.in_doubt) == (PipedriveServerError, True)


@pytest.mark.parametrize("operation", CALLS)
def test_a_success_that_says_it_is_none_is_told_in_the_servers_words_and_not_repeated(operation):
    error, server = failing(operation, Answer(REFUSAL))
    assert "No lead today; ask tomorrow; closed" in str(error)
    assert (error.status, error.error, error.error_info) == (200, "No lead today", "ask tomorrow")
    assert (type(error), error.in_doubt, len(server.asked)) == (PipedriveServerError, True, 1)


def test_a_refusal_without_words_is_not_repeated_either():
    error, server = failing("get_current_user", Answer({"success": False}))
    assert "success: false" in str(error)
    assert len(server.asked) == 1


def test_the_words_of_a_refusal_show_no_token():
    def echo(asked: Asked) -> Answer:
        return Answer({"success": False, "error": f"who is {asked.headers['x-api-token']}?"})

    error, _ = failing("get_current_user", echo)
    assert "who is" in str(error)
    assert "0" * 40 not in f"{error} {error.error}"


def test_rows_may_be_anything_in_a_refusal():
    with answering(lambda _: Answer({**REFUSAL, "data": {"no": "list"}})) as server:
        client = PipedriveClient(read_connection(password="0" * 40, extra=server.connection["extra"]))
        with LeadPages(client, Selection().filters()) as pages, pytest.raises(PipedriveServerError, match="No lead"):
            pages.ask(BY_CHANGE, Question(None, 0), 10, archived=False).result()
    assert len(server.asked) == 1


def test_json_without_end_is_asked_for_again_as_broken_json_is():
    error, server = failing("get_current_user", Answer(DEEP))
    assert "no usable JSON" in str(error)
    assert len(server.asked) == 1 + MOST_REPEATS


@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_may_be_nested_without_end_too(status):
    error, _ = failing("get_current_user", Answer(DEEP, status=status))
    assert (error.status, error.error) == (status, None)


@pytest.mark.parametrize("location", ["https://[", "https://evil.example:x/", "//", "\\\\", "https://user:word@[::1"])
def test_a_redirect_to_no_address_is_told_as_a_redirect(location):
    error, server = failing("get_current_user", Answer({}, status=302, headers={"location": location}))
    assert "Redirects are not followed" in str(error)
    assert (error.status, len(server.asked)) == (302, 1)
    assert "word" not in str(error)


@pytest.mark.parametrize(
    "row",
    [{"name": "Hot"}, {"id": None, "name": "Hot"}, {"id": "x"}],
    ids=["without an id", "of no id", "without a name"],
)
def test_labels_need_an_id_and_a_name(row):
    error, _ = failing("get_lead_labels", Answer({"success": True, "data": [row]}))
    assert "leadLabels" in str(error)


NAMELESS = {"key": "0" * 40, "field_type": "set"}


@pytest.mark.parametrize("field", [{}, NAMELESS, {**NAMELESS, "name": "x", "options": 7}])
def test_fields_need_what_makes_them_fields(field):
    error, _ = failing("read_catalogue", Answer({"success": True, "data": [field]}))
    assert (type(error), "leadFields" in str(error)) == (PipedriveServerError, True)


def test_other_endpoints_give_their_envelope_as_it_is():
    with client_of(lambda _: Answer({"success": True, "other": 1})) as (client, _):
        assert client.request("GET", "/v1/others") == {"success": True, "other": 1}
