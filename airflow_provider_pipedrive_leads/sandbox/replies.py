"""What goes back to a caller: replies, envelopes and errors.

Sources: sections 3.2 and 7 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
HTML_HEADERS = {"content-type": "text/html; charset=utf-8"}


@dataclass(frozen=True)
class Reply:
    """Status, body bytes and headers of one answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON_HEADERS))


class ApiError(Exception):
    """A refusal in the vendor's envelope: ``success`` false, ``error``, ``error_info``, ``data`` and the rest null."""

    def __init__(self, status: int, error: str, info: str = "", **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.info = info or "Please check developers.pipedrive.com"
        self.more = more

    def reply(self) -> Reply:
        """The refusal as a reply."""
        envelope = {
            "success": False,
            "error": self.error,
            "error_info": self.info,
            "data": None,
            "additional_data": None,
        }
        return json_reply({**envelope, **self.more}, self.status)


class InvalidError(ApiError):
    """A value that the vendor's schema does not admit: 400, worded as the choice ``validation_error`` says."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)

    def worded(self, wording: str) -> ApiError:
        """The same refusal in the wording ``schema`` or ``plain``."""
        prefix = "ERR_SCHEMA_VALIDATION_FAILED: " if wording == "schema" else ""
        return ApiError(400, prefix + self.error)


def not_found(what: str = "Entity") -> ApiError:
    """404 for an object; leads and their kin call it by name, v2 calls it an entity."""
    return ApiError(404, f"{what} was not found" if what == "Entity" else f"{what} not found", "Object was not found.")


def json_reply(content: object, status: int = 200) -> Reply:
    """Any content as JSON."""
    return Reply(status, msgspec.json.encode(content))


def data_reply(data: object, status: int = 200, **more: object) -> Reply:
    """``{success: true, data}`` and, if given, further top-level keys."""
    return json_reply({"success": True, "data": data, **more}, status)


def page_reply(
    rows: Sequence[bytes],
    start: int,
    limit: int,
    *,
    shape: str = "nested",
    empty: str = "list",
    extra: Mapping[str, Any] | None = None,
) -> Reply:
    """One start/limit page of rows that are JSON already; ``rows`` holds one row too many if there are more.

    ``shape`` nests the page object under ``pagination`` or lays it flat; ``next_start`` comes only if there are more.
    """
    more = len(rows) > limit
    page: dict[str, Any] = {"start": start, "limit": limit, "more_items_in_collection": more}
    if more:
        page["next_start"] = start + limit
    additional = {"pagination": page} if shape == "nested" else page
    data = b"null" if not rows and empty == "null" else b"[" + b",".join(rows[:limit]) + b"]"
    tail = msgspec.json.encode({**additional, **(extra or {})})
    return Reply(200, b'{"success":true,"data":' + data + b',"additional_data":' + tail + b"}")


def html_reply(status: int, title: str) -> Reply:
    """The page of the front line (Cloudflare) instead of JSON."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Reply(status, page.encode(), dict(HTML_HEADERS))
