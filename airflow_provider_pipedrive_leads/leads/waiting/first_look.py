"""The look at an account before somebody waits in its feed: whether the wait is over already, and whether it can be."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.operations import lead_filters
from airflow_provider_pipedrive_leads.api.values import moment_value, number_value, wrong
from airflow_provider_pipedrive_leads.leads.waiting.expecting import wanted_values
from airflow_provider_pipedrive_leads.leads.waiting.fate import fate
from airflow_provider_pipedrive_leads.leads.waiting.one_look import OneLook
from airflow_provider_pipedrive_leads.leads.waiting.waits import CONVERTED, DELETED, ManyLeads, OneLead, differences

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Literal

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.reading.complete import Filters
    from airflow_provider_pipedrive_leads.leads.writing.conversion import Verdict

log = logging.getLogger(__name__)

MOST_IDS = 1_000
"""Ids that are given at most: they travel through Airflow's database."""


def look_at_lead(
    api: LeadsApi, lead_id: str, expected: object, before: Mapping[str, Any] | None = None
) -> tuple[list[str], OneLead]:
    """Look at one lead (2 tokens; more if it is not found).

    :param expected: values by any name, or ``deleted`` or ``converted``.
    :param before: ``since`` and ``changed`` of an earlier look at the same lead: less is read if it is not found.
    :return: what is not yet as expected, and what to wait for.
    :raises PipedriveNotFoundError: it is gone, or was never there, and that is not what is expected.
    :raises PipedriveValidationError: the id is none, or there is no such field, option or label.
    """
    lead_id = path_id("lead_id", lead_id).lower()
    wanted = _wanted(api, expected)
    look = OneLook(api)
    known = before or {}
    seen = fate(look, lead_id, there=known.get("since"), changed=known.get("changed"))
    changed = None if seen.lead is None else seen.lead["update_time"]
    wait = OneLead(lead_id=lead_id, expected=wanted, since=look.unseen_since, changed=changed)
    return differences(wait, seen), wait


def _wanted(api: LeadsApi, expected: object) -> dict[str, Any] | Literal["deleted", "converted"]:
    if expected == DELETED:
        return DELETED
    if expected == CONVERTED:
        return CONVERTED
    if isinstance(expected, str) or not expected:
        raise PipedriveValidationError(
            f"expected: {str(expected)[:80]!r} is neither 'deleted' nor 'converted', nor a mapping of fields to values"
            " with at least one."
        )
    return wanted_values(api, expected)


def look_for_leads(
    api: LeadsApi, min_count: int | str, filters: Filters, *, updated_since: str | datetime | None, expected: object
) -> ManyLeads:
    """Look for leads that match (20 tokens for every 500 that the filters leave).

    :param filters: ids may be texts; None and empty mean any.
    :param updated_since: lower bound of ``update_time``, inclusive; None and empty mean any time.
    :param expected: values by any name; None for any.
    :return: what to wait for; with those that match now, at most 1,000.
    :raises PipedriveValidationError: a parameter is not what it should be.
    """
    ids = lead_filters(
        filters["owner_id"] or None,
        filters["person_id"] or None,
        filters["organization_id"] or None,
        filters["filter_id"] or None,
    )
    wait = ManyLeads(
        min_count=_min_count(min_count),
        since="",
        owner_id=ids.get("owner_id"),
        person_id=ids.get("person_id"),
        organization_id=ids.get("organization_id"),
        filter_id=ids.get("filter_id"),
        updated_since=moment_value("updated_since", updated_since) if updated_since else None,
        expected=wanted_values(api, expected) if expected else None,
    )
    look = OneLook(api)
    leads = look.get_leads(
        owner_id=wait.owner_id,
        person_id=wait.person_id,
        organization_id=wait.organization_id,
        filter_id=wait.filter_id,
        updated_since=wait.updated_since,
    )
    matching = dict.fromkeys(islice((lead["id"] for lead in leads if wait.matches(lead)), MOST_IDS))
    if len(matching) == MOST_IDS:
        log.info("At least %d leads match; no more ids are given.", MOST_IDS)
    return msgspec.structs.replace(wait, since=look.unseen_since, matching=tuple(matching))


def _min_count(value: int | str) -> int:
    count = number_value("min_count", value)
    if not isinstance(count, int) or not 1 <= count <= MOST_IDS:
        raise wrong("min_count", value, f"a whole number from 1 to {MOST_IDS}")
    return count


def deal_made(api: LeadsApi, lead_id: str, conversion_id: str, verdict: Verdict) -> int | None:
    """Tell the deal that a conversion made.

    :param verdict: how Pipedrive says that the conversion stands.
    :return: None if it is still under way.
    :raises PipedriveError: it failed, was rejected, or nobody knows of it.
    """
    if verdict.outcome == "wait":
        return None
    if verdict.outcome == "completed" and verdict.target_id is not None:
        return int(verdict.target_id)
    if verdict.outcome == "forgotten":
        deal_id = fate(api, lead_id).deal_id
        if deal_id is not None:
            return deal_id
        said = "is not known to Pipedrive, and the lead was not converted to a deal"
    else:
        said = f"ended: Pipedrive says {verdict.said!r}"
    raise PipedriveError(f"conversion_id: the conversion {conversion_id} of lead {lead_id} {said}.")
