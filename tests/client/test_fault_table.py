"""The fault table: what becomes of each kind of call under each fault, and what is left on the server.

Expected outcomes are written down here by hand, from the promise: what can do no harm is repeated, a POST goes again
only where the server certainly did not do it, and what no repeat can mend fails at once with the right error.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
import requests
import urllib3

from airflow_provider_pipedrive_leads import login as login_module
from airflow_provider_pipedrive_leads import open_connections
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveRateLimitError,
    PipedriveServerError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient

LATER = 5
"""Sandbox seconds after which a late commit takes place."""
OLD_AGE = 4000
"""Seconds after which an access token is no longer good."""
TIMEOUT = 30.0
IMPATIENT = 0.05
"""Seconds for which a reply that has begun is waited for, where it does not go on."""
HOURS = 3_600


@dataclass(frozen=True)
class Outcome:
    """What is promised.

    ``error`` is None for success. ``calls`` is how often the server saw the call from the fault on. ``effects`` is what
    a write leaves on the server; reads leave nothing.
    """

    error: type[PipedriveError] | None
    in_doubt: bool = False
    effects: int = 0
    calls: int = 1


def done(calls: int) -> Outcome:
    return Outcome(None, effects=1, calls=calls)


def failed(error: type[PipedriveError], calls: int = 1) -> Outcome:
    return Outcome(error, calls=calls)


def doubtful(error: type[PipedriveError], *, effects: int, calls: int = 1) -> Outcome:
    return Outcome(error, in_doubt=True, effects=effects, calls=calls)


CONNECTION, SERVER = PipedriveConnectionError, PipedriveServerError
TOO_MANY = PipedriveRateLimitError
BANNED, SPENT, UNAUTHORIZED = PipedriveRateLimitError, PipedriveDailyBudgetError, PipedriveAuthError

COLUMNS = {
    "GET one": 0,
    "GET list": 0,
    "search": 0,
    "PATCH": 1,
    "DELETE": 2,
    "POST lead": 3,
    "POST label": 3,
}

# The fault strikes once.
#                       reads           PATCH           DELETE          POST
ONCE = {
    "reset before":    (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=0)),
    "reset after":     (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=1)),
    "commit at once":  (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=1)),
    "late commit":     (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=1)),
    "cut body":        (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=1)),
    "slow body":       (done(2),        done(2),        done(2),        doubtful(CONNECTION, effects=1)),
    "broken JSON":     (done(2),        done(2),        done(2),        doubtful(SERVER, effects=1)),
    # An answer that says no, or nothing, is not asked for again. Only that to a DELETE need not hold data.
    "no success":      (doubtful(SERVER, effects=0), doubtful(SERVER, effects=1),
                        doubtful(SERVER, effects=1), doubtful(SERVER, effects=1)),
    "no data":         (doubtful(SERVER, effects=0), doubtful(SERVER, effects=1), done(1), doubtful(SERVER, effects=1)),
    "HTML 403":        (failed(BANNED), failed(BANNED), failed(BANNED), failed(BANNED)),
    "500":             (done(2),        done(2),        done(2),        doubtful(SERVER, effects=0)),
    "502":             (done(2),        done(2),        done(2),        doubtful(SERVER, effects=0)),
    "503":             (done(2),        done(2),        done(2),        doubtful(SERVER, effects=0)),
    "504":             (done(2),        done(2),        done(2),        doubtful(SERVER, effects=0)),
    "HTML 502":        (done(2),        done(2),        done(2),        doubtful(SERVER, effects=0)),
    "burst 429":       (done(2),        done(2),        done(2),        done(2)),
    "daily 429":       (failed(SPENT),  failed(SPENT),  failed(SPENT),  failed(SPENT)),
}  # fmt: skip

# The fault strikes every time.
#                       reads                      PATCH                      DELETE                     POST
LASTING = {
    "reset before":    (doubtful(CONNECTION, effects=0, calls=6), doubtful(CONNECTION, effects=0, calls=6),
                        doubtful(CONNECTION, effects=0, calls=6), doubtful(CONNECTION, effects=0)),
    "reset after":     (doubtful(CONNECTION, effects=0, calls=6), doubtful(CONNECTION, effects=1, calls=6),
                        doubtful(CONNECTION, effects=1, calls=6), doubtful(CONNECTION, effects=1)),
    "late commit":     (doubtful(CONNECTION, effects=0, calls=6), doubtful(CONNECTION, effects=1, calls=6),
                        doubtful(CONNECTION, effects=1, calls=6), doubtful(CONNECTION, effects=1)),
    "cut body":        (doubtful(CONNECTION, effects=0, calls=6), doubtful(CONNECTION, effects=1, calls=6),
                        doubtful(CONNECTION, effects=1, calls=6), doubtful(CONNECTION, effects=1)),
    # The second DELETE is answered 404 or 410: the first one did it.
    "broken JSON":     (doubtful(SERVER, effects=0, calls=6), doubtful(SERVER, effects=1, calls=6),
                        done(2), doubtful(SERVER, effects=1)),
    "HTML 403":        (failed(BANNED), failed(BANNED), failed(BANNED), failed(BANNED)),
    "503":             (doubtful(SERVER, effects=0, calls=6), doubtful(SERVER, effects=0, calls=6),
                        doubtful(SERVER, effects=0, calls=6), doubtful(SERVER, effects=0)),
    # Five windows long nothing passes: the day is most likely spent, unless the replies say that it is not.
    "untold 429":      (failed(SPENT, calls=6), failed(SPENT, calls=6), failed(SPENT, calls=6), failed(SPENT, calls=6)),
    "429, tokens left": (failed(TOO_MANY, calls=6), failed(TOO_MANY, calls=6),
                         failed(TOO_MANY, calls=6), failed(TOO_MANY, calls=6)),
}  # fmt: skip

# By OAuth; the token fails once the call, or the first page, is under way.
#                       reads                 PATCH                 DELETE                POST
OAUTH = {
    "expired":         (done(2),              done(2),              done(2),              done(2)),
    "expired, token server resets once":
                       (done(2),              done(2),              done(2),              done(2)),
    "expired, token server 503 once":
                       (done(2),              done(2),              done(2),              done(2)),
    "revoked":         (failed(UNAUTHORIZED), failed(UNAUTHORIZED), failed(UNAUTHORIZED), failed(UNAUTHORIZED)),
}  # fmt: skip

ORDERS = {
    "reset before": ("close_before", {}),
    "reset after": ("close_after", {}),
    "commit at once": ("close_and_finish", {"after": 0}),
    "late commit": ("close_and_finish", {"after": LATER}),
    "cut body": ("cut_body", {}),
    "slow body": ("slow_body", {"seconds": HOURS}),
    "broken JSON": ("broken_json", {}),
    "no success": ("no_success", {}),
    "no data": ("no_data", {}),
    "HTML 403": ("html", {"status": 403}),
    "HTML 502": ("html", {"status": 502}),
    **{str(status): ("status", {"status": status}) for status in (500, 502, 503, 504)},
    "untold 429": ("status", {"status": 429}),
    "429, tokens left": ("status", {"status": 429}),
}
"""Faults that the sandbox plays by order; the others below are its own limits and tokens."""


# The stage


NAME = "Struck"


@dataclass
class Stage:
    """An account with a person and some leads, and a client before whom the fault has not struck yet."""

    sandbox: object
    client: PipedriveClient
    person_id: int
    leads_there: list[str]

    @property
    def control(self):
        return self.sandbox.control

    @property
    def lead_id(self) -> str:
        return self.leads_there[0]

    def calls(self, method: str, path: str) -> int:
        """How often the server saw a call since the fault was ordered; the one that it still answers is none other."""
        ended = sum((seen["method"], seen["path"]) == (method, path) for seen in self.control.requests())
        return ended + self.control.counters()["in_flight"]

    def leads(self, **like: object) -> int:
        """How many leads of the account are like that."""
        return sum(like.items() <= lead.items() for lead in self.control.all_leads())


@pytest.fixture
def stage_for(sandbox, shared_time, monkeypatch):
    """Give a function that sets the stage for a kind of call, by a client of a connection."""
    monkeypatch.setattr(login_module, "PAUSES", ())
    sandbox.control.set_delay("search_index", 0)
    made = []

    def set_stage(kind, connection=None):
        connection = connection or sandbox.connection
        settings = read_connection(password=connection.get("password"), extra=connection["extra"])
        client = PipedriveClient(settings, clock=shared_time.monotonic, sleep=shared_time.sleep, chance=lambda: 0.0)
        made.append(client)
        person_id = client.add_person("Kim Example")["id"]
        count = ON_THREE_PAGES if kind in LATER_PAGES else 1
        leads = [client.add_lead(f"Zeppelin {number}", person_id=person_id)["id"] for number in range(count)]
        return Stage(sandbox, client, person_id, leads)

    yield set_stage
    for client in made:
        client.close()


# The kinds of call: how each is made, and what it leaves. ``strike`` is called when the fault shall strike.


def get_one(stage, strike):
    strike()
    assert stage.client.get_lead(stage.lead_id)["id"] == stage.lead_id


def get_list(stage, strike):
    rows = stage.client.get_leads(person_id=stage.person_id, page_size=3)
    ids = [next(rows)["id"]]
    strike()
    ids += [lead["id"] for lead in rows]
    assert sorted(ids) == sorted(stage.leads_there)


def search(stage, strike):
    rows = stage.client.search_leads("Zeppelin", page_size=3)
    ids = [next(rows)["id"]]
    strike()
    ids += [lead["id"] for lead in rows]
    assert sorted(ids) == sorted(stage.leads_there)


def update(stage, strike):
    strike()
    assert stage.client.update_lead(stage.lead_id, title=NAME)["title"] == NAME


def delete(stage, strike):
    strike()
    assert stage.client.delete_lead(stage.lead_id) == stage.lead_id


def create(stage, strike):
    strike()
    assert stage.client.add_lead(NAME, person_id=stage.person_id)["title"] == NAME


def create_label(stage, strike):
    strike()
    assert stage.client.add_lead_label(NAME, "blue")["name"] == NAME


def nothing(stage):
    return 0


def titled(stage):
    return stage.leads(title=NAME)


def gone(stage):
    return 1 - stage.leads(id=stage.lead_id)


def labelled(stage):
    return sum(label["name"] == NAME for label in stage.control.overview()["labels"])


KINDS = {
    "GET one": (get_one, "GET", "/v1/leads/{lead_id}", nothing),
    "GET list": (get_list, "GET", "/v1/leads", nothing),
    "search": (search, "GET", "/api/v2/leads/search", nothing),
    "PATCH": (update, "PATCH", "/v1/leads/{lead_id}", titled),
    "DELETE": (delete, "DELETE", "/v1/leads/{lead_id}", gone),
    "POST lead": (create, "POST", "/v1/leads", titled),
    "POST label": (create_label, "POST", "/v1/leadLabels", labelled),
}
LATER_PAGES = {"GET list": 2, "search": 2}
"""Calls that are left when the first page is read."""
ON_THREE_PAGES = 7


def check(stage, kind, strike, expected):
    """Make the call, and compare what came of it, here and on the server, with what is promised."""
    run, method, template, effects = KINDS[kind]
    path = template.format(lead_id=stage.lead_id)

    def strike_now():
        strike(method, path)
        stage.control.reset_counters()

    error = None
    try:
        run(stage, strike_now)
    except PipedriveError as raised:
        error = raised
    stage.control.advance(60)  # whatever is to be done late is done now
    assert type(error) is (expected.error or type(None)), error
    assert getattr(error, "in_doubt", False) is expected.in_doubt
    if error is not None:
        assert (error.method, error.path) in {(method, path), ("POST", "/oauth/token")}
    more_pages = LATER_PAGES.get(kind, 1) - 1 if error is None else 0
    assert stage.calls(method, path) == expected.calls + more_pages
    assert effects(stage) == (0 if effects is nothing else expected.effects)
    return error


def rows_of(table):
    return [
        pytest.param(fault, kind, outcomes[COLUMNS[kind]], id=f"{fault} - {kind}")
        for fault, outcomes in table.items()
        for kind in KINDS
    ]


# The rows


def give_up_soon(monkeypatch):
    """Let no more patience be had with the next reply once it has begun, so that the server's work is done by then."""
    wait = urllib3.connection.HTTPConnection.getresponse

    def wait_impatiently(connection):
        monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", wait)
        reply = wait(connection)
        connection.sock.settimeout(IMPATIENT)
        return reply

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", wait_impatiently)


def strikes(stage, fault, monkeypatch, times=1):
    """Give what makes a fault strike."""

    def order(method, path):
        kind, options = ORDERS[fault]
        stage.control.fault(method, path, kind, times=times, **options)
        if kind == "slow_body":
            give_up_soon(monkeypatch)

    def full_window(method, path):
        """Somebody else has used the window up."""
        stage.control.set_burst(calls=10)
        headers = {"x-api-token": stage.sandbox.token}
        while requests.get(f"{stage.sandbox.url}/v1/users/me", headers=headers, timeout=300).status_code != 429:
            pass

    def spent_day(method, path):
        """In the afternoon: near the end of a day a 429 looks like a full window."""
        stage.control.set_budget(0)

    return {"burst 429": full_window, "daily 429": spent_day}.get(fault, order)


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(ONCE))
def test_a_fault_that_strikes_once(stage_for, monkeypatch, fault, kind, expected):
    stage = stage_for(kind)
    error = check(stage, kind, strikes(stage, fault, monkeypatch), expected)
    if expected.error is BANNED:
        assert error.banned
        assert error.retry_after >= 60


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(LASTING))
def test_a_fault_that_lasts(sandbox, stage_for, monkeypatch, fault, kind, expected):
    if "429" in fault:
        sandbox.control.set_choice("rate_headers", "absent" if fault == "untold 429" else "present")
    stage = stage_for(kind)
    check(stage, kind, strikes(stage, fault, monkeypatch, times=50), expected)


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(OAUTH))
def test_an_oauth_token_that_ends(sandbox, stage_for, fault, kind, expected):
    stage = stage_for(kind, sandbox.oauth_connection)

    def strike(method, path):
        if fault == "revoked":
            sandbox.control.revoke_oauth()
            return
        sandbox.control.advance(OLD_AGE)  # the server's clock: the client still believes in its token
        if "token server" in fault:
            order, options = ("close_before", {}) if "resets" in fault else ("status", {"status": 503})
            sandbox.control.fault("POST", "/oauth/token", order, **options)

    error = check(stage, kind, strike, expected)
    if error is not None:
        assert "Authorize again" in str(error)
    else:
        assert stage.calls("POST", "/oauth/token") == (2 if "token server" in fault else 1)


# Faults that the sandbox does not play


@contextmanager
def serving(talk, wrap=lambda connection: connection):
    """Read a request from each connection and answer it by ``talk``; give the port, and the requests as they come."""
    listener = socket.create_server(("127.0.0.1", 0))
    came = []

    def serve():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError), wrap(connection) as wrapped:
                    came.append(read_request(wrapped))
                    talk(wrapped)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], came
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_request(connection):
    """All of it: what is left unread when a connection is closed takes the reply away with it."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += more_of(connection)
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += more_of(connection)
    return head + body


def more_of(connection):
    if not (piece := connection.recv(65536)):
        raise ConnectionError
    return piece


def client_at(url, clock=None):
    settings = read_connection(password="t" * 40, extra={"base_url": url, "timeout": TIMEOUT})
    return PipedriveClient(settings, clock=clock, chance=lambda: 0.0)


JSON_200 = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PACKED = gzip.compress(json.dumps({"success": True, "data": {"id": "p", "title": "x" * 50}}).encode())


@pytest.mark.parametrize("sent", [len(PACKED), len(PACKED) - 9])
def test_a_packed_reply_is_read_and_a_cut_one_is_not(monkeypatch, sent):
    monkeypatch.setattr(open_connections, "CHUNK", 5)  # as if it came in pieces

    def reply(connection):
        connection.sendall(JSON_200 + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED))
        connection.sendall(PACKED[:sent])

    with serving(reply) as (port, _):
        client = client_at(f"http://127.0.0.1:{port}")
        if sent == len(PACKED):
            assert client.add_lead_label("Packed", "blue")["title"] == "x" * 50
        else:
            with pytest.raises(PipedriveConnectionError, match="before its reply was whole"):
                client.add_lead_label("Packed", "blue")
        client.close()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_post_over_tls_that_breaks_is_repeated_only_if_it_was_never_sent(
    certificate, no_waiting, monkeypatch, trusted
):
    """A TLS error can come before the request, or after it in place of the reply."""
    monkeypatch.setenv("NO_PROXY", "*")
    if trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def break_off(connection):
        with socket.socket(fileno=os.dup(connection.fileno())) as underneath:
            underneath.sendall(b"no TLS record at all")

    with serving(break_off, lambda connection: context.wrap_socket(connection, server_side=True)) as (port, came):
        client = client_at(f"https://127.0.0.1:{port}")
        with pytest.raises(PipedriveConnectionError) as raised:
            client.add_lead_label("Once", "blue")
        client.close()
    assert raised.value.in_doubt is trusted
    assert len([request for request in came if request]) == (1 if trusted else 0)
    assert ("did not prove its identity" in str(raised.value)) is not trusted


def test_the_table_is_whole():
    """Each fault and each kind of call that the promise names has its row and column."""
    named = {"reset before", "reset after", "late commit", "cut body", "broken JSON", "HTML 403", "slow body"}
    named |= {"500", "502", "503", "504", "burst 429", "daily 429"}
    assert named <= set(ONCE)
    assert {"expired", "revoked"} <= set(OAUTH)
    assert set(KINDS) == set(COLUMNS)
