"""The link from a task to the lead that it handled, in Pipedrive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, BaseOperatorLink

from airflow_provider_pipedrive_leads.assets.leads import company_named

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

LEAD_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
API_TOKEN = re.compile("[0-9a-f]{40}")
RESULT = "return_value"


def company_address(host: str) -> str:
    """Say where people find their company in the browser.

    :param host: company domain as a connection has it: ``acme``, ``acme.pipedrive.com`` or a URL of it.
    :return: an empty string where the host names no company.
    """
    place = host.strip()
    company = company_named((urlsplit(place).hostname or "") if "://" in place else place)
    return "" if company is None or API_TOKEN.fullmatch(company) else f"https://{company}.pipedrive.com"


def lead_address(host: str, lead_id: str) -> str:
    """Say where people can look at a lead in the browser.

    :param host: as of :func:`company_address`.
    :return: an empty string where the host names no company, or there is no lead.
    """
    address = company_address(host)
    return f"{address}/leads/inbox/{lead_id.lower()}" if address and LEAD_ID.fullmatch(lead_id) else ""


def returned_by(ti_key: TaskInstanceKey) -> Any:
    """Give what a task returned; None after a failure."""
    from airflow.sdk.execution_time.xcom import XCom

    if getattr(ti_key, "state", "success") != "success":
        return None
    return XCom.get_value(ti_key=ti_key, key=RESULT)


def host_of(operator: BaseOperator) -> str:
    """Give the host of the connection of an operator with a rendered ``pipedrive_conn_id``."""
    return BaseHook.get_connection(operator.pipedrive_conn_id).host or ""  # type: ignore[attr-defined]


class PipedriveLeadLink(BaseOperatorLink):
    """The button of a task that handled a lead. Airflow makes the link when the task ends, on the worker."""

    name = "Open lead"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Link to the lead that the task returned, whole or by its id.

        :param operator: has a rendered ``pipedrive_conn_id``.
        :return: an empty string, and so no link, after a failure, and where the connection names no company domain.
        """
        result = returned_by(ti_key)
        lead_id = result.get("id") if isinstance(result, dict) else result
        return "" if lead_id is None else lead_address(host_of(operator), str(lead_id))
