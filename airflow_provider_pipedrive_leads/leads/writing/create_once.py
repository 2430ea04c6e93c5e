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
import unicodedata
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.writing.comparing import warn_of_rewritten
from airflow_provider_pipedrive_leads.leads.writing.settling import (
    find_after,
    seconds_until_settled,
    sent_until_sure,
    surely_before,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

log = logging.getLogger(__name__)

OWN_KEYS = "airflow-"
"""What a key begins with that was made here."""
LEAST_CUT = 20
"""Characters of a title that may be another one cut off; shorter ones begin many titles."""
BY_HAND = "ManuallyCreated"
"""The ``origin`` of what people enter."""
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
        return find_created(self._api, self._body, self._marker, intent.since, self._patience)

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


def find_created(api: LeadsApi, body: Mapping[str, Any], marker: Marker, since: str, patience: Patience) -> Lead | None:
    """Look through the leads of a contact, newest first, active ones and then archived ones.

    :param body: what was sent.
    :param since: when it may first have been sent, ISO 8601, by this machine's clock; leads of up to five minutes
        before are looked at.
    :return: the lead with the marker, None if there is none.
    :raises PipedriveValidationError: it hangs on another contact too, or it may be there under another key.
    """
    lookalike = None
    for lead in _newest_leads(api, body, lambda: surely_before(api, since, patience)):
        if marker.value in (lead.get(marker.field), lead.get("origin_id")):
            _check_contact(lead, body, marker)
            return lead
        if _may_be_ours(lead, body, marker):
            lookalike = lead
    if lookalike is not None:
        raise PipedriveValidationError(
            f"key_field: nobody can tell whether an earlier try created the lead with key {marker.value}. Lead"
            f" {lookalike['id']} of the same contact has the same title, but not this key, and some accounts drop or"
            " overwrite what was sent. Look at it; name a custom text field in key_field to carry the key from now on."
        )
    return None


def _newest_leads(api: LeadsApi, body: Mapping[str, Any], oldest: Callable[[], datetime]) -> Iterator[Lead]:
    name = next(name for name in CONTACTS if name in body)
    for leads in (api.get_leads, api.get_archived_leads):
        for lead in leads(**{name: body[name]}, sort="add_time DESC, id DESC"):
            if lead["add_time"] < moment_value("since", oldest())[:19]:
                break
            yield lead


def _check_contact(lead: Lead, body: Mapping[str, Any], marker: Marker) -> None:
    for name in CONTACTS:
        if name in body and lead.get(name) != body[name]:
            raise PipedriveValidationError(
                f"{name}: lead {lead['id']} has the key {marker.value}, but hangs on {name} {lead.get(name)} instead of"
                f" {body[name]}. Nothing was sent."
            )


def _may_be_ours(lead: Lead, body: Mapping[str, Any], marker: Marker) -> bool:
    """Whether a lead may be the one in question, in an account that does not keep the key that it was sent with."""
    others = str(lead.get("origin_id") or "").startswith(OWN_KEYS) or (
        marker.field != "origin_id" and lead.get(marker.field)
    )
    if marker.kept or others or lead.get("origin") == BY_HAND:
        return False
    there, sent = _folded(lead.get("title")), _folded(body["title"])
    may_be_cut = len(there) >= LEAST_CUT and sent.startswith(there)
    return may_be_cut or there == sent


def _folded(text: object) -> str:
    return " ".join(unicodedata.normalize("NFKC", str(text or "")).casefold().split())


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
