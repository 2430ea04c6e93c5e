"""Leads as rows: laid out by the names of the account, made column by column."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.api.fields import Catalogue
from airflow_provider_pipedrive_leads.leads.reading.columns import (
    columns_for,
    key_columns,
    layout_of,
    named_columns,
    picked,
)
from airflow_provider_pipedrive_leads.leads.reading.common_layout import COMMON_EXPAND, common_columns
from airflow_provider_pipedrive_leads.leads.reading.contacts_of_leads import ContactsOfLeads, checked_expand
from airflow_provider_pipedrive_leads.leads.reading.kept_names import KeptNames, StaleNamesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.files.table import Batch
    from airflow_provider_pipedrive_leads.leads.reading.columns import Layout, LeadColumn
    from airflow_provider_pipedrive_leads.leads.reading.deleted import Gone

log = logging.getLogger(__name__)
Result = TypeVar("Result")

FEW_LEADS = 5_000
"""Up to this many leads are checked for names that the cache lacks; beside the pages of more, 30 tokens are nothing."""
LAYOUTS = ("pipedrive", "common")
GONE_KEYS = {"id", "is_deleted", "converted_deal_id"}
"""What is known of a lead that is gone."""


class Rows:
    """Makes rows of leads, column by column.

    :ivar layout: the columns, and the shape in which leads are to be read for them.
    :ivar names: those that the columns were made by, if they may be too old.
    """

    def __init__(
        self,
        layout: Layout,
        contacts: ContactsOfLeads | None,
        labels_there: Callable[[], object],
        names: KeptNames | None = None,
    ) -> None:
        self.layout = layout
        self.names = names
        self._contacts = contacts
        self._labels_there = labels_there

    def batch(self, leads: Sequence[Any]) -> Batch:
        """Look up who belongs to some leads, as far as asked for, and read their columns."""
        self._labels_there()
        if self._contacts is not None:
            self._contacts.look_up(leads)
        return self.layout.batch(leads)

    def decoded(self, texts: Sequence[bytes | msgspec.Raw]) -> list[Any]:
        """Read leads that are texts so far."""
        row = self.layout.shape.row
        leads: list[Any] = msgspec.json.decode(b"[" + b",".join(texts) + b"]", type=list[row])  # type: ignore[valid-type]
        return leads

    def batch_of_gone(self, gone: Sequence[Gone]) -> Batch:
        """Rows of leads that are no longer there."""
        batch = self.layout.batch(self.decoded([lead.text for lead in gone]))
        return [
            values if column.keys and GONE_KEYS.issuperset(column.keys) else [None] * len(gone)
            for column, values in zip(self.layout.columns, batch, strict=True)
        ]


@contextmanager
def rows_for(
    api: LeadsApi,
    columns: str | Sequence[str] = "names",
    *,
    expand: Sequence[str] = (),
    layout: str = "pipedrive",
    more: Sequence[LeadColumn] = (),
    completed: Callable[[Sequence[LeadColumn]], Sequence[LeadColumn]] = tuple,
    names: KeptNames | None = None,
) -> Iterator[Rows]:
    """Lay out rows.

    :param columns: ``"names"``: readable columns; ``"keys"``: as the API gives it; or a list of column names.
    :param expand: whose names, e-mails and phones to add: ``person``, ``organization``, ``owner``.
    :param layout: ``"pipedrive"``, or ``"common"``: what unified CRM APIs give; ``columns`` then picks of that.
    :param more: further columns behind.
    :param completed: makes all columns that are laid out of those that were chosen.
    :param names: what the account calls things; None: it is asked now (30 tokens), for labels while pages are read.
    :raises PipedriveConfigError: there is no such layout.
    :raises PipedriveValidationError: there is no such column, or none such to add.
    """
    if layout not in LAYOUTS:
        raise PipedriveConfigError(f"layout: {layout!r} is none of {', '.join(LAYOUTS)}.")
    asked = checked_expand(expand)
    if layout == "common":
        asked = tuple(dict.fromkeys((*COMMON_EXPAND, *asked)))
    with ThreadPoolExecutor(1, thread_name_prefix="pipedrive-labels") as thread, ExitStack() as stack:
        contacts = stack.enter_context(ContactsOfLeads(api, asked)) if asked else None

        def chosen(catalogue: Catalogue) -> list[LeadColumn]:
            if contacts is not None and layout == "common":
                return picked(columns, [*common_columns(contacts, catalogue), *more])
            taken = [column.name for column in [*key_columns(catalogue), *named_columns(catalogue)]]
            joined = contacts.columns(taken) if contacts is not None else []
            return columns_for(columns, catalogue, [*joined, *more])

        if names is not None:
            yield Rows(layout_of(completed(names.looked_up(chosen))), contacts, lambda: None, names)
            return
        catalogue = Catalogue(api.read_custom_fields(), {})
        # The columns know this dict already; it is filled before the first row is made.
        labels_there = thread.submit(lambda: catalogue.labels.update(api.read_labels())).result
        yield Rows(layout_of(completed(chosen(catalogue))), contacts, labels_there)


def with_names(api: LeadsApi, *, few: bool, read: Callable[[KeptNames | None], Result]) -> Result:
    """Read leads with cached names if few are expected, and start over with fresh ones if the cache proves stale.

    :param read: is given the cached names, or None if it should fetch them itself.
    """
    if not few:
        return read(None)
    names = KeptNames(api)
    try:
        return read(names)
    except StaleNamesError:
        log.info("A lead has a field, option or label that the cached names lack: starting over with fresh names.")
        return read(names)
