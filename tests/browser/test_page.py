"""The page in a real Airflow under a sub-path: found in the menu, right in its figures, bound to people's rights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from demo.browser import AirflowInBrowser
from demo.ports import reserve_port
from demo.stage import BIN, ROOT, LocalPipedrive, airflow_environment, process
from demo.ui import login_of, wait_until_healthy
from tests.standalone.running_airflow import NO_HURRY
from tests.until import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
DAGS = Path(__file__).parent / "page_dags"
TASKS = {"export_leads", "snapshot", "load_scores", "unknown_lead", "no_stage", "wrong_token", "attack"}


@pytest.fixture(scope="module")
def taken_away(tmp_path_factory):
    """While this file is there, nobody may read XComs."""
    return tmp_path_factory.mktemp("rights") / "taken-away"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def address(browser, sandbox, taken_away, home):
    """An API server behind a sub-path, after each DAG has run once."""
    from tests.browser.xcom_rights import TAKEN_AWAY  # loads Airflow's API server, which no other test needs

    port = str(reserve_port())
    address = f"http://127.0.0.1:{port}/team/airflow"
    environment = {
        **airflow_environment(home, LocalPipedrive(sandbox.url, sandbox.token)),
        **NO_HURRY,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.browser.xcom_rights.XComRights",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW_CONN_PIPEDRIVE_SALES": json.dumps({**sandbox.connection, "password": "f" * 40}),
        "PYTHONPATH": str(ROOT),
        TAKEN_AWAY: str(taken_away),
    }
    with (home / "airflow.log").open("wb") as log:
        runs = [sys.executable, "-m", "tests.browser.page_runs"]
        subprocess.run(runs, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)
        with process(BIN / "airflow", "api-server", env=environment, stdout=log, stderr=log) as running:
            wait_until_healthy(running, address, ("metadatabase",))
            yield address


@pytest.fixture(scope="module")
def login(address, home):
    return login_of(home)


@pytest.fixture(scope="module")
def interface(browser, address, login):
    return AirflowInBrowser(browser, address, login)


@pytest.fixture(scope="module")
def records(address, login):
    """What tasks left, by task, as Airflow's API tells it."""
    session = requests.Session()
    session.trust_env = False
    who = dict(zip(("username", "password"), login, strict=True))
    token = session.post(f"{address}/auth/token", json=who).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"

    def ask(path):
        reply = session.get(f"{address}/api/v2/{path}")
        reply.raise_for_status()
        return reply.json()

    found = {}
    for entry in ask("dags/~/dagRuns/~/taskInstances/~/xcomEntries?xcom_key=pipedrive_usage")["xcom_entries"]:
        path = "dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/pipedrive_usage".format(**entry)
        value = ask(f"{path}?deserialize=false")["value"]
        found[entry["task_id"]] = json.loads(value) if isinstance(value, str) else value
    assert set(found) == TASKS
    return found


def opened(page, address):
    """Open the page by its address within Airflow, and give its frame."""
    page.goto(f"{address}/plugin/pipedrive-leads")
    frame = page.frame_locator("iframe[title='Pipedrive leads']")
    frame.get_by_role("heading", name="pipedrive_default").wait_for()
    return frame


def in_figures(number):
    return f"{number:,}"


def test_it_is_in_the_menu_and_tells_what_tasks_recorded(page, address, records):
    own = [record for record in records.values() if record["conn_id"] == "pipedrive_default"]
    newest = max((record for record in own if record["daily_tokens_left"] is not None), key=lambda record: record["at"])
    page.clock.set_fixed_time(max(record["at"] for record in own))  # midnight may have come since
    today = [record for record in own if record["at"][:10] == newest["at"][:10]]
    page.goto(f"{address}/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Pipedrive leads").click()
    frame = page.frame_locator("iframe[title='Pipedrive leads']")
    section = frame.get_by_role("region", name="pipedrive_default", exact=True)
    section.wait_for()
    used = newest["daily_tokens"] - newest["daily_tokens_left"]
    budget = section.locator(".budget").inner_text()
    assert f"{in_figures(used)} of about {in_figures(newest['daily_tokens'])} API tokens used today" in budget
    recorded = min(used, sum(record["tokens"] for record in today))  # of calls at once any may be told last
    assert f"by tasks recorded here {in_figures(recorded)}" in budget
    assert f"left {in_figures(newest['daily_tokens_left'])}" in budget
    for task_id in ("export_leads", "snapshot", "load_scores"):
        cells = (
            section.get_by_role("row")
            .filter(has=frame.get_by_role("link", name=task_id, exact=True))
            .get_by_role("cell")
        )
        record = records[task_id]
        assert cells.nth(1).inner_text() == in_figures(record["rows"])
        assert cells.nth(2).inner_text() == in_figures(record["tokens"])
        assert float(cells.nth(3).inner_text().removesuffix(" s")) == pytest.approx(record["seconds"], abs=0.51)
    assert records["export_leads"]["rows"] == 60
    errors = section.locator(".failures").inner_text()
    assert "PipedriveNotFoundError (404)" in errors
    assert "Mend poll_interval of the task" in errors
    other = frame.get_by_role("region", name="pipedrive_sales", exact=True).inner_text()
    assert "Mend the API token or the OAuth login of connection pipedrive_sales" in other


def test_a_record_with_markup_stays_text(page, address, records):
    frame = opened(page, address)
    assert records["attack"]["conn_id"].startswith("<img")
    assert frame.get_by_role("heading", name=records["attack"]["conn_id"]).count() == 1
    assert frame.locator("img").count() == 0
    assert "broken" not in page.title() + frame.locator("html").evaluate("html => html.ownerDocument.title")


def test_a_link_opens_the_task_in_airflow(page, address, records):
    opened(page, address).get_by_role("link", name="export_leads", exact=True).click()
    page.wait_for_url(f"{address}/dags/crm_to_lake/runs/*/tasks/export_leads*")
    page.get_by_text("export_leads").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_airflows_colours(interface, address, records, scheme):
    def is_dark(body):
        ground = body.evaluate("body => getComputedStyle(body).backgroundColor")
        return sum(int(part) for part in ground.strip("rgb()").split(",")) < 200

    with interface.page(scheme) as page:
        body = opened(page, address).locator("body")
        assert page.evaluate("document.documentElement.classList.contains('dark')") == (scheme == "dark")
        assert is_dark(body) == (scheme == "dark")
        chosen = "light" if scheme == "dark" else "dark"
        page.evaluate(f"localStorage.setItem('theme', '{chosen}')")
        until(lambda: is_dark(body) == (chosen == "dark"))


def test_it_fits_a_phone(interface, address, records):
    with interface.page(width=360) as page:
        page.goto(f"{address}/pipedrive-leads/")
        page.get_by_role("heading", name="pipedrive_default").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_who_may_not_read_xcoms_sees_nothing_but_why(page, address, taken_away, records):
    frame = opened(page, address)
    taken_away.touch()
    try:
        frame.get_by_role("button", name="Refresh").click()
        frame.get_by_text("may not read XComs").wait_for()
        assert frame.locator("main").inner_text() == ""
    finally:
        taken_away.unlink()
    frame.get_by_role("button", name="Refresh").click()
    frame.get_by_role("heading", name="pipedrive_default").wait_for()
