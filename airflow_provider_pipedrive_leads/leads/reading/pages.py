"""Pages of leads from the API, several at once."""

from __future__ import annotations

import ctypes
import math
import struct
import time
from binascii import unhexlify
from collections.abc import Callable, Iterator, Mapping, Sequence  # msgspec reads the annotations
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

import msgspec

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError, ReplyTooLargeError
from airflow_provider_pipedrive_leads.api.operations import lead_filters
from airflow_provider_pipedrive_leads.api.paging import smaller
from airflow_provider_pipedrive_leads.api.replies import read_page, server_time
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.complete import LARGEST_PAGE, MOST_AHEAD, is_in_order
from airflow_provider_pipedrive_leads.leads.reading.kept_names import StaleNamesError
from airflow_provider_pipedrive_leads.leads.reading.walk import LEAST_ROWS, Page

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_pipedrive_leads.api.endpoints import Endpoint
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.api.replies import Reply
    from airflow_provider_pipedrive_leads.leads.reading.complete import Filters
    from airflow_provider_pipedrive_leads.leads.reading.walk import Head, Order, Question

SECONDS_TO_STOP = 4.0
HEAVY_PAGE = 4 * 1024 * 1024
"""Bytes from which on a page's memory is worth giving back at once."""
BYTES_AHEAD = 32 * 1024 * 1024
"""Of pages that were asked for and not yet taken, as far as their size can be foreseen; usual ones have a megabyte."""


class LeadHead(msgspec.Struct, gc=False):
    """What every read looks at in a lead."""

    id: str
    update_time: str
    archive_time: Any = None


class Shape(msgspec.Struct, frozen=True):
    """What a read makes of each lead.

    :param row: the type that a lead is decoded into.
    :param heads: gives the heads of such rows, one for each.
    :param keys: gives their ids as :func:`leads.reading.complete.id_number` does, where that is cheaper than by heads.
    """

    row: type
    heads: Callable[[Sequence[Any]], Sequence[Head]]
    keys: Callable[[Sequence[Any]], Sequence[int | str] | None] = lambda rows: None  # noqa: ARG005


_head_decoder = msgspec.json.Decoder(LeadHead)
_heads_decoder = msgspec.json.Decoder(list[LeadHead])


def headless() -> PipedriveServerError:
    """The error for a list in which a lead does not tell what every lead tells."""
    return PipedriveServerError("Pipedrive gave a lead without an id or without an update_time that can be read.")


def _decoded(decoder: msgspec.json.Decoder[Any], text: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise headless() from None


class _HeadsOfTexts(Sequence[LeadHead]):
    """Heads that are decoded when they are looked at: of most leads nobody does."""

    def __init__(self, leads: Sequence[msgspec.Raw]) -> None:
        self._leads = leads

    def __len__(self) -> int:
        return len(self._leads)

    @overload
    def __getitem__(self, place: int) -> LeadHead: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[LeadHead]: ...

    def __getitem__(self, place: int | slice) -> LeadHead | Sequence[LeadHead]:
        if isinstance(place, slice):
            return _HeadsOfTexts(self._leads[place])
        head: LeadHead = _decoded(_head_decoder, self._leads[place])
        return head

    def __iter__(self) -> Iterator[LeadHead]:
        return iter(_decoded(_heads_decoder, b"[" + b",".join(self._leads) + b"]"))


BEGINNING = b'{"id":"________-____-____-____-____________"'
"""How each lead begins in live replies; digits stand for ``_``."""
FIXED = [(place, BEGINNING[place : place + 1]) for place in range(len(BEGINNING)) if BEGINNING[place] != ord("_")]


_beginning = struct.Struct(f"{len(BEGINNING)}s").unpack_from


def _keys_of_texts(leads: Sequence[msgspec.Raw]) -> list[int] | None:
    """Read the ids of many leads at once; None if one of the texts begins otherwise than live replies do."""
    count, length = len(leads), len(BEGINNING)
    try:
        beginnings = b"".join([beginning for (beginning,) in map(_beginning, leads)])
    except struct.error:  # one is shorter
        return None
    if any(beginnings[at::length] != char * count for at, char in FIXED):
        return None
    digits = beginnings.replace(BEGINNING[:7], b"").translate(None, b'-"')
    try:
        numbers = struct.unpack("16s" * count, unhexlify(digits))
    except (ValueError, struct.error):
        return None
    return list(map(int.from_bytes, numbers))


AS_GIVEN = Shape(msgspec.Raw, _HeadsOfTexts, _keys_of_texts)
"""Each lead as the JSON text that the API gave: nothing in it is decoded but its head."""


class LeadPages:
    """Asks for pages in threads. Leaving the ``with`` block by an error breaks off what is under way.

    :param filters: which leads.
    :param shape: what to make of each.
    """

    def __init__(self, api: LeadsApi, filters: Filters, shape: Shape = AS_GIVEN) -> None:
        self._api = api
        self._filters = lead_filters(**filters)
        self._shape = shape
        self._most = LARGEST_PAGE
        self._heaviest = 0
        self._threads = ThreadPoolExecutor(MOST_AHEAD, thread_name_prefix="pipedrive-pages")
        self._asked: set[Future[Page]] = set()

    def __enter__(self) -> LeadPages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if kind not in (None, StaleNamesError):  # what begins anew needs its connections
            self._api.interrupt()
        wait(self._asked, SECONDS_TO_STOP)

    def ahead(self) -> int:
        """How many pages are worth having asked for at once, and have room."""
        return max(1, min(self._api.calls_ahead(), BYTES_AHEAD // max(1, self._heaviest)))

    def ask(self, order: Order, question: Question, limit: int, *, archived: bool) -> Future[Page]:
        """Ask for a page and return at once.

        :return: a future; its result may raise the typed errors of ``api.errors``.
        """
        endpoint = endpoints.GET_ARCHIVED_LEADS if archived else endpoints.GET_LEADS
        query = {**self._filters, "updated_since": question.since, "sort": order.sort, "start": question.start}
        asked = self._threads.submit(self._page, endpoint, query, limit, order)
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        return asked

    def _page(self, endpoint: Endpoint, query: Mapping[str, object], limit: int, order: Order) -> Page:
        reply, took = self._sent(endpoint, query, limit)
        page = read_page(reply)
        heads = self._shape.heads(page.items)
        if heads and not (_is_time(heads[0].update_time) and _is_time(heads[-1].update_time)):
            raise headless()
        if not is_in_order(heads, order):
            raise PipedriveServerError(
                f"{endpoint.method} {endpoint.path}: Pipedrive did not sort the leads by {order.sort.split(',')[0]}, as"
                " it was asked to; a complete read cannot be promised.",
                method=endpoint.method,
                path=endpoint.path,
            )
        asked_at = _seconds_before(server_time(reply.headers), took)
        return Page(heads, page.items, page.next_query is not None, self._shape.keys(page.items), asked_at)

    def _sent(self, endpoint: Endpoint, query: Mapping[str, object], limit: int) -> tuple[Reply, float]:
        """Ask for a page, for a smaller one if it is too large to be sent; give the seconds that took, too.

        Later pages are then asked for in the size that went well: where leads are so large, others will be.
        """
        if self._heaviest >= HEAVY_PAGE:
            _give_memory_back()
        while True:
            rows = min(limit, self._most)
            began = time.monotonic()
            try:
                reply = self._api.send(endpoint.call(query={**query, "limit": rows}, rows=self._shape.row))
            except ReplyTooLargeError:
                fewer = smaller(rows, least=LEAST_ROWS)
                if fewer is None:
                    raise
                self._most = min(self._most, fewer)
                continue
            self._heaviest = max(self._heaviest, reply.size)
            return reply, time.monotonic() - began


def _give_memory_back() -> None:
    """Give the system back what glibc's ``malloc`` keeps for later: of heavy pages that is more than is in use."""
    with suppress(OSError, AttributeError):  # another C library has no such function
        ctypes.CDLL(None).malloc_trim(0)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _seconds_before(moment: str | None, seconds: float) -> str | None:
    """A time in whole seconds, at least so many before another one."""
    if moment is None:
        return None
    return moment_value("date", datetime.fromisoformat(moment) - timedelta(seconds=math.ceil(seconds)))
