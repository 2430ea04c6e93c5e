"""Waiting for what a test expects to happen, never for a time in which it ought to have happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
BETWEEN_LOOKS = 0.005


def until(happened: Callable[[], Found], between: float = BETWEEN_LOOKS) -> Found:
    """Look again and again until something is there, and give it; what never comes meets the test's own time limit.

    There is no deadline here on purpose: how long a machine takes is not what a test is about.

    :param between: seconds between two looks, where looking is work.
    """
    while not (found := happened()):
        time.sleep(between)
    return found


async def eventually(happened: Callable[[], Found]) -> Found:
    """Do the same in an event loop."""
    while not (found := happened()):
        await asyncio.sleep(BETWEEN_LOOKS)
    return found
