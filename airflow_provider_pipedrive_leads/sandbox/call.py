"""One call as a route sees it, and the table entry that leads there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox.parameters import read_object
from airflow_provider_pipedrive_leads.sandbox.visibility import Member, visible_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_pipedrive_leads.sandbox.replies import Reply
    from airflow_provider_pipedrive_leads.sandbox.world import World


@dataclass(frozen=True)
class Caller:
    """Who calls: a user, by API token or through an OAuth app with scopes."""

    member: Member
    kind: str
    token: str
    client_id: str = ""
    app_name: str = ""
    scopes: frozenset[str] = frozenset()

    def may(self, wanted: tuple[str, ...]) -> bool:
        """Whether one of the wanted scopes is there; API tokens and routes without scopes need none."""
        return self.kind == "api_token" or not wanted or not self.scopes.isdisjoint(wanted)


@dataclass(frozen=True)
class Call:
    """A request that has passed the gate."""

    world: World
    caller: Caller
    params: dict[str, str]
    query: dict[str, str]
    content: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body, which must be a JSON object; an empty one is ``{}``."""
        return read_object(self.content, self.content_type)

    def visible(self) -> tuple[str, list[Any]]:
        """The SQL condition, with values, for what the caller may see."""
        return visible_condition(self.caller.member, self.world.members.values(), self.world.options.plan)


@dataclass(frozen=True)
class Endpoint:
    """One row of the endpoint index: method, path, cost in tokens, scopes of which one is needed, the handler.

    ``search`` marks what the search limit counts, ``open`` what needs no token and counts towards no limit.
    """

    method: str
    path: str
    cost: int
    scopes: tuple[str, ...]
    handler: Callable[[Call], Reply]
    search: bool = False
    open: bool = False

    @property
    def route(self) -> str:
        """The name under which calls are counted."""
        return f"{self.method} {self.path}"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression whose groups are the parameters."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))
