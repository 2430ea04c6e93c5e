"""Whether a lead has what is wanted, field by field; how each type is compared, :mod:`api.field_types` says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.alike import TEXT, Alike
from airflow_provider_pipedrive_leads.api.field_types import STANDARD_FIELDS
from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, KEY_LENGTH, Catalogue
from airflow_provider_pipedrive_leads.api.flat_values import part_of, plain
from airflow_provider_pipedrive_leads.leads.reading.columns import attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

log = logging.getLogger(__name__)


class Comparison:
    """Compares leads with wanted wire values.

    :param catalogue: tells the types of custom fields.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._likenesses = {name: field.alike for name, field in STANDARD_FIELDS.items()}
        self._fields: dict[str, str] = {}
        for field in catalogue.fields:
            self._likenesses.update((key, of.alike) for key, of in field.keys.items())
            self._fields.update(dict.fromkeys(field.keys, field.key))
        self._attributes = {key: attribute(key) for key in self._likenesses}

    def differing(self, wanted: Mapping[str, JSON], lead: Any) -> list[str]:
        """Name the keys in which a lead has not what is wanted.

        :param lead: has the attributes that :func:`leads.reading.columns.attribute` names, None where one is not set.
        """
        likenesses, attributes = self._likenesses, self._attributes
        names = []
        for key, value in wanted.items():
            found = getattr(lead, attributes[key])
            if value != found and not _alike(likenesses[key].stored, value, self._flat(key, found, lead)):
                names.append(key)
        return names

    def _flat(self, key: str, found: JSON, lead: Any) -> JSON:
        """What a lead has under a key of a custom field, in v1's form, though it may be in another."""
        field = self._fields.get(key)
        if field is None:
            return found
        if found is None and key != field:
            return part_of(getattr(lead, self._attributes[field]), key.removeprefix(f"{field}_"))
        return plain(found)

    def rewritten(self, sent: Mapping[str, JSON], lead: Mapping[str, JSON]) -> list[str]:
        """Name the keys under which a lead came back with something else than was sent."""
        return [
            key
            for key, value in sent.items()
            if value != lead.get(key) and not _alike(self._likenesses.get(key, TEXT).equal, value, lead.get(key))
        ]


def warn_of_rewritten(api: LeadsApi, sent: Mapping[str, JSON], lead: Mapping[str, JSON]) -> None:
    """Warn of fields whose value in the reply differs from what was sent; values are not shown."""
    is_custom = any(CUSTOM_KEY.fullmatch(key) for key in sent)
    catalogue = api.catalogue() if is_custom else Catalogue()
    keys = Comparison(catalogue).rewritten(sent, lead)
    if keys:
        names = {field.key: field.name for field in catalogue.fields}
        told = dict.fromkeys(names.get(key[:KEY_LENGTH], key) for key in keys)
        log.warning(
            "Lead %s: Pipedrive stored a value other than the one sent in: %s.", lead.get("id"), ", ".join(told)
        )


def _alike(alike: Alike, wanted: JSON, present: JSON) -> bool:
    if wanted is None or present is None or wanted == [] or present == []:
        return _is_empty(wanted) and _is_empty(present)
    return alike(wanted, present)


def _is_empty(value: JSON) -> bool:
    return value in (None, "", [])
