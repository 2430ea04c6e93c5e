"""Replies as values: the envelope, and pages in each form in which the API gives them.

The specification draws flat paging for leads, live replies nest it: both are read (docs/pipedrive-api.md, "Paging").
"""

from __future__ import annotations

from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import (
    ErrorBody,
    Facts,
    PipedriveServerError,
    ReplyTooLargeError,
    is_html,
    read_error_body,
)
from airflow_provider_pipedrive_leads.api.foreign_words import correlation_id, uuid_of
from airflow_provider_pipedrive_leads.api.texts import is_utf8, mended
from airflow_provider_pipedrive_leads.api.values import moment_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_pipedrive_leads.api.connection import Secret
    from airflow_provider_pipedrive_leads.api.endpoints import JSON, Call
    from airflow_provider_pipedrive_leads.api.texts import Mended


Row = TypeVar("Row")


SPACE_FOR_BREAKS = bytes.maketrans(b"\r\n", b"  ")
MAX_VALUES = 2_000_000
"""JSON values in a reply: 500 leads with 400 custom fields have a tenth of it. Decoded, each may take 200 bytes."""
NO_WORDS = "success: false"
"""What a refusal says that gives no reason."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises, of JSON that is none, of texts that are none, and of objects within objects without end."""


class Reply(msgspec.Struct, frozen=True):
    """A successful answer.

    :param headers: with lower-case names.
    :param envelope: the decoded body, an object with ``data``; if the call named a type for the rows, they have it.
    :param call: what was answered; None if nothing was sent.
    :param mended: names what held something that is no character, such as ``Lead 4d1b0a50-…``; see ``api.texts``.
    :param size: bytes of the body, unpacked.
    """

    status: int
    headers: Mapping[str, str]
    envelope: dict[str, JSON]
    call: Call | None = None
    mended: tuple[str, ...] = ()
    size: int = 0

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
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    success: Any = True
    additional_data: dict[str, Any] | None = None


class _Named(msgspec.Struct):
    """A row as far as it says which one it is; a hit of a search has it inside."""

    id: str | int | None = None
    item: _Named | None = None


class _WithData(msgspec.Struct):
    """An envelope whose data stay a text."""

    data: msgspec.Raw


class _WithHits(msgspec.Struct):
    """The data of a search, with hits that stay texts."""

    items: list[msgspec.Raw]


@lru_cache(maxsize=16)
def _decoder(rows: type | None) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Any if rows is None else _Envelope[rows])  # type: ignore[valid-type]


def _on_one_line(body: bytes) -> bytes:
    """Take line breaks out of JSON: they can only be white space there, and rows kept as texts go into lines."""
    return body.translate(SPACE_FOR_BREAKS) if b"\n" in body or b"\r" in body else body


def has_too_many_values(body: bytes) -> bool:
    """Whether decoding might take more memory than any reply is worth; commas and braces in texts count as well."""
    return len(body) > 2 * MAX_VALUES and sum(map(body.count, (b",", b"{", b"["))) > MAX_VALUES


def reply_from(
    call: Call, status: int, headers: Mapping[str, str], body: bytes, *, secrets: Callable[[], Iterable[Secret]] = tuple
) -> Reply:
    """Decode a successful answer.

    :param secrets: gives what no error may show, though the server may repeat it.
    :raises PipedriveServerError: in doubt: the body is cut, not JSON, or not an envelope, or it says in the server's
        words that there was no success.
    :raises ReplyTooLargeError: in doubt: it holds more than :data:`MAX_VALUES`.
    """
    if has_too_many_values(body):
        raise ReplyTooLargeError(
            f"{call.method} {call.path}: Pipedrive sent more than {MAX_VALUES:,} values, which no reply has.",
            status=status,
            method=call.method,
            path=call.path,
            in_doubt=True,
        )
    body = _on_one_line(body)
    envelope, names = _read(call, body)
    if envelope is not None and envelope.get("success", True):
        return Reply(status, headers, envelope, call, names, len(body))
    known = tuple(secrets())
    said = ErrorBody() if envelope is None else read_error_body(body, known)
    facts = Facts(
        status=status,
        error=None if envelope is None else said.error or NO_WORDS,
        error_info=said.error_info,
        correlation_id=correlation_id(headers, known),
        method=call.method,
        path=call.path,
        in_doubt=True,
    )
    if envelope is None:
        problem = "a web page" if is_html(headers, body) else "no usable JSON"
        told = f"with {problem} where a JSON object was due"
    else:
        words = "; ".join(part for part in (facts["error"], said.error_info, said.code) if part)
        told = f"without success: {words.rstrip('.')}"
    raise PipedriveServerError(f"{call.method} {call.path}: Pipedrive answered {status} {told}.", **facts)


def _read(call: Call, body: bytes) -> tuple[dict[str, JSON] | None, tuple[str, ...]]:
    """Decode an envelope, and name the rows in which something was no character; None if it is none."""
    if call.rows is not msgspec.Raw or is_utf8(body):  # other rows do not come about from what is not UTF-8
        envelope = _envelope(call, body)
        if envelope is not None:
            return envelope, ()
    sound = mended(body)
    if not sound.places:
        return None, ()
    return _envelope(call, sound.text.encode()), tuple(_names(call, sound))


def _envelope(call: Call, body: bytes) -> dict[str, JSON] | None:
    """Decode an envelope; None if it is none. One that tells of no success may hold anything for rows."""
    with suppress(*UNREADABLE):
        envelope = _decoder(call.rows).decode(body)
        if isinstance(envelope, _Envelope):
            parts = msgspec.structs.asdict(envelope)
            return {name: part for name, part in parts.items() if part is not msgspec.UNSET}
        return envelope if isinstance(envelope, dict) else None
    if call.rows is not None:
        with suppress(*UNREADABLE):
            envelope = _decoder(None).decode(body)
            return envelope if isinstance(envelope, dict) and not envelope.get("success", True) else None
    return None


def _names(call: Call, sound: Mended) -> list[str]:
    """Name the rows of a reply that have one of the places in them; rows stand in the text as they were decoded."""
    names, end = dict[str, None](), 0
    for row in _rows_of(sound.text.encode()):
        text = bytes(row).decode()
        begin = sound.text.find(text, end)
        end = begin + len(text)
        if any(begin <= place < end for place in sound.places):
            names[_name(call, row)] = None
    return list(names) or [f"{call.method} {call.path}"]


def _rows_of(body: bytes) -> list[msgspec.Raw]:
    """The rows of a list, the hits of a search, or the one thing that was asked for, as texts."""
    rows: list[msgspec.Raw] = []
    with suppress(*UNREADABLE):
        data = msgspec.json.decode(body, type=_WithData).data
        rows = [data]
        if bytes(data).startswith(b"["):
            rows = msgspec.json.decode(data, type=list[msgspec.Raw])
        else:
            rows = msgspec.json.decode(data, type=_WithHits).items
    return rows


def _name(call: Call, row: msgspec.Raw) -> str:
    found = _Named()
    with suppress(*UNREADABLE):
        found = msgspec.json.decode(row, type=_Named)
    found = found.item or found
    kind = "Lead" if "/leads" in call.path.lower() else f"{call.method} {call.path}, id"
    return f"{call.method} {call.path}" if found.id is None else f"{kind} {found.id}"


def data_of(reply: Reply) -> JSON:
    """Give what a call asked for; None where the reply says that there is none.

    Only the answer to a DELETE need not hold any (docs/pipedrive-api.md, "Endpoints": that for a webhook does not).

    :raises PipedriveServerError: in doubt: the reply does not say.
    """
    deleted = reply.call is not None and reply.call.method == "DELETE" and reply.envelope.get("success") is True
    if "data" in reply.envelope or deleted:
        return reply.data
    raise unfit(reply, "without 'data'")


def unfit(reply: Reply, problem: str) -> PipedriveServerError:
    """The error for a reply that is an envelope, but not of what was asked for.

    :param problem: such as ``without 'data'``.
    """
    method, path = (reply.call.method, reply.call.path) if reply.call else ("", "")
    return PipedriveServerError(
        f"{method} {path}: Pipedrive answered {reply.status} {problem}.".lstrip(" :"),
        status=reply.status,
        correlation_id=uuid_of(reply.headers),
        method=method or None,
        path=path or None,
        in_doubt=True,
    )


def read_page(reply: Reply) -> Page:
    """Read rows and the way on from a list of either paging style (start and limit, or cursor).

    :raises PipedriveServerError: it is no list, or does not say how it goes on.
    """
    items = data_of(reply)
    if isinstance(items, dict):  # v2 searches wrap their hits
        items = _hits(reply, items)
    items = [] if items is None else items
    typed = reply.call is not None and reply.call.rows is not None
    if not isinstance(items, list) or not (typed or all(isinstance(item, dict) for item in items)):
        raise unfit(reply, "with something else than a list of objects")
    extra = reply.envelope.get("additional_data") or {}
    paging = (extra.get("pagination") or extra) if isinstance(extra, dict) else None
    if not isinstance(paging, dict):
        raise unfit(reply, "without saying how the list goes on")
    if cursor := extra.get("next_cursor"):
        return Page(items, {"cursor": str(cursor)})
    if not paging.get("more_items_in_collection"):
        return Page(items, None)
    start = _whole(paging.get("next_start"))
    return Page(items, {"start": (_whole(paging.get("start")) or 0) + len(items) if start is None else start})


def _hits(reply: Reply, data: dict[str, Any]) -> list[Any]:
    hits = data.get("items") or []
    if not isinstance(hits, list) or not all(isinstance(hit, dict) for hit in hits):
        raise unfit(reply, "with something else than a list of hits")
    return [hit.get("item", hit) for hit in hits]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def server_time(headers: Mapping[str, str]) -> str | None:
    """Read the server's clock off a reply, in whole seconds as filters take them; None if it does not tell."""
    try:
        return moment_value("date", parsedate_to_datetime(headers.get("date", "")))
    except (ValueError, OverflowError):
        return None
