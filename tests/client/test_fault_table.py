"""The fault table: what becomes of each kind of call under each fault, and what is left on the server.

Expected outcomes are written down here by hand, from the promise: what can do no harm is repeated, a POST goes again
only where the server certainly did not do it, and what no repeat can mend fails at once with the right error.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import requests

from airflow_provider_pipedrive_leads import client as client_module
from airflow_provider_pipedrive_leads import login as login_module
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
TIMEOUT = 0.5
SLOW = 1.5


@dataclass(frozen=True)
class Outcome:
    """What is promised.

    ``error`` is None for success. ``calls`` is how often the server saw the call from the fault on, None where it
    depends on the machine's speed. ``effects`` is what a write leaves on the server; reads leave nothing.
    """

    error: type[PipedriveError] | None
    in_doubt: bool = False
    effects: int = 0
    calls: int | None = 1


def done(calls: int | None) -> Outcome:
    return Outcome(None, effects=1, calls=calls)


def failed(error: type[PipedriveError], calls: int = 1) -> Outcome:
    return Outcome(error, calls=calls)


def doubtful(error: type[PipedriveError], *, effects: int, calls: int | None = 1) -> Outcome:
    return Outcome(error, in_doubt=True, effects=effects, calls=calls)


CONNECTION, SERVER = PipedriveConnectionError, PipedriveServerError
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
    "slow body":       (done(None),     done(None),     done(None),     doubtful(CONNECTION, effects=1, calls=None)),
    "broken JSON":     (done(2),        done(2),        done(2),        doubtful(SERVER, effects=1)),
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
    # Five windows long nothing passes: the day is most likely spent.
    "status 429":      (failed(SPENT, calls=6), failed(SPENT, calls=6), failed(SPENT, calls=6), failed(SPENT, calls=6)),
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
    "slow body": ("slow_body", {"seconds": SLOW}),
    "broken JSON": ("broken_json", {}),
    "HTML 403": ("html", {"status": 403}),
    "HTML 502": ("html", {"status": 502}),
    **{str(status): ("status", {"status": status}) for status in (500, 502, 503, 504)},
    "status 429": ("status", {"status": 429}),
}
"""Faults that the sandbox plays by order; the others below are its own limits and tokens."""


# The stage


class SharedTime:
    """A clock for client and sandbox on which sleeping takes no time."""

    def __init__(self, control) -> None:
        self._control = control
        self._jumped = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._jumped

    def sleep(self, seconds: float) -> None:
        self._jumped += seconds
        self._control.advance(seconds)


@dataclass
class Stage:
    """One account with something in it, and a client before whom the fault has not struck yet."""

    sandbox: object
    client: PipedriveClient
    person_id: int
    listed: list[str]
    name: str
    contact_id: int = 0
    lead_id: str = ""

    @property
    def control(self):
        return self.sandbox.control

    def calls(self, method: str, path: str) -> int:
        """How often the server saw a call since the fault was ordered."""
        return sum((seen["method"], seen["path"]) == (method, path) for seen in self.control.requests())

    def leads(self, **like: object) -> int:
        """How many leads of the account are like that."""
        return sum(like.items() <= lead.items() for lead in self.control.all_leads())


@dataclass(frozen=True)
class Account:
    """What does not change from row to row."""

    person_id: int
    listed: list[str]


@pytest.fixture
def account(sandbox, client, person_id):
    """A person with leads on three pages that a search finds on three pages too."""
    sandbox.control.set_delay("search_index", 0)
    listed = [client.add_lead(f"Zeppelin {number}", person_id=person_id)["id"] for number in range(7)]
    return Account(person_id, listed)


_numbers = itertools.count(1)


@pytest.fixture
def stage_for(sandbox, account, no_waiting, monkeypatch):
    """Give a function that sets the stage for a client of a connection."""
    monkeypatch.setattr(login_module, "SECONDS_BETWEEN_LOOKS", 0.0)
    made = []

    def set_stage(connection=None, timeout=30):
        sandbox.control.advance(30)  # out of the windows and bans of the row before
        while sandbox.control.counters()["in_flight"]:  # the server may still drip at a client that has gone
            time.sleep(0.01)
        connection = connection or sandbox.connection
        extra = {**connection["extra"], "timeout": timeout}
        settings = read_connection(password=connection.get("password"), extra=extra)
        shared = SharedTime(sandbox.control)
        monkeypatch.setattr(client_module, "time", shared)
        client = PipedriveClient(settings, chance=lambda: 0.0)
        made.append(client)
        stage = Stage(sandbox, client, account.person_id, account.listed, f"Row {next(_numbers)}")
        stage.contact_id = client.add_person(f"Kim {stage.name}")["id"]
        stage.lead_id = client.add_lead(f"Old {stage.name}", person_id=stage.contact_id)["id"]
        return stage

    yield set_stage
    sandbox.control.clear_faults()
    sandbox.control.set_burst()
    sandbox.control.unfreeze()
    sandbox.control.set_budget(sandbox.control.overview()["budget"]["limit"])
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
    assert ids == stage.listed


def search(stage, strike):
    rows = stage.client.search_leads("Zeppelin", page_size=3)
    ids = [next(rows)["id"]]
    strike()
    ids += [lead["id"] for lead in rows]
    assert sorted(ids) == sorted(stage.listed)


def update(stage, strike):
    strike()
    assert stage.client.update_lead(stage.lead_id, title=stage.name)["title"] == stage.name


def delete(stage, strike):
    strike()
    assert stage.client.delete_lead(stage.lead_id) == stage.lead_id


def create(stage, strike):
    strike()
    assert stage.client.add_lead(stage.name, person_id=stage.contact_id)["title"] == stage.name


def create_label(stage, strike):
    strike()
    assert stage.client.add_lead_label(stage.name, "blue")["name"] == stage.name


def nothing(stage):
    return 0


def titled(stage):
    return stage.leads(title=stage.name)


def gone(stage):
    return 1 - stage.leads(id=stage.lead_id)


def labelled(stage):
    return sum(label["name"] == stage.name for label in stage.control.overview()["labels"])


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
    if expected.calls is not None:
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


def strikes(stage, fault, times=1):
    """Give what makes a fault strike."""

    def order(method, path):
        kind, options = ORDERS[fault]
        stage.control.fault(method, path, kind, times=times, **options)

    def full_window(method, path):
        """Somebody else has used the window up."""
        stage.control.freeze()
        stage.control.set_burst(calls=10)
        headers = {"x-api-token": stage.sandbox.token}
        while requests.get(f"{stage.sandbox.url}/v1/users/me", headers=headers, timeout=10).status_code != 429:
            pass

    def spent_day(method, path):
        """At noon or in the evening, wherever the day ends: near its end a 429 looks like a full window."""
        tomorrow = datetime.fromisoformat(stage.control.now()).astimezone(UTC) + timedelta(days=1)
        stage.control.freeze(f"{tomorrow:%Y-%m-%d}T18:00:00Z")
        stage.control.unfreeze()
        stage.control.set_budget(0)

    return {"burst 429": full_window, "daily 429": spent_day}.get(fault, order)


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(ONCE))
def test_a_fault_that_strikes_once(stage_for, fault, kind, expected):
    stage = stage_for(timeout=TIMEOUT if fault == "slow body" else 30)
    error = check(stage, kind, strikes(stage, fault), expected)
    if expected.error is BANNED:
        assert error.banned
        assert error.retry_after >= 60


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(LASTING))
def test_a_fault_that_lasts(stage_for, fault, kind, expected):
    stage = stage_for()
    check(stage, kind, strikes(stage, fault, times=50), expected)


@pytest.mark.parametrize(("fault", "kind", "expected"), rows_of(OAUTH))
def test_an_oauth_token_that_ends(sandbox, stage_for, fault, kind, expected):
    stage = stage_for(sandbox.oauth_connection)

    def strike(method, path):
        if fault == "revoked":
            sandbox.control.revoke_oauth()
            return
        sandbox.control.advance(OLD_AGE)  # the server's clock: the client still believes in its token
        if "token server" in fault:
            kind = ("close_before", {}) if "resets" in fault else ("status", {"status": 503})
            sandbox.control.fault("POST", "/oauth/token", kind[0], **kind[1])

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
                    came.append(wrapped.recv(65536))
                    talk(wrapped)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], came
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def impatient(url):
    return PipedriveClient(
        read_connection(password="t" * 40, extra={"base_url": url, "timeout": TIMEOUT}), chance=lambda: 0.0
    )


JSON_200 = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
PACKED = gzip.compress(json.dumps({"success": True, "data": {"title": "x" * 50}}).encode())
DRIPS = {
    "of known length": (JSON_200 + b"content-length: 100000000\r\n\r\n", itertools.repeat(b" ")),
    "without length": (JSON_200 + b"\r\n", itertools.repeat(b" ")),
    "in chunks": (JSON_200 + b"transfer-encoding: chunked\r\n\r\n", itertools.repeat(b"1\r\n \r\n")),
    "packed": (
        JSON_200 + b"content-encoding: gzip\r\n\r\n",
        itertools.chain((PACKED[at : at + 1] for at in range(10)), itertools.repeat(b"\0\0\0\xff\xff")),
    ),
}


@pytest.mark.parametrize("name", DRIPS)
def test_a_server_that_drips_for_ever_is_given_up(name):
    head, pieces = DRIPS[name]

    def drip(connection):
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(TIMEOUT / 20)

    with serving(drip) as (port, came):
        client = impatient(f"http://127.0.0.1:{port}")
        started = time.monotonic()
        with pytest.raises(PipedriveConnectionError, match=r"within 0\.5 s") as raised:
            client.add_lead_label("Slow", "blue")
        assert time.monotonic() - started < 4 * TIMEOUT
        assert raised.value.in_doubt
        assert len(came) == 1
        client.close()


@pytest.mark.parametrize("sent", [len(PACKED), len(PACKED) - 9])
def test_a_packed_reply_is_read_and_a_cut_one_is_not(sent):
    def reply(connection):
        connection.sendall(JSON_200 + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED))
        connection.sendall(PACKED[:5])
        time.sleep(0.02)
        connection.sendall(PACKED[5:sent])

    with serving(reply) as (port, _):
        client = impatient(f"http://127.0.0.1:{port}")
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
        client = impatient(f"https://127.0.0.1:{port}")
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
