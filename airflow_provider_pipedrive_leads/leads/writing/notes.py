"""A note on a lead, written once however often the task is tried.

Notes carry no key, so they are told by what they say. Pipedrive may write their HTML anew: only the text counts,
without tags and white space.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.values import moment_value, title_value
from airflow_provider_pipedrive_leads.leads.writing.settling import (
    find_after,
    seconds_until_settled,
    sent_until_sure,
    surely_before,
)

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

KEPT_AS = "pipedrive_note"
TAG = re.compile(r"<!--.*?-->|</?[a-z][^>]*>", re.DOTALL | re.IGNORECASE)
"""A bare ``<`` before a space or a number is text."""


class NoteIntent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task kept of its note, for its own later tries.

    :param lead_id: what it hangs on.
    :param since: when it was first sent, ISO 8601 in UTC.
    :param sent_at: when it was last sent and its fate is unknown; None where nothing is in doubt.
    :param note_id: the note, once it is there.
    """

    lead_id: str
    since: str
    sent_at: str | None = None
    note_id: int | None = None


def note_once(
    api: LeadsApi, lead_id: str, content: str, memory: Memory, patience: Patience, *, began: str | None = None
) -> int:
    """Write a note on a lead unless an earlier try did.

    A note that gets a clean answer costs one call (10 tokens); after any doubt the lead's notes are looked through for
    the same text (20 tokens a look) before it is sent again. A note that someone changed in between is not recognized.

    :param content: HTML.
    :param memory: of this task, for all its tries.
    :param began: when an earlier try may have begun whose memory is lost; None if there was none.
    :return: the note's id.
    :raises PipedriveValidationError: the lead's id is none, or the content is blank.
    """
    lead_id, content = path_id("lead_id", lead_id), title_value("content", content)
    intent = _intent(lead_id, memory, patience, began)
    if intent.note_id is not None:
        return intent.note_id

    def look() -> dict[str, Any] | None:
        return find_note(api, lead_id, content, since=intent.since, patience=patience)

    def send() -> dict[str, Any]:
        memory.set(KEPT_AS, msgspec.to_builtins(msgspec.structs.replace(intent, sent_at=patience.now().isoformat())))
        return api.add_note(content, lead_id=lead_id)

    note = None
    if intent.sent_at is not None:
        note = find_after(look, seconds_until_settled(intent.sent_at, patience), patience)
    note = note or sent_until_sure(send, look, patience)
    memory.set(KEPT_AS, msgspec.to_builtins(msgspec.structs.replace(intent, sent_at=None, note_id=note["id"])))
    return int(note["id"])


def _intent(lead_id: str, memory: Memory, patience: Patience, began: str | None) -> NoteIntent:
    kept = memory.get(KEPT_AS)
    if kept:
        earlier = msgspec.convert(kept, NoteIntent)
        if earlier.lead_id == lead_id:
            return earlier
    elif began is not None:
        return NoteIntent(lead_id, began, sent_at=began)
    return NoteIntent(lead_id, patience.now().isoformat())


def find_note(api: LeadsApi, lead_id: str, content: str, *, since: str, patience: Patience) -> dict[str, Any] | None:
    """Look through the notes of a lead, newest first, for one that says the same.

    :param since: when it may first have been sent, ISO 8601; notes of up to five minutes before are looked at.
    """
    for note in api.get_notes(lead_id=lead_id, sort="add_time DESC"):
        oldest = moment_value("since", surely_before(api, since, patience))[:19].replace("T", " ")
        if note["add_time"] < oldest:
            return None
        if text_of(note["content"] or "") == text_of(content):
            return note
    return None


def text_of(content: str) -> str:
    """Give what a note says: no tags, no white space, entities as characters; HTML without any text stays as it is."""
    text = "".join(html.unescape(TAG.sub("", content)).split())
    return text or "".join(content.split())
