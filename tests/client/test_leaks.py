"""The leak test: every error forced, everything logged, tracebacks with local variables, and no secret in any of it."""

from __future__ import annotations

import asyncio
import base64
import http.client
import io
import json
import logging
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from rich.pretty import pretty_repr

from airflow_provider_pipedrive_leads import authorize
from airflow_provider_pipedrive_leads import login as login_module
from airflow_provider_pipedrive_leads.api import replies
from airflow_provider_pipedrive_leads.api.connection import Secret, read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveError
from airflow_provider_pipedrive_leads.api.oauth import OAuthTokens, fingerprint, read_tokens
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore
from airflow_provider_pipedrive_leads.login import MemoryTokenStore
from airflow_provider_pipedrive_leads.operators.leads import (
    PipedriveCreateLeadOperator,
    PipedriveExportLeadsOperator,
    PipedriveUpdateLeadOperator,
)
from airflow_provider_pipedrive_leads.sensors.leads import PipedriveLeadSensor
from airflow_provider_pipedrive_leads.triggers.daily_budget import PipedriveDailyBudgetTrigger
from tests.answering import Answer, Asked, answering

WRONG_TOKEN = "badc0de5" * 5
CLIENT_SECRET = "not-the-apps-secret-77"
REFRESH_TOKEN = "1:99:feedface" + "0" * 30
TYPED = (WRONG_TOKEN, CLIENT_SECRET, REFRESH_TOKEN)
HOURS = 3_600
FEW_VALUES = 1_000
FAR_OFF = 32_503_680_000
"""The year 3000, in seconds since 1970."""
HTTP_LIBRARIES = ("requests", "urllib3", "http", "socket.py", "ssl.py")


class Interrupted(BaseException):
    """What a task's timeout or Ctrl-C raises in the middle of a request."""


class Evidence(logging.Handler):
    """All that a run showed of itself, log lines included."""

    def __init__(self, sandbox, capfd) -> None:
        super().__init__(logging.DEBUG)
        self._sandbox = sandbox
        self._capfd = capfd
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a log line and what it was made of."""
        self._texts += [self.format(record), repr(vars(record))]

    def show(self, *things: object) -> None:
        """Keep what a debugger, a log line or a rendered page would show of an object."""
        for thing in things:
            self._texts += [repr(thing), str(thing), pretty_repr(thing)]
            self._texts += [repr(vars(thing)), pretty_repr(vars(thing))] if hasattr(thing, "__dict__") else []

    def force(self, action, *arguments, error=PipedriveError) -> BaseException:
        """Run into an error, and keep its traceback with the local variables of all frames but this module's."""
        with pytest.raises(error) as caught:
            action(*arguments)
        problem = without_own_frames(caught.value)
        told = traceback.TracebackException.from_exception(problem, capture_locals=True)
        self._texts.append("".join(told.format()))
        self.show(problem)
        for link in chain(problem):
            frames = traceback.extract_tb(link.__traceback__)
            assert not [frame for frame in frames if third_party(frame.filename)], link
            for frame, _ in traceback.walk_tb(link.__traceback__):
                self._texts += [repr(frame.f_locals), pretty_repr(frame.f_locals)]  # as plain and as rich tracebacks do
        return problem

    def text(self) -> str:
        """All of it, standard streams included."""
        out, err = self._capfd.readouterr()
        self._texts += [out, err]
        return "\n".join(self._texts)

    def leaks(self) -> list[str]:
        """The lines that show a secret, in whatever form it travels."""
        forms = {form for secret in self.secrets() for form in forms_of(secret)}
        return [line[:300] for line in self.text().splitlines() if any(form in line for form in forms)]

    def secrets(self) -> list[str]:
        """What was typed here, what the account has, and all tokens that its server ever gave out."""
        given = [grant["id"] for grant in self._sandbox.world.state.grants.all()]
        app = self._sandbox.oauth_connection["extra"]
        return [*TYPED, *Redirecting.tokens, self._sandbox.token, app["client_secret"], *given]


def forms_of(secret: str) -> list[str]:
    """As it is; the part of a refresh token that form encoding leaves alone; as the app's login is sent."""
    pair = base64.b64encode(f"5a6e64626f78:{secret}".encode()).decode()
    return [secret, secret.rpartition(":")[2], pair]


def chain(problem: BaseException | None):
    """An error and all that it holds on to, shown or not."""
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


def third_party(filename: str) -> bool:
    return any(part in HTTP_LIBRARIES for part in Path(filename).parts)


def without_own_frames(problem: BaseException) -> BaseException:
    """This module's frames hold secrets in plain sight."""
    found = problem.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename == __file__:
        found = found.tb_next
    return problem.with_traceback(found)


@pytest.fixture
def evidence(sandbox, no_waiting, caplog, capfd, monkeypatch):
    """Log everything, keep everything; at the end no secret may be in it."""
    monkeypatch.setattr(login_module, "PAUSES", ())
    caplog.set_level(logging.DEBUG)
    for name in ("airflow", "airflow_provider_pipedrive_leads", "requests", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    kept = Evidence(sandbox, capfd)
    logging.getLogger().addHandler(kept)
    yield kept
    logging.getLogger().removeHandler(kept)
    assert kept.leaks() == []


def client_of(evidence, connection, **extra):
    """A client of a connection, shown from all sides before and after."""
    settings = read_connection(
        password=connection.get("password"), extra={**connection.get("extra", {}), **extra}, name="connection 'crm'"
    )
    store = MemoryTokenStore()
    client = PipedriveClient(settings, token_store=store, chance=lambda: 0.0)
    evidence.show(settings, settings.login, store, client, client._login, client._connections)
    return client


def show_again(evidence, client):
    evidence.show(client, client._login, client._connections, client._pace, client.usage)


ORDERS = {
    "500": ("status", {"status": 500}),
    "401": ("status", {"status": 401}),
    "403": ("status", {"status": 403}),
    "404": ("status", {"status": 404}),
    "400": ("status", {"status": 400}),
    "429": ("status", {"status": 429}),
    "HTML 403": ("html", {"status": 403}),
    "HTML 502": ("html", {"status": 502}),
    "redirect": ("status", {"status": 302}),
    "reset before": ("close_before", {}),
    "reset after": ("close_after", {}),
    "cut body": ("cut_body", {}),
    "broken JSON": ("broken_json", {}),
}


ORDERS_OF_THE_API = {**ORDERS, "no success": ("no_success", {}), "no data": ("no_data", {})}


def calls_of(client):
    return {
        "GET": client.get_lead_labels,
        "POST": lambda: client.add_lead_label("Leaky", "blue"),
    }


@pytest.mark.parametrize("login", ["token", "oauth"])
@pytest.mark.parametrize("fault", ORDERS_OF_THE_API)
def test_faults(sandbox, evidence, fault, login):
    client = client_of(evidence, sandbox.connection if login == "token" else sandbox.oauth_connection)
    client.get_lead_sources()
    kind, options = ORDERS_OF_THE_API[fault]
    for method, call in calls_of(client).items():
        sandbox.control.fault(method, "/v1/leadLabels", kind, times=9, **options)
        evidence.force(call)
        sandbox.control.clear_faults()
    show_again(evidence, client)
    client.close()


@pytest.mark.parametrize("fault", ORDERS)
def test_faults_of_the_token_server(sandbox, evidence, fault):
    client = client_of(evidence, sandbox.oauth_connection)
    kind, options = ORDERS[fault]
    sandbox.control.fault("POST", "/oauth/token", kind, times=99, **options)
    evidence.force(client.get_lead_sources)
    sandbox.control.clear_faults()
    client.get_lead_sources()
    sandbox.control.advance(4000)
    sandbox.control.fault("POST", "/oauth/token", kind, times=99, **options)
    evidence.force(client.get_lead_sources)
    show_again(evidence, client)
    client.close()


def test_slow_replies(sandbox, evidence):
    client = client_of(evidence, sandbox.connection, timeout=0.2)
    sandbox.control.fault("POST", "/v1/leadLabels", "slow_body", seconds=HOURS)
    evidence.force(client.add_lead_label, "Slow", "blue")
    sandbox.control.fault("POST", "/v1/leadLabels", "hold")
    evidence.force(client.add_lead_label, "Late", "blue")
    client.close()


def test_wrong_logins(sandbox, evidence):
    evidence.force(client_of(evidence, {**sandbox.connection, "password": WRONG_TOKEN}).get_lead_sources)
    app = sandbox.oauth_connection["extra"]
    for change in ({"client_secret": CLIENT_SECRET}, {"refresh_token": REFRESH_TOKEN}, {"client_id": "another"}):
        evidence.force(client_of(evidence, {"extra": {**app, **change}}).get_lead_sources)


def test_a_revoked_app(sandbox, evidence):
    client = client_of(evidence, sandbox.oauth_connection)
    client.get_lead_sources()
    access_token = client._login._tokens.access_token.reveal
    sandbox.control.revoke_oauth()
    evidence.force(client.get_lead_sources)
    show_again(evidence, client)
    told = evidence.text()
    assert "urllib3.connectionpool" in told
    assert access_token not in told


def test_an_unreachable_host(sandbox, evidence, nobody):
    evidence.force(client_of(evidence, sandbox.connection, base_url=nobody).get_lead_sources)
    evidence.force(client_of(evidence, sandbox.oauth_connection, base_url=nobody).get_lead_sources)


class Redirecting(BaseHTTPRequestHandler):
    """Points every call elsewhere; its token server gives tokens, but not all that belongs to them."""

    tokens: ClassVar = ["access-" + "a1" * 16, "refresh-" + "b2" * 16]

    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
        self.end_headers()

    def do_POST(self):
        body = json.dumps({"access_token": self.tokens[0], "refresh_token": self.tokens[1]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Be quiet."""


def test_redirects_and_half_a_token_reply(sandbox, evidence):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Redirecting)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        evidence.force(client_of(evidence, sandbox.connection, base_url=url).get_lead_sources)
        evidence.force(client_of(evidence, sandbox.oauth_connection, base_url=url).get_lead_sources)
    finally:
        server.shutdown()
        server.server_close()


def refused_with(asked: Asked) -> dict[str, object]:
    """Repeat all that was sent, in each place in which an error has words."""
    sent = f"{asked.headers} {asked.body.decode()}"
    return {"success": False, "error": sent, "error_info": f"seen: {sent}", "code": sent, "message": sent}


REPEATING = {
    **{
        f"{status}": lambda asked, status=status: Answer(refused_with(asked), status)
        for status in (200, 400, 401, 403, 404, 409, 429, 500, 503)
    },
    "a page": lambda asked: Answer(f"<html>{asked.headers}".encode(), 403, {"content-type": "text/html"}),
    "no JSON": lambda asked: Answer(f"{asked.headers} {asked.body}".encode()),
    "a redirect": lambda asked: Answer(b"", 302, {"location": f"https://me:{sent_secret(asked)}@x.example/?a=1"}),
    "the host of a redirect": lambda asked: Answer(b"", 302, {"location": f"https://{sent_secret(asked)}.example/"}),
    "too many values": lambda asked: Answer([sent_secret(asked), *[0] * FEW_VALUES]),
    "nested": lambda asked: Answer(f'{{"{sent_secret(asked)}":'.encode() + b"[" * 5_000),
}


def sent_secret(asked: Asked) -> str:
    login = asked.headers.get("x-api-token") or asked.headers.get("authorization", "")
    return login.rpartition(" ")[2]


@pytest.mark.parametrize("login", ["token", "oauth", "token endpoint"])
@pytest.mark.parametrize("kind", REPEATING)
def test_a_server_that_repeats_what_it_is_sent(sandbox, evidence, monkeypatch, kind, login):
    monkeypatch.setattr(replies, "MAX_VALUES", FEW_VALUES)
    tokens = {"access_token": Redirecting.tokens[0], "refresh_token": Redirecting.tokens[1], "expires_in": 3600}

    def answer(asked: Asked) -> Answer:
        is_first = asked.path == "/oauth/token" and login != "token endpoint"
        return Answer(tokens) if is_first else REPEATING[kind](asked)

    with answering(answer) as server:
        connection = sandbox.connection if login == "token" else sandbox.oauth_connection
        client = client_of(evidence, connection, base_url=server.url)
        for call in calls_of(client).values():
            evidence.force(call)
        show_again(evidence, client)
        client.close()
    assert any(sent_secret(asked) for asked in server.asked)


@pytest.mark.parametrize("odd", ["access-a1 b2\n", "access-\u20ac", " "])
def test_tokens_that_no_header_can_carry(sandbox, evidence, monkeypatch, odd):
    """The library that refuses a header names its value."""
    tokens = {"access_token": f"{REFRESH_TOKEN}{odd}", "refresh_token": REFRESH_TOKEN, "expires_in": 3600}
    with pytest.raises(PipedriveError, match="holds no tokens"):
        read_tokens(json.dumps(tokens).encode(), now=0.0, grant="")
    extra = {**sandbox.oauth_connection["extra"], "base_url": sandbox.url}
    grant = fingerprint(Secret(extra["refresh_token"]))
    kept = {**tokens, "expires_at": FAR_OFF, "api_domain": "", "grant": grant}
    monkeypatch.setattr("airflow.sdk.Variable.get", lambda *args, **options: kept)
    monkeypatch.setattr("airflow.sdk.Variable.set", lambda *args, **options: None)
    client = PipedriveClient(read_connection(extra=extra), token_store=VariableTokenStore("crm"))
    assert client.get_lead_sources()
    show_again(evidence, client)
    client.close()


@pytest.mark.parametrize("login", ["token", "oauth", "oauth, first call"])
def test_a_timeout_in_the_middle_of_a_request(sandbox, evidence, monkeypatch, login):
    """The frames of the HTTP libraries show headers and forms: the error that passes through must lose them."""
    client = client_of(evidence, sandbox.connection if login == "token" else sandbox.oauth_connection)
    if "first" not in login:
        client.get_lead_sources()

    def interrupt(connection):
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(http.client.HTTPConnection, "getresponse", interrupt)
        evidence.force(client.add_lead_label, "Interrupted", "blue", error=Interrupted)
    show_again(evidence, client)
    client.close()


APP = {"client_id": "app", "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
BAD_CONNECTIONS = {
    "both logins": {"password": WRONG_TOKEN, "extra": APP},
    "half a login": {"extra": {**APP, "client_id": None}},
    "another half": {"extra": {**APP, "client_id": "app", "refresh_token": ""}},
    "spaces in the token": {"password": f"{WRONG_TOKEN} {WRONG_TOKEN}"},
    "spaces in the secret": {"extra": {**APP, "client_secret": f"{CLIENT_SECRET} x"}},
    "login": {"login": "someone", "password": WRONG_TOKEN},
    "host": {"host": "acme inc/path", "password": WRONG_TOKEN},
    "plain http": {"password": WRONG_TOKEN, "extra": {"base_url": "http://example.com"}},
    "login in the URL": {"extra": {**APP, "base_url": f"https://me:{WRONG_TOKEN}@example.com"}},
    "token in the URL": {"extra": {**APP, "base_url": f"https://example.com?api_token={WRONG_TOKEN}"}},
    "timeout": {"password": WRONG_TOKEN, "extra": {"timeout": "abc"}},
    "reserve": {"extra": {**APP, "daily_token_reserve": -1}},
}


@pytest.mark.parametrize("name", BAD_CONNECTIONS)
def test_mistakes_in_the_connection(evidence, monkeypatch, name):
    connection = BAD_CONNECTIONS[name]
    evidence.force(lambda: read_connection(**connection), error=PipedriveConfigError)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive", **connection}))
    hook = PipedriveLeadsHook("crm")
    evidence.force(hook.get_lead_sources, error=PipedriveConfigError)
    evidence.show(hook, hook.test_connection())


def test_an_extra_that_is_no_json(evidence, monkeypatch):
    extra = json.dumps(APP)[:-1]
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "pipedrive", "extra": extra}))
    hook = PipedriveLeadsHook("crm")
    evidence.force(hook.get_lead_sources, error=PipedriveConfigError)
    evidence.show(hook, hook.test_connection())


@pytest.mark.parametrize("login", ["token", "wrong token", "oauth", "revoked"])
def test_the_hook(sandbox, evidence, monkeypatch, login):
    connection = sandbox.connection if "token" in login else sandbox.oauth_connection
    if login == "wrong token":
        connection["password"] = WRONG_TOKEN
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    monkeypatch.setattr("airflow.sdk.Variable.get", lambda *args, **options: None)
    monkeypatch.setattr("airflow.sdk.Variable.set", lambda *args, **options: None)
    hook = PipedriveLeadsHook("crm")
    if login == "revoked":
        hook.get_lead_sources()
        sandbox.control.revoke_oauth()
    if login in ("token", "oauth"):
        hook.get_lead_sources()
        sandbox.control.fault("GET", "/v1/leadSources", "status", status=500, times=9)
    evidence.force(hook.get_lead_sources)
    evidence.show(hook, hook.get_conn(), hook.test_connection(), hook.usage)
    hook.close()


def test_the_token_store_in_trouble(evidence, monkeypatch):
    """A secrets backend may put into its error what it was given."""

    def fail(*args, **options):
        raise RuntimeError(f"cannot do that: {args} {options}")

    monkeypatch.setattr("airflow.sdk.Variable.get", fail)
    monkeypatch.setattr("airflow.sdk.Variable.set", fail)
    store = VariableTokenStore("crm")
    tokens = OAuthTokens(Secret(WRONG_TOKEN), Secret(REFRESH_TOKEN), 0.0, "", "")
    store.save(tokens)
    assert store.load() is tokens
    evidence.show(store, tokens, MemoryTokenStore())


def test_what_airflow_keeps_of_tasks_and_triggers(sandbox, evidence, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(sandbox.connection))
    tasks = [
        PipedriveCreateLeadOperator(task_id="create", title="New", person_id=1, pipedrive_conn_id="crm"),
        PipedriveUpdateLeadOperator(task_id="update", lead_id="1", fields={"title": "x"}, pipedrive_conn_id="crm"),
        PipedriveExportLeadsOperator(task_id="export", path="leads.csv", pipedrive_conn_id="crm"),
        PipedriveLeadSensor(
            task_id="wait", lead_id=f"{0:08}-0000-0000-0000-{0:012}", expected="converted", pipedrive_conn_id="crm"
        ),
    ]
    sandbox.control.fault("*", "/*", "status", status=400, times=99)
    for task in tasks:
        evidence.force(lambda task=task: task.execute({}))
        evidence.show(task, {name: getattr(task, name) for name in task.template_fields})
    trigger = PipedriveDailyBudgetTrigger("crm")
    evidence.force(lambda: asyncio.run(trigger._budget_is_back()))
    evidence.show(trigger, trigger.serialize())


@pytest.mark.parametrize("fault", [None, "close_before", "broken_json", "cut_body"])
def test_the_authorizing_command(sandbox, evidence, monkeypatch, fault):
    if fault:
        sandbox.control.fault("POST", "/oauth/token", fault)
    monkeypatch.setenv("PIPEDRIVE_CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.setattr("sys.stdin", io.StringIO("worn-out-code\n"))
    command = ["--client-id", "app", "--redirect-uri", "http://127.0.0.1/back", "--server", sandbox.url]
    assert authorize.main(command) == 1


def test_what_is_sought_would_be_found(sandbox, evidence):
    """The test of the test: a secret in a local variable, in a log line, and on standard output."""

    def careless(header):
        logging.getLogger("careless").debug("sending %s", header)
        sys.stdout.write(str(header))
        raise PipedriveError("careless")

    app = sandbox.oauth_connection["extra"]
    for secret in (WRONG_TOKEN, sandbox.token, app["refresh_token"], app["client_secret"]):
        evidence.force(eval("lambda careless, secret: careless(secret)", {}), careless, {"x-api-token": secret})
    found = evidence.leaks()
    assert len([line for line in found if line.startswith("sending")]) == 4
    assert len([line for line in found if line.startswith("    header = ")]) == 4
    assert [line for line in found if line.startswith("{'x-api-token'")]
    evidence._texts.clear()
