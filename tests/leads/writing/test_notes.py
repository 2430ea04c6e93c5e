"""A note on a lead, once, whatever becomes of the calls and however often the task is tried."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveNotFoundError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.writing.notes import note_once, text_of
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

SETTLE = 30.0
NOTES = "/v1/notes"
CONTENT = "<p>Scored <b>82</b> &amp; rising</p>"
AS_REWRITTEN = "<div>Scored <strong>82</strong>&nbsp;&#38; rising<br/></div>"


class Memory(dict):
    """What Airflow keeps for the tries of a task."""

    def set(self, key, value):
        self[key] = value


class Killed(BaseException):
    """The worker died here."""


def die(**_):
    raise Killed


@pytest.fixture(autouse=True)
def unhurried(sandbox, no_waiting):
    """No test waits for a burst window."""
    sandbox.control.set_burst(1_000_000)


@pytest.fixture
def slept():
    return []


@pytest.fixture
def patience(sandbox, slept):
    """Waiting moves the sandbox's clock on, and counts."""

    def sleep(seconds):
        slept.append(seconds)
        sandbox.control.advance(seconds)

    return Patience(SETTLE, SETTLE, sleep, lambda: datetime.fromisoformat(sandbox.control.now()))


@pytest.fixture
def lead_id(sandbox, client, person_id):
    made = client.add_lead("Noted", person_id=person_id)["id"]
    sandbox.control.reset_counters()
    return made


def notes(sandbox, client, lead_id):
    """Id and content of a lead's notes, those included that a server finishes late."""
    sandbox.control.advance(2 * SETTLE)
    return [(note["id"], note["content"]) for note in client.get_notes(lead_id=lead_id)]


def calls(sandbox, method):
    return len([seen for seen in sandbox.control.requests() if (seen["method"], seen["path"]) == (method, NOTES)])


def test_a_clean_answer_costs_one_call_and_later_tries_none(sandbox, client, lead_id, patience):
    memory = Memory()
    made = note_once(client, lead_id, CONTENT, memory, patience)
    assert sandbox.control.counters()["tokens"] == 10
    assert note_once(client, lead_id.upper(), CONTENT, memory, patience) == made
    assert sandbox.control.counters()["tokens"] == 10
    assert notes(sandbox, client, lead_id) == [(made, CONTENT)]


FAULTS = {
    "close_before": ({}, 2),
    "close_after": ({}, 1),
    "close_and_finish": ({"after": 5.0}, 1),
    "cut_body": ({}, 1),
    "broken_json": ({}, 1),
    "status": ({"status": 503}, 2),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_doubtful_note_is_looked_for_before_it_is_sent_again(sandbox, client, lead_id, patience, slept, kind):
    options, sent = FAULTS[kind]
    client.add_note("Another note", lead_id=lead_id)
    client.add_note(CONTENT, lead_id=lead_id, add_time="2020-01-31 12:00:00")
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", NOTES, kind, **options)
    made = note_once(client, lead_id, CONTENT, Memory(), patience)
    assert calls(sandbox, "POST") == sent
    assert slept == ([SETTLE] if sent == 2 or kind == "close_and_finish" else [])
    found = notes(sandbox, client, lead_id)
    assert (len(found), found[-1]) == (3, (made, CONTENT))


def test_a_note_is_known_again_in_other_words_of_html(sandbox, client, lead_id, patience, monkeypatch):
    add = client.add_note

    def rewritten(_, **links):
        add(AS_REWRITTEN, **links)
        raise PipedriveServerError("503", in_doubt=True)

    monkeypatch.setattr(client, "add_note", rewritten)
    made = note_once(client, lead_id, CONTENT, Memory(), patience)
    assert notes(sandbox, client, lead_id) == [(made, AS_REWRITTEN)]


@pytest.mark.parametrize(
    ("kind", "options", "waits"),
    [("close_before", {}, 1), ("close_after", {}, 0), ("close_and_finish", {"after": 20.0}, 1)],
)
def test_a_later_try_looks_first(sandbox, client, lead_id, patience, slept, monkeypatch, kind, options, waits):
    memory = Memory()
    sandbox.control.fault("POST", NOTES, kind, **options)
    with monkeypatch.context() as patch:
        patch.setattr(client, "get_notes", die)
        with pytest.raises(Killed):
            note_once(client, lead_id, CONTENT, memory, patience)
    made = note_once(client, lead_id, CONTENT, memory, patience)
    assert notes(sandbox, client, lead_id) == [(made, CONTENT)]
    assert slept == [SETTLE] * waits


def test_a_lost_memory_is_made_up_for_by_the_time_of_the_run(sandbox, client, lead_id, patience):
    began = patience.now().isoformat()
    made = note_once(client, lead_id, CONTENT, Memory(), patience)
    assert note_once(client, lead_id, CONTENT, Memory(), patience, began=began) == made
    assert notes(sandbox, client, lead_id) == [(made, CONTENT)]
    other = note_once(client, lead_id, "<p>Another</p>", Memory(), patience, began=began)
    assert [each for each, _ in notes(sandbox, client, lead_id)] == [made, other]


def test_three_notes_are_sent_at_most_and_a_retry_does_no_harm(sandbox, client, lead_id, patience):
    sandbox.control.fault("POST", NOTES, "status", times=3, status=503)
    memory = Memory()
    with pytest.raises(PipedriveServerError) as caught:
        note_once(client, lead_id, CONTENT, memory, patience)
    assert not caught.value.in_doubt
    assert calls(sandbox, "POST") == 3
    made = note_once(client, lead_id, CONTENT, memory, patience)
    assert notes(sandbox, client, lead_id) == [(made, CONTENT)]


def test_one_task_s_notes_on_two_leads_are_two(sandbox, client, lead_id, person_id, patience):
    memory = Memory()
    second = client.add_lead("Noted too", person_id=person_id)["id"]
    first_note = note_once(client, lead_id, CONTENT, memory, patience)
    assert note_once(client, second, CONTENT, memory, patience) != first_note
    assert len(notes(sandbox, client, second)) == 1


@pytest.mark.parametrize(("lead_id", "content"), [("17", CONTENT), ("", CONTENT), (None, "  "), (None, None)])
def test_bad_input_is_refused_before_anything_is_sent(sandbox, client, patience, lead_id, content):
    sandbox.control.reset_counters()
    unknown = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
    with pytest.raises(PipedriveValidationError, match="lead_id" if lead_id is not None else "content"):
        note_once(client, unknown if lead_id is None else lead_id, content, Memory(), patience)
    assert sandbox.control.counters()["calls"] == 0


def test_an_unknown_lead_gets_no_note(client, patience):
    with pytest.raises((PipedriveValidationError, PipedriveNotFoundError)):
        note_once(client, "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55", CONTENT, Memory(), patience)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (CONTENT, AS_REWRITTEN, True),
        ("Plain\n text ", "<p>Plain text</p>", True),
        ("5 < 6 & 7 > 3", "5 &lt; 6 &amp; 7 &gt; 3", True),
        ("One<!-- hidden\n -->two", "<i>One</i> two", True),
        ("Grüße", "Gr&uuml;&szlig;e", True),
        ("One", "Two", False),
        ("5 < 6", "5 < 7", False),
        ("Case", "case", False),
        ("<img src='a.png'>", "<img  src='a.png'>", True),
        ("<img src='a.png'>", "<img src='b.png'>", False),
    ],
)
def test_what_counts_as_the_same_text(one, other, same):
    assert (text_of(one) == text_of(other)) is same


def test_notes_are_listed_by_what_they_hang_on(client, lead_id, person_id):
    first = client.add_note("First", lead_id=lead_id)
    second = client.add_note("Second", lead_id=lead_id, person_id=person_id)
    ids = [first["id"], second["id"]]
    assert [note["id"] for note in client.get_notes(lead_id=f" {lead_id.upper()} ", page_size=1)] == ids
    assert [note["id"] for note in client.get_notes(lead_id=lead_id, sort="id DESC")] == ids[::-1]
    assert [note["id"] for note in client.get_notes(person_id=str(person_id))] == ids[1:]
    assert list(client.get_notes(lead_id=lead_id, updated_since="2100-01-01")) == []
    with pytest.raises(PipedriveValidationError, match="lead_id"):
        list(client.get_notes(lead_id="x"))
