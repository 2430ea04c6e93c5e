"""Which leads became deals: found from the newest deal downwards, for a deal may not tell when it was made of a lead.

``update_time`` of a deal may be null until somebody changes it, and then ``updated_since`` leaves the deal out. The
``add_time`` of one that was made by conversion may be the lead's (docs/pipedrive-api.md, "Open choices"). Ids only
grow. So deals are read down to some that people entered, and last changed, before the moment asked for: whatever has a
lower id is older. It takes a row of those, since people may enter deals with a date of the past.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY
from airflow_provider_pipedrive_leads.api.flat_values import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

OLDER_IN_A_ROW = 50
"""Deals one after the other that are older than the moment; then all below them are taken to be."""
PAGE_OF_A_POLL = 100
"""Deals: a page costs the same whatever its size."""


def active_deals_of_leads(api: LeadsApi, since: datetime) -> dict[str, int]:
    """Give the deals that leads became since a moment, archived ones left out (10 tokens a page).

    :return: ids of deals by ids of leads, some that are older among them.
    """
    newest_first = api.get_deals(sort_by="id", sort_direction="desc", page_size=PAGE_OF_A_POLL)
    return dict(_made_of_leads(newest_first, since))


def deals_of_leads(api: LeadsApi, since: datetime | None) -> Iterator[tuple[str, int]]:
    """Yield leads that became deals since a moment, and the deals, archived ones too (10 and 20 tokens a page).

    :param since: None for all.
    :return: id of the lead and of the deal, the newest deal of each list first; some that are older among them.
    """
    for deals in (api.get_deals, api.get_archived_deals):
        yield from _made_of_leads(deals(sort_by="id", sort_direction="desc"), since)


def find_deal(api: LeadsApi, lead_id: str, since: datetime) -> int | None:
    """Look for the deal that a lead became since a moment, archived ones included (10 and 20 tokens a page)."""
    return next((deal_id for each, deal_id in deals_of_leads(api, since) if each == lead_id), None)


def keys_of_deals(api: LeadsApi, field: str) -> Iterator[tuple[str, int]]:
    """Yield what tells a lead apart, off the deals that leads became, archived ones too (10 and 20 tokens a page).

    :param field: ``id``, ``origin_id``, or the key of a custom field, which leads and deals share.
    :return: the key as text, and the id of the deal.
    """
    for deals in (api.get_deals, api.get_archived_deals):
        for deal in deals():
            source = deal.get("source_lead_id")
            if CUSTOM_KEY.fullmatch(field):
                value = plain((deal.get("custom_fields") or {}).get(field))
            else:
                value = source if field == "id" else deal.get(field)
            if source and value:
                yield str(value).strip(), int(deal["id"])


def _made_of_leads(newest_first: Iterable[Mapping[str, Any]], since: datetime | None) -> Iterator[tuple[str, int]]:
    older = 0
    for deal in newest_first:
        lead_id = deal.get("source_lead_id")
        if lead_id:
            yield str(lead_id).lower(), int(deal["id"])
        elif since is not None:
            older = older + 1 if _was_there(deal, since) else 0
            if older == OLDER_IN_A_ROW:
                return


def _was_there(deal: Mapping[str, Any], moment: datetime) -> bool:
    """Whether what a deal tells of its times shows that it is older than a moment."""
    told = [deal[name] for name in ("add_time", "update_time") if deal.get(name)]
    try:
        times = [datetime.fromisoformat(text) for text in told]
    except (TypeError, ValueError):
        return False
    return bool(times) and max(time if time.tzinfo else time.replace(tzinfo=UTC) for time in times) < moment
