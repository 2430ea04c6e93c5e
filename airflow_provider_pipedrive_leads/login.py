"""Floor 2: what a client shows to get in, and how it gets a new access token when the old one ends."""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode, urlsplit

import urllib3

from airflow_provider_pipedrive_leads.api.connection import ApiToken, OAuthApp, Secret, secrets_of
from airflow_provider_pipedrive_leads.api.errors import PipedriveAuthError, PipedriveConnectionError
from airflow_provider_pipedrive_leads.api.oauth import (
    OAuthTokens,
    authorize_again,
    base_url_for,
    fingerprint,
    read_tokens,
    refresh_form,
    refused,
)
from airflow_provider_pipedrive_leads.open_connections import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings
    from airflow_provider_pipedrive_leads.open_connections import Answer, OpenConnections

MAX_REPLY_BYTES = 1 << 20
"""Bytes of a reply with tokens, of which there are some hundred."""
PAUSES: Sequence[float] = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
"""Seconds between looks for the tokens of another worker, which a slow store may show late."""


class Login(Protocol):
    """How calls are signed.

    :param renewable: whether there is a new token to be had when one is refused.
    """

    renewable: bool

    def sign(self) -> tuple[str, dict[str, Secret]]:
        """Give the server that calls go to, and the header that carries the token."""

    def renew(self, header: Mapping[str, Secret]) -> None:
        """Get a new token after the one in ``header`` was refused."""


class TokenStore(Protocol):
    """Keeps OAuth tokens between clients."""

    def load(self) -> OAuthTokens | None:
        """Give what was kept last; None if there is nothing or it cannot be read."""

    def save(self, tokens: OAuthTokens) -> None:
        """Keep tokens."""


class MemoryTokenStore:
    """Keeps tokens as long as the object lives."""

    def __init__(self) -> None:
        self._tokens: OAuthTokens | None = None

    def load(self) -> OAuthTokens | None:
        """Give what was kept last."""
        return self._tokens

    def save(self, tokens: OAuthTokens) -> None:
        """Keep tokens."""
        self._tokens = tokens


def login_for(settings: ConnectionSettings, connections: OpenConnections, store: TokenStore | None = None) -> Login:
    """Give the login that a connection asks for.

    :param store: where OAuth tokens are kept; default: in memory.
    """
    if isinstance(settings.login, ApiToken):
        return ApiTokenLogin(settings.base_url, settings.login.token)
    return OAuthLogin(settings, settings.login, connections, store or MemoryTokenStore())


class ApiTokenLogin:
    """A personal API token: it never expires, and cannot be renewed."""

    renewable = False

    def __init__(self, base_url: str, token: Secret) -> None:
        self._base_url = base_url
        self._token = token

    def sign(self) -> tuple[str, dict[str, Secret]]:
        """Give server and header."""
        return self._base_url, {"x-api-token": self._token}

    def renew(self, header: Mapping[str, Secret]) -> None:
        """There is no other token."""


class OAuthLogin:
    """An OAuth app's access token, fetched when needed and shared through a store.

    Threads of a process refresh one at a time. Processes may refresh at once: each looks into the store before it does
    and after it was refused, so that all end with a good token.
    """

    renewable = True

    def __init__(
        self,
        settings: ConnectionSettings,
        app: OAuthApp,
        connections: OpenConnections,
        store: TokenStore,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._app = app
        self._connections = connections
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._grant = fingerprint(app.refresh_token)
        self._lock = threading.Lock()
        self._tokens: OAuthTokens | None = None

    def sign(self) -> tuple[str, dict[str, Secret]]:
        """Give server and header, with a token that outlasts the call.

        :raises PipedriveAuthError: somebody must authorize again.
        """
        with self._lock:
            if self._tokens is None or not self._tokens.fresh(self._clock()):
                self._tokens = self._other_than(self._tokens) or self._refresh()
            tokens = self._tokens
        base_url = base_url_for(self._settings, self._app, tokens.api_domain)
        return base_url, {"Authorization": _bearer(tokens)}

    def renew(self, header: Mapping[str, Secret]) -> None:
        """Replace the refused token, unless another thread or process did so already."""
        with self._lock:
            current = self._tokens
            if current is None or header.get("Authorization") == _bearer(current):
                self._tokens = self._other_than(current) or self._refresh()

    def _other_than(self, tokens: OAuthTokens | None) -> OAuthTokens | None:
        """What the store holds, if it is of this grant, fresh, and not what we have already."""
        kept = self._store.load()
        if kept is None or kept.grant != self._grant or not kept.fresh(self._clock()):
            return None
        return kept if tokens is None or kept.access_token != tokens.access_token else None

    def _refresh(self) -> OAuthTokens:
        """Ask for a token; if refused, another process may have been faster, or the connection's own may be good."""
        kept = self._store.load()
        refresh_token = kept.refresh_token if kept and kept.grant == self._grant else self._app.refresh_token
        try:
            tokens = self._ask(refresh_token)
        except PipedriveAuthError:
            faster = self._from_a_faster_worker(refresh_token)
            if faster is None and refresh_token == self._app.refresh_token:
                raise
            tokens = faster or self._ask(self._app.refresh_token)
        self._store.save(tokens)
        return tokens

    def _from_a_faster_worker(self, used_up: Secret) -> OAuthTokens | None:
        """Who used a rotating refresh token up may not have written the new ones down yet: look a few times."""
        for pause in PAUSES:
            kept = self._other_than(self._tokens)
            if kept is not None and kept.refresh_token != used_up:
                return kept
            self._sleep(pause)
        return self._other_than(self._tokens)

    def _ask(self, refresh_token: Secret) -> OAuthTokens:
        try:
            return self._read(self._post(refresh_form(refresh_token)), refresh_token)
        except NoAnswerError:
            failure = PipedriveConnectionError(
                "POST /oauth/token: the server gave no answer.", method="POST", path="/oauth/token"
            )
        except BaseException as interruption:
            interruption.__traceback__ = None  # the frames below hold tokens in forms and replies
            raise
        raise failure

    def _read(self, reply: Answer, sent: Secret) -> OAuthTokens:
        if reply.status == HTTPStatus.OK:
            return read_tokens(reply.body, now=self._clock(), grant=self._grant)
        remedy = authorize_again(self._settings.name)
        raise refused(reply.status, reply.body, remedy=remedy, secrets=(*secrets_of(self._app), sent))

    def _post(self, form: Mapping[str, str]) -> Answer:
        url = urlsplit(self._app.token_url)
        login = urllib3.make_headers(basic_auth=f"{self._app.client_id}:{self._app.client_secret.reveal}")
        return self._connections.exchange(
            f"{url.scheme}://{url.netloc}",
            "POST",
            url.path,
            headers={**login, "Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            timeout=self._settings.timeout,
            max_bytes=MAX_REPLY_BYTES,
            clock=time.monotonic,
        )


def _bearer(tokens: OAuthTokens) -> Secret:
    return Secret(f"Bearer {tokens.access_token.reveal}")
