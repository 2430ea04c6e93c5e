"""OAuth tokens kept where every worker finds them: in an Airflow Variable, which Airflow encrypts and redacts."""

from __future__ import annotations

import logging

from airflow.sdk import Variable
from airflow.sdk.log import mask_secret

from airflow_provider_pipedrive_leads.api.connection import Secret, can_be_sent
from airflow_provider_pipedrive_leads.api.oauth import OAuthTokens

log = logging.getLogger(__name__)

KEY_PREFIX = "pipedrive_leads_access_token_"
"""Airflow shows no value of a Variable whose key contains ``access_token``."""


class VariableTokenStore:
    """Keeps the tokens of one connection in the Variable ``pipedrive_leads_access_token_<connection id>``.

    Two workers may write at once; the last one wins, and both tokens are good. Where Variables cannot be reached,
    tokens live as long as this object.
    """

    def __init__(self, conn_id: str) -> None:
        self.key = f"{KEY_PREFIX}{conn_id}"
        self._in_memory: OAuthTokens | None = None

    def load(self) -> OAuthTokens | None:
        """Give what any worker kept last; None if there is nothing, or nothing readable."""
        try:
            kept = Variable.get(self.key, default=None, deserialize_json=True)
        except Exception as problem:  # noqa: BLE001 - a secrets backend may raise anything; a new token is always possible
            log.warning(
                "Variable %s cannot be read (%s); asking for a new OAuth token.", self.key, type(problem).__name__
            )
            return self._in_memory
        tokens = _tokens_from(kept)
        if tokens is not None:
            _mask(tokens)
        return tokens or self._in_memory

    def save(self, tokens: OAuthTokens) -> None:
        """Keep tokens for all workers."""
        _mask(tokens)
        self._in_memory = tokens
        kept = {
            "access_token": tokens.access_token.reveal,
            "refresh_token": tokens.refresh_token.reveal,
            "expires_at": tokens.expires_at,
            "api_domain": tokens.api_domain,
            "grant": tokens.grant,
        }
        try:
            Variable.set(self.key, kept, description="OAuth tokens of the Pipedrive provider", serialize_json=True)
        except Exception as problem:  # noqa: BLE001 - as above; this process can go on with the token it has
            log.warning(
                "Variable %s cannot be written (%s); the next task will ask anew.", self.key, type(problem).__name__
            )


def _tokens_from(kept: object) -> OAuthTokens | None:
    if not isinstance(kept, dict):
        return None
    try:
        tokens = OAuthTokens(
            Secret(str(kept["access_token"])),
            Secret(str(kept["refresh_token"])),
            float(kept["expires_at"]),
            str(kept["api_domain"]),
            str(kept["grant"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    usable = can_be_sent(tokens.access_token.reveal) and can_be_sent(tokens.refresh_token.reveal)
    return tokens if usable else None


def _mask(tokens: OAuthTokens) -> None:
    for secret in (tokens.access_token, tokens.refresh_token):
        mask_secret(secret.reveal)
