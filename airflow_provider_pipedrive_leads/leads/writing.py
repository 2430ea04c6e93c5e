"""Writing one lead: its contact, its fields by any name, its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.contacts import find_or_create_organization, find_or_create_person

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi


def create_lead(
    api: LeadsApi,
    *,
    title: str,
    person_id: int | str | None = None,
    organization_id: int | str | None = None,
    person: Mapping[str, object] | None = None,
    organization: Mapping[str, object] | None = None,
    fields: Mapping[str, object] | None = None,
    origin_id: str | None = None,
) -> Lead:
    """Create a lead, and the contact it hangs on if there is none yet.

    :param person: find or create a person; instead of ``person_id``. See :mod:`leads.contacts`.
    :param organization: find or create an organization; instead of ``organization_id``.
    :param fields: further fields by any name.
    :return: the whole lead.
    :raises PipedriveValidationError: found before anything is sent, but for the reads that names need.
    """
    named: dict[str, object] = {
        "title": title,
        "person_id": person_id,
        "organization_id": organization_id,
        "origin_id": origin_id,
    }
    _refuse_twice("person", person, person_id)
    _refuse_twice("organization", organization, organization_id)
    for name in named:
        if name in (fields or {}):
            raise PipedriveValidationError(f"fields: {name} is a parameter of its own; give it there.")
    if not any((person, organization)) and person_id is None and organization_id is None:
        raise PipedriveValidationError("person_id, organization_id, person, organization: a lead needs at least one.")
    wire = api.wire_fields({**(fields or {}), **{name: value for name, value in named.items() if value is not None}})
    if organization:
        wire["organization_id"] = find_or_create_organization(api, organization)
    if person:
        wire["person_id"] = find_or_create_person(api, person)
    return api.add_lead(**wire)


def _refuse_twice(parameter: str, contact: object, contact_id: object) -> None:
    if contact and contact_id is not None:
        raise PipedriveValidationError(f"{parameter}, {parameter}_id: give one of them, not both.")


def update_lead(
    api: LeadsApi,
    lead_id: str,
    *,
    fields: Mapping[str, object] | None = None,
    add_labels: Sequence[str] = (),
    remove_labels: Sequence[str] = (),
) -> Lead:
    """Change fields of a lead, and labels one by one.

    Labels are read, merged and written: what someone else changes about them in that moment is lost.

    :param fields: by any name; None unsets. ``label_ids`` replaces the whole set.
    :return: the whole lead.
    """
    path_id("lead_id", lead_id)
    changes = dict(fields or {})
    if add_labels or remove_labels:
        if "label_ids" in changes:
            raise PipedriveValidationError("fields: label_ids replaces all labels; use it or add_labels, not both.")
        add, remove = (api.wire_fields({"label_ids": labels})["label_ids"] for labels in (add_labels, remove_labels))
        present = api.get_lead(lead_id)["label_ids"]
        changes["label_ids"] = [label for label in dict.fromkeys([*present, *add]) if label not in remove]
    return api.update_lead(lead_id, **changes)
