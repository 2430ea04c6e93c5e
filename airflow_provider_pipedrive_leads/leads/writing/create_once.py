"""Creating a lead once: however often the task is tried, whatever happened to the call that creates it.

The API knows no idempotency key, but a lead keeps the ``origin_id`` that it was created with, and lists return it. So
each lead gets a key of its own. A create that gets a clean answer costs one call. After any doubt (no reply, an error
that came too late to be sure, an earlier try of the task that may have sent it), the leads of the contact are looked
through for the key, newest first, before anything is sent again; and that the lead is not there is believed only some
time later, for a server may finish what its client gave up.

Not covered: a lead that was deleted, converted or linked to another contact before it was looked for; a mapped task
that was cleared together with the list it is mapped over, so that its index means another row now.
"""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.writing.comparing import warn_of_rewritten
from airflow_provider_pipedrive_leads.leads.writing.settling import (
    CLOCKS_APART,
    find_after,
    seconds_until_settled,
    sent_until_sure,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

log = logging.getLogger(__name__)

OWN_KEYS = "airflow-"
"""What a key begins with that was made here."""
CONTACTS = ("person_id", "organization_id")
NOTE = "pipedrive_create"


class Marker(msgspec.Struct, frozen=True):
    """What tells a lead that was created here from all others.

    :param field: ``origin_id``, or the key of a custom text field.
    :param value: the lead's own key.
    :param kept: whether the account is known to keep it: then no lead with another key can be the one in question.
    """

    field: str
    value: str
    kept: bool = False


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a task noted of its lead, for its own later tries.

    :param since: when the first try began, ISO 8601 in UTC.
    :param tried_at: when the latest try went about the lead's contact.
    :param sent_at: when the lead was last sent and its fate is unknown; None where nothing is in doubt.
    :param contact: whom the lead was to hang on, by field.
    :param lead_id: the lead, once it is there.
    """

    since: str
    tried_at: str | None = None
    sent_at: str | None = None
    contact: dict[str, int] = {}
    lead_id: str | None = None


def key_of_run(run: str) -> str:
    """Make the key of the lead that a task creates.

    :param run: names the run of the task, and its map index; the same for all tries.
    """
    return OWN_KEYS + hashlib.sha256(run.encode()).hexdigest()[:24]


def noted_intent(memory: Memory, *, began: str | None = None) -> Intent | None:
    """Read what an earlier try noted.

    :param began: when an earlier try may have begun whose note is lost; None if there was none.
    """
    noted = memory.get(NOTE)
    if noted:
        return msgspec.convert(noted, Intent)
    return None if began is None else Intent(began, sent_at=began)


def create_once(
    api: LeadsApi,
    body: Mapping[str, Any],
    marker: Marker,
    memory: Memory,
    patience: Patience,
    *,
    earlier: Intent | None = None,
) -> str:
    """Create a lead unless an earlier try did.

    :param body: what to send, as :meth:`api.operations.LeadsApi.add_lead` takes it, the marker included.
    :param memory: of this task, for all its tries.
    :param earlier: from :func:`noted_intent`.
    :return: the lead's id.
    :raises PipedriveValidationError: an earlier try meant another contact, or nobody can tell whether the lead is
        there.
    """
    contact = {name: body[name] for name in CONTACTS if name in body}
    if earlier is not None and earlier.sent_at is not None and earlier.contact not in ({}, contact):
        raise PipedriveValidationError(
            f"person_id, organization_id: an earlier try of this task was to create its lead for {earlier.contact},"
            f" this one for {contact}. Nothing was sent; start a new run for other leads."
        )
    intent = Intent(earlier.since if earlier else patience.now().isoformat(), contact=contact)
    creation = _Creation(api, body, marker, memory, patience)
    lead = None
    if earlier is not None and earlier.sent_at is not None:
        wait = seconds_until_settled(earlier.sent_at, patience)
        lead = find_after(lambda: creation.look(intent), wait, patience)
    if lead is None:
        lead = creation.sent(intent)
        sent = {name: value for name, value in body.items() if name != marker.field}
    else:
        sent = {}
    creation.note(msgspec.structs.replace(intent, lead_id=lead["id"]))
    warn_of_rewritten(api, sent, lead)
    _check_kept(lead, marker)
    return str(lead["id"])


class _Creation:
    """One lead on its way, in one try of a task."""

    def __init__(
        self, api: LeadsApi, body: Mapping[str, Any], marker: Marker, memory: Memory, patience: Patience
    ) -> None:
        self._api = api
        self._body = body
        self._marker = marker
        self._memory = memory
        self._patience = patience

    def note(self, intent: Intent) -> None:
        """Leave word to later tries."""
        self._memory.set(NOTE, msgspec.to_builtins(intent))

    def look(self, intent: Intent) -> Lead | None:
        """Look for the lead among those of its contact."""
        return find_created(self._api, self._body, self._marker, intent.since)

    def sent(self, intent: Intent) -> Lead:
        """Send the lead until it is surely there."""

        def send() -> Lead:
            self.note(msgspec.structs.replace(intent, sent_at=self._patience.now().isoformat()))
            try:
                return self._api.add_lead(**self._body)
            except PipedriveError as error:
                if not error.in_doubt:
                    self.note(intent)
                raise

        return sent_until_sure(send, lambda: self.look(intent), self._patience)


def find_created(api: LeadsApi, body: Mapping[str, Any], marker: Marker, since: str) -> Lead | None:
    """Look through the leads of a contact, newest first, active ones and then archived ones.

    :param body: what was sent.
    :param since: when it may first have been sent, ISO 8601; leads of up to five minutes before are looked at.
    :return: the lead with the marker, None if there is none.
    :raises PipedriveValidationError: it hangs on another contact too, or it may be there under another key.
    """
    oldest = moment_value("since", datetime.fromisoformat(since) - CLOCKS_APART)
    lookalike = None
    for lead in _newest_leads(api, body, oldest):
        if lead.get(marker.field) == marker.value:
            _check_contact(lead, body, marker)
            return lead
        if _may_be_overwritten(lead, body, marker):
            lookalike = lead
    if lookalike is not None:
        raise PipedriveValidationError(
            f"key_field: nobody can tell whether an earlier try created the lead with key {marker.value}. Lead"
            f" {lookalike['id']} of the same contact has the same title, but another origin_id, and some accounts"
            " overwrite what was sent. Look at it; name a custom text field in key_field to carry the key from now on."
        )
    return None


def _newest_leads(api: LeadsApi, body: Mapping[str, Any], oldest: str) -> Iterator[Lead]:
    name = next(name for name in CONTACTS if name in body)
    for leads in (api.get_leads, api.get_archived_leads):
        for lead in leads(**{name: body[name]}, sort="add_time DESC, id DESC"):
            if lead["add_time"] < oldest[:19]:
                break
            yield lead


def _check_contact(lead: Lead, body: Mapping[str, Any], marker: Marker) -> None:
    for name in CONTACTS:
        if name in body and lead.get(name) != body[name]:
            raise PipedriveValidationError(
                f"{name}: lead {lead['id']} has the key {marker.value}, but hangs on {name} {lead.get(name)} instead of"
                f" {body[name]}. Nothing was sent."
            )


def _may_be_overwritten(lead: Lead, body: Mapping[str, Any], marker: Marker) -> bool:
    """Whether a lead may be the one in question in an account that puts an ``origin_id`` of its own."""
    other = lead.get("origin_id")
    if marker.kept or marker.field != "origin_id" or not other or str(other).startswith(OWN_KEYS):
        return False
    return _folded(lead.get("title")) == _folded(body["title"])


def _folded(text: object) -> str:
    return re.sub(r"\s+", " ", str(text)).strip().casefold()


def _check_kept(lead: Lead, marker: Marker) -> None:
    if lead.get(marker.field) == marker.value:
        return
    log.warning(
        "Lead %s came back with another %s than it was sent with: this account does not keep it. If the outcome of a"
        " create is ever unknown, the task will fail rather than make a second lead; name a custom text field in"
        " key_field to carry the key.",
        lead["id"],
        marker.field if marker.field == "origin_id" else "key_field",
    )
