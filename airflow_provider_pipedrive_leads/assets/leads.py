"""The asset ``pipedrive://<company>/leads``: all leads of one company.

Airflow calls these functions; it finds them through ``get_provider_info``. The first one runs wherever an asset of the
scheme is written down, DAG files included, so this module loads nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.sdk import Asset

SCHEME = "pipedrive"
PATH = "/leads"
DOMAIN = ".pipedrive.com"
COMPANY = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NO_COMPANIES = ("api", "oauth")
"""Hosts that all companies share."""
REMEDY = "Write it like pipedrive://acme/leads, with the company domain in the place of acme."


def company_named(text: str) -> str | None:
    """Read ``acme`` or ``acme.pipedrive.com`` as the company ``acme``; None if it names no company."""
    company = text.lower().removesuffix(DOMAIN)
    return company if COMPANY.fullmatch(company) and company not in NO_COMPANIES else None


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Bring the URI into its one form, ``pipedrive://<company>/leads``.

    :raises ValueError: it names no company, another thing than its leads, or more than that.
    """
    company = company_named(uri.netloc)
    if company is None:
        raise ValueError(f"The asset's URI names no Pipedrive company. {REMEDY}")
    if uri.path != PATH or uri.query or uri.fragment:
        raise ValueError(f"The asset's URI must end with {PATH}; there are no other Pipedrive assets. {REMEDY}")
    return SplitResult(SCHEME, company, PATH, "", "")


def create_asset(*, company: str, extra: Mapping[str, Any] | None = None) -> Asset:
    """Make the asset of a company's leads.

    :param company: the company domain: ``acme`` or ``acme.pipedrive.com``.
    :raises ValueError: it is none.
    """
    from airflow.sdk import Asset

    uri = sanitize_uri(SplitResult(SCHEME, company, PATH, "", ""))
    return Asset(uri.geturl(), extra=dict(extra or {}))


def to_openlineage(asset: Asset, lineage_context: object) -> Dataset:  # noqa: ARG001 - Airflow gives both
    """Name the asset as OpenLineage does: the company is the namespace, ``leads`` the name."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    namespace, _, name = asset.uri.rpartition("/")
    return Dataset(namespace=namespace, name=name)
