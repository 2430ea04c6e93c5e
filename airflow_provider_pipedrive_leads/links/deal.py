"""The link from a task to the deal that it made or waited for, in Pipedrive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from airflow_provider_pipedrive_leads.links.lead import company_address, host_of, returned_by

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

DEAL_ID = re.compile("[1-9][0-9]{0,18}")


def deal_address(host: str, deal_id: str) -> str:
    """Say where people can look at a deal in the browser.

    :param host: company domain as a connection has it: ``acme``, ``acme.pipedrive.com`` or a URL of it.
    :return: an empty string where the host names no company, or there is no deal.
    """
    address = company_address(host)
    return f"{address}/deal/{deal_id}" if address and DEAL_ID.fullmatch(deal_id) else ""


class PipedriveDealLink(BaseOperatorLink):
    """The button of a task that turned a lead into a deal. Airflow makes the link when the task ends, on the worker."""

    name = "Open deal"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Link to the deal whose id the task returned.

        :param operator: has a rendered ``pipedrive_conn_id``.
        :return: an empty string, and so no link, after a failure, and where the connection names no company domain.
        """
        deal_id = returned_by(ti_key)
        return "" if deal_id is None else deal_address(host_of(operator), str(deal_id))
