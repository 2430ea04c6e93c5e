"""Rows as a table: columns with a name and a kind of value, filled batch by batch, column by column.

A batch holds one sequence of values for each column, all equally long. None is allowed everywhere. Besides that:

============ ==================================================================
kind         value
============ ==================================================================
text         str
integer      int
number       int or float
boolean      bool
date         str, ``2026-01-31``
time         str, ``09:30:00``
timestamp    str, ISO 8601 in UTC, ``2026-01-31T09:30:00.123Z``
list<string> list of str
json         what JSON can hold: dict, list, text, number
============ ==================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from airflow_provider_pipedrive_leads.api.kinds import Kind  # noqa: TC001 - msgspec reads it

Batch = Sequence[Sequence[Any]]


class Column(msgspec.Struct, frozen=True):
    """One column.

    :param name: unique within a table; lower-case letters, digits and underscores unless a user named it.
    :param kind: what its values are.
    :param key: what it was made from, unique within a table and stable when people rename a field: a lead's key,
        such as ``title``, or a custom field's 40 characters with or without a part behind.
    """

    name: str
    kind: Kind
    key: str


class TableWriter(Protocol):
    """Takes batches, in order."""

    def write(self, batch: Batch) -> None:
        """Append the rows of a batch: one sequence of values for each column."""
