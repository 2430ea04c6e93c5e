"""A client that is used before a fork and after it, in parent and children at once: each gets its own answers."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.until import until

pytestmark = pytest.mark.slow

HELD = "99999999-0000-1000-8000-000000000000"
"""A lead that the server does not give before the test is over."""
CHILDREN = 4
CALLS = 60
PRELUDE = """
import os, sys, threading, uuid
from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient

def client_of(url):
    return PipedriveClient(read_connection(password="t" * 40, extra={"base_url": url, "burst_limit": 10000}))

def wrong_answers(client, calls):
    ids = [str(uuid.uuid4()) for _ in range(calls)]
    return sum(client.get_lead(lead_id)["id"] != lead_id for lead_id in ids)

def in_child(work):
    pid = os.fork()
    if pid:
        return pid
    try:
        status = work()
    except BaseException as problem:
        print(f"{type(problem).__name__}: {problem}", flush=True)
        status = 99
    os._exit(min(status, 100))

def statuses(pids):
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]

client = client_of(sys.argv[1])
"""
USED_ON_BOTH_SIDES = """
assert wrong_answers(client, 3) == 0
children = [in_child(lambda: wrong_answers(client, int(sys.argv[3]))) for _ in range(int(sys.argv[2]))]
own = wrong_answers(client, int(sys.argv[3]))
print([own, *statuses(children)])
"""
FORKED_IN_MID_CALL = """
threading.Thread(target=client.get_lead, args=[sys.argv[2]], daemon=True).start()
print("calling", flush=True)
sys.stdin.readline()  # the call is with the server now, and its thread will not be in the child
locks = [client._usage_lock, client._pace.lock, client._connections._lock]
for lock in locks:
    lock.acquire()  # as a thread might hold them at that moment
children = [in_child(lambda: wrong_answers(client, 5))]
for lock in locks:
    lock.release()
print(statuses(children), flush=True)
os._exit(0)
"""


class Echo(BaseHTTPRequestHandler):
    """Gives each lead that is asked for, on connections that stay open."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for head and body: two wait for each other

    def do_GET(self):
        self.server.asked.append(self.path)
        lead_id = self.path.rsplit("/", 1)[-1]
        if lead_id == HELD:
            self.server.over.wait()
        body = json.dumps({"success": True, "data": {"id": lead_id}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(request):
    """Give a function that starts a server, with a certificate or without, and gives its address."""
    servers = []

    def begin(certificate=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        server.daemon_threads = True
        server.asked, server.over = [], threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        server.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        return server

    yield begin
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def started(code, *arguments, **environment):
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_no_child_gets_the_answer_of_another(serve, certificate, secure):
    server = serve(certificate if secure else None)
    process = started(USED_ON_BOTH_SIDES, server.url, CHILDREN, CALLS, REQUESTS_CA_BUNDLE=str(certificate))
    told, _ = process.communicate()
    assert json.loads(told.splitlines()[-1]) == [0] * (1 + CHILDREN), told
    assert len(server.asked) == 3 + (1 + CHILDREN) * CALLS


def test_a_child_does_not_wait_for_what_the_parent_was_at(serve):
    server = serve()
    process = started(FORKED_IN_MID_CALL, server.url, HELD)
    assert process.stdout.readline() == "calling\n"
    until(lambda: server.asked)
    told, _ = process.communicate("\n")
    assert json.loads(told.splitlines()[-1]) == [0], told
