"""Exporting leads: a selection, laid out in columns, delivered to a file, to parts or to a table."""

from __future__ import annotations

import logging
import math
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import GET_LEADS
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveDailyBudgetError
from airflow_provider_pipedrive_leads.files.destination import check, writing_lines, writing_table
from airflow_provider_pipedrive_leads.files.suffixes import format_of
from airflow_provider_pipedrive_leads.files.table import Column  # noqa: TC001 - msgspec reads the annotations
from airflow_provider_pipedrive_leads.leads.reading.archiving import archived_at
from airflow_provider_pipedrive_leads.leads.reading.complete import LARGEST_PAGE, Reading, Selection, id_number
from airflow_provider_pipedrive_leads.leads.reading.deleted import Gone, KnownIds, gone_columns
from airflow_provider_pipedrive_leads.leads.reading.lead_rows import FEW_LEADS, rows_for, with_names
from airflow_provider_pipedrive_leads.leads.reading.pages import AS_GIVEN, LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Set

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.files.publishing import Place
    from airflow_provider_pipedrive_leads.files.table import Batch
    from airflow_provider_pipedrive_leads.leads.reading.kept_names import KeptNames
    from airflow_provider_pipedrive_leads.leads.reading.lead_rows import Rows
    from airflow_provider_pipedrive_leads.leads.reading.pages import Shape

log = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 2.0
ANY_TIME = timedelta(seconds=1)


class Window(msgspec.Struct, frozen=True):
    """What is known before a read.

    :param changed_since: read only what changed since this second; None for a full read.
    :param delivered_since: of a full read, deliver only what changed since this second, and what was not there before.
    :param moves_unseen: see :class:`leads.reading.complete.Reading`.
    :param expected: about how many active leads there are; None if nobody knows.
    """

    changed_since: str | None = None
    delivered_since: str | None = None
    moves_unseen: bool = False
    expected: int | None = None


class Exported(msgspec.Struct):
    """What an export delivered.

    :param rows: leads delivered.
    :param unchanged: leads that were read and not delivered; None where all are.
    :param updated_until: the latest ``update_time`` among them, by Pipedrive's clock; None without rows.
    :param files: as a user would open them; empty for a table.
    :param ids: of all leads that were read, as numbers.
    :param active: leads of the list of active ones.
    :param moves_unseen: whether the account does not move ``update_time`` when leads are archived.
    :param columns: the columns of a table; empty where leads are as the API gave them.
    :param gone: leads that are no longer there, if they were looked for; not among the rows.
    """

    rows: int = 0
    unchanged: int | None = None
    updated_until: str | None = None
    files: list[str] = []
    ids: set[int | str] = set()
    active: int = 0
    moves_unseen: bool = False
    columns: list[Column] = []
    gone: list[Gone] = []

    @property
    def in_words(self) -> str:
        """What was delivered, for the log."""
        if self.unchanged is not None:
            return f"{self.rows} changed, {len(self.gone)} deleted, {self.unchanged} unchanged leads"
        return f"{self.rows} leads{f', {len(self.gone)} deleted' if self.gone else ''}"


def export_leads(
    api: LeadsApi,
    selection: Selection,
    place: Place,
    *,
    columns: str | Sequence[str] = "names",
    expand: Sequence[str] = (),
    layout: str = "pipedrive",
    rows_per_file: int | str | None = None,
    run_key: str = "",
    window: Window | None = None,
    known: KnownIds | None = None,
) -> Exported:
    """Write the selected leads to a file whose suffix names its format, or to a folder of such files.

    :param columns: ``"names"``: readable columns; ``"keys"``: as the API gives it; or a list of column names.
    :param expand: see :func:`rows_for`.
    :param layout: see :func:`rows_for`.
    :param rows_per_file: rows of a part; None for one file.
    :param run_key: the same for all tries of a run.
    :param known: the ids of the last full read; leads that are no longer there become rows too.
    :raises PipedriveConfigError: the path, its suffix or a parameter cannot work; nothing was read.
    """
    selection = selection.checked()
    check(place, rows_per_file)
    before: frozenset[int | str] | set[int | str] = frozenset()
    if known is not None:
        known.look()
        before = known.before or before
    if columns == "keys" and layout == "pipedrive" and not expand and format_of(place.path).name == "jsonl":
        with writing_lines(place, rows_per_file=rows_per_file, run_key=run_key) as lines:
            exported = deliver(api, selection, AS_GIVEN, lines.write, window, before=before)
            exported.gone = known.gone(api, exported.ids) if known else []
            lines.write([lead.text for lead in exported.gone])
        exported.files = lines.files
        return exported

    def export(names: KeptNames | None) -> Exported:
        more = gone_columns() if known else ()
        with (
            rows_for(api, columns, expand=expand, layout=layout, more=more, names=names) as rows,
            writing_table(place, rows.layout.table, rows_per_file=rows_per_file, run_key=run_key) as table,
        ):
            exported = deliver_rows(api, selection, rows, table.write, window, before=before)
            exported.gone = known.gone(api, exported.ids) if known else []
            if exported.gone:
                table.write(rows.batch_of_gone(exported.gone))
        exported.files = table.files
        exported.columns = rows.layout.table
        return exported

    return with_names(api, few=reads_few(window), read=export)


def reads_few(window: Window | None) -> bool:
    """Whether few leads are expected, as far as anybody knows."""
    if window is None:
        return False
    return window.changed_since is not None or (window.expected is not None and window.expected <= FEW_LEADS)


def deliver_rows(
    api: LeadsApi,
    selection: Selection,
    rows: Rows,
    write: Callable[[Batch], None],
    window: Window | None = None,
    *,
    before: Set[int | str] = frozenset(),
) -> Exported:
    """Read the selected leads and hand on their rows; see :func:`deliver`.

    :raises StaleNamesError: the names are too old; new ones are in their place.
    """
    names = rows.names
    if names is None:
        return deliver(api, selection, rows.layout.shape, lambda leads: write(rows.batch(leads)), window, before=before)

    def take(texts: Sequence[msgspec.Raw]) -> None:
        names.check(texts)
        write(rows.batch(rows.decoded(texts)))

    return deliver(api, selection, AS_GIVEN, take, window, before=before)


def deliver(
    api: LeadsApi,
    selection: Selection,
    shape: Shape,
    write: Callable[[Sequence[Any]], None],
    window: Window | None = None,
    *,
    before: Set[int | str] = frozenset(),
) -> Exported:
    """Read the selected leads and hand them on in batches, each lead once.

    :param shape: what to make of each lead.
    :param before: ids of the leads that were delivered by earlier runs; only used with ``delivered_since``.
    :raises PipedriveConfigError: the window begins after Pipedrive's present.
    :raises PipedriveDailyBudgetError: the day's API tokens are spent; it says how many a full read needs, if known.
    """
    window = window or Window()
    try:
        return _deliver(api, selection, shape, write, window, before=before)
    except PipedriveDailyBudgetError as spent:
        if window.expected and window.changed_since is None:
            spent.needed = max(spent.needed or 0, _tokens_for(window.expected))
        raise


def _tokens_for(active: int) -> int:
    """API tokens for the pages of so many active leads."""
    return GET_LEADS.cost * math.ceil(active / LARGEST_PAGE)


def _deliver(
    api: LeadsApi,
    selection: Selection,
    shape: Shape,
    write: Callable[[Sequence[Any]], None],
    window: Window,
    *,
    before: Set[int | str],
) -> Exported:
    since = None if window.moves_unseen else window.delivered_since
    with LeadPages(api, selection.filters(), shape) as pages:
        progress = _Progress(api, window.expected)
        reading = Reading(
            pages,
            archived=selection.archived,
            updated_since=str(selection.updated_since) if selection.updated_since else None,
            changed_since=window.changed_since,
            moves_unseen=window.moves_unseen,
            expected=window.expected,
            filtered=any(value is not None for value in selection.filters().values()),
        )
        rows = read = 0
        for leads in _one_behind(reading.batches()):
            if not read:
                _check_clock(api, window)
            wanted = leads if since is None else _changed(shape, leads, since, before)
            if wanted:
                write(wanted)
            rows += len(wanted)
            read += len(leads)
            progress.report(read, reading.pages)
            del leads, wanted  # before the next are waited for
    return Exported(
        rows,
        None if window.delivered_since is None else read - rows,
        updated_until=reading.updated_until,
        ids=reading.ids,
        active=reading.active,
        moves_unseen=reading.moves_unseen,
    )


def _changed(shape: Shape, leads: Sequence[Any], since: str, before: Set[int | str]) -> list[Any]:
    """The leads that changed since a second or were archived since, and those that were not there before."""
    bound = moment(since)
    return [
        lead
        for lead, head in zip(leads, shape.heads(leads), strict=True)
        if max(moment(head.update_time), archived_at(head.archive_time) or bound - ANY_TIME) >= bound
        or id_number(head.id) not in before
    ]


def _one_behind(batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Hold each batch until the next is asked for, so that calls are under way while it is written."""
    held: list[Any] | None = None
    for batch in batches:
        if held is not None:
            yield held
        held = batch
    if held is not None:
        yield held


def _check_clock(api: LeadsApi, window: Window) -> None:
    now = api.usage.first_reply_at
    if window.changed_since and now and window.changed_since > now:
        raise PipedriveConfigError(
            f"watermark_asset: the watermark kept in its state leads to {window.changed_since}, which is after"
            f" Pipedrive's present, {now}. Run once with full_refresh=True."
        )


class _Progress:
    """Tells the log what a read will cost, where it is known, and every two seconds how far it is."""

    def __init__(self, api: LeadsApi, expected: int | None) -> None:
        self._expected = expected
        self._started = self._last = time.monotonic()
        if expected is not None:
            left = api.usage.daily_tokens_left
            log.info(
                "About %d active leads: their pages cost about %d API tokens%s.",
                expected,
                _tokens_for(expected),
                "" if left is None else f"; {left} are left of the company's day",
            )

    def report(self, rows: int, pages: int) -> None:
        """Say how far it is, if it is time."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_REPORTS:
            self._last = now
            log.info(progress_line(rows, pages, now - self._started, self._expected))


def progress_line(rows: int, pages: int, seconds: float, expected: int | None) -> str:
    """Say how far a read is, how fast, and how long it will go on where the size is known."""
    rate = rows / seconds
    line = f"{rows} leads from {pages} pages so far, {rate:.0f} a second"
    if expected and expected > rows and rate:
        line += f"; about {(expected - rows) / rate:.0f} s to go"
    return f"{line}."
