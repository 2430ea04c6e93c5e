"""Pictures of the connection form: ``.venv/bin/python -m demo.form_picture docs/pictures``; needs Chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from demo.browser import AirflowInBrowser, chromium
from demo.connection_form import add_connection, give_port, press_test
from demo.ui import USUAL_PORT, interface

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.stage import LocalPipedrive

CONNECTION_ID = "pipedrive_default"
HEIGHTS = {"connection-form": 790, "connection-form-extra": 1240, "connection-test": 460}


def take_pictures(folder: Path) -> None:
    """Save PNGs of the form's two parts, filled in, and of what the Test button says."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        interface(Path(home) / "ui", USUAL_PORT) as started,
        chromium() as browser,
        AirflowInBrowser(browser, started.address, started.login).page() as page,
    ):
        _fill_in(page, started.pipedrive, folder)
        give_port(page, CONNECTION_ID)
        press_test(page, CONNECTION_ID)
        _take(page, folder, "connection-test")


def _fill_in(page: Page, pipedrive: LocalPipedrive, folder: Path) -> None:
    form = add_connection(page, CONNECTION_ID, "Pipedrive")
    form.fill("Standard Fields", {"Company domain": "brightwater-sandbox", "API token": pipedrive.token})
    _take(page, folder, "connection-form")
    form.fill("Extra Fields", {"Timeout": "60", "Daily token reserve": "5000", "Base URL": pipedrive.url})
    _take(page, folder, "connection-form-extra")
    form.save()


def _take(page: Page, folder: Path, name: str) -> None:
    page.set_viewport_size({"width": 1280, "height": HEIGHTS[name]})
    page.screenshot(path=folder / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
