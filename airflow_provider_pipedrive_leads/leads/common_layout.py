"""The layout ``common``: the fields that unified CRM APIs give for a lead of any CRM.

Such an API takes a lead for a person who may buy: names, addresses and numbers come from the person that a Pipedrive
lead hangs on. Field by field: docs/common-layout.md.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.fields import RANGE_TYPES
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.leads.columns import (
    STANDARD_KEYS,
    LeadColumn,
    attribute,
    field_keys,
    named_columns,
)
from airflow_provider_pipedrive_leads.leads.contacts_of_leads import primary_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField
    from airflow_provider_pipedrive_leads.files.table import Kind
    from airflow_provider_pipedrive_leads.leads.columns import Read, Rows
    from airflow_provider_pipedrive_leads.leads.contacts_of_leads import Address, ContactsOfLeads, Reachable

    Value = Callable[[Any], Any]

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
        LeadColumn(Column("id", "text", "id"), _each(attrgetter("id")), ("id",)),
        _column("remote_id", "text", attrgetter("id"), "id"),
        _column("owner", "text", _owner, "owner_id"),
        _column("lead_source", "text", attrgetter("source_name"), "source_name"),
        _column("title", "text", _told(person, "job_title"), "person_id"),
        _column("company", "text", _told(organization, "name"), "organization_id"),
        _column("first_name", "text", _told(person, "first_name"), "person_id"),
        _column("last_name", "text", _told(person, "last_name"), "person_id"),
        _column("addresses", "json", lambda lead: _addresses(postal(lead), seat(lead)), "person_id", "organization_id"),
        _column("email_addresses", "json", lambda lead: _labelled("email_address", emails(lead)), "person_id"),
        _column("phone_numbers", "json", lambda lead: _labelled("phone_number", phones(lead)), "person_id"),
        _column("remote_created_at", "moment", attrgetter("add_time"), "add_time"),
        _column("remote_updated_at", "moment", attrgetter("update_time"), "update_time"),
        _column("converted_date", "moment", _nothing),
        _column("converted_contact", "text", _nothing),
        _column("converted_account", "text", _nothing),
        _column("remote_was_deleted", "boolean", lambda lead: bool(_gone(lead)), "is_deleted"),
        _field_mappings(catalogue),
        _remote_data(catalogue),
    ]


def _column(name: str, kind: Kind, value: Value, *keys: str) -> LeadColumn:
    return LeadColumn(Column(name, kind, f"common.{name}"), _each(value), keys)


def _each(value: Value) -> Read:
    return lambda leads: list(map(value, leads))


def _told(contact_of: Value, name: str) -> Value:
    """Read what a lead's contact tells; None without a contact."""
    value = attrgetter(name)

    def read(lead: Any) -> Any:
        contact = contact_of(lead)
        return None if contact is None else value(contact)

    return read


def _nothing(_: Any) -> None:
    """A converted lead is in neither list: of those that are, Pipedrive has nothing to tell here."""


_gone = attrgetter(attribute("is_deleted"))
"""Set in rows of leads that were found gone; Pipedrive's own lists have no such lead, and no such key."""


def _owner(lead: Any) -> str | None:
    return None if lead.owner_id is None else str(lead.owner_id)


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

    def read(leads: Rows) -> list[dict[str, Any]]:
        columns = [read_field(leads) for read_field in fields.values()]
        return [
            {name: column[place] for name, column in zip(fields, columns, strict=True)} for place in range(len(leads))
        ]

    return LeadColumn(Column("field_mappings", "json", "common.field_mappings"), read, _custom_keys(catalogue))


def _parts(field: CustomField) -> tuple[str, ...]:
    """What the values under the first keys of a field are, where one value is not all."""
    if field.type == "monetary":
        return ("amount", "currency")
    return ("from", "until") if field.type in RANGE_TYPES else ()


def _field_read(field: CustomField, reads: dict[str, Read]) -> Read:
    parts = _parts(field)
    if not parts:
        return reads[field.key]
    of_parts = [reads[key] for key in field_keys(field)[: len(parts)]]

    def read(leads: Rows) -> Sequence[Any]:
        rows = zip(*(read_part(leads) for read_part in of_parts), strict=True)
        return [None if all(value is None for value in row) else dict(zip(parts, row, strict=True)) for row in rows]

    return read


def _remote_data(catalogue: Catalogue) -> LeadColumn:
    """The lead as the API gave it: what every lead has also where it is null, custom fields where they are set."""
    keys = (*STANDARD_KEYS, *_custom_keys(catalogue))
    always = frozenset(STANDARD_KEYS)
    values = attrgetter(*map(attribute, keys))

    def read(leads: Rows) -> list[dict[str, Any] | None]:
        return [
            None
            if _gone(lead)
            else {
                key: value for key, value in zip(keys, values(lead), strict=True) if value is not None or key in always
            }
            for lead in leads
        ]

    return LeadColumn(Column("remote_data", "json", "common.remote_data"), read, (*keys, "is_deleted"))


def _custom_keys(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(key for field in catalogue.fields for key in field_keys(field))
