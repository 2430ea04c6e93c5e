"""A row on its way in: wanted values by column, or why there are none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Row(msgspec.Struct, frozen=True, gc=False):
    """One wanted row.

    :param number: for people: the line of the file on which the row begins (1 is the first line, a CSV's header
        counts), or the row's place in a Parquet file, folder of parts, query or list, counted from 1.
    :param values: by column; None for a row that cannot be read.
    :param problem: why not.
    :param may_be_cut: whether this is the last row of a file that does not end with a line feed: it may be cut off.
    """

    number: int
    values: dict[str, Any] | None
    problem: str | None = None
    may_be_cut: bool = False


def check_names(names: Sequence[str], where: str) -> None:
    """Find out whether columns can be told apart by their names.

    :param where: what has these columns, as an error begins, such as ``path: leads.csv``.
    :raises PipedriveConfigError: a name is empty, or there twice.
    """
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise PipedriveConfigError(f"{where}: column {place} of {len(names)} has no name. Give it one.")
    for name, count in Counter(names).items():
        if count > 1:
            raise PipedriveConfigError(f"{where}: {count} columns are named {name!r}. Give each a name of its own.")
