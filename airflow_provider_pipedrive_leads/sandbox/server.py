"""The sandbox on the wire: the gate that every call passes, and the server that runs in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from airflow_provider_pipedrive_leads.sandbox.call import Call, Caller, Endpoint
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.faults import Fault
from airflow_provider_pipedrive_leads.sandbox.journal import without_secrets
from airflow_provider_pipedrive_leads.sandbox.limits import Verdict
from airflow_provider_pipedrive_leads.sandbox.parameters import read_object
from airflow_provider_pipedrive_leads.sandbox.replies import (
    ApiError,
    InvalidError,
    Reply,
    html_reply,
    json_reply,
)
from airflow_provider_pipedrive_leads.sandbox.routes import ENDPOINTS
from airflow_provider_pipedrive_leads.sandbox.routes.control import CONTROL_ENDPOINTS, PREFIX
from airflow_provider_pipedrive_leads.sandbox.world import DEFAULT_TOKEN, Options, World

LARGEST_BODY = 1_000_000
SLOW_PIECES = 10
TEST_SEATS = 1_000
OVER_LIMIT = "request over limit"
PAGE = Path(__file__).parent / "page" / "index.html"
_COMPANY_HOST_ONLY = re.compile(r"/api/v1/(leads|leadLabels|leadSources)\b")


@dataclass(frozen=True)
class Incoming:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    content: bytes

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case."""
        return self.headers.get("content-type", "").lower()


@dataclass
class Outcome:
    """What became of a request: the reply, how it is sent, and what the journal says."""

    reply: Reply
    route: str
    tokens: int = 0
    caller: Caller | None = None
    fault: Fault | None = None


class Gate:
    """The ASGI application: who calls, whether they may, which route it is, which fault was ordered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._wake = asyncio.Event()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(Request(scope, receive), send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        self.world.agenda.changed = lambda: _ignore(loop.call_soon_threadsafe(self._wake.set))
        task = asyncio.create_task(self._keep_agenda())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        task.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_agenda(self) -> None:
        while True:
            self.world.agenda.run_due()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self.world.agenda.seconds_to_next())

    async def _http(self, request: Request, send: Send) -> None:
        path = request.url.path
        if path == "/" or path.startswith(PREFIX):
            await _send(send, await self._own(request))
            return
        self.world.journal.begin()
        outcome: Outcome | None = None
        incoming: Incoming | None = None
        try:
            incoming = await _incoming(request)
            outcome = await self._answer(incoming)
            await _deliver(send, outcome)
        except ClientDisconnect:
            pass
        finally:
            self._record(request, incoming, outcome)

    async def _own(self, request: Request) -> Reply:
        if request.url.path == "/":
            page = PAGE.read_bytes() if PAGE.exists() else b"<!DOCTYPE html><title>pipedrive-sandbox</title>"
            return Reply(200, page, {"content-type": "text/html; charset=utf-8"})
        self.world.agenda.run_due()
        incoming = await _incoming(request)
        try:
            for endpoint in CONTROL_ENDPOINTS:
                match = endpoint.pattern.fullmatch(incoming.path)
                if match and endpoint.method == incoming.method:
                    return endpoint.handler(
                        self.world, match.groupdict(), incoming.query, read_object(incoming.content, "")
                    )
        except (ValueError, TypeError, KeyError) as error:
            return json_reply({"error": str(error)}, 400)
        except ApiError as error:
            return error.reply()
        finally:
            self._wake.set()
        return json_reply({"error": "no such control"}, 404)

    async def _answer(self, incoming: Incoming) -> Outcome:
        world = self.world
        if world.delays["reply"]:
            await asyncio.sleep(world.delays["reply"])
        world.agenda.run_due()
        path = canonical_path(incoming.path, world.choices["api_v1_prefix"])
        endpoint, params = find_endpoint(incoming.method, path)
        outcome = Outcome(Reply(500, b""), endpoint.route if endpoint else f"{incoming.method} (unknown)")
        caller = self._caller(incoming)
        if isinstance(caller, Reply):
            outcome.reply = caller
            return outcome
        outcome.caller = caller
        if endpoint is None:
            outcome.reply = ApiError(404, "Unknown method: not found").reply()
            return outcome
        verdict = self._judge(caller, endpoint)
        if verdict.outcome != "allowed":
            outcome.reply = self._refusal(verdict)
        else:
            outcome.tokens = endpoint.cost
            outcome.fault = world.faults.take(incoming.method, incoming.path)
            call = Call(
                world,
                caller,
                params,
                incoming.query,
                incoming.content,
                incoming.content_type,
                dict(incoming.headers),
            )
            outcome.reply = await self._worked(call, endpoint, outcome.fault)
        outcome.reply.headers.update(self._limit_headers(verdict))
        return outcome

    async def _worked(self, call: Call, endpoint: Endpoint, fault: Fault | None) -> Reply:
        if fault is None:
            return self._work(call, endpoint)
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            self.world.agenda.run_due()
        if fault.kind == "status":
            return _ordered_status(fault)
        if fault.kind == "html":
            return html_reply(fault.status, "Access denied | error 1015")
        if fault.kind == "close_and_finish":
            self.world.agenda.add(fault.after, lambda: _ignore(self._work(call, endpoint)))
        if fault.kind in ("close_before", "close_and_finish"):
            return Reply(0, b"")
        return self._work(call, endpoint)

    def _work(self, call: Call, endpoint: Endpoint) -> Reply:
        try:
            if not call.caller.may(endpoint.scopes):
                raise ApiError(403, "Scope and URL mismatch", errorCode=403)
            if endpoint.method == "GET":
                return endpoint.handler(call)
            if len(call.content) > LARGEST_BODY:
                raise ApiError(413, "The body is too large")
            with self.world.state.transaction():
                return endpoint.handler(call)
        except InvalidError as error:
            return error.worded(self.world.choices["validation_error"]).reply()
        except ApiError as error:
            return error.reply()
        except Exception:  # the sandbox's own mistake: counted, shown, and answered as a server would
            self.world.journal.failures += 1
            traceback.print_exc()
            return ApiError(500, "Internal server error").reply()

    def _caller(self, incoming: Incoming) -> Caller | Reply:
        token = incoming.headers.get("x-api-token", "")
        if not token and self.world.choices["query_token"] == "accepted":
            token = incoming.query.get("api_token", "")
        if token:
            for row in self.world.state.members.all("token = ?", [token]):
                return Caller(self.world.members[row["id"]], "api_token", token)
        return unauthorized()

    def _judge(self, caller: Caller, endpoint: Endpoint) -> Verdict:
        return self.world.limits.judge(
            self.world.agenda.now(),
            caller.token,
            caller.kind,
            endpoint.cost,
            search=endpoint.search,
            zone=self.world.choices["day_zone"],
            bans=self.world.choices["ignored_429s"] == "html_403",
        )

    def _refusal(self, verdict: Verdict) -> Reply:
        if verdict.outcome == "banned":
            return html_reply(403, "Access denied | error 1015")
        if self.world.choices["rate_limit_body"] == "text":
            reply = Reply(429, b"Too Many Requests", {"content-type": "text/plain"})
        else:
            reply = ApiError(429, OVER_LIMIT, errorCode=429).reply()
        if self.world.choices["retry_after"] == "present":
            wait = verdict.seconds_to_midnight if verdict.outcome == "daily" else verdict.reset
            reply.headers["retry-after"] = str(wait)
        return reply

    def _limit_headers(self, verdict: Verdict) -> dict[str, str]:
        headers = {"x-correlation-id": self.world.fresh_uuid()}
        if self.world.choices["rate_headers"] == "present" and verdict.outcome != "banned":
            headers |= {
                "x-ratelimit-limit": str(verdict.limit),
                "x-ratelimit-remaining": str(verdict.remaining),
                "x-ratelimit-reset": str(verdict.reset),
                "x-daily-ratelimit-token-limit": str(verdict.daily_limit),
                "x-daily-ratelimit-token-remaining": str(verdict.daily_remaining),
            }
        return headers

    def _record(self, request: Request, incoming: Incoming | None, outcome: Outcome | None) -> None:
        caller = outcome.caller if outcome else None
        entry = {
            "time": iso_ms(self.world.now_ms),
            "method": request.method,
            "path": request.url.path,
            "query": without_secrets(dict(request.query_params)),
            "json": _shown_body(incoming),
            "status": outcome.reply.status if outcome else 0,
            "auth": caller.kind if caller else None,
            "user_id": caller.member.id if caller else None,
            "tokens": outcome.tokens if outcome else 0,
            "fault": outcome.fault.kind if outcome and outcome.fault else None,
        }
        self.world.journal.end(outcome.route if outcome else "(broken off)", entry["tokens"], entry)


def canonical_path(path: str, api_v1_prefix: str) -> str:
    """The path under which a route is filed: ``/api/v1/…`` is ``/v1/…`` where the host serves it."""
    if api_v1_prefix == "unknown" and _COMPANY_HOST_ONLY.match(path):
        return path
    return path.removeprefix("/api") if path.startswith("/api/v1/") else path


def find_endpoint(method: str, path: str) -> tuple[Endpoint | None, dict[str, str]]:
    """The endpoint of a method and path with its path parameters; None for an unknown route or a wrong method."""
    for endpoint in ENDPOINTS:
        match = endpoint.pattern.fullmatch(path) if endpoint.method == method else None
        if match:
            return endpoint, match.groupdict()
    return None, {}


def unauthorized() -> Reply:
    """The live 401 body and the header that marks it as the gateway's (section 7 of ``docs/pipedrive-api.md``)."""
    content = {
        "success": False,
        "error": "unauthorized access",
        "errorCode": 401,
        "error_info": "Please check developers.pipedrive.com",
    }
    reply = json_reply(content, 401)
    reply.headers["x-401-by-gw"] = "true"
    return reply


async def _incoming(request: Request) -> Incoming:
    content = await request.body()
    return Incoming(request.method, request.url.path, dict(request.query_params), request.headers, content)


def _shown_body(incoming: Incoming | None) -> Any:
    if incoming is None or not incoming.content or "json" not in (incoming.content_type or "json"):
        return None
    try:
        return without_secrets(read_object(incoming.content[:LARGEST_BODY], incoming.content_type))
    except InvalidError:
        return None


def _ordered_status(fault: Fault) -> Reply:
    error = OVER_LIMIT if fault.status == 429 else "An ordered fault"
    reply = ApiError(fault.status, error, errorCode=fault.status).reply()
    if fault.retry_after is not None:
        reply.headers["retry-after"] = str(fault.retry_after)
    return reply


def _ignore(_: object) -> None:
    """Nobody is there to take the result."""


async def _deliver(send: Send, outcome: Outcome) -> None:
    kind = outcome.fault.kind if outcome.fault else ""
    if kind in ("close_before", "close_after", "close_and_finish"):
        await _hang_up(send)
    elif kind == "cut_body":
        await _send_start(send, outcome.reply)
        half = outcome.reply.body[: len(outcome.reply.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _hang_up(send)
    elif kind == "slow_body" and outcome.fault:
        await _send_start(send, outcome.reply)
        await _send_slowly(send, outcome.reply.body, outcome.fault.seconds)
    elif kind == "broken_json":
        await _send(send, Reply(outcome.reply.status, outcome.reply.body[:-2] + b'"', outcome.reply.headers))
    else:
        await _send(send, outcome.reply)


async def _send(send: Send, reply: Reply) -> None:
    await _send_start(send, reply)
    await send({"type": "http.response.body", "body": reply.body})


async def _send_start(send: Send, reply: Reply) -> None:
    headers = {**reply.headers, "content-length": str(len(reply.body))}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})


async def _send_slowly(send: Send, body: bytes, seconds: float) -> None:
    piece = max(1, -(-len(body) // SLOW_PIECES))
    for at in range(0, len(body), piece):
        await asyncio.sleep(seconds / SLOW_PIECES)
        await send({"type": "http.response.body", "body": body[at : at + piece], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _hang_up(send: Send) -> None:
    """Close the connection under uvicorn's feet: ASGI has no word for a server that dies in the middle of a reply."""
    cycle = send.__self__  # type: ignore[attr-defined]
    cycle.transport.close()
    while not cycle.disconnected:
        await asyncio.sleep(0)


class Sandbox:
    """A local Pipedrive on a free loopback port, served by a thread of this process while the context is open.

    ``leads`` active and archived leads are seeded with ``seed``; ``plan`` and ``seats`` set the limits; ``profile`` and
    ``choices`` say how the unknowns are played; ``latency`` is real seconds before each reply; ``state`` is a file to
    keep the data in. Raises ValueError for an unknown plan, profile or choice.
    """

    def __init__(
        self,
        *,
        leads: int = 0,
        seed: int = 1,
        plan: str = "ultimate",
        seats: int = TEST_SEATS,
        profile: str = "likely",
        token: str = DEFAULT_TOKEN,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float = 0.0,
        state: Path | None = None,
        choices: Mapping[str, str] | None = None,
    ) -> None:
        self.world = World(Options(leads, seed, plan, seats, profile, token, latency, state, choices or {}))
        self.token = token
        self._host, self._port = host, port
        self._socket: socket.socket | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to this sandbox, as JSON."""
        return {"conn_type": "pipedrive", "password": self.token, "extra": {"base_url": self.url}}

    def __enter__(self) -> Sandbox:
        self._socket = _listening_socket(self._host, self._port)
        self._host, self._port = self._socket.getsockname()[:2]
        self.url = f"http://{self._host}:{self._port}"
        self.control = SandboxControl(self.url)
        config = uvicorn.Config(
            Gate(self.world),
            log_level="error",
            access_log=False,
            lifespan="on",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="sandbox", daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
            if not self._thread.is_alive():
                raise RuntimeError("the sandbox did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        if self._socket is not None:
            self._socket.close()
        self.world.state.close()


def _listening_socket(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener
