"""The layout ``common``: the fields that unified CRM APIs give for a lead of any CRM.

Such an API takes a lead for a person who may buy: names, addresses and numbers come from the person that a Pipedrive
lead hangs on. Field by field: docs/common-layout.md.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.leads.reading.columns import (
    STANDARD_KEYS,
    LeadColumn,
    named_columns,
)
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import primary_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField
    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.leads.reading.columns import Read, Values
    from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import Address, ContactsOfLeads, Reachable

    Value = Callable[..., Any]

GONE_KEY = "common.remote_was_deleted"
"""The key of the column that is true in the rows of leads that are gone."""
COMMON_EXPAND = ("person", "organization")
"""Whom the layout needs to have looked up."""


def common_columns(contacts: ContactsOfLeads, catalogue: Catalogue) -> list[LeadColumn]:
    """Give the columns of the layout.

    :param contacts: looks up :data:`COMMON_EXPAND`, or more.
    """
    person, organization = contacts.person, contacts.organization
    postal, seat = _told(person, "postal_address"), _told(organization, "address")
    emails, phones = _told(person, "emails"), _told(person, "phones")
    return [
        LeadColumn(Column("id", "text", "id"), itemgetter("id"), ("id",)),
        _same("remote_id", "text", "id"),
        _column("owner", "text", _owner, "owner_id"),
        _same("lead_source", "text", "source_name"),
        _column("title", "text", _told(person, "job_title"), "person_id"),
        _column("company", "text", _told(organization, "name"), "organization_id"),
        _column("first_name", "text", _told(person, "first_name"), "person_id"),
        _column("last_name", "text", _told(person, "last_name"), "person_id"),
        _column(
            "addresses",
            "json",
            lambda person, organization: _addresses(postal(person), seat(organization)),
            "person_id",
            "organization_id",
        ),
        _column("email_addresses", "json", lambda person: _labelled("email_address", emails(person)), "person_id"),
        _column("phone_numbers", "json", lambda person: _labelled("phone_number", phones(person)), "person_id"),
        _same("remote_created_at", "timestamp", "add_time"),
        _same("remote_updated_at", "timestamp", "update_time"),
        _column("converted_date", "timestamp", _nothing, "id"),
        _column("converted_contact", "text", _nothing, "id"),
        _column("converted_account", "text", _nothing, "id"),
        _column("remote_was_deleted", "boolean", bool, GONE),
        _field_mappings(catalogue),
        _remote_data(catalogue),
    ]


def _column(name: str, kind: Kind, value: Value, *keys: str) -> LeadColumn:
    """A column whose value is made of what one lead has under some keys."""

    def read(values: Values) -> list[Any]:
        return list(map(value, *(values[key] for key in keys)))

    return LeadColumn(Column(name, kind, f"common.{name}"), read, keys)


def _same(name: str, kind: Kind, key: str) -> LeadColumn:
    """A column of what leads have under a key."""
    return LeadColumn(Column(name, kind, f"common.{name}"), itemgetter(key), (key,))


def _told(contact_of: Value, name: str) -> Value:
    """Read what the contact of an id tells; None without a contact."""
    value = attrgetter(name)

    def read(contact_id: int | None) -> Any:
        contact = contact_of(contact_id)
        return None if contact is None else value(contact)

    return read


def _nothing(_: Any) -> None:
    """A converted lead is in neither list: of those that are, Pipedrive has nothing to tell here."""


GONE = "is_deleted"
"""Set in rows of leads that were found gone; Pipedrive's own lists have no such lead, and no such key."""


def _owner(owner_id: int | None) -> str | None:
    return None if owner_id is None else str(owner_id)


def _labelled(name: str, reachables: Iterable[Reachable] | None) -> list[dict[str, Any]]:
    return [{name: one.value, f"{name}_type": one.label} for one in primary_first(reachables)]


def _addresses(*addresses: Address | None) -> list[dict[str, Any]]:
    return [
        {
            "street_1": _street(address),
            "street_2": address.subpremise,
            "city": address.locality,
            "state": address.admin_area_level_1,
            "postal_code": address.postal_code,
            "country": address.country,
            "address_type": None,
        }
        for address in addresses
        if address is not None and address.value
    ]


def _street(address: Address) -> str | None:
    """Street and number in the order in which people wrote them; the whole address where no street was made out."""
    if not address.route:
        return address.value
    if not address.street_number:
        return address.route
    street_first = f"{address.route} {address.street_number}"
    return street_first if street_first in (address.value or "") else f"{address.street_number} {address.route}"


def _field_mappings(catalogue: Catalogue) -> LeadColumn:
    reads = {column.keys[0]: column.read for column in named_columns(catalogue)}
    names = [field.name for field in catalogue.fields]
    fields = {
        field.name if names.count(field.name) == 1 else field.key: _field_read(field, reads)
        for field in catalogue.fields
    }

    def read(values: Values) -> list[dict[str, Any]]:
        columns = [read_field(values) for read_field in fields.values()]
        return [
            {name: column[place] for name, column in zip(fields, columns, strict=True)}
            for place in range(len(values["id"]))
        ]

    return LeadColumn(Column("field_mappings", "json", "common.field_mappings"), read, _custom_keys(catalogue))


def _parts(field: CustomField) -> tuple[str, ...]:
    """What the values under the first keys of a field are, where one value is not all."""
    return (field.of.first, next(iter(field.of.parts))) if field.of.first else ()


def _field_read(field: CustomField, reads: dict[str, Read]) -> Read:
    parts = _parts(field)
    if not parts:
        return reads[field.key]
    of_parts = [reads[key] for key in list(field.keys)[: len(parts)]]

    def read(values: Values) -> Sequence[Any]:
        rows = zip(*(read_part(values) for read_part in of_parts), strict=True)
        return [None if all(value is None for value in row) else dict(zip(parts, row, strict=True)) for row in rows]

    return read


def _remote_data(catalogue: Catalogue) -> LeadColumn:
    """The lead as the API gave it: what every lead has also where it is null, custom fields where they are set."""
    keys = (*STANDARD_KEYS, *_custom_keys(catalogue))
    always = frozenset(STANDARD_KEYS)

    def read(values: Values) -> list[dict[str, Any] | None]:
        rows = zip(*(values[key] for key in keys), strict=True)
        return [
            None
            if gone
            else {key: value for key, value in zip(keys, row, strict=True) if value is not None or key in always}
            for gone, row in zip(values[GONE], rows, strict=True)
        ]

    return LeadColumn(Column("remote_data", "json", "common.remote_data"), read, (*keys, GONE))


def _custom_keys(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(key for field in catalogue.fields for key in field.keys)
