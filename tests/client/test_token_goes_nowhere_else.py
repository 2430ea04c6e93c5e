"""A token goes to the server that was meant: not where a reply or a stored value points, not to a proxy in clear."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from airflow_provider_pipedrive_leads.api.connection import Secret, read_connection
from airflow_provider_pipedrive_leads.api.oauth import base_url_for, fingerprint
from airflow_provider_pipedrive_leads.authorize import main
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore
from airflow_provider_pipedrive_leads.login import login_for

APP = {"client_id": "app", "client_secret": "s" * 8, "refresh_token": "r" * 8}
TRICKS = (
    r"https://evil.test\.pipedrive.com",
    r"https://evil.test\@acme.pipedrive.com",
    "https://evil.test%5c.pipedrive.com",
    "https://evil.test\t.pipedrive.com",
    "https://evil.test\n.pipedrive.com",
    "https://evil.test\x00.pipedrive.com",
    "https://evil.test;.pipedrive.com",
    "https://evil.test?.pipedrive.com",
    "https://evil.test#.pipedrive.com",
    "https://evil.test/.pipedrive.com",
    "https://evil.test@acme.pipedrive.com",
    "https://acme.pipedrive.com@evil.test",
    "https://evil.test\uff0f.pipedrive.com",
    "https://evil\u3002test\u2488.pipedrive.com",
    "https://\u212aite.pipedrive.com",
    "https://[.pipedrive.com",
    "https://[::1].pipedrive.com",
    "https://acme.pipedrive.com:8443",
    "https://acme.pipedrive.com:x",
    "https://acme.pipedrive.com:99999",
    "https://acme.pipedrive.com/leads",
    "https://.pipedrive.com",
    "https://a.b.pipedrive.com",
    "http://acme.pipedrive.com",
)


@pytest.mark.parametrize("api_domain", TRICKS)
def test_no_trick_in_the_domain_of_a_token_names_a_server(api_domain):
    settings = read_connection(extra=APP)
    assert base_url_for(settings, settings.login, api_domain) == "https://api.pipedrive.com"


@pytest.mark.parametrize("api_domain", ["https://acme.pipedrive.com", "HTTPS://ACME.pipedrive.com:443/"])
def test_the_company_of_a_token_is_named_by_what_was_matched(api_domain):
    settings = read_connection(extra=APP)
    assert base_url_for(settings, settings.login, api_domain) == "https://acme.pipedrive.com"


def test_a_stored_token_goes_no_further_than_a_new_one(monkeypatch):
    """Whoever may edit Variables does not learn access tokens by it."""
    kept = {"access_token": "a" * 8, "refresh_token": "r" * 8, "expires_at": 1e11, "api_domain": TRICKS[0]}
    kept["grant"] = fingerprint(Secret(APP["refresh_token"]))
    monkeypatch.setattr("airflow.sdk.Variable.get", lambda *args, **options: kept)
    settings = read_connection(extra=APP)
    server, header = login_for(settings, None, VariableTokenStore("crm")).sign()
    assert (server, header["Authorization"].reveal) == ("https://api.pipedrive.com", "Bearer aaaaaaaa")


class Eavesdropping(BaseHTTPRequestHandler):
    """A proxy that keeps what comes."""

    def do_GET(self):
        self.server.heard.append((self.path, dict(self.headers)))
        self.send_error(502)

    def do_POST(self):
        self.do_GET()

    def do_CONNECT(self):
        self.do_GET()

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def heard(monkeypatch):
    """What a proxy of the environment hears."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Eavesdropping)
    server.heard = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    yield server.heard
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("login", ["token", "oauth"])
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_proxy_hears_what_goes_to_this_machine_in_clear(sandbox, heard, login, name):
    connection = sandbox.connection if login == "token" else sandbox.oauth_connection
    extra = {**connection["extra"], "base_url": sandbox.url.replace("127.0.0.1", name)}
    client = PipedriveClient(read_connection(password=connection.get("password"), extra=extra))
    assert client.get_lead_sources()
    assert heard == []
    client.close()


def authorize(monkeypatch, server, client_id="app", code="worn-out-code"):
    monkeypatch.setenv("PIPEDRIVE_CLIENT_SECRET", "not-the-apps-secret-77")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{code}\n"))
    return main(["--client-id", client_id, "--redirect-uri", "http://127.0.0.1/back", "--server", server])


def test_the_authorizing_command_tells_no_proxy_either(sandbox, heard, monkeypatch, capsys):
    assert authorize(monkeypatch, sandbox.url) == 1
    assert heard == []
    assert "answered 401" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("http://oauth.example.com", "this machine only"),
        ("http://127.0.0.1.example.com", "this machine only"),
        ("https://oauth.example.com/path", "scheme, host and port only"),
        ("https://me:pass-word@oauth.example.com", "scheme, host and port only"),
        (TRICKS[0], "is no URL"),
        ("oauth.example.com", "is no URL"),
        ("https://[::1", "is no URL"),
    ],
)
def test_the_authorizing_command_refuses_a_server_to_which_it_must_not_send(monkeypatch, capsys, server, words):
    with pytest.raises(SystemExit):
        authorize(monkeypatch, server)
    told = capsys.readouterr().err
    assert "--server" in told
    assert words in told
    assert "pass-word" not in told


def test_the_authorizing_command_takes_the_paste_for_what_it_is(sandbox, monkeypatch, capsys):
    assert authorize(monkeypatch, sandbox.url, code="https://[") == 1
    assert "answered 401" in capsys.readouterr().err
