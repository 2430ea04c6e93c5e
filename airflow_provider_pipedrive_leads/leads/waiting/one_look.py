"""One look at an account, and from when on it may have missed something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.api.replies import server_time
from airflow_provider_pipedrive_leads.api.values import moment_value
from airflow_provider_pipedrive_leads.leads.reading.incremental import LOOKBACK
from airflow_provider_pipedrive_leads.leads.writing.settling import CLOCKS_APART

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import Call
    from airflow_provider_pipedrive_leads.api.replies import Reply


class OneLook(LeadsApi):
    """Sends through a client, which outlives the look whatever comes of it.

    :ivar answered_at: Pipedrive's clock at the first answer, such as ``2026-01-31T09:30:00Z``, or this machine's where
        that is behind it: one that runs ahead would hide changes. None if Pipedrive's was not told.
    """

    def __init__(self, api: LeadsApi) -> None:
        self._api = api
        self.answered_at: str | None = None

    def send(self, call: Call) -> Reply:
        """Send a call as the client does."""
        reply = self._api.send(call)
        self.answered_at = self.answered_at or _earlier(server_time(reply.headers), _now())
        return reply

    def calls_ahead(self) -> int:
        """As the client."""
        return self._api.calls_ahead()

    @property
    def unseen_since(self) -> str:
        """A second by Pipedrive's clock: what changed later may not have been seen, for changes show late."""
        if self.answered_at is None:
            return moment_value("since", _now() - CLOCKS_APART)
        return moment_value("since", datetime.fromisoformat(self.answered_at) - timedelta(seconds=LOOKBACK))


def _earlier(told: str | None, own: datetime) -> str | None:
    return None if told is None else min(told, moment_value("now", own))


def _now() -> datetime:
    return datetime.now(UTC)
