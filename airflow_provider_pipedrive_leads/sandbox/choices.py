"""What nobody outside Pipedrive knows for sure, as data: one entry per open choice.

The profile ``likely`` plays each choice in its likeliest setting, ``contrary`` in the opposite one; each choice
is also a switch of its own. Section numbers are those of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Choice:
    """One unknown: its name, what it decides, its values, which are likely and contrary, where it is discussed."""

    name: str
    decides: str
    values: tuple[str, ...]
    likely: str
    contrary: str
    section: str


def _choice(name: str, decides: str, likely: str, contrary: str, section: str, *others: str) -> Choice:
    return Choice(name, decides, (likely, contrary, *others), likely, contrary, section)


CHOICES: dict[str, Choice] = {
    choice.name: choice
    for choice in (
        _choice("lead_created_status", "status of POST /v1/leads", "201", "200", "3.5"),
        _choice("paging_shape", "pagination object of lead lists", "nested", "flat", "3.2"),
        _choice("field_paging_shape", "pagination object of leadFields and v1 dealFields", "nested", "flat", "4"),
        _choice("limit_over_500", "a limit above 500 on a v1 list", "capped", "refused", "3.2"),
        _choice("empty_page", "data of an empty lead page", "list", "null", "3.2"),
        _choice("malformed_lead_id", "status for a lead id that is no UUID", "400", "404", "3.4"),
        _choice("archived_lead_get", "GET of an archived lead by id", "200", "404", "3.4"),
        _choice("archived_lead_edit", "status for an edit of an archived lead", "400", "403", "3.6", "409"),
        _choice("archive_time_form", "form of archive_time", "iso_ms", "plain", "3.1", "null"),
        _choice("archiving_update_time", "update_time on archiving and restoring", "moves", "stays", "3.6"),
        _choice(
            "unchanged_patch_update_time",
            "update_time on a PATCH that changes nothing",
            "stays",
            "moves",
            "3.6",
        ),
        _choice(
            "archived_updated_since",
            "updated_since on /leads/archived",
            "honoured",
            "ignored",
            "3.3",
            "refused",
        ),
        _choice("updated_since_fractions", "fractions of a second in updated_since", "refused", "accepted", "3.2"),
        _choice("archived_status_parameter", "the removed archived_status parameter", "ignored", "refused", "3.2"),
        _choice("equal_times_order", "order of leads with equal sort keys", "insertion", "reversed", "3.2"),
        _choice("unknown_keys", "unknown keys in a body", "ignored", "refused", "3.5"),
        _choice("validation_error", "wording of a validation error", "schema", "plain", "7"),
        _choice("null_title", "a PATCH with title null", "refused", "ignored", "3.6"),
        _choice("unlink_last_contact", "a PATCH that leaves a lead without contact", "refused", "allowed", "3.6"),
        _choice("empty_label_ids", "label_ids [] in a PATCH", "clears", "ignored", "3.6"),
        _choice("oauth_origin_id", "origin_id given by an OAuth app", "kept", "overwritten", "3.5"),
        _choice("stored_values", "text, numbers, addresses as stored", "normalised", "verbatim", "3.1"),
        _choice("second_delete", "status of a DELETE of a lead already deleted", "404", "410", "7"),
        _choice("search_archived", "archived leads in search", "found", "left_out", "5"),
        _choice("api_v1_prefix", "/api/v1/ for leads: served on company hosts only", "served", "unknown", "1"),
        _choice("query_token", "?api_token= instead of the header", "accepted", "refused", "8.1"),
        _choice(
            "new_record_update_time",
            "update_time of a person, organization or deal until it is first changed",
            "null",
            "add_time",
            "5",
        ),
        _choice("converted_deal_add_time", "add_time of a deal made by conversion", "now", "of_lead", "5"),
        _choice("rate_headers", "the rate and daily budget headers", "present", "absent", "8.5"),
        _choice("retry_after", "Retry-After on a 429", "absent", "present", "8.5"),
        _choice("rate_limit_body", "body of a 429", "envelope", "text", "7"),
        _choice("ignored_429s", "carrying on through 429s with an API token", "html_403", "nothing", "8.5"),
        _choice("day_zone", "zone whose midnight renews the daily budget", "UTC", "America/Los_Angeles", "8.3"),
    )
}

PROFILES: dict[str, dict[str, str]] = {
    "likely": {choice.name: choice.likely for choice in CHOICES.values()},
    "contrary": {choice.name: choice.contrary for choice in CHOICES.values()},
}


class Choices:
    """The settings in force: a profile and the switches set on top of it."""

    def __init__(self, profile: str = "likely", overrides: Mapping[str, str] | None = None) -> None:
        self.set_profile(profile)
        for name, value in (overrides or {}).items():
            self.set(name, value)

    def __getitem__(self, name: str) -> str:
        return self._settings[name]

    def as_dict(self) -> dict[str, str]:
        """All settings by name."""
        return dict(self._settings)

    def set_profile(self, profile: str) -> None:
        """Play a whole profile, forgetting single switches. Raises ValueError for an unknown one."""
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}: one of {', '.join(PROFILES)}")
        self.profile = profile
        self._settings = dict(PROFILES[profile])

    def set(self, name: str, value: object) -> None:
        """Set one switch. Raises ValueError for an unknown name or value."""
        if name not in CHOICES:
            raise ValueError(f"unknown choice {name!r}: one of {', '.join(CHOICES)}")
        if str(value) not in CHOICES[name].values:
            raise ValueError(f"{name} is one of {', '.join(CHOICES[name].values)}, not {value!r}")
        self._settings[name] = str(value)
