"""Threads for what triggers ask: few for each account and purpose, so that calls that hang hold up no others."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 4
Given = ParamSpec("Given")
Result = TypeVar("Result")


async def in_thread(group: str, call: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Run a call in a thread of a group, with the context of who waits, as ``asyncio.to_thread`` does.

    :param group: calls of the same group wait for each other's threads: the id of a connection, and what for.
    :raises Exception: whatever the call raises.
    """
    run = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads(group), run)


@cache
def _threads(group: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix=f"pipedrive-trigger-{group}")


os.register_at_fork(after_in_child=_threads.cache_clear)  # the threads are not in the child
