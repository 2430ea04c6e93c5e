"""Deleting a lead, told apart from never having had it.

To delete what is gone already answers 404, and so does a wrong id, which must not look like success. So the lead is
looked at before its deletion is sent for the first time; if it was seen, and is not there later, it was deleted.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError
from airflow_provider_pipedrive_leads.leads.reading.one_lead import lead_is_there

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory

log = logging.getLogger(__name__)

KEPT_AS = "pipedrive_delete"


def delete_once(api: LeadsApi, lead_id: str, memory: Memory, *, ignore_missing: bool = False) -> str:
    """Delete a lead for good, archived or not (8 tokens).

    :param memory: of this task, for all its tries.
    :param ignore_missing: take a lead that is not there for deleted.
    :return: the lead's id.
    :raises PipedriveNotFoundError: there is no such lead, and no try has seen it.
    """
    lead_id = path_id("lead_id", lead_id)
    was_there = memory.get(KEPT_AS) == lead_id or lead_is_there(api, lead_id)
    if was_there:
        memory.set(KEPT_AS, lead_id)
    try:
        api.delete_lead(lead_id)
    except PipedriveNotFoundError:
        if not was_there and not ignore_missing:
            raise
        log.info("Lead %s is gone already.", lead_id)
    else:
        memory.set(KEPT_AS, lead_id)
    return lead_id
