"""What a server says enters errors in one visible line, of bounded length, without what it was sent in confidence."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads import login as login_module
from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.connection import Secret, read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveError, error_from_reply
from airflow_provider_pipedrive_leads.api.foreign_words import MAX_READ, fit_for_error, secrets_of_proxy
from airflow_provider_pipedrive_leads.authorize import main
from airflow_provider_pipedrive_leads.client import PipedriveClient

TOKEN = "0123456789abcdef0123456789abcdef01234567"
CLIENT_SECRET = 'not/the"apps&secret+77'
REFRESH_TOKEN = "1:99:feedface" + "0" * 30
ACCESS_TOKEN = "v1u:access-" + "a1" * 16
PROXY_PASSWORD = "proxy-pass@word"
BASIC = base64.b64encode(f"app:{CLIENT_SECRET}".encode()).decode()
CALL = endpoints.GET_LEADS.call()
SECRETS = (TOKEN, CLIENT_SECRET, REFRESH_TOKEN, ACCESS_TOKEN, PROXY_PASSWORD, BASIC)


class Echo(BaseHTTPRequestHandler):
    """Says back all that it was sent, in the words of an error; gives OAuth tokens while it is told to."""

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path == "/oauth/token" and self.server.gives_tokens:
            self._answer(200, {"access_token": ACCESS_TOKEN, "refresh_token": REFRESH_TOKEN, "expires_in": 3600})
            return
        told = f"{self.headers} {body} {self.server.extra}"
        shape = self.server.shape
        self._answer(self.server.status, {"success": False, **shape(told)}, self.headers.get("x-api-token") or told)

    def do_POST(self):
        self.do_GET()

    def _answer(self, status, body, correlation_id=""):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-correlation-id", " ".join(correlation_id.split()) or "none")
        self.send_header("Location", self.server.location)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def echo(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.gives_tokens, server.status, server.extra, server.location = True, 400, "", "https://elsewhere.test/"
    monkeypatch.setattr(login_module, "PAUSES", ())
    server.shape = lambda told: {"error": told}
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def error_of(echo, login, caplog):
    app = {"client_id": "app", "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    parts = {"password": TOKEN} if login == "token" else {}
    extra = {"base_url": echo.url, **({} if login == "token" else app)}
    slept = [0.0]
    client = PipedriveClient(
        read_connection(**parts, extra=extra), chance=lambda: 0.0, clock=lambda: sum(slept), sleep=slept.append
    )
    with caplog.at_level(logging.INFO), pytest.raises(PipedriveError) as raised:
        client.add_lead_label("Echoed", "blue")
    client.close()
    return raised.value


def all_of(error, caplog):
    return f"{error} {vars(error)} {caplog.text}"


SHAPES = {
    "error": lambda told: {"error": told},
    "error_info": lambda told: {"error": "no", "error_info": told},
    "code": lambda told: {"error": "no", "code": told},
    "message": lambda told: {"message": told},
    "errors": lambda told: {"errors": {"deep": [told]}},
    "key": lambda told: {"error": {told: 1}},
    "late": lambda told: {"error": "x" * 290 + " " + told},
}


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("login", ["token", "oauth", "token endpoint"])
def test_no_secret_that_a_server_repeats_enters_an_error(echo, caplog, monkeypatch, shape, login, status):
    monkeypatch.setenv("https_proxy", f"http://me:{quote(PROXY_PASSWORD)}@127.0.0.1:9")
    echo.shape, echo.status, echo.extra = SHAPES[shape], status, " ".join(SECRETS)
    echo.gives_tokens = login != "token endpoint"
    error = error_of(echo, login, caplog)
    sent = (TOKEN,) if login == "token" else (CLIENT_SECRET, REFRESH_TOKEN, BASIC)
    sent += (ACCESS_TOKEN,) if login == "oauth" else ()
    sent += (PROXY_PASSWORD,) if login != "token endpoint" else ()
    told = all_of(error, caplog)
    assert [secret for secret in sent if secret in told or secret[:12] in told or secret[-12:] in told] == []
    assert len(str(error)) < 1_600


@pytest.mark.parametrize(
    "location",
    [
        f"https://me:{TOKEN}@elsewhere.test/path?token={TOKEN}",
        f"https://{TOKEN}@elsewhere.test",
        f"//{TOKEN}@elsewhere.test",
        "https://elsewhere.test:99999",
        "https://[",
        f"https://{TOKEN}\\@",
        f"https://{TOKEN}.elsewhere.test",
        "https://\u202eelsewhere.test".encode().decode("latin-1"),
        "",
    ],
)
def test_a_redirect_names_a_host_and_no_more(echo, caplog, location):
    echo.status, echo.location = 302, location
    error = error_of(echo, "token", caplog)
    assert TOKEN not in all_of(error, caplog)
    assert [host for host in ("elsewhere.test", "***.elsewhere.test", "another address") if f"to {host}." in str(error)]
    assert str(error).isprintable()


def test_a_correlation_id_has_a_length(echo, caplog):
    echo.status, echo.extra = 400, "y" * 5_000
    error = error_of(echo, "oauth", caplog)
    assert len(error.correlation_id) <= 100


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("up\x1b[2J\x07 and\x00 away", "up[2J and away"),
        ("lead\u202e.gpj\u202c \u2066x\u2069", "lead.gpj x"),
        ("a\u200bb\ufeffc", "abc"),
        ("one\r\ntwo\u2028three\x85four\u00a0five", "one two three four five"),
        ("\U000e0041tags\ue000", "tags"),
        (f"{TOKEN[:9]}\u200b{TOKEN[9:]} is wrong", "*** is wrong"),
        (f"{TOKEN.upper()} is wrong", "*** is wrong"),
        ("see https://me:pass@word@host.test/x", "see https://***@host.test/x"),
        ("Grüße, 株式会社 🙂", "Grüße, 株式会社 🙂"),
    ],
)
def test_what_nobody_sees_is_left_out(said, told):
    body = json.dumps({"error": said}).encode()
    error = error_from_reply(CALL, 400, {"x-correlation-id": said}, body, secrets=[Secret(TOKEN)])
    assert (error.error, error.correlation_id) == (told, told)


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=6),
)
def test_no_secret_is_left_whatever_stands_around_it(before, after, secret):
    forms = (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], secret.upper())
    for form in forms:
        words = fit_for_error(f"{before}{form}{after}", [Secret(secret)])
        assert secret not in words
        assert words.isprintable()


@settings(deadline=None)
@given(st.integers(0, 400))
def test_no_part_of_a_secret_is_left_where_words_are_cut(before):
    words = fit_for_error(" " + "x" * before + " " + TOKEN, [Secret(TOKEN)])
    assert TOKEN[:4] not in words
    assert len(words) <= 300
    assert TOKEN[:4] not in fit_for_error("x " + "\u200b" * (MAX_READ - 10 - before) + TOKEN * 2, [Secret(TOKEN)])


def test_a_short_secret_is_hidden_where_it_stands_alone():
    assert fit_for_error("pass abc, abcd, xabc and ABC", [Secret("abc")]) == "pass ***, abcd, xabc and ***"


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("http://me:pass%40word@proxy:80", ("pass@word", base64.b64encode(b"me:pass@word").decode())),
        ("me:pass@proxy:80", ("pass", base64.b64encode(b"me:pass").decode())),
        ("http://proxy:80", ()),
        ("http://[", ()),
    ],
)
def test_what_is_secret_of_a_proxy(address, secrets):
    assert secrets_of_proxy(address) == secrets


def test_a_body_too_deep_to_be_read_has_no_words():
    assert error_from_reply(CALL, 400, {}, b'{"error":' + b"[" * 100_000).error is None


def test_the_authorizing_command_repeats_no_secret(echo, monkeypatch, capsys):
    echo.gives_tokens = False
    monkeypatch.setenv("PIPEDRIVE_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.setattr("sys.stdin", io.StringIO("worn-out-code\n"))
    assert main(["--client-id", "app", "--redirect-uri", "http://127.0.0.1/back", "--server", echo.url]) == 1
    told = capsys.readouterr().err
    assert "answered 400" in told
    assert [secret for secret in (CLIENT_SECRET, BASIC, "worn-out-code") if secret in told] == []
