"""What one task used, and how it ended, as one value: figures and names, nothing that is taken from leads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMETERS = re.compile(r"([a-z][a-z_]{0,40}(?:, [a-z][a-z_]{0,40}){0,5}): ")
FIELD = re.compile(r"Connection '[\w.-]{1,250}', field ('[A-Za-z0-9 ]{1,40}'(?: \([A-Za-z_]{1,40}\))?): ")


class UsageRecord(msgspec.Struct):
    """What one task used, and how it ended. It goes where people look, so it holds no lead data.

    :param conn_id: the Airflow connection.
    :param kind: what the task did: ``export``, ``export to SQL``, ``load``, ``load from SQL``, ``create``, ``get`` …
    :param host: the server that was called; None where none was.
    :param outcome: ``success``, ``failed``, ``waiting`` without a worker, or ``skipped``.
    :param rows: rows written by an export, or read by a load; None for other tasks and after a failure.
    :param tokens: API tokens spent by all tries of the task on the day of ``at``.
    :param requests: calls, likewise.
    :param seconds: how long this try took, or this part of it.
    :param updated_until: the latest update time among exported rows, by Pipedrive's clock.
    :param as_of: Pipedrive's clock when the export began to read; an incremental one has its watermark there.
    :param daily_tokens: tokens of the company's whole day, None where Pipedrive did not tell.
    :param daily_tokens_left: what was left of them by the last reply, likewise.
    :param at: UTC time of this record.
    :param error: the class of the error that ended the task.
    :param about: the parameter or the field of the connection that the error is about.
    :param call: method and path of the call that failed.
    :param status: HTTP status of its answer.
    """

    conn_id: str
    kind: str
    host: str | None = None
    outcome: str = "success"
    rows: int | None = None
    tokens: int = 0
    requests: int = 0
    seconds: float = 0.0
    updated_until: str | None = None
    as_of: str | None = None
    daily_tokens: int | None = None
    daily_tokens_left: int | None = None
    at: str = ""
    error: str | None = None
    about: str | None = None
    call: str | None = None
    status: int | None = None


def subject_of(words: str, is_parameter: Callable[[str], bool]) -> str | None:
    """The parameters, or the connection's field, that an error begins with; never a value.

    :param words: the error's message.
    :param is_parameter: whether a name is one of the task's parameters.
    """
    parameters = PARAMETERS.match(words)
    if parameters and all(is_parameter(name) for name in parameters.group(1).split(", ")):
        return parameters.group(1)
    field = FIELD.match(words)
    return field.group(1) if field else None
