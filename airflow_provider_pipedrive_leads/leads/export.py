"""Exporting leads: a selection, laid out in columns, written to one file that appears whole."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.files.formats import format_of
from airflow_provider_pipedrive_leads.files.publishing import Place, publishing
from airflow_provider_pipedrive_leads.leads.columns import columns_for
from airflow_provider_pipedrive_leads.leads.reading import Selection, read_leads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi

log = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 2.0
EARLIEST_REPORT = 500


class Exported(msgspec.Struct):
    """What an export wrote.

    :param rows: leads written.
    :param updated_until: the latest ``update_time`` among them, by the server's clock; None without rows.
    """

    rows: int = 0
    updated_until: str | None = None

    def count(self, lead: Lead) -> None:
        """Take note of a lead that was written."""
        self.rows += 1
        self.updated_until = max(self.updated_until or "", lead["update_time"])


def export_leads(
    api: LeadsApi, selection: Selection, place: Place, *, columns: str | Sequence[str] = "names"
) -> Exported:
    """Write the selected leads to a file whose suffix names its format.

    :param columns: ``"names"``: readable columns; ``"keys"``: as the API gives it; or a list of column names.
    :raises PipedriveConfigError: the path, its suffix or a parameter cannot work; nothing was read.
    """
    file_format = format_of(place.path)
    selection = selection.checked()
    exported = Exported()
    with publishing(place) as file:
        names, row_of = _layout(api, columns, as_given=file_format.rows == "jsonl")
        with file_format.rows_to(file, names) as rows:
            for lead in _reported(read_leads(api, selection)):
                rows.write(row_of(lead))
                exported.count(lead)
    return exported


def _layout(
    api: LeadsApi, columns: str | Sequence[str], *, as_given: bool
) -> tuple[list[str], Callable[[Lead], Mapping[str, Any]]]:
    """Column names, and the row of a lead. JSON lines by keys take a lead as it came and need no catalogue."""
    if columns == "keys" and as_given:
        return [], lambda lead: lead
    laid_out = columns_for(columns, api.read_catalogue())
    return [column.name for column in laid_out], lambda lead: {column.name: column.read(lead) for column in laid_out}


def _reported(leads: Iterator[Lead]) -> Iterator[Lead]:
    """Pass leads on, and say in the log every few seconds how far it is."""
    started = last = time.monotonic()
    for count, lead in enumerate(leads, 1):
        yield lead
        now = time.monotonic()
        if count % EARLIEST_REPORT == 0 and now - last >= SECONDS_BETWEEN_REPORTS:
            last = now
            log.info("%d leads so far, %.0f a second.", count, count / (now - started))
