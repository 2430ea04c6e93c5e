"""Every error this provider raises, and the reading of an error reply.

Bodies and statuses: docs/pipedrive-api.md, "Errors". Nothing here ever holds a token or a header that could carry one.
"""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

import msgspec

from airflow_provider_pipedrive_leads.api.foreign_words import correlation_id, fit_for_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_pipedrive_leads.api.connection import Secret
    from airflow_provider_pipedrive_leads.api.endpoints import Call

MAX_ERROR_BYTES = 1 << 20
"""Of a body in which words are looked for; Pipedrive's have some hundred."""
BAN_SECONDS = 300.0
"""Pipedrive's edge bans a client that ignores 429s for minutes; the page does not say how many."""
MAX_WAIT = 26 * 3600.0
"""Seconds: nothing that Pipedrive counts goes on for longer than a day, and the longest day has 25 hours."""
IN_MILLISECONDS = 1e11
"""In seconds since 1970 that is the year 5138, in milliseconds 1973."""


class Facts(TypedDict, total=False):
    """What an error knows of the call that failed; see :class:`PipedriveError`."""

    status: int | None
    error: str | None
    error_info: str | None
    correlation_id: str | None
    method: str | None
    path: str | None
    in_doubt: bool


class PipedriveError(Exception):
    """Anything that went wrong between this provider and Pipedrive.

    :param message: what was wrong, where, and what to do.
    :param status: HTTP status, None if no reply came or nothing was sent.
    :param error: the API's own words, None if it gave none.
    :param error_info: the API's own hint, None if it gave none.
    :param correlation_id: the ``x-correlation-id`` by which Pipedrive's support finds the call.
    :param method: HTTP method of the call.
    :param path: path of the call, without query.
    :param in_doubt: True if the server may have done what the call asked for all the same.
    """

    def __init__(self, message: str, **facts: Unpack[Facts]) -> None:
        super().__init__(message)
        self.status = facts.get("status")
        self.error = facts.get("error")
        self.error_info = facts.get("error_info")
        self.correlation_id = facts.get("correlation_id")
        self.method = facts.get("method")
        self.path = facts.get("path")
        self.in_doubt = facts.get("in_doubt", False)


class PipedriveConfigError(PipedriveError):
    """The connection or a parameter cannot work as it is set; found before anything was sent."""


class PipedriveAuthError(PipedriveError):
    """The token is missing, wrong, or may not do this (401, 403)."""


class PipedriveNotFoundError(PipedriveError):
    """There is no such lead, label, contact or route, or the token may not see it (404, 410)."""


class PipedriveValidationError(PipedriveError):
    """A value is not acceptable: refused here before sending (status None) or by the API (400, 409, 422)."""


class PipedriveRateLimitError(PipedriveError):
    """Too many calls in the burst window (429), or a ban after ignored 429s (an HTML 403).

    :param retry_after: seconds after which a call may pass again.
    :param banned: True for the ban: a quick retry would only prolong it.
    """

    def __init__(self, message: str, *, retry_after: float = 2.0, banned: bool = False, **facts: Unpack[Facts]) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after
        self.banned = banned


class PipedriveDailyBudgetError(PipedriveError):
    """The company's API tokens of the day are spent, or the reserve set in the connection is reached.

    :param resets_at: when the budget is full again; None unless the server said.
    :param needed: API tokens that the whole of what failed needs, begun anew; None where it is not known.
    """

    def __init__(
        self, message: str, *, resets_at: datetime | None = None, needed: int | None = None, **facts: Unpack[Facts]
    ) -> None:
        super().__init__(message, **facts)
        self.resets_at = resets_at
        self.needed = needed


class PipedriveServerError(PipedriveError):
    """Pipedrive failed (5xx), gave up waiting (408, 425, 499), or sent something that is not the JSON it should be."""


class PipedriveConnectionError(PipedriveError):
    """No usable reply: name not found, refused, reset, timed out, or cut off."""


class ReplyTooLargeError(PipedriveConnectionError):
    """A reply has more bytes than any should: it was not read to its end."""


GAVE_UP = (408, 425, 499)
"""What servers and proxies answer that waited no longer: what was asked for may have been done all the same."""


class ErrorBody(msgspec.Struct):
    """What an error envelope says; each part None where the body has none or is no JSON."""

    error: str | None = None
    error_info: str | None = None
    code: str | None = None


def read_error_body(body: bytes, secrets: Iterable[Secret] = ()) -> ErrorBody:
    """Take the words out of an error body of any of the shapes that the API uses.

    :param secrets: what must not show; a server may repeat what it was sent.
    """
    if len(body) > MAX_ERROR_BYTES:
        return ErrorBody()
    try:
        envelope = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorBody()
    if not isinstance(envelope, dict):
        return ErrorBody()
    known = tuple(secrets)
    words = envelope.get("error") or envelope.get("message") or envelope.get("errors")
    return ErrorBody(*(_words(value, known) for value in (words, envelope.get("error_info"), envelope.get("code"))))


def _words(value: object, secrets: Iterable[Secret]) -> str | None:
    if not value:
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return fit_for_error(text, secrets) or None


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """Tell a web page (Cloudflare's, a proxy's) from an answer of the API."""
    return "html" in headers.get("content-type", "").lower() or body[:64].lstrip().startswith(b"<")


def error_from_reply(
    call: Call,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    connection: str = "the connection",
    secrets: Iterable[Secret] = (),
) -> PipedriveError:
    """Turn a reply that is not a success into the typed error that says what to do.

    :param headers: with lower-case names.
    :param connection: how to name the Airflow connection in a remedy.
    :param secrets: what must not show, though the server may repeat it.
    """
    known = tuple(secrets)
    said = read_error_body(body, known)
    facts = Facts(
        status=status,
        error=said.error,
        error_info=said.error_info,
        correlation_id=correlation_id(headers, known),
        method=call.method,
        path=call.path,
    )
    answer = _answer(facts, said, html=is_html(headers, body))
    if status == 403 and is_html(headers, body):
        remedy = "This is a ban after too many calls: wait some minutes, and look for what else uses this token."
        return PipedriveRateLimitError(f"{answer}. {remedy}", retry_after=BAN_SECONDS, banned=True, **facts)
    if status == 429:
        return _too_many(call, headers, answer, facts)
    if status >= 500 or status in GAVE_UP:
        facts["in_doubt"] = True
        return PipedriveServerError(f"{answer}.", **facts)
    kind, remedy = _REMEDIES.get(status, (PipedriveValidationError, ""))
    remedy = next((words for code, words in _REMEDIES_BY_CODE.items() if code in answer), remedy)
    return kind(f"{answer}. {remedy.format(connection=connection)}".rstrip(), **facts)


def _answer(facts: Facts, said: ErrorBody, *, html: bool) -> str:
    words = "; ".join(part for part in (said.error, said.error_info, said.code) if part)
    answer = f"{facts['method']} {facts['path']}: Pipedrive answered {facts['status']}"
    answer += f": {words.rstrip('.')}" if words else " with a web page" if html else ""
    name = facts["correlation_id"]
    return answer + (f" (correlation id {name})" if name else "")


_REMEDIES: dict[int, tuple[type[PipedriveError], str]] = {
    401: (
        PipedriveAuthError,
        "Mend 'API token' (Password) of {connection}; Pipedrive shows the token under Personal preferences > API.",
    ),
    402: (PipedriveAuthError, "The Pipedrive company is closed or its bill is open."),
    403: (
        PipedriveAuthError,
        "The token of {connection} lacks the right, the plan has a limit, or 'Company domain' (Host) is wrong.",
    ),
    404: (PipedriveNotFoundError, "It does not exist, was deleted or converted, or the token may not see it."),
    410: (PipedriveNotFoundError, "It is gone for good."),
}
_REMEDIES_BY_CODE = {
    "ERR_LEAD_ARCHIVED": "The lead is archived: restore it with is_archived=False, alone or with the other changes"
    " (PipedriveUpdateLeadOperator does both), or load with restore=True."
}


def _too_many(
    call: Call, headers: Mapping[str, str], answer: str, facts: Facts
) -> PipedriveRateLimitError | PipedriveDailyBudgetError:
    """Tell a spent day from a full burst window: by the tokens left, else by a wait that no burst window asks for."""
    left = number(headers.get("x-daily-ratelimit-token-remaining"))
    wait = seconds_to_wait(headers)
    if (wait > BAN_SECONDS) if left is None else (left < call.cost):
        resets_at = _moment_after(headers.get("date"), wait) if wait > BAN_SECONDS else None
        rest = "" if left is None else f" ({left:.0f} left, this call costs {call.cost})"
        until = f" They are back at {resets_at:%Y-%m-%d %H:%M} UTC." if resets_at else ""
        remedy = f"The company's API tokens of the day are spent{rest}.{until}"
        return PipedriveDailyBudgetError(f"{answer}. {remedy}", resets_at=resets_at, **facts)
    return PipedriveRateLimitError(f"{answer}.", retry_after=wait, **facts)


def _moment_after(date: str | None, seconds: float) -> datetime | None:
    """The server's own time, so many seconds on; None where it does not tell its time."""
    told = _moment(date)
    with suppress(OverflowError):
        return told and told + timedelta(seconds=seconds)
    return None


def _moment(text: str | None) -> datetime | None:
    """Read a date as HTTP writes it."""
    with suppress(ValueError, OverflowError):
        moment = parsedate_to_datetime(text or "")
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return None


def seconds_to_wait(headers: Mapping[str, str], *, default: float = 2.0) -> float:
    """How long the server asks to wait: ``Retry-After``, else ``x-ratelimit-reset``, else the burst window.

    Either may be seconds or a moment: HTTP's date, or seconds or milliseconds since 1970, as proxies put it. What comes
    to more than :data:`MAX_WAIT` is none of them, and is not believed.
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        seconds = _seconds_until(headers.get(name), _moment(headers.get("date")))
        if seconds is not None and 0 <= seconds <= MAX_WAIT:
            return seconds
    return default


def _seconds_until(text: str | None, now: datetime | None) -> float | None:
    """Seconds from the server's present on; None where they are not told, or not without it."""
    said = number(text)
    if said is not None and said <= MAX_WAIT:
        return said
    if now is None:
        return None
    if said is None:
        moment = _moment(text)
        return (moment - now).total_seconds() if moment else None
    since_1970 = said / 1000 if said > IN_MILLISECONDS else said
    return since_1970 - now.timestamp()


def number(text: str | None) -> float | None:
    """Read a header's number; None where it is missing or no plain number."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) else None
