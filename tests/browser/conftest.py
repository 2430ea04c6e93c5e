"""A whole Airflow and a Chromium that has logged in to it, both started once for each test file."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from demo import browser as in_browser
from demo import ui
from demo.browser import AirflowInBrowser
from demo.stage import LocalPipedrive
from tests.chromium import NO_DEADLINE, browser  # noqa: F401 - a fixture
from tests.standalone.running_airflow import running_airflow


@pytest.fixture(scope="module", autouse=True)
def patient():
    """Wait for Airflow and its pages as long as a test may take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_browser, "MILLISECONDS_TO_WAIT", NO_DEADLINE)
        patch.setattr(ui, "SECONDS_TO_START", float("inf"))
        yield


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
def airflow(browser, sandbox, settings, tmp_path_factory):  # noqa: F811
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    with running_airflow(home, home / "dags", LocalPipedrive(sandbox.url, sandbox.token), settings) as running:
        yield running


@pytest.fixture(scope="module")
def interface(browser, airflow) -> AirflowInBrowser:  # noqa: F811
    """Where to get pages in the dark or of other sizes: ``with interface.page("dark", width=390) as page:``."""
    return AirflowInBrowser(browser, airflow.address, airflow.login)


@pytest.fixture
def page(interface):
    """An empty page in the light, 1280 wide."""
    with interface.page() as opened:
        yield opened
