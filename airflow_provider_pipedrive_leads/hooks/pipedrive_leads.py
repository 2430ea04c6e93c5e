"""The hook: a client for the account that an Airflow connection names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.hooks.lineage import LeadsLineage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

    from airflow_provider_pipedrive_leads.api.budget import Usage
    from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings
    from airflow_provider_pipedrive_leads.api.endpoints import JSON, Call
    from airflow_provider_pipedrive_leads.api.fields import Catalogue
    from airflow_provider_pipedrive_leads.api.replies import Reply
    from airflow_provider_pipedrive_leads.client import Account, PipedriveClient
    from airflow_provider_pipedrive_leads.leads.catalogue_cache import CatalogueCache


class PipedriveLeadsHook(LeadsApi, BaseHook):
    """Reads and writes the leads of the Pipedrive company behind an Airflow connection.

    Its methods are those of :class:`api.operations.LeadsApi`. The connection is looked up, and ``requests`` loaded,
    when the first call is made.

    :param pipedrive_conn_id: id of a connection of type ``pipedrive``.
    """

    conn_name_attr = "pipedrive_conn_id"
    default_conn_name = "pipedrive_default"
    conn_type = "pipedrive"
    hook_name = "Pipedrive"

    def __init__(self, pipedrive_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.pipedrive_conn_id = pipedrive_conn_id
        self._client: PipedriveClient | None = None
        self._lineage = LeadsLineage()

    def get_conn(self) -> PipedriveClient:
        """Give the client behind the hook; made at the first call."""
        if self._client is None:
            self._client = self.account().connect()
        return self._client

    def account(self) -> Account:
        """Look the connection up, for clients of one's own: ``hook.account().connect()`` makes one.

        :raises PipedriveConfigError: a form field is not what it should be.
        """
        from airflow_provider_pipedrive_leads.client import Account
        from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore

        return Account(self._settings(), VariableTokenStore(self.pipedrive_conn_id))

    def close(self) -> None:
        """Give the sockets back; the next call opens new ones."""
        if self._client is not None:
            self._client.close()

    def calls_ahead(self) -> int:
        """How many calls are worth having under way at once, by latency and burst window."""
        return self.get_conn().calls_ahead()

    def interrupt(self) -> None:
        """Make calls that other threads have under way, and all later ones of this hook, fail at once."""
        if self._client is not None:
            self._client.interrupt()

    @property
    def usage(self) -> Usage:
        """What this hook has used so far: requests, retries, 429s, tokens, and tokens left of the day."""
        return self.get_conn().usage

    def send(self, call: Call) -> Reply:
        """Send a call through the client, and tell Airflow's lineage of it."""
        try:
            reply = self.get_conn().send(call)
        finally:
            if call.changes_names:
                self._catalogue = None
                self._catalogue_cache().forget()
        self._lineage.note(self, call, reply)
        return reply

    def catalogue(self) -> Catalogue:
        """Give the account's custom fields and labels, read once in ten minutes for all tasks of a machine."""
        if self._catalogue is None:
            self._catalogue = self._catalogue_cache().get(self.read_catalogue)
        return self._catalogue

    def fresh_catalogue(self) -> Catalogue:
        """Give them as they were half a minute ago at most, since something was not found in those kept."""
        from airflow_provider_pipedrive_leads.leads.catalogue_cache import SECONDS_FRESH

        self._catalogue = self._catalogue_cache().get(self.read_catalogue, younger_than=SECONDS_FRESH)
        return self._catalogue

    def wire_fields(self, fields: Mapping[str, object]) -> dict[str, JSON]:
        """Give fields by any name the API's form; what is not found in a kept catalogue is looked for in a new one."""
        try:
            return super().wire_fields(fields)
        except PipedriveValidationError:
            known = self._catalogue
            if known is None:
                raise
            if self.fresh_catalogue() == known:
                raise
        return super().wire_fields(fields)

    def _catalogue_cache(self) -> CatalogueCache:
        from airflow_provider_pipedrive_leads.client import account_of
        from airflow_provider_pipedrive_leads.leads.catalogue_cache import CatalogueCache

        return CatalogueCache(account_of(self.get_conn().settings))

    def test_connection(self) -> tuple[bool, str]:
        """Say in one sentence who was reached, or what to mend (``getCurrentUser``, 2 tokens)."""
        try:
            user = self.get_current_user()
        except PipedriveError as error:
            # Airflow tests a copy under a name of its own, which would mean nothing to who reads this.
            name = re.compile(f"connection {re.escape(repr(self.pipedrive_conn_id))}", re.IGNORECASE)
            sentence = name.sub("this connection", str(error))
            return False, sentence[:1].upper() + sentence[1:]
        finally:
            self.close()
        company = user.get("company_name") or user.get("company_domain") or "its company"
        return (
            True,
            f"Connected to {company} ({user.get('company_domain')}) as {user.get('name')} <{user.get('email')}>.",
        )

    def _settings(self) -> ConnectionSettings:
        name = f"connection '{self.pipedrive_conn_id}'"
        try:
            settings = _read(name, self.get_connection(self.pipedrive_conn_id))
        except PipedriveConfigError as error:
            error.__traceback__ = None  # the frames below hold the connection with its secrets
            raise
        if settings.unknown_extras:
            self.log.warning("%s has extra fields that mean nothing here: %s", name, ", ".join(settings.unknown_extras))
        return settings


def _read(name: str, connection: Connection) -> ConnectionSettings:
    from airflow_provider_pipedrive_leads.api.connection import read_connection

    kind = connection.conn_type
    if kind not in (None, "", PipedriveLeadsHook.conn_type):  # its password would be sent to Pipedrive
        raise PipedriveConfigError(
            f"{name[0].upper()}{name[1:]}, field 'Connection Type': is {kind!r}. Make a connection of type 'pipedrive'"
            " ('Pipedrive' in the form), or name another in pipedrive_conn_id."
        )
    return read_connection(
        name=name,
        host=connection.host,
        login=connection.login,
        password=connection.password,
        port=connection.port,
        extra=_extra(name, connection),
    )


def _extra(name: str, connection: Connection) -> dict[str, object]:
    """Read the raw text first: Airflow gives an empty object for one that is no JSON."""
    text = connection.extra
    if not isinstance(text, str) or not text.strip():
        return text if isinstance(text, dict) else {}
    try:
        is_object = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise PipedriveConfigError(
            f"{name[0].upper()}{name[1:]}, field 'Extra': is not a JSON object. Write it like"
            ' {"base_url": "https://proxy.example.com"}, or clear it.'
        )
    return connection.extra_dejson  # it hides the secrets in logs, too
