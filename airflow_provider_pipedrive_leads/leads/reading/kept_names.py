"""Cached names of fields, options and labels, for runs that read few leads.

They save 30 tokens, where a page costs 20. A lead with a field, option or label that they lack shows that the cache may
be stale: the names are then fetched again, and if they have changed, the read starts over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.flat_values import option_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_pipedrive_leads.api.fields import Catalogue
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

KEY = re.compile(r"[0-9a-f]{40}(?=_|$)")
Result = TypeVar("Result")

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class StaleNamesError(Exception):
    """A lead has a field, option or label that the cached names lack and fresh ones have."""


class KeptNames:
    """Names that may be stale.

    :ivar catalogue: of the account.
    """

    def __init__(self, api: LeadsApi) -> None:
        self._api = api
        self._may_be_stale = True
        self._take(api.catalogue())

    def _take(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._options = {
            field.key: {option.id for option in field.options} if field.of.options else None
            for field in catalogue.fields
        }

    def renew(self) -> bool:
        """Fetch them again, once; tell whether they have changed."""
        if not self._may_be_stale:
            return False
        self._may_be_stale = False
        before = self.catalogue
        self._take(self._api.fresh_catalogue())
        return self.catalogue != before

    def looked_up(self, look_up: Callable[[Catalogue], Result]) -> Result:
        """Look something up in them, and in fresh ones if it is not there.

        :raises PipedriveValidationError: it is in neither.
        """
        try:
            return look_up(self.catalogue)
        except PipedriveValidationError:
            if not self.renew():
                raise
        return look_up(self.catalogue)

    def check(self, leads: Iterable[msgspec.Raw]) -> None:
        """Look for leads with something that has no name.

        :raises StaleNamesError: one has such a thing, which has a name by now.
        """
        if self._may_be_stale and any(self._lacks(_decode(lead)) for lead in leads) and self.renew():
            raise StaleNamesError

    def _lacks(self, lead: dict[str, Any]) -> bool:
        labels = lead.get("label_ids")
        if isinstance(labels, list) and not all(label in self.catalogue.labels for label in labels):
            return True
        for name, value in lead.items():
            key = KEY.match(name)
            if key is None:
                continue
            if key[0] not in self._options:
                return True
            options = self._options[key[0]]
            if options is not None and value is not None and not options.issuperset(option_ids(value)):
                return True
        return False
