"""Threads for what triggers ask: few for each connection, so that none whose calls hang holds up another one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 4
Given = ParamSpec("Given")
Result = TypeVar("Result")


async def in_thread(
    pipedrive_conn_id: str, call: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs
) -> Result:
    """Run a call in a thread of a connection, with the context of who waits, as ``asyncio.to_thread`` does.

    :raises Exception: whatever the call raises.
    """
    run = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads(pipedrive_conn_id), run)


@cache
def _threads(pipedrive_conn_id: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix=f"pipedrive-{pipedrive_conn_id}")
