"""Where the next incremental read begins: decided from what earlier runs left, and written down for the runs to come.

What is kept under one key belongs to one stream: one task's reading of one account with the same filters into the same
destination. Two stores are needed: one that outlives runs (a watermark), and one that belongs to a DAG run and survives
its tries (where this run began). A run that is cleared begins where it began before, so what it delivers again is never
less; and the watermark never moves back.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import moment_value

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.leads.reading.complete import Selection

LOOKBACK = 60
"""Seconds by which each window overlaps the one before: for clocks that differ, and changes that show late."""
FROM_THE_START = "start"
MOST_KEPT = 5
"""Reads whose ids are kept: a run that is cleared compares with the one that was before it."""


class Store(Protocol):
    """Keeps JSON values by key."""

    def get(self, key: str, default: Any = None) -> Any:
        """Give what is kept under a key."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""


class Past(msgspec.Struct, frozen=True, omit_defaults=True):
    """What earlier runs left.

    :param watermark: what :func:`next_watermark` gave; None before the first run that found a lead.
    :param moves_unseen: whether the account was seen not to move ``update_time`` when leads are archived.
    :param size: active leads at the last full read.
    :param ids: where the ids of the last full reads are kept, the latest last.
    :param ids_read_at: Pipedrive's clock when the read of the latest of these began; the watermark may be later.
    :param published: the file that the last run wrote.
    :param published_by: which run that was.
    """

    watermark: str | None = None
    moves_unseen: bool = False
    size: int | None = None
    ids: list[str] = []
    ids_read_at: str | None = None
    published: str | None = None
    published_by: str | None = None


def stream_key(connection: str, company: str, selection: Selection, destination: str) -> str:
    """Name a stream: the same for all runs of it, another one for other filters or another destination."""
    parts = [connection, company, selection.archived, destination, *map(str, selection.filters().values())]
    return "pipedrive_leads_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def past_of(store: Store, key: str, *, fresh: bool = False) -> Past:
    """Read what earlier runs of a stream left.

    :param fresh: take what cannot be read for nothing.
    :raises PipedriveConfigError: it cannot be read.
    """
    kept = store.get(key, default=None)
    try:
        past = Past() if kept is None else msgspec.convert(kept, Past)
        if past.watermark is not None:
            moment_value("watermark", past.watermark)
    except (msgspec.ValidationError, PipedriveValidationError) as problem:
        if fresh:
            return Past()
        raise PipedriveConfigError(
            f"watermark_asset: what is kept in its state under {key} cannot be read ({problem}). Delete it there, or"
            " run once with full_refresh=True."
        ) from None
    return past


def window_start(
    runs: Store,
    key: str,
    past: Past,
    *,
    lookback: int = LOOKBACK,
    full_refresh: bool = False,
    first_try: bool = True,
) -> str | None:
    """Decide since when this run reads, and note it for further tries of the run.

    :param runs: the store of this DAG run.
    :param lookback: seconds before the watermark.
    :param first_try: False where this run began before; without a note of where, it reads everything.
    :return: the second from which on changes are read; None for a full read.
    """
    noted = None if full_refresh else runs.get(key, default=None)
    if noted is None:
        known = None if full_refresh or not first_try else past.watermark
        began = None if known is None else _before(known, lookback)
        runs.set(key, began or FROM_THE_START)
        return began
    return None if noted == FROM_THE_START else str(noted)


def past_at_first_try(runs: Store, key: str, past: Past) -> Past:
    """What earlier runs had left when this run began, noted for its further tries."""
    noted = runs.get(f"{key}_before", default=None)
    if noted is None:
        runs.set(f"{key}_before", msgspec.to_builtins(past))
        return past
    return msgspec.convert(noted, Past)


def next_watermark(began: str | None, newest: str | None) -> str | None:
    """Decide up to which second all changes are read; None where that is not known, or nothing came that shows it.

    A clock that runs ahead, as that of a proxy may, would leave out what changes until it is right: so what was read
    bounds it. What was read alone would leave out what changed while the run read, before its newest change.

    :param began: the server's clock when the run began to read; None if it was not told.
    :param newest: the latest ``update_time`` that the run read; None without rows.
    """
    if began is None or newest is None:
        return None
    return min(began, moment_value("update_time", newest))


def check_place(past: Past, path: str, run_key: str) -> None:
    """Find out whether what changed since the run before would take the place of what that run wrote.

    Templates cannot be seen any more when a task runs, so the path itself decides.

    :param run_key: names the run: one that is tried again, or cleared, may replace its own file.
    :raises PipedriveConfigError: it would.
    """
    if past.published == path and past.published_by != run_key:
        raise PipedriveConfigError(
            f"path: the run before wrote {path!r}, and this run brings only what changed since then. Give each run a"
            " file of its own, such as leads_{{ ts_nodash }}.csv, or set overwrite=True if only the changes shall stay."
        )


def after(
    past: Past,
    *,
    watermark: str | None,
    moves_unseen: bool,
    size: int | None,
    ids: tuple[str, str | None] | None = None,
    published: tuple[str, str] | None = None,
) -> Past:
    """What a run leaves: a watermark that never moves back, and what it learned; None means that it learned nothing.

    :param ids: where the ids of its full read are kept, and Pipedrive's clock when that began.
    :param published: the file that it wrote, and the name of the run.
    """
    path, run_key = published or (past.published, past.published_by)
    kept, read_at = ids or (None, past.ids_read_at)
    return Past(
        published=path,
        published_by=run_key,
        watermark=max(past.watermark or "", watermark or "") or None,
        moves_unseen=past.moves_unseen or moves_unseen,
        size=past.size if size is None else size,
        ids=list(dict.fromkeys([*past.ids, *([kept] if kept else [])]))[-MOST_KEPT:],
        ids_read_at=read_at,
    )


def _before(second: str, lookback: int) -> str:
    return moment_value("watermark", datetime.fromisoformat(second) - timedelta(seconds=lookback))
