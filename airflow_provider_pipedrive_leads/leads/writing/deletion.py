"""Deleting a lead, told apart from never having had it.

To delete what is gone already answers 404. From a try that follows a doubtful one that is success; from a first one it
is most likely a wrong id, and must not look like success.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.endpoints import path_id
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveError,
    PipedriveNotFoundError,
)

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory

log = logging.getLogger(__name__)

KEPT_AS = "pipedrive_delete"
NOT_SENT = ""


def delete_once(api: LeadsApi, lead_id: str, memory: Memory, *, ignore_missing: bool = False) -> str:
    """Delete a lead for good, archived or not (6 tokens).

    :param memory: of this task, for all its tries.
    :param ignore_missing: take a lead that is not there for deleted.
    :return: the lead's id.
    :raises PipedriveNotFoundError: there is no such lead, and no earlier try can have deleted it.
    """
    lead_id = path_id("lead_id", lead_id)
    tried_before = memory.get(KEPT_AS) == lead_id
    memory.set(KEPT_AS, lead_id)
    try:
        api.delete_lead(lead_id)
    except PipedriveNotFoundError:
        if tried_before or ignore_missing:
            log.info("Lead %s is gone already.", lead_id)
            return lead_id
        memory.set(KEPT_AS, NOT_SENT)
        raise
    except PipedriveError as error:
        if not tried_before and not error.in_doubt:
            memory.set(KEPT_AS, NOT_SENT)
        raise
    return lead_id
