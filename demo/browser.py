"""Airflow's web interface in a headless Chromium, for tests and for the pictures in the documents."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, StorageState

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
MILLISECONDS_TO_WAIT = 60_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the machine's own Chromium; on leaving, nothing of it is left running."""
    from playwright.sync_api import sync_playwright

    assert BROWSER, "there is no Chromium here"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=[*QUIET, "--no-proxy-server"])
        try:
            yield browser
        finally:
            browser.close()


class AirflowInBrowser:
    """The web interface of a running Airflow, as the person who has logged in sees it.

    :param browser: a started Chromium.
    :param address: of the API server.
    :param login: user and password of its simple auth manager.
    """

    def __init__(self, browser: Browser, address: str, login: tuple[str, str]) -> None:
        self.address = address
        self._browser = browser
        self._session = self._log_in(*login)

    @contextmanager
    def page(
        self, scheme: Literal["light", "dark"] = "light", *, width: int = 1280, height: int = 1000
    ) -> Iterator[Page]:
        """Open an empty page; paths in its ``goto`` are relative to the address.

        :param scheme: what the person's system prefers.
        :param width: of the window, in pixels.
        :param height: of the window, in pixels.
        """
        context = self._browser.new_context(
            base_url=self.address,
            color_scheme=scheme,
            reduced_motion="reduce",
            storage_state=self._session,
            viewport={"width": width, "height": height},
        )
        context.set_default_timeout(MILLISECONDS_TO_WAIT)
        try:
            yield context.new_page()
        finally:
            context.close()

    def _log_in(self, user: str, password: str) -> StorageState:
        context = self._browser.new_context(base_url=self.address)
        context.set_default_timeout(MILLISECONDS_TO_WAIT)
        try:
            page = context.new_page()
            page.goto(f"{self.address}/")
            page.get_by_role("textbox", name="Username").fill(user)
            page.locator("input[type=password]").fill(password)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name="Admin").wait_for()
            return context.storage_state()
        finally:
            context.close()
