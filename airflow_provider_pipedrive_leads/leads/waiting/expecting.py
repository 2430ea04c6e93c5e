"""Whether a lead is as somebody expects it: fields by any name, options and labels by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.field_types import READ_ONLY
from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, KEY_LENGTH, custom_to_wire, differing, near_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi


def compile_expectation(api: LeadsApi, expected: object) -> Callable[[dict[str, Any]], bool]:
    """Make a test for leads out of expected values.

    :param api: tells the account's fields and labels; asked only where that is needed.
    :param expected: values by API name, custom-field key or custom-field name; None for unset.
    :raises PipedriveValidationError: it is no mapping, is empty, or there is no such field, option or label.
    """
    wanted = wanted_values(api, expected)
    return lambda lead: not differing(wanted, lead)


def wanted_values(api: LeadsApi, expected: object) -> dict[str, JSON]:
    """Give expected values the form in which the API shows leads; see :func:`compile_expectation`.

    :return: JSON values by API name or key, for :func:`api.fields.differing`.
    """
    if not isinstance(expected, dict) or not expected:
        raise PipedriveValidationError(f"expected: {str(expected)[:80]!r} is not a mapping of fields to values.")
    wanted: dict[str, JSON] = {}
    for name, value in expected.items():
        wanted |= _wanted_value(api, str(name), value)
    return wanted


def _wanted_value(api: LeadsApi, name: str, value: object) -> Mapping[str, JSON]:
    if name in READ_ONLY:
        return {name: value}
    if not CUSTOM_KEY.fullmatch(name):
        return api.wire_fields({name: value})
    field = next((field for field in api.catalogue().fields if field.key == name[:KEY_LENGTH]), None)
    if field is None:
        known = [field.key for field in api.catalogue().fields]
        raise PipedriveValidationError(f"expected: there is no lead field {name!r}.{near_names(name, known)}")
    return custom_to_wire(field, value) if name == field.key else api.wire_fields({name: value})
