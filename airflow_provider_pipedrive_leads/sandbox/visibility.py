"""Who may see what: ``visible_to`` levels, by plan, and the groups of the invented company.

Levels (section 3.1 of ``docs/pipedrive-api.md``): Lite and Growth know 1 (owner) and 3 (everyone); Premium and Ultimate
know 1 (owner), 3 (owner's group), 5 (group and its sub-groups) and 7 (everyone). Administrators see all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

LEVELS = ("1", "3", "5", "7")
PARENT_GROUPS: dict[int, int | None] = {1: None, 2: 1, 3: None}
GROUPED_PLANS = ("premium", "ultimate")


@dataclass(frozen=True)
class Member:
    """A user as far as rights go."""

    id: int
    group: int
    admin: bool


def sees(viewer: Member, owner: Member, level: str, plan: str) -> bool:
    """Whether ``viewer`` may see a thing of ``owner`` that is visible to ``level``."""
    if viewer.admin or viewer.id == owner.id:
        return True
    if plan not in GROUPED_PLANS or level == "7":
        return level != "1"
    if level == "3":
        return viewer.group == owner.group
    return level == "5" and owner.group in _line(viewer.group)


def visible_condition(viewer: Member, members: Iterable[Member], plan: str) -> tuple[str, list[Any]]:
    """The SQL condition, with its values, that keeps what ``viewer`` may see."""
    if viewer.admin:
        return "1", []
    seen = [(owner.id, level) for owner in members for level in LEVELS if sees(viewer, owner, level, plan)]
    return f"(owner_id, CAST(visible_to AS TEXT)) IN (VALUES {', '.join(['(?, ?)'] * len(seen))})", [
        part for pair in seen for part in pair
    ]


def _line(group: int) -> list[int]:
    line: list[int] = []
    at: int | None = group
    while at is not None:
        line.append(at)
        at = PARENT_GROUPS.get(at)
    return line
