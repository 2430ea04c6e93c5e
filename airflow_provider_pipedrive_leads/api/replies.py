"""Replies as values: the envelope, and pages in each form in which the API gives them.

The specification draws flat paging for leads, live replies nest it: both are read (docs/pipedrive-api.md, "Paging").
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError, is_html
from airflow_provider_pipedrive_leads.api.values import moment_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.api.endpoints import JSON, Call


Row = TypeVar("Row")


SPACE_FOR_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class Reply(msgspec.Struct, frozen=True):
    """A successful answer.

    :param headers: with lower-case names.
    :param envelope: the decoded body, an object with ``data``; if the call named a type for the rows, they have it.
    """

    status: int
    headers: Mapping[str, str]
    envelope: dict[str, JSON]

    @property
    def data(self) -> JSON:
        """What the call asked for."""
        return self.envelope.get("data")


class Page(msgspec.Struct, frozen=True):
    """One page of a list.

    :param items: the rows, at most as many as were asked for: plain dicts, or of the type that the call named.
    :param next_query: query parameters of the next page; None after the last one.
    """

    items: list[Any]
    next_query: Mapping[str, int | str] | None


class _Envelope(msgspec.Struct, Generic[Row]):
    data: list[Row] | None = None
    success: bool = True
    additional_data: dict[str, Any] | None = None


@lru_cache(maxsize=16)
def _decoder(rows: type | None) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Any if rows is None else _Envelope[rows])  # type: ignore[valid-type]


def _on_one_line(body: bytes) -> bytes:
    """Take line breaks out of JSON: they can only be white space there, and rows kept as texts go into lines."""
    return body.translate(SPACE_FOR_BREAKS) if b"\n" in body or b"\r" in body else body


def reply_from(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """Decode a successful answer.

    :raises PipedriveServerError: in doubt, for a body that is cut, not JSON, or not an envelope.
    """
    problem = "a web page" if is_html(headers, body) else "no usable JSON"
    try:
        envelope = _decoder(call.rows).decode(_on_one_line(body))
        if isinstance(envelope, _Envelope):
            envelope = msgspec.structs.asdict(envelope)
    except (msgspec.DecodeError, UnicodeDecodeError):
        envelope = None
    if isinstance(envelope, dict) and envelope.get("success", True):
        return Reply(status, headers, envelope)
    raise PipedriveServerError(
        f"{call.method} {call.path}: Pipedrive answered {status} with {problem} where a JSON object was due.",
        status=status,
        correlation_id=headers.get("x-correlation-id"),
        method=call.method,
        path=call.path,
        in_doubt=True,
    )


def read_page(reply: Reply) -> Page:
    """Read rows and the way on from a list of either paging style (start and limit, or cursor)."""
    extra = reply.envelope.get("additional_data") or {}
    paging = extra.get("pagination") or extra
    items = reply.data
    if isinstance(items, dict):  # v2 searches wrap their hits
        items = [hit.get("item", hit) for hit in items.get("items") or []]
    items = items or []
    cursor = extra.get("next_cursor")
    if cursor:
        return Page(items, {"cursor": cursor})
    if not paging.get("more_items_in_collection"):
        return Page(items, None)
    start = paging.get("next_start")
    if start is None:
        start = int(paging.get("start") or 0) + int(paging.get("limit") or len(items))
    return Page(items, {"start": start})


def server_time(headers: Mapping[str, str]) -> str | None:
    """Read the server's clock off a reply, in whole seconds as filters take them; None if it does not tell."""
    try:
        return moment_value("date", parsedate_to_datetime(headers.get("date", "")))
    except (ValueError, OverflowError):
        return None
