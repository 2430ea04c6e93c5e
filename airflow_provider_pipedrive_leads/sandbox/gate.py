"""The gate that every call passes: who calls, which route it is, what the limits say, which fault was ordered.

Sources: sections 7 and 8 of ``docs/pipedrive-api.md``.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.sandbox import oauth
from airflow_provider_pipedrive_leads.sandbox.call import Call, Caller, Endpoint
from airflow_provider_pipedrive_leads.sandbox.replies import ApiError, InvalidError, Reply, html_reply, json_reply
from airflow_provider_pipedrive_leads.sandbox.routes import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.sandbox.faults import Fault
    from airflow_provider_pipedrive_leads.sandbox.limits import Verdict
    from airflow_provider_pipedrive_leads.sandbox.world import World

LARGEST_BODY = 1_000_000
OVER_LIMIT = "request over limit"
BANNED_TITLE = "Access denied | error 1015"
UNKNOWN_ROUTE = "(unknown route)"
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
    """What became of a request: the reply, the route it counts under, what it cost, who called, the fault it met."""

    reply: Reply
    route: str
    tokens: int = 0
    caller: Caller | None = None
    fault: Fault | None = None


async def answer(world: World, incoming: Incoming) -> Outcome:
    """Pass one request through the gate and do its work, unless something stands against it."""
    await asyncio.sleep(world.delays["reply"])
    world.agenda.run_due()
    # Apps call the company's own host, as their token tells them to: there the prefix is known for sure.
    by_app = incoming.headers.get("authorization", "").lower().startswith("bearer ")
    prefix = "served" if by_app else world.choices["api_v1_prefix"]
    endpoint, params = find_endpoint(incoming.method, canonical_path(incoming.path, prefix))
    caller = find_caller(world, incoming, endpoint)
    outcome = Outcome(unauthorized(), endpoint.route if endpoint else UNKNOWN_ROUTE, caller=caller)
    if caller is None:
        return outcome
    if endpoint is None:
        outcome.reply = ApiError(404, "Unknown method, not found").reply()
        return outcome
    verdict = None if endpoint.open else _judge(world, caller, endpoint)
    if verdict is not None and verdict.outcome != "allowed":
        outcome.reply = _refusal(world, verdict)
    else:
        outcome.tokens = endpoint.cost
        outcome.fault = world.faults.take(incoming.method, incoming.path)
        call = Call(
            world, caller, params, incoming.query, incoming.content, incoming.content_type, dict(incoming.headers)
        )
        outcome.reply = await _with_fault(call, endpoint, outcome.fault)
    outcome.reply.headers.update(_headers(world, verdict))
    return outcome


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


def find_caller(world: World, incoming: Incoming, endpoint: Endpoint | None) -> Caller | None:
    """Who calls: by ``x-api-token``, Bearer token or (a choice) ``?api_token=``; None if nobody known."""
    if endpoint is not None and endpoint.open:
        return Caller(next(iter(world.members.values())), "open", "")
    scheme, _, bearer = incoming.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        grant = oauth.living(world, "access", bearer.strip())
        return (
            None
            if grant is None
            else Caller(
                world.members[grant["user_id"]],
                "oauth",
                bearer.strip(),
                oauth.APP.client_id,
                oauth.APP.name,
                frozenset(grant["scopes"]),
            )
        )
    token = incoming.headers.get("x-api-token", "")
    if not token and world.choices["query_token"] == "accepted":  # noqa: S105
        token = incoming.query.get("api_token", "")
    rows = world.state.members.all("token = ?", [token])
    return Caller(world.members[rows[0]["id"]], "api_token", token) if rows else None


def unauthorized() -> Reply:
    """The live 401 body and the header that marks it as the gateway's."""
    content = {
        "success": False,
        "error": "unauthorized access",
        "errorCode": 401,
        "error_info": "Please check developers.pipedrive.com",
    }
    reply = json_reply(content, 401)
    reply.headers["x-401-by-gw"] = "true"
    return reply


async def _with_fault(call: Call, endpoint: Endpoint, fault: Fault | None) -> Reply:
    kind = fault.kind if fault else ""
    if fault and kind == "status":
        return _ordered_status(fault)
    if fault and kind == "html":
        return html_reply(fault.status, BANNED_TITLE)
    if fault and kind == "close_and_finish":
        call.world.agenda.add(fault.after, lambda: _forget(work(call, endpoint)))
    if kind in ("close_before", "close_and_finish"):
        return Reply(0, b"")
    if fault and kind == "delay":
        await asyncio.sleep(fault.seconds)
        call.world.agenda.run_due()
    if kind == "hold":
        await call.world.held.wait()
        call.world.agenda.run_due()
    return work(call, endpoint)


def work(call: Call, endpoint: Endpoint) -> Reply:
    """Do what a call asks for, all of it or nothing; refusals come back as replies."""
    if not call.caller.may(endpoint.scopes):
        return ApiError(403, "Scope and URL mismatch", errorCode=403).reply()
    if len(call.content) > LARGEST_BODY:
        return ApiError(413, "The body is too large").reply()
    try:
        with call.world.state.transaction():
            return endpoint.handler(call)
    except InvalidError as error:
        return error.worded(call.world.choices["validation_error"]).reply()
    except ApiError as error:
        return error.reply()
    except Exception:  # noqa: BLE001 the sandbox's own mistake: counted, shown, and answered as a server would
        call.world.journal.failures += 1
        traceback.print_exc()
        return ApiError(500, "Internal server error").reply()


def _judge(world: World, caller: Caller, endpoint: Endpoint) -> Verdict:
    return world.limits.judge(
        world.agenda.now(),
        caller.token,
        caller.kind,
        endpoint.cost,
        search=endpoint.search,
        zone=world.choices["day_zone"],
        bans=world.choices["ignored_429s"] == "html_403",
    )


def _refusal(world: World, verdict: Verdict) -> Reply:
    if verdict.outcome == "banned":
        return html_reply(403, BANNED_TITLE)
    if world.choices["rate_limit_body"] == "text":
        reply = Reply(429, b"Too Many Requests", {"content-type": "text/plain"})
    else:
        reply = ApiError(429, OVER_LIMIT, errorCode=429).reply()
    if world.choices["retry_after"] == "present":
        wait = verdict.seconds_to_midnight if verdict.outcome == "daily" else verdict.reset
        reply.headers["retry-after"] = str(wait)
    return reply


def _headers(world: World, verdict: Verdict | None) -> dict[str, str]:
    headers = {"x-correlation-id": world.fresh_uuid()}
    if verdict is not None and verdict.outcome != "banned" and world.choices["rate_headers"] == "present":
        headers |= {
            "x-ratelimit-limit": str(verdict.limit),
            "x-ratelimit-remaining": str(verdict.remaining),
            "x-ratelimit-reset": str(verdict.reset),
            "x-daily-ratelimit-token-limit": str(verdict.daily_limit),
            "x-daily-ratelimit-token-remaining": str(verdict.daily_remaining),
        }
    return headers


def _ordered_status(fault: Fault) -> Reply:
    error = OVER_LIMIT if fault.status == 429 else "An ordered fault"
    reply = ApiError(fault.status, error, errorCode=fault.status).reply()
    if fault.retry_after is not None:
        reply.headers["retry-after"] = str(fault.retry_after)
    return reply


def _forget(_: Reply) -> None:
    """Nobody is there any more to take the reply."""
