"""A whole Airflow and a Chromium that has logged in to it, both started once for each test file."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo.browser import BROWSER, AirflowInBrowser, chromium
from demo.stage import LocalPipedrive
from tests.standalone.running_airflow import running_airflow


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine (chromium, chromium-browser or google-chrome)")
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def sandbox():
    """A local Pipedrive with 60 leads, behind Airflow's ``pipedrive_default``."""
    with Sandbox(leads=60, seed=7) as running:
        yield running


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Further environment variables of Airflow; a test file may have its own, a folder of DAGs for example."""
    return {}


@pytest.fixture(scope="module")
def airflow(browser, sandbox, settings, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    with running_airflow(home, home / "dags", LocalPipedrive(sandbox.url, sandbox.token), settings) as running:
        yield running


@pytest.fixture(scope="module")
def interface(browser, airflow) -> AirflowInBrowser:
    """Where to get pages in the dark or of other sizes: ``with interface.page("dark", width=390) as page:``."""
    return AirflowInBrowser(browser, airflow.address, airflow.login)


@pytest.fixture
def page(interface):
    """An empty page in the light, 1280 wide."""
    with interface.page() as opened:
        yield opened
