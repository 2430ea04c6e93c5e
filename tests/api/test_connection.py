"""The one parser of the connection: what form, URI, JSON and environment give."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.connection import Secret, read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        (None, "https://api.pipedrive.com"),
        ("", "https://api.pipedrive.com"),
        ("acme", "https://acme.pipedrive.com"),
        (" ACME.pipedrive.com ", "https://acme.pipedrive.com"),
        ("https://acme.pipedrive.com/", "https://acme.pipedrive.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_host(host, base_url):
    assert read_connection(host=host, password=TOKEN).base_url == base_url


@pytest.mark.parametrize("host", [None, "acme", "acme.pipedrive.com", "https://acme.pipedrive.com"])
def test_the_usual_port_changes_nothing(host):
    assert read_connection(host=host, port=443, password=TOKEN) == read_connection(host=host, password=TOKEN)


def test_another_port_of_this_machine_counts():
    assert read_connection(host="http://127.0.0.1", port=8080, password=TOKEN).base_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "extra",
    [
        {"timeout": None, "daily_token_reserve": None, "base_url": None, "client_id": None},
        {"timeout": "", "daily_token_reserve": "", "base_url": ""},
        {"timeout": 30, "daily_token_reserve": 0},
        {"timeout": "30", "daily_token_reserve": "0"},
        {},
        None,
    ],
)
def test_blank_and_typed_values_mean_the_same(extra):
    settings = read_connection(password=TOKEN, extra=extra)
    assert (settings.timeout, settings.daily_token_reserve) == (30.0, 0)
    assert settings.unknown_extras == ()


@pytest.mark.parametrize(("given", "limit"), [(None, None), ("", None), (80, 80), ("80", 80), (80.0, 80)])
def test_the_burst_limit(given, limit):
    assert read_connection(password=TOKEN, extra={"burst_limit": given}).burst_limit == limit


def test_base_url_wins_over_host():
    settings = read_connection(host="acme", password=TOKEN, extra={"base_url": "https://proxy.example.com:8443/"})
    assert settings.base_url == "https://proxy.example.com:8443"


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({"password": None}, "'API token'"),
        ({"password": "  "}, "'API token'"),
        ({"password": "two words"}, "'API token'"),
        ({"password": None, "login": TOKEN}, "'Login'"),
        ({"host": "ac me"}, "'Company domain'"),
        ({"host": TOKEN}, "'Company domain'"),
        ({"host": "acme/leads"}, "'Company domain'"),
        ({"host": "crm.example.com"}, "'Company domain'"),
        ({"host": "http://acme.pipedrive.com"}, "'Company domain'"),
        ({"host": "https://acme.pipedrive.com/leads"}, "'Company domain'"),
        ({"extra": {"base_url": "http://proxy.example.com"}}, "'Base URL'"),
        ({"extra": {"base_url": "http://127.0.0.1.example.com"}}, "'Base URL'"),
        ({"extra": {"base_url": "https://user:pass@proxy.example.com"}}, "'Base URL'"),
        ({"extra": {"base_url": "ftp://proxy.example.com"}}, "'Base URL'"),
        ({"extra": {"base_url": "proxy.example.com"}}, "'Base URL'"),
        ({"extra": {"base_url": "https://proxy.example.com:port"}}, "'Base URL'"),
        ({"extra": {"timeout": 0}}, "'Timeout'"),
        ({"extra": {"timeout": -1}}, "'Timeout'"),
        ({"extra": {"timeout": "abc"}}, "'Timeout'"),
        ({"extra": {"timeout": True}}, "'Timeout'"),
        ({"extra": {"timeout": "nan"}}, "'Timeout'"),
        ({"extra": {"daily_token_reserve": -5}}, "'Daily token reserve'"),
        ({"extra": {"daily_token_reserve": "1.5"}}, "'Daily token reserve'"),
        ({"extra": {"burst_limit": 0}}, "'Burst limit'"),
        ({"extra": {"burst_limit": "80.5"}}, "'Burst limit'"),
        ({"extra": {"burst_limit": 10_001}}, "'Burst limit'"),
        ({"extra": {"client_id": "app"}}, "'API token'"),
        ({"password": None, "extra": {"client_id": "app"}}, "'OAuth client secret'"),
        ({"password": None, "extra": {"client_id": "app", "client_secret": "s"}}, "'OAuth refresh token'"),
    ],
)
def test_what_cannot_work_names_its_field(parts, field):
    with pytest.raises(PipedriveConfigError) as raised:
        read_connection(**{"password": TOKEN, "name": "connection 'crm'", **parts})
    assert f"field {field}" in str(raised.value)
    assert str(raised.value).startswith("Connection 'crm'")
    assert TOKEN not in str(raised.value)


def test_unknown_extras_are_named_but_do_no_harm():
    assert read_connection(password=TOKEN, extra={"time_out": 3}).unknown_extras == ("time_out",)


def test_the_token_does_not_show_itself():
    settings = read_connection(password=TOKEN)
    assert TOKEN not in f"{settings!r} {settings} {Secret(TOKEN)}"
