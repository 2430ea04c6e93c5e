"""A browser for tests, whose pages know no time but the one that a test lets pass."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from demo.browser import BROWSER, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NO_DEADLINE = 0
"""What never comes meets the test's own time limit."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One that is started once for each file; contexts keep tests apart."""
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine (chromium, chromium-browser or google-chrome)")
    with chromium() as started:
        yield started


def page_at(context: BrowserContext, time: datetime) -> Page:
    """Open an empty page in which it is this time, until the test moves its clock."""
    context.set_default_timeout(NO_DEADLINE)
    page = context.new_page()
    page.clock.install(time=time - timedelta(hours=1))
    page.clock.pause_at(time)
    return page
