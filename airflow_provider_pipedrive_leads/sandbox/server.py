"""The sandbox on the wire: the ASGI application, and the server that runs it in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.requests import ClientDisconnect, Request

from airflow_provider_pipedrive_leads.sandbox import conversion
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.delivery import deliver, send_whole
from airflow_provider_pipedrive_leads.sandbox.gate import Incoming, Outcome, answer
from airflow_provider_pipedrive_leads.sandbox.hosts import may_call
from airflow_provider_pipedrive_leads.sandbox.journal import without_secrets
from airflow_provider_pipedrive_leads.sandbox.parameters import read_object
from airflow_provider_pipedrive_leads.sandbox.replies import HTML_HEADERS, ApiError, InvalidError, Reply
from airflow_provider_pipedrive_leads.sandbox.routes.control import PREFIX, control
from airflow_provider_pipedrive_leads.sandbox.world import DEFAULT_TOKEN, Options, World

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from starlette.types import Receive, Scope, Send

TEST_SEATS = 1_000
LARGEST_SHOWN_BODY = 50_000
PAGE = Path(__file__).parent / "page" / "index.html"


class Application:
    """The ASGI application of one world, which is called by the names of this machine or by ``host``."""

    def __init__(self, world: World, host: str = "127.0.0.1") -> None:
        self.world = world
        self._host = host
        self._wake = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(Request(scope, receive), send)

    def _dated(self, reply: Reply) -> Reply:
        """Let a reply tell the time of the sandbox's own clock, which can be moved."""
        now = datetime.fromtimestamp(self.world.now_ms / 1000, UTC)
        return Reply(reply.status, reply.body, {**reply.headers, "date": format_datetime(now, usegmt=True)})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.world.agenda.changed = self._wake.set
        conversion.resume(self.world)
        keeper = asyncio.create_task(self._keep_agenda())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        keeper.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_agenda(self) -> None:
        while True:
            self._wake.clear()
            self.world.agenda.run_due()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self.world.agenda.seconds_to_next())

    async def _http(self, request: Request, send: Send) -> None:
        path = request.url.path
        if not may_call(request.headers.getlist("host"), self._host):
            await send_whole(send, self._dated(ApiError(421, "Host must be a name of this machine").reply()))
        elif path == "/":
            page = PAGE.read_bytes() if PAGE.exists() else b"<!DOCTYPE html><title>pipedrive-sandbox</title>"
            await send_whole(send, self._dated(Reply(200, page, dict(HTML_HEADERS))))
        elif path.startswith(PREFIX):
            self.world.agenda.run_due()
            content_type = request.headers.get("content-type", "")
            reply = control(self.world, request.method, path, await request.body(), content_type)
            await send_whole(send, self._dated(reply))
            self._wake.set()
        else:
            await self._api(request, send)

    async def _api(self, request: Request, send: Send) -> None:
        incoming: Incoming | None = None
        outcome: Outcome | None = None
        self.world.journal.begin()
        try:
            incoming = await _incoming(request)
            outcome = await answer(self.world, incoming)
            await deliver(send, self._dated(outcome.reply), outcome.fault)
        except ClientDisconnect:
            pass
        finally:
            self._record(request, incoming, outcome)

    def _record(self, request: Request, incoming: Incoming | None, outcome: Outcome | None) -> None:
        outcome = outcome or Outcome(Reply(0, b""), "(broken off)")
        caller = outcome.caller
        entry = {
            "time": iso_ms(self.world.now_ms),
            "method": request.method,
            "path": request.url.path,
            "query": without_secrets(dict(request.query_params)),
            "json": _shown_body(incoming),
            "status": outcome.reply.status,
            "auth": caller.kind if caller else None,
            "user_id": caller.member.id if caller else None,
            "tokens": outcome.tokens,
            "fault": outcome.fault.kind if outcome.fault else None,
        }
        self.world.journal.end(outcome.route, outcome.tokens, entry)


async def _incoming(request: Request) -> Incoming:
    content = await request.body()
    return Incoming(request.method, request.url.path, dict(request.query_params), request.headers, content)


def _shown_body(incoming: Incoming | None) -> Any:
    if incoming is None or not incoming.content or len(incoming.content) > LARGEST_SHOWN_BODY:
        return None
    try:
        return without_secrets(read_object(incoming.content, incoming.content_type))
    except InvalidError:
        return None


class Sandbox:
    """A local Pipedrive on a free loopback port, served by a thread of this process while the context is open.

    ``leads`` active and archived leads are seeded with ``seed``; ``plan`` and ``seats`` set the limits (by default
    a budget that no test uses up); ``profile`` and ``choices`` say how the unknowns are played; ``latency`` is real
    seconds before each reply; ``state`` is a file to keep the data in. Raises ValueError for an unknown plan, profile
    or choice.
    """

    url: str
    control: SandboxControl

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
        self._address = (host, port)

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection to this sandbox, as JSON."""
        return {"conn_type": "pipedrive", "password": self.token, "extra": {"base_url": self.url}}

    @property
    def oauth_connection(self) -> dict[str, Any]:
        """The Airflow connection of an OAuth app with all scopes, freshly installed by the administrator, as JSON."""
        grant = self.control.oauth_grant()
        app = {name: grant[name] for name in ("client_id", "client_secret", "refresh_token")}
        return {"conn_type": "pipedrive", "extra": {"base_url": self.url, **app}}

    def __enter__(self) -> Sandbox:
        self._listener = _listening_socket(*self._address)
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.control = SandboxControl(self.url)
        config = uvicorn.Config(
            Application(self.world, host),
            log_level="critical",
            access_log=False,
            lifespan="on",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="sandbox", daemon=True)
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
        self._listener.close()
        self.world.state.close()


def _listening_socket(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener
