"""Admin > Connections in a real browser: the fields that people see, what becomes of what they type, the Test button.

``docs/pictures`` shows it: ``.venv/bin/python -m demo.form_picture docs/pictures``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from demo.api_server import api_server
from demo.connection_form import add_connection, edit_connection, press_test
from demo.stage import LocalPipedrive, airflow_environment
from tests.standalone.running_airflow import NO_HURRY, RunningAirflow

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

README = Path(__file__).parents[2] / "README.md"
STANDARD = {"host": "Company domain", "password": "API token", "port": "Port"}
EXTRA = {
    "client_id": "OAuth client id",
    "client_secret": "OAuth client secret",
    "refresh_token": "OAuth refresh token",
    "timeout": "Timeout",
    "daily_token_reserve": "Daily token reserve",
    "burst_limit": "Burst limit",
    "base_url": "Base URL",
}
MASKED = {"password", "client_secret", "refresh_token"}
OAUTH = {"client_id": "a1b2c3d4e5", "client_secret": "kept-to-itself", "refresh_token": "12:34:kept-to-itself-too"}


@pytest.fixture(scope="module")
def airflow(browser, sandbox, tmp_path_factory):
    """Only the API server, for it is where the Test button is answered."""
    home = tmp_path_factory.mktemp("airflow")
    environment = airflow_environment(home, LocalPipedrive(sandbox.url, sandbox.token)) | NO_HURRY
    with api_server(home, environment) as server:
        yield RunningAirflow(server.address, server.login, server.environment)


def promised_labels() -> list[str]:
    """The fields of the README's table; in "OAuth client id, client secret" the first word holds for all."""
    section = README.read_text(encoding="utf-8").split("\n## The connection\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[2:]
    labels = []
    for cell in cells:
        first, *others = re.sub(r" \(.*\)", "", cell).split(", ")
        labels += [first, *(f"{first.split()[0]} {other}" for other in others)]
    return labels


def told_by_command(airflow, connection_id):
    """What ``airflow connections get`` says: secrets too, and numbers as text."""
    (told,) = json.loads(airflow.command("connections", "get", connection_id, "--output", "json"))
    return told


def told_by_api(airflow, connection_id):
    told = airflow.ask("GET", f"connections/{connection_id}")
    return {**told, "extra": json.loads(told["extra"])}


def extra(**values):
    """The whole extra as the form stores it: null where nothing was typed."""
    return {**dict.fromkeys(EXTRA), **values}


def store(airflow, connection_id, connection):
    """Make a connection without the form, with the port that Airflow's Test button needs."""
    parts = {**connection, "port": 443, "extra": json.dumps(connection["extra"])}
    airflow.ask("POST", "connections", connection_id=connection_id, **parts)


def test_the_form_offers_what_the_readme_promises(page):
    assert [*STANDARD.values(), *EXTRA.values()] == promised_labels()
    form = add_connection(page, "looked_at", "Pipedrive")
    standard, extras = form.fields("Standard Fields"), form.fields("Extra Fields")
    assert {field.name: field.label for field in standard} == {"description": "Description", **STANDARD}
    assert {field.name: field.label for field in extras} == EXTRA
    assert {field.name for field in (*standard, *extras) if field.masked} == MASKED
    hints = {field.name: field.hint or field.placeholder for field in (*standard, *extras)}
    assert "acme.pipedrive.com" in hints["host"]
    assert "Personal preferences > API" in hints["password"]
    assert "Bad Request" in hints["port"]
    assert "Default 30" in hints["timeout"]
    assert "Default 0" in hints["daily_token_reserve"]


def test_an_api_token_and_all_beside_it_are_kept(page, airflow, sandbox):
    form = add_connection(page, "with_token", "Pipedrive")
    form.fill("Standard Fields", {"Company domain": "acme.pipedrive.com", "API token": sandbox.token, "Port": "443"})
    form.fill("Extra Fields", {"Timeout": "45.5", "Daily token reserve": "1500", "Burst limit": "80"})
    form.fill("Extra Fields", {"Base URL": sandbox.url})
    form.save()
    typed = {"conn_type": "pipedrive", "host": "acme.pipedrive.com", "login": None, "port": 443, "schema": None}
    by_api = told_by_api(airflow, "with_token")
    assert by_api.items() >= {**typed, "password": "***"}.items()
    assert by_api["extra"] == extra(timeout=45.5, daily_token_reserve=1500, burst_limit=80, base_url=sandbox.url)
    by_command = told_by_command(airflow, "with_token")
    assert by_command.items() >= {**typed, "port": "443", "password": sandbox.token}.items()
    as_text = extra(timeout="45.5", daily_token_reserve="1500", burst_limit="80", base_url=sandbox.url)
    assert by_command["extra_dejson"] == as_text
    title, sentence = press_test(page, "with_token")
    assert title == "Test Connection Successful", sentence


def test_an_oauth_app_is_kept_when_another_field_is_edited(page, airflow):
    form = add_connection(page, "with_oauth", "Pipedrive")
    form.fill("Extra Fields", {EXTRA[name]: value for name, value in OAUTH.items()})
    form.save()
    shown = {**OAUTH, "client_secret": "***", "refresh_token": "***"}
    assert told_by_api(airflow, "with_oauth")["extra"] == extra(**shown)
    edited = edit_connection(page, "with_oauth")
    edited.fill("Extra Fields", {"Timeout": "60"})
    edited.save()
    assert told_by_api(airflow, "with_oauth")["extra"] == extra(**shown, timeout=60)
    assert told_by_command(airflow, "with_oauth")["extra_dejson"] == extra(**OAUTH, timeout="60")


@pytest.mark.parametrize("login", ["connection", "oauth_connection"])
def test_the_test_button_tells_whom_it_reached(page, airflow, sandbox, login):
    store(airflow, f"right_{login}", getattr(sandbox, login))
    title, sentence = press_test(page, f"right_{login}")
    assert title == "Test Connection Successful", sentence
    assert sentence.startswith("Connected to Brightwater Instruments (brightwater-sandbox) as Maren Solberg <")


def test_the_test_button_says_what_to_mend(page, airflow, sandbox):
    store(airflow, "wrong_token", {**sandbox.connection, "password": "f" * 40})
    title, sentence = press_test(page, "wrong_token")
    assert title == "Test Connection Failed"
    assert "Mend 'API token' (Password)" in sentence
    assert "f" * 40 not in sentence
