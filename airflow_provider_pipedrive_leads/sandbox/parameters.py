"""Reads query strings and body values the way the vendor's servers do, or raises :class:`InvalidError`."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, parse_time, to_ms
from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError

PAGE_DEFAULT = 100
PAGE_MAXIMUM = 500
LARGEST_ID = 2**53 - 1
_WHOLE_SECONDS = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)?")
_FRACTIONS = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)\.\d+(Z|[+-]\d\d:?\d\d)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Query = Mapping[str, str]


def integer(query: Query, name: str, *, least: int = -LARGEST_ID) -> int | None:
    """A whole number from the query; None if absent."""
    text = query.get(name)
    if text is None or text == "":
        return None
    if not re.fullmatch(r"-?[0-9]{1,16}", text) or not least <= int(text) <= LARGEST_ID:
        raise InvalidError(f"{name} must be a whole number of at least {least}")
    return int(text)


def boolean(query: Query, name: str) -> bool:
    """``true`` / ``1`` or ``false`` / ``0`` from the query; False if absent."""
    text = query.get(name, "false").lower()
    if text not in ("true", "1", "false", "0"):
        raise InvalidError(f"{name} must be true or false")
    return text in ("true", "1")


def names(query: Query, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """A comma list out of ``allowed``; all of them if absent."""
    chosen = tuple(part.strip() for part in query.get(name, "").split(",") if part.strip())
    for part in chosen:
        if part not in allowed:
            raise InvalidError(f"{name} must be one of {', '.join(allowed)}")
    return chosen or allowed


def window(query: Query, above_maximum: str = "capped") -> tuple[int, int]:
    """``start`` and ``limit`` of a v1 list, 0 and 100 by default; above 500 is ``capped`` or ``refused``."""
    start = integer(query, "start", least=0) or 0
    limit = integer(query, "limit", least=1) or PAGE_DEFAULT
    if limit > PAGE_MAXIMUM and above_maximum == "refused":
        raise InvalidError(f"limit must be at most {PAGE_MAXIMUM}")
    return start, min(limit, PAGE_MAXIMUM)


def cursor_window(query: Query, maximum: int = PAGE_MAXIMUM) -> tuple[int, int]:
    """Offset and limit of a v2 list whose cursor is opaque to the caller."""
    limit = integer(query, "limit", least=1) or PAGE_DEFAULT
    if limit > maximum:
        raise InvalidError(f"limit must be at most {maximum}")
    text = query.get("cursor")
    if not text:
        return 0, limit
    try:
        offset = msgspec.json.decode(base64.urlsafe_b64decode(text.encode() + b"=="), type=dict[str, int])["offset"]
    except (ValueError, KeyError, UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        raise InvalidError("cursor is not one of ours") from None
    if not 0 <= offset <= LARGEST_ID:
        raise InvalidError("cursor is not one of ours")
    return offset, limit


def cursor_at(offset: int) -> str:
    """The cursor of the page that starts at an offset."""
    return base64.urlsafe_b64encode(msgspec.json.encode({"offset": offset})).decode().rstrip("=")


def since(query: Query, name: str, fractions: str) -> str | None:
    """A time bound as ``…SS.000Z``; fractions of a second are ``accepted`` or ``refused``. None if absent."""
    text = query.get(name)
    if not text:
        return None
    text = text.replace(" ", "+") if re.search(r"T.* \d\d:?\d\d$", text) else text
    if not (_WHOLE_SECONDS.fullmatch(text) or (fractions == "accepted" and _FRACTIONS.fullmatch(text))):
        raise InvalidError(f"{name} must be an RFC 3339 time in whole seconds")
    try:
        return iso_ms(to_ms(parse_time(text)))
    except (ValueError, OverflowError):
        raise InvalidError(f"{name} must be an RFC 3339 time in whole seconds") from None


def order(query: Query, sortable: tuple[str, ...], default: str) -> list[tuple[str, str]]:
    """``sort`` as pairs of field and ``ASC`` or ``DESC``; a bare field sorts upwards."""
    pairs: list[tuple[str, str]] = []
    for part in (query.get("sort") or default).split(","):
        words = part.split()
        direction = words[1].upper() if len(words) > 1 else "ASC"
        if not 1 <= len(words) <= 2 or words[0] not in sortable or direction not in ("ASC", "DESC"):
            raise InvalidError(f"sort must be a list of FIELD ASC or FIELD DESC with fields {', '.join(sortable)}")
        pairs.append((words[0], direction))
    return pairs


def is_uuid(text: str) -> bool:
    """True for the 36-character form of a UUID."""
    return _UUID.fullmatch(text) is not None


def read_uuid(value: object, name: str) -> str:
    """A UUID from a body, in lower case."""
    if not isinstance(value, str) or not is_uuid(value):
        raise InvalidError(f"{name} must be a UUID")
    return str(uuid.UUID(value))


def read_text(value: object, name: str, longest: int | None = None) -> str:
    """A string that is not blank, from a body."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"{name} must be a string that is not empty")
    if longest is not None and len(value) > longest:
        raise InvalidError(f"{name} must have at most {longest} characters")
    return value


def read_integer(value: object, name: str) -> int:
    """A whole number from a body; true and 1.0 are none."""
    if type(value) is not int or not 0 <= value <= LARGEST_ID:
        raise InvalidError(f"{name} must be a whole number")
    return value


def read_number(value: object, name: str) -> float:
    """A number from a body; a string of digits is none."""
    if type(value) not in (int, float) or abs(value) > LARGEST_ID:  # type: ignore[arg-type]
        raise InvalidError(f"{name} must be a number")
    return value  # type: ignore[return-value]


def read_boolean(value: object, name: str) -> bool:
    """True or false from a body."""
    if not isinstance(value, bool):
        raise InvalidError(f"{name} must be true or false")
    return value


def read_date(value: object, name: str) -> str:
    """``YYYY-MM-DD`` from a body; times are refused."""
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise InvalidError(f"{name} must be a date in the form YYYY-MM-DD")
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise InvalidError(f"{name} must be a date in the form YYYY-MM-DD") from None


def read_object(body: bytes, content_type: str) -> dict[str, Any]:
    """A request body that must be a JSON object."""
    media_type = content_type.partition(";")[0].strip()
    if content_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise InvalidError("the body must be application/json")
    try:
        value = msgspec.json.decode(body or b"{}")
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise InvalidError("the body is not valid JSON") from None
    if not isinstance(value, dict):
        raise InvalidError("the body must be a JSON object")
    return value
