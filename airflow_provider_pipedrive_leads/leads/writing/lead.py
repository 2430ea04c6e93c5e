"""Writing one lead: its contact, its fields by any name, its labels, its key."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, field_of_key, find_field
from airflow_provider_pipedrive_leads.api.values import bool_value, is_gap, key_value, mapping_value
from airflow_provider_pipedrive_leads.leads.writing.comparing import warn_of_rewritten
from airflow_provider_pipedrive_leads.leads.writing.contacts import find_or_create_organization, find_or_create_person
from airflow_provider_pipedrive_leads.leads.writing.create_once import (
    CONTACTS,
    NOTE,
    Intent,
    Marker,
    create_once,
    noted_intent,
)
from airflow_provider_pipedrive_leads.leads.writing.settling import seconds_until_settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

log = logging.getLogger(__name__)

LONGEST_KEY = 255


class NewLead(msgspec.Struct, frozen=True, kw_only=True):
    """A lead to create.

    :param title: what it is called.
    :param key: its own key, which goes into ``origin_id``.
    :param key_field: a custom text field, by name or key, that carries the key too.
    :param person: find or create a person, instead of ``person_id``; see :mod:`leads.writing.contacts`.
    :param organization: find or create an organization, instead of ``organization_id``.
    :param fields: further fields by any name.
    """

    title: object
    key: object
    key_field: str | None = None
    person_id: int | str | None = None
    organization_id: int | str | None = None
    person: Mapping[str, Any] | None = None
    organization: Mapping[str, Any] | None = None
    fields: Mapping[str, Any] | None = None

    def checked(self) -> NewLead:
        """Give the same, once it is known that its parts go together.

        :raises PipedriveValidationError: they do not.
        """
        fields = mapping_value("fields", self.fields)
        for name in CONTACTS:
            kind = name.removesuffix("_id")
            if getattr(self, kind) and getattr(self, name) is not None:
                raise PipedriveValidationError(f"{kind}, {name}: give one of them, not both.")
        for name in ("title", "origin_id", *CONTACTS):
            if name in fields:
                raise PipedriveValidationError(f"fields: {name} is a parameter of its own; give it there.")
        if not any((self.person, self.organization)) and self.person_id is None and self.organization_id is None:
            raise PipedriveValidationError(
                "person_id, organization_id, person, organization: a lead needs at least one."
            )
        key = key_value("origin_id", self.key)
        if not 0 < len(key) <= LONGEST_KEY:
            raise PipedriveValidationError(f"origin_id: must have 1 to {LONGEST_KEY} characters.")
        contacts = {kind: mapping_value(kind, getattr(self, kind)) for kind in ("person", "organization")}
        return msgspec.structs.replace(self, key=key, fields=fields, **contacts)


def create_lead(api: LeadsApi, new: NewLead, memory: Memory, patience: Patience, *, began: str | None = None) -> str:
    """Create a lead once, and the contact it hangs on if there is none yet.

    :param memory: of this task, for all its tries.
    :param began: when an earlier try may have begun whose note is lost; None if there was none.
    :return: the lead's id.
    :raises PipedriveValidationError: found before anything is sent, but for the reads that names need.
    """
    earlier = noted_intent(memory, began=began)
    new = new.checked()
    ids = {name: getattr(new, name) for name in CONTACTS if getattr(new, name) is not None}
    if earlier is not None and earlier.lead_id:
        _check_same_contact(ids, earlier)
        log.info("An earlier try of this task created lead %s.", earlier.lead_id)
        return earlier.lead_id
    given = {name: value for name, value in (new.fields or {}).items() if not is_gap(value)}
    body = api.wire_fields({**given, "title": new.title, "origin_id": str(new.key), **ids})
    if "is_archived" in body:
        raise PipedriveValidationError("fields: a lead is created active; archive it by an update, not is_archived.")
    marker = _marker(api, new)
    body[marker.field] = marker.value
    body.update(_contacts(api, new, ids, memory, patience, earlier=earlier))
    return create_once(api, body, marker, memory, patience, earlier=earlier)


def _check_same_contact(ids: Mapping[str, int | str], made: Intent) -> None:
    """Whether a lead that was made is the one that is wanted: after clearing, a map index can mean another row."""
    for name, wanted in ids.items():
        if name in made.contact and str(wanted).strip() != str(made.contact[name]):
            raise PipedriveValidationError(
                f"{name}: an earlier try of this task created lead {made.lead_id} for {name} {made.contact[name]}, and"
                f" this one is for {wanted}. Nothing was sent; start a new run for other leads."
            )


def _marker(api: LeadsApi, new: NewLead) -> Marker:
    if not new.key_field:
        return Marker("origin_id", str(new.key))
    name, fields = str(new.key_field).strip(), api.catalogue().fields
    field = field_of_key("key_field", name, fields) if CUSTOM_KEY.fullmatch(name) else find_field(name, fields)
    if not field.of.may_be_key:
        raise PipedriveValidationError(f"key_field: {new.key_field!r} is a field of type {field.type}, not a text.")
    return Marker(field.key, str(new.key))


def _contacts(
    api: LeadsApi, new: NewLead, ids: Mapping[str, Any], memory: Memory, patience: Patience, *, earlier: Intent | None
) -> dict[str, int]:
    """Find or create whom a lead hangs on; the note of when that began leads a later try to what this one created.

    A later try may come before the server has finished what this one sent, so it looks until that has surely ended.
    """
    if not new.person and not new.organization:
        return {}
    if earlier is not None and earlier.contact and earlier.sent_at is not None:
        return {name: earlier.contact[name] for name in CONTACTS if name in earlier.contact}
    now = patience.now().isoformat()
    memory.set(NOTE, msgspec.to_builtins(msgspec.structs.replace(earlier or Intent(now), tried_at=now)))
    how: dict[str, Any] = {"settle": patience.settle, "sleep": patience.sleep}
    if earlier is not None:
        how["since"] = datetime.fromisoformat(earlier.since)
        how["unsettled"] = seconds_until_settled(earlier.tried_at or earlier.since, patience)
    found = {}
    if new.organization:
        found["organization_id"] = find_or_create_organization(api, new.organization, **how)
    if new.person:
        found["person_id"] = find_or_create_person(
            api, new.person, organization_id=found.get("organization_id") or ids.get("organization_id"), **how
        )
    return found


def update_lead(
    api: LeadsApi,
    lead_id: str,
    *,
    fields: Mapping[str, object] | None = None,
    add_labels: Sequence[str] = (),
    remove_labels: Sequence[str] = (),
    if_unchanged_since: datetime | str | None = None,
) -> None:
    """Change fields of a lead, and labels one by one.

    Labels are read, merged and written: what someone else changes about them in that moment is lost. An archived lead
    takes no other change, so restoring comes first and archiving comes last, each in a call of its own.

    :param fields: by any name; None unsets. ``label_ids`` replaces the whole set, ``is_archived`` archives or restores.
    :param if_unchanged_since: change nothing if the lead's ``update_time`` is later; UTC where no zone is given.
    :raises PipedriveValidationError: the lead was changed since then, or the parameters do not go together.
    """
    path_id("lead_id", lead_id)
    changes = dict(mapping_value("fields", fields))
    archive = _read_archive(changes)
    if (add_labels or remove_labels) and {"label_ids", "labels"} & changes.keys():
        raise PipedriveValidationError("fields: label_ids replaces all labels; use it or add_labels, not both.")
    add, remove = (api.wire_fields({"label_ids": labels})["label_ids"] for labels in (add_labels, remove_labels))
    wire = api.wire_fields(changes)
    if not wire and archive is None and not add and not remove:
        raise PipedriveValidationError("fields, add_labels, remove_labels: there is nothing to change.")
    if if_unchanged_since not in (None, ""):
        _check_unchanged(api.get_lead(lead_id), if_unchanged_since)
    if archive is False:
        api.update_lead(lead_id, is_archived=False)
    if add or remove:
        present = api.get_lead(lead_id)["label_ids"]
        wire["label_ids"] = [label for label in dict.fromkeys([*present, *add]) if label not in remove]
    if wire:
        lead = api.update_lead(lead_id, **wire)
        _check_labels_gone(lead, wire)
        warn_of_rewritten(api, wire, lead)
    if archive is True:
        api.update_lead(lead_id, is_archived=True)


def _check_labels_gone(lead: Lead, wire: Mapping[str, object]) -> None:
    """Whether an empty set of labels takes the last ones off is not documented."""
    if wire.get("label_ids") == [] and lead["label_ids"]:
        raise PipedriveValidationError(
            f"label_ids: Pipedrive kept the labels of lead {lead['id']}: this account does not take an empty set. Give"
            " the lead another label, or take the last one off in Pipedrive."
        )


def _read_archive(changes: dict[str, object]) -> bool | None:
    if "is_archived" not in changes:
        return None
    return bool_value("is_archived", changes.pop("is_archived"))


def _check_unchanged(lead: Lead, since: datetime | str | None) -> None:
    text = str(since).strip()
    try:
        moment = since if isinstance(since, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise PipedriveValidationError(
            f"if_unchanged_since: {text!r} is not a time like 2026-01-31T09:30:00.123Z."
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if datetime.fromisoformat(lead["update_time"]) > moment:
        raise PipedriveValidationError(
            f"if_unchanged_since: lead {lead['id']} was changed at {lead['update_time']}, after {text}."
            " This try sent nothing, but the change may be an earlier try's: read the lead again and decide anew."
        )
