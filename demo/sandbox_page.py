"""The picture of the sandbox's page: ``.venv/bin/python -m demo.sandbox_page docs/sandbox.png``; needs Chromium."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.browser import BROWSER, QUIET

if TYPE_CHECKING:
    import requests

PAGE_MILLISECONDS = 7_000
LEADS = 1_000
SIZE = "1200,800"


def browse(url: str, *options: str, milliseconds: int = PAGE_MILLISECONDS) -> str:
    """Open a page in a fresh headless Chromium, let so much of its time pass, and give what Chromium prints."""
    assert BROWSER, "there is no Chromium here"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = (
            BROWSER,
            *QUIET,
            f"--user-data-dir={profile}",
            f"--virtual-time-budget={milliseconds}",
            *options,
            url,
        )
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return found.stdout


def take_picture(path: Path, *options: str) -> None:
    """Save a PNG of the page of a sandbox that has been used a little."""
    with Sandbox(leads=LEADS, seats=1) as sandbox:
        _use(sandbox)
        browse(sandbox.url, f"--screenshot={path.absolute()}", f"--window-size={SIZE}", *options)


def _use(sandbox: Sandbox) -> None:
    import requests

    with requests.Session() as session:
        session.headers["x-api-token"] = sandbox.token

        def call(method: str, path: str, **body: object) -> requests.Response:
            return session.request(method, sandbox.url + path, json=body or None, timeout=20)

        labels = {label["name"]: label["id"] for label in call("GET", "/v1/leadLabels").json()["data"]}
        call("GET", "/v1/leads?limit=500")
        call("GET", "/v1/leads?limit=500&start=500")
        call("GET", "/v1/leads/archived?limit=500")
        for title, label, amount in (("Website inquiry", "Warm", 3_000), ("Inquiry from the fair", "Hot", 12_500)):
            value = {"amount": amount, "currency": "EUR"}
            lead = call("POST", "/v1/leads", title=title, person_id=7, label_ids=[labels[label]], value=value)
        lead_path = f"/v1/leads/{lead.json()['data']['id']}"
        call("PATCH", lead_path, label_ids=[labels["Hot"], labels["Cold"]])
        call("GET", "/v1/leads/00000000-1f7a-11ef-8c3b-6f1e2a9d7c55")
        call("POST", "/v1/leads", title="Nobody to call")
        sandbox.control.fault("GET", lead_path, "status", status=503)
        call("GET", lead_path)
        call("GET", lead_path)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), *sys.argv[2:])
