"""OAuth: tokens fetched when needed, renewed once for all, believed only for the right host."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from airflow_provider_pipedrive_leads import login as login_module
from airflow_provider_pipedrive_leads.api.connection import Secret, read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveAuthError, PipedriveConfigError
from airflow_provider_pipedrive_leads.api.oauth import OAuthTokens, base_url_for
from airflow_provider_pipedrive_leads.authorize import code_from, main
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.login import MemoryTokenStore, OAuthLogin
from airflow_provider_pipedrive_leads.open_connections import OpenConnections

TOKEN_CALLS = "/oauth/token"


def settings_for(connection, name="connection 'crm'"):
    return read_connection(name=name, password=connection.get("password"), extra=connection["extra"])


def token_calls(sandbox):
    return [seen for seen in sandbox.control.requests() if seen["path"] == TOKEN_CALLS]


@pytest.fixture
def oauth(sandbox):
    """Settings of a freshly installed app."""
    connection = sandbox.oauth_connection
    sandbox.control.reset_counters()
    yield settings_for(connection)
    sandbox.control.unfreeze()


def test_one_token_serves_many_calls_and_clients(sandbox, oauth):
    store = MemoryTokenStore()
    for _ in range(2):
        client = PipedriveClient(oauth, token_store=store)
        client.get_lead_sources()
        assert client.get_current_user()["company_domain"]
    assert len(token_calls(sandbox)) == 1


def test_an_expired_token_is_renewed_within_the_call(sandbox, oauth):
    client = PipedriveClient(oauth)
    client.get_lead_sources()
    sandbox.control.advance(4000)  # the server's clock: the client still believes in its token
    assert client.get_lead_sources()
    assert len(token_calls(sandbox)) == 2


def test_a_create_with_an_expired_token_is_made_once(sandbox, oauth):
    client = PipedriveClient(oauth)
    person_id = client.add_person("Robin OAuth")["id"]
    sandbox.control.advance(4000)
    lead = client.add_lead("Once by OAuth", person_id=person_id)
    assert [found["id"] for found in client.get_leads(person_id=person_id)] == [lead["id"]]


def test_a_token_close_to_its_end_is_replaced_before_it_is_used(sandbox, oauth):
    store = MemoryTokenStore()
    PipedriveClient(oauth, token_store=store).get_lead_sources()
    kept = store.load()
    soon = time.time() + 30  # real time: the client goes by it, and the longer it takes, the closer is the end
    store.save(OAuthTokens(kept.access_token, kept.refresh_token, soon, kept.api_domain, kept.grant))
    PipedriveClient(oauth, token_store=store).get_lead_sources()
    assert len(token_calls(sandbox)) == 2


def test_sixteen_threads_refresh_once(sandbox, oauth):
    client = PipedriveClient(oauth)
    failures = []

    def work():
        try:
            client.get_lead_sources()
        except Exception as problem:
            failures.append(problem)

    for _ in range(2):
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sandbox.control.advance(4000)
    assert failures == []
    assert len(token_calls(sandbox)) == 2


def test_a_revoked_app_says_authorize_again(sandbox, oauth, monkeypatch):
    monkeypatch.setattr(login_module, "PAUSES", ())
    client = PipedriveClient(oauth)
    client.get_lead_sources()
    sandbox.control.revoke_oauth()
    with pytest.raises(PipedriveAuthError, match="pipedrive-authorize") as raised:
        client.get_lead_sources()
    assert "connection 'crm'" in str(raised.value)
    assert oauth.login.refresh_token.reveal not in str(raised.value)


def test_a_wrong_client_secret_is_named(sandbox):
    connection = sandbox.oauth_connection
    connection["extra"]["client_secret"] = "wrong"
    with pytest.raises(PipedriveAuthError, match="OAuth client secret"):
        PipedriveClient(settings_for(connection)).get_lead_sources()


def test_a_failing_token_server_is_asked_again(sandbox, oauth):
    sandbox.control.fault("POST", TOKEN_CALLS, "status", status=503)
    client = PipedriveClient(oauth, chance=lambda: 0.0)
    assert client.get_lead_sources()
    sandbox.control.clear_faults()


class RotatingHandler(BaseHTTPRequestHandler):
    """A token server that takes each refresh token once, and an API that takes the newest access tokens.

    It answers those who want a token when as many have come as are expected together.
    """

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        with self.server.lock:
            good = form["refresh_token"][0] == self.server.refresh_token
            if good:
                self.server.refreshes += 1
                self.server.refresh_token = f"refresh-{self.server.refreshes}"
                self.server.access_tokens.add(f"access-{self.server.refreshes}")
        self.server.together.wait()
        body = {"error": "invalid_grant"}
        if good:
            number = self.server.refreshes
            body = {
                "access_token": f"access-{number}",
                "refresh_token": f"refresh-{number}",
                "expires_in": 3600,
                "api_domain": "https://evil.example.com",
            }
        self._answer(200 if good else 400, body)

    def do_GET(self):
        good = self.headers["Authorization"].removeprefix("Bearer ") in self.server.access_tokens
        self._answer(200 if good else 401, {"success": good, "data": []})

    def _answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def rotating():
    server = ThreadingHTTPServer(("127.0.0.1", 0), RotatingHandler)
    server.lock = threading.Lock()
    server.refresh_token, server.refreshes, server.access_tokens = "refresh-0", 0, set()
    server.together = threading.Barrier(1)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def rotating_settings(server, refresh_token="refresh-0"):
    extra = {
        "base_url": f"http://127.0.0.1:{server.server_port}",
        "burst_limit": 1_000,
        "client_id": "app",
        "client_secret": "secret",
        "refresh_token": refresh_token,
    }
    return read_connection(extra=extra)


def test_workers_that_refresh_at_once_end_with_a_good_token(rotating, monkeypatch):
    """Each worker has a client and a lock of its own; they share nothing but the store, and the server rotates."""
    monkeypatch.setattr(login_module, "PAUSES", itertools.repeat(0.01))  # until the one that was faster is done
    store = MemoryTokenStore()
    results = []

    def work():
        results.append(PipedriveClient(rotating_settings(rotating), token_store=store).get_lead_sources())

    PipedriveClient(rotating_settings(rotating), token_store=store).get_lead_sources()
    rotating.together = threading.Barrier(6)
    for _ in range(3):
        rotating.access_tokens.clear()
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 18
    assert rotating.refreshes == 4


class SlowStore(MemoryTokenStore):
    """What one worker saves, others see some seconds later."""

    def __init__(self, seconds):
        super().__init__()
        self.now, self._seconds, self._saved = 0.0, seconds, []

    def load(self):
        seen = [tokens for at, tokens in self._saved if at <= self.now]
        return seen[-1] if seen else None

    def save(self, tokens):
        self._saved.append((self.now + self._seconds, tokens))

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize("seconds", [0, 1, 3, 8])
def test_a_slow_store_does_not_send_anybody_to_authorize_again(rotating, seconds):
    store, settings = SlowStore(seconds), rotating_settings(rotating)
    connections = OpenConnections()
    logins = [OAuthLogin(settings, settings.login, connections, store, sleep=store.sleep) for _ in range(3)]
    headers = [login.sign()[1]["Authorization"] for login in logins]
    assert len(set(headers)) == 1
    assert rotating.refreshes == 1


def test_a_newly_authorized_connection_replaces_what_was_kept(rotating):
    store = MemoryTokenStore()
    PipedriveClient(rotating_settings(rotating), token_store=store).get_lead_sources()
    rotating.access_tokens.clear()
    rotating.refresh_token = "authorized-again"
    client = PipedriveClient(rotating_settings(rotating, "authorized-again"), token_store=store)
    assert client.get_lead_sources() == []


# Which host is believed


def app_settings(host=None, base_url=None):
    extra = {"client_id": "app", "client_secret": "s", "refresh_token": "r", "base_url": base_url}
    return read_connection(host=host, extra=extra)


@pytest.mark.parametrize(
    ("host", "base_url", "api_domain", "server"),
    [
        (None, None, "https://acme.pipedrive.com", "https://acme.pipedrive.com"),
        ("acme", None, "https://acme.pipedrive.com", "https://acme.pipedrive.com"),
        (None, None, "http://acme.pipedrive.com", "https://api.pipedrive.com"),
        (None, None, "https://evil.example.com", "https://api.pipedrive.com"),
        (None, None, "https://evil.example.com#.pipedrive.com", "https://api.pipedrive.com"),
        (None, None, "https://pipedrive.com.evil.example", "https://api.pipedrive.com"),
        (None, None, "https://user@acme.pipedrive.com", "https://api.pipedrive.com"),
        ("acme", None, "", "https://acme.pipedrive.com"),
        (None, "https://proxy.example.com", "https://acme.pipedrive.com", "https://proxy.example.com"),
    ],
)
def test_the_host_of_a_token_is_believed_only_on_pipedrive(host, base_url, api_domain, server):
    settings = app_settings(host, base_url)
    assert base_url_for(settings, settings.login, api_domain) == server


def test_a_token_for_another_company_is_a_mistake_in_the_connection():
    settings = app_settings("acme")
    with pytest.raises(PipedriveConfigError, match="Company domain"):
        base_url_for(settings, settings.login, "https://other.pipedrive.com")


def test_tokens_do_not_show_themselves():
    tokens = OAuthTokens(Secret("at-1234567"), Secret("rt-1234567"), 0.0, "", "")
    assert "1234567" not in repr(tokens)


# The command that makes a refresh token


@pytest.mark.parametrize(
    ("pasted", "code"),
    [("abc123\n", "abc123"), ("https://app.example.com/back?code=abc123&state=1\n", "abc123")],
)
def test_a_code_or_the_whole_address_can_be_pasted(pasted, code):
    assert code_from(pasted) == code


def test_authorizing_gives_a_refresh_token_that_works(sandbox, monkeypatch, capsys):
    import io

    import requests

    app = sandbox.oauth_connection["extra"]
    back = "http://127.0.0.1/back"
    page = requests.get(
        f"{sandbox.url}/oauth/authorize",
        params={"client_id": app["client_id"], "redirect_uri": back},
        allow_redirects=False,
        timeout=300,
    )
    monkeypatch.setenv("PIPEDRIVE_CLIENT_SECRET", app["client_secret"])
    monkeypatch.setattr("sys.stdin", io.StringIO(page.headers["location"] + "\n"))
    command = ["--client-id", app["client_id"], "--redirect-uri", back, "--server", sandbox.url]
    assert main(command) == 0
    refresh_token = capsys.readouterr().out.strip()
    connection = {"extra": {**app, "refresh_token": refresh_token, "base_url": sandbox.url}}
    assert PipedriveClient(settings_for(connection)).get_current_user()
    monkeypatch.setattr("sys.stdin", io.StringIO("worn-out-code\n"))
    assert main(command) == 1
    assert "start again" in capsys.readouterr().err
