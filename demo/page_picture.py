"""The picture of the page in Airflow: ``.venv/bin/python -m demo.page_picture docs/page.png``; needs Chromium.

``… docs/page.png dark 360`` takes it in the dark and on a phone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from demo.api_server import api_server
from demo.browser import AirflowInBrowser, chromium
from demo.stage import DemoError, airflow_environment, local_pipedrive, process

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEADS = 400
NARROW = 700
TITLE = "iframe[title='Pipedrive leads']"


def take_picture(path: Path, scheme: Literal["light", "dark"] = "light", width: int = 1280) -> None:
    """Save a PNG of the page after some runs.

    :param scheme: what the person's system prefers.
    :param width: of the window, in pixels; a narrow one shows the page by itself.
    """
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        local_pipedrive(LEADS) as pipedrive,
        api_server(Path(home), airflow_environment(Path(home), pipedrive)) as server,
        chromium() as browser,
    ):
        refused = json.dumps({**json.loads(pipedrive.connection), "password": "f" * 40})
        environment = {**server.environment, "AIRFLOW_CONN_PIPEDRIVE_SALES": refused}
        command = (sys.executable, "-m", "demo.page_runs")
        with process(*command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            if running.wait() != 0:
                raise DemoError("The tasks for the picture could not run.")
        interface = AirflowInBrowser(browser, server.address, server.login)
        with interface.page(scheme, width=width, height=1010 if width > NARROW else 1500) as page:
            _open(page, server.address, alone=width <= NARROW)
            page.screenshot(path=path, animations="disabled")


def _open(page: Page, address: str, *, alone: bool) -> None:
    page.goto(f"{address}/pipedrive-leads/" if alone else f"{address}/plugin/pipedrive-leads")
    (page if alone else page.frame_locator(TITLE)).get_by_role("heading", name="pipedrive_default").wait_for()
    page.wait_for_load_state("networkidle")


if __name__ == "__main__":
    scheme: Literal["light", "dark"] = "dark" if "dark" in sys.argv[2:] else "light"
    widths = [int(word) for word in sys.argv[2:] if word.isdigit()]
    take_picture(Path(sys.argv[1]), scheme, *widths)
