"""How replies go out: whole, or spoiled in the way a fault orders."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.sandbox.replies import Reply

if TYPE_CHECKING:
    from starlette.types import Send

    from airflow_provider_pipedrive_leads.sandbox.faults import Fault

SLOW_PIECES = 10


async def deliver(send: Send, reply: Reply, fault: Fault | None) -> None:
    """Send a reply as the fault, if any, wants it sent."""
    kind = fault.kind if fault else ""
    if kind in ("close_before", "close_after", "close_and_finish"):
        await _hang_up(send)
    elif kind == "cut_body":
        await _send_start(send, reply)
        await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
        await _hang_up(send)
    elif fault and kind == "slow_body":
        await _send_start(send, reply)
        await _send_slowly(send, reply.body, fault.seconds)
    elif kind == "broken_json":
        await send_whole(send, Reply(reply.status, reply.body[:-2] + b'"', reply.headers))
    elif kind == "no_success":
        refusal = {"success": False, "error": "Something went wrong", "error_info": "Please try again later"}
        await send_whole(send, Reply(200, json.dumps(refusal).encode(), reply.headers))
    elif kind == "no_data":
        rest = {name: part for name, part in json.loads(reply.body).items() if name != "data"}
        await send_whole(send, Reply(reply.status, json.dumps(rest).encode(), reply.headers))
    else:
        await send_whole(send, reply)


async def send_whole(send: Send, reply: Reply) -> None:
    """Send a reply as it should be."""
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
