"""A worker behind a proxy: what the environment says of proxies and certificates holds for every request."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveConnectionError
from airflow_provider_pipedrive_leads.client import PipedriveClient

pytestmark = pytest.mark.slow

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class Proxy(BaseHTTPRequestHandler):
    """Passes on what names a whole address, and opens a tunnel where asked for one, unless it wants a login."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.passed.append(f"{self.command} {self.path}")
        target = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        onward = http.client.HTTPConnection(target.hostname, target.port)
        path = f"{target.path}?{target.query}" if target.query else target.path
        onward.request(self.command, path, body=self.rfile.read(length) or None, headers=dict(self.headers))
        reply = onward.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        onward.close()

    def do_POST(self):
        self.do_GET()

    def do_CONNECT(self):
        self.server.passed.append(f"CONNECT {self.path}")
        if self.server.wants_login:
            self.send_error(407)
            return
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port))) as onward:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(onward, self.connection))
            back.start()
            pump(self.connection, onward)
            back.join()
        self.close_connection = True

    def log_message(self, *args):
        """Be quiet."""


def pump(source, target):
    with suppress(OSError):  # one of the two was cut off
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class Sources(BaseHTTPRequestHandler):
    """Knows one lead source."""

    def do_GET(self):
        body = json.dumps({"success": True, "data": [{"name": "Through the tunnel"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Be quiet."""


@contextmanager
def running(handler, certificate=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.passed, server.wants_login = [], False
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(monkeypatch):
    for name in ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running(Proxy) as server:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        yield server


def client_of(password=TOKEN, **extra):
    return PipedriveClient(read_connection(password=password, extra=extra), sleep=lambda _: None)


def client_of_sandbox(sandbox, login):
    if login == "token":
        return client_of(sandbox.token, base_url=sandbox.url)
    return client_of(None, **sandbox.oauth_connection["extra"])


class Front(Proxy):
    """Stands before a sandbox, so that it is reached by TLS: what goes to this machine in clear meets no proxy."""

    def do_GET(self):
        self.path = self.server.sandbox_url + self.path
        super().do_GET()


@pytest.mark.parametrize("login", ["token", "oauth"])
def test_every_request_goes_through_the_proxy(sandbox, proxy, certificate, monkeypatch, login):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running(Front, certificate) as front:
        front.sandbox_url = sandbox.url
        app = sandbox.oauth_connection["extra"] if login == "oauth" else {}
        password = sandbox.token if login == "token" else None
        client = client_of(password, **{**app, "base_url": f"https://127.0.0.1:{front.server_port}"})
        assert client.get_lead_sources()
        assert client.add_lead_label("Far", "blue")["name"] == "Far"
        client.close()
    expected = [f"GET {sandbox.url}/v1/leadSources", f"POST {sandbox.url}/v1/leadLabels"]
    token_request = [f"POST {sandbox.url}/oauth/token"] if login == "oauth" else []
    assert front.passed == [*token_request, *expected]
    assert set(proxy.passed) == {f"CONNECT 127.0.0.1:{front.server_port}"}


def test_what_no_proxy_names_is_reached_directly(sandbox, proxy, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client = client_of_sandbox(sandbox, "oauth")
    assert client.get_lead_sources()
    assert proxy.passed == []
    client.close()


def test_a_tunnel_and_the_companys_own_certificate(proxy, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running(Sources, certificate) as server:
        client = client_of(base_url=f"https://127.0.0.1:{server.server_port}")
        assert client.get_lead_sources() == ["Through the tunnel"]
        client.close()
    assert proxy.passed == [f"CONNECT 127.0.0.1:{server.server_port}"]


def test_a_certificate_that_nobody_vouches_for_is_refused(proxy, certificate):
    with running(Sources, certificate) as server:
        client = client_of(base_url=f"https://127.0.0.1:{server.server_port}")
        with pytest.raises(PipedriveConnectionError, match="did not prove its identity") as raised:
            client.add_lead_label("Nowhere", "blue")
        client.close()
    assert not raised.value.in_doubt


@pytest.mark.parametrize("trouble", ["wants a login", "nobody there"])
def test_a_proxy_in_trouble_is_named_and_nothing_was_sent(proxy, nobody, monkeypatch, trouble):
    proxy.wants_login = trouble == "wants a login"
    if trouble == "nobody there":
        monkeypatch.setenv("https_proxy", nobody)
    client = client_of(base_url="https://127.0.0.1:1")
    with pytest.raises(PipedriveConnectionError, match=r"proxy\. Check its variables HTTPS_PROXY") as raised:
        client.add_lead_label("Nowhere", "blue")
    assert not raised.value.in_doubt
    client.close()


class Silent(BaseHTTPRequestHandler):
    """Reads a request, and ends the connection instead of answering."""

    def do_POST(self):
        self.server.passed.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True

    def log_message(self, *args):
        """Be quiet."""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_post_whose_answer_a_proxy_lost_is_in_doubt_and_goes_once(proxy, certificate, monkeypatch, scheme):
    """The library calls that an error of the proxy, too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with running(Silent, certificate if scheme == "https" else None) as server:
        if scheme == "http":
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        client = client_of(base_url=f"{scheme}://127.0.0.1:{server.server_port}")
        with pytest.raises(PipedriveConnectionError, match="before its reply was whole") as raised:
            client.add_lead_label("Once", "blue")
        client.close()
    assert len(server.passed) == 1
    assert raised.value.in_doubt


MISTAKES = {
    "no host": ("https_proxy", "http://:3128", "HTTPS_PROXY"),
    "no port": ("https_proxy", "http://someone:pass-word@proxy:80a", "HTTPS_PROXY"),
    "no HTTP": ("https_proxy", "ftp://someone:pass-word@proxy:21", "HTTPS_PROXY"),
    "a login that cannot be sent": ("https_proxy", "http://someone:pass-word%E2%82%AC@127.0.0.1:9", "HTTPS_PROXY"),
    "no certificates": ("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem", "REQUESTS_CA_BUNDLE"),
}


@pytest.mark.parametrize("login", ["token", "oauth"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_environment_is_named_without_its_password(proxy, monkeypatch, mistake, login):
    variable, value, named = MISTAKES[mistake]
    monkeypatch.setenv(variable, value)
    app = {"client_id": "app", "client_secret": "s" * 8, "refresh_token": "r" * 8}
    server = {"base_url": "https://127.0.0.1:1"}
    client = client_of(**server) if login == "token" else client_of(None, **app, **server)
    with pytest.raises(PipedriveConfigError, match=named) as raised:
        client.get_lead_sources()
    told = traceback.TracebackException.from_exception(raised.value, capture_locals=False)
    assert "pass-word" not in "".join(told.format())
    client.close()


def test_an_answer_may_take_longer_than_a_connection(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("airflow_provider_pipedrive_leads.open_connections.CONNECT_TIMEOUT", 0.3)

    class Slow(Sources):
        def do_GET(self):
            time.sleep(0.6)  # real time: longer than a connection may take; however much longer, it is waited for
            super().do_GET()

    with running(Slow) as server:
        client = client_of(base_url=f"http://127.0.0.1:{server.server_port}")
        assert client.get_lead_sources() == ["Through the tunnel"]
        assert client.usage.requests == 1
        client.close()
