"""Search hits, capped."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.operations import LARGEST_PAGE
from airflow_provider_pipedrive_leads.api.values import bool_value, text_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_pipedrive_leads.api.operations import Lead, LeadsApi


def search_capped(
    api: LeadsApi,
    term: object,
    *,
    fields: str | Sequence[str] | None = None,
    exact_match: bool | str = False,
    person_id: int | str | None = None,
    organization_id: int | str | None = None,
    limit: int | str = 100,
) -> list[Lead]:
    """Search leads with one call (20 tokens); see :meth:`api.operations.LeadsApi.search_leads`.

    :param limit: hits at most, 1 to 500.
    :return: the best hits, best first.
    """
    most = _limit(limit)
    hits = api.search_leads(
        text_value("term", term),
        fields=fields or None,
        exact_match=bool_value("exact_match", exact_match),
        person_id=person_id,
        organization_id=organization_id,
        page_size=most,
    )
    return list(islice(hits, most))


def _limit(value: object) -> int:
    text = "" if isinstance(value, bool) else str(value).strip()
    number = int(text) if text.isdecimal() and len(text) <= len(str(LARGEST_PAGE)) else 0
    if not 1 <= number <= LARGEST_PAGE:
        raise PipedriveValidationError(f"limit: {str(value)[:80]!r} is not a whole number from 1 to {LARGEST_PAGE}.")
    return number
