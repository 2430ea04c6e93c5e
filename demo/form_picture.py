"""Pictures of the connection form: ``.venv/bin/python -m demo.form_picture docs/pictures``; needs Chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from demo.api_server import api_server
from demo.browser import AirflowInBrowser, chromium
from demo.connection_form import add_connection, press_test
from demo.stage import LocalPipedrive, airflow_environment, local_pipedrive

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONNECTION_ID = "pipedrive_default"
LEADS = 10
HEIGHTS = {"connection-form": 840, "connection-form-extra": 1300, "connection-test": 570}


def take_pictures(folder: Path) -> None:
    """Save PNGs of the form's two parts, filled in, and of what the Test button says."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        local_pipedrive(LEADS) as pipedrive,
        api_server(Path(home), _unconnected(Path(home), pipedrive)) as server,
        chromium() as browser,
        AirflowInBrowser(browser, server.address, server.login).page(height=max(HEIGHTS.values())) as page,
    ):
        _fill_in(page, pipedrive, folder)
        press_test(page, CONNECTION_ID)
        _take(page, folder, "connection-test")


def _unconnected(home: Path, pipedrive: LocalPipedrive) -> dict[str, str]:
    """An environment without the connection that is to be made: Airflow would test that one instead."""
    environment = airflow_environment(home, pipedrive)
    del environment["AIRFLOW_CONN_PIPEDRIVE_DEFAULT"]
    return environment


def _fill_in(page: Page, pipedrive: LocalPipedrive, folder: Path) -> None:
    form = add_connection(page, CONNECTION_ID, "Pipedrive")
    form.fill("Standard Fields", {"Company domain": "brightwater-sandbox", "API token": pipedrive.token, "Port": "443"})
    form.fill("Extra Fields", {"Timeout": "60", "Daily token reserve": "5000", "Base URL": pipedrive.url})
    _take(page, folder, "connection-form-extra")
    form.open_section("Standard Fields")
    _take(page, folder, "connection-form")
    form.save()


def _take(page: Page, folder: Path, name: str) -> None:
    page.set_viewport_size({"width": 1280, "height": HEIGHTS[name]})
    page.screenshot(path=folder / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
