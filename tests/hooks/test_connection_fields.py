"""What a form, a URI or JSON may hold besides what it should: each is told by its field, and nothing is left out."""

from __future__ import annotations

import json
import traceback

import pytest
from airflow.sdk import Connection

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.exceptions import PipedriveConfigError
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def settings(**parts):
    return read_connection(**{"password": TOKEN, "name": "connection 'crm'", **parts})


@pytest.mark.parametrize(
    ("parts", "base_url"),
    [
        ({"host": "acme", "port": 443}, "https://acme.pipedrive.com"),
        ({"host": "acme", "port": "443"}, "https://acme.pipedrive.com"),
        ({"host": "acme", "port": 0}, "https://acme.pipedrive.com"),
        ({"host": "https://acme.pipedrive.com/", "port": 443}, "https://acme.pipedrive.com"),
        ({"host": "https://acme.pipedrive.com:443/", "port": 443}, "https://acme.pipedrive.com"),
        ({"host": "HTTPS://ACME.PIPEDRIVE.COM"}, "https://acme.pipedrive.com"),
        ({"port": 443}, "https://api.pipedrive.com"),
        ({"host": "http://127.0.0.1:8080", "port": 443}, "http://127.0.0.1:8080"),
        ({"host": "http://127.0.0.1:8080", "port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "http://[::1]", "port": 8080}, "http://[::1]:8080"),
        ({"host": "http://[::1]:8080"}, "http://[::1]:8080"),
        ({"extra": {"base_url": "http://[::1]:8080/"}}, "http://[::1]:8080"),
        ({"extra": {"base_url": "https://[2001:db8::1]"}}, "https://[2001:db8::1]"),
        ({"extra": {"base_url": "https://proxy.example.com:8443"}, "port": 443}, "https://proxy.example.com:8443"),
        ({"extra": {"base_url": "https://proxy.example.com:8443"}, "port": 8443}, "https://proxy.example.com:8443"),
        ({"extra": {"base_url": "https://my_proxy:8443"}}, "https://my_proxy:8443"),
    ],
)
def test_hosts_and_ports_that_go_together(parts, base_url):
    assert settings(**parts).base_url == base_url


@pytest.mark.parametrize(
    ("parts", "field", "words"),
    [
        ({"host": "acme", "port": 8443}, "'Port'", "8443"),
        ({"port": 8443}, "'Port'", "8443"),
        ({"host": "https://acme.pipedrive.com", "port": 8443}, "'Port'", "8443"),
        ({"host": "https://acme.pipedrive.com:8443"}, "'Port'", "8443"),
        ({"host": "https://acme.pipedrive.com:8443", "port": 443}, "'Port'", "8443"),
        ({"host": "http://127.0.0.1:8080", "port": 9090}, "'Port'", "9090"),
        ({"extra": {"base_url": "https://proxy.example.com"}, "port": 8443}, "'Port'", "8443"),
        ({"host": "acme", "port": 99_999}, "'Port'", "99999"),
        ({"host": "acme", "port": -1}, "'Port'", "-1"),
        ({"host": "acme", "port": "x"}, "'Port'", "'x'"),
        ({"host": "acme", "port": True}, "'Port'", "True"),
        ({"host": "https://acme.pipedrive.com:x"}, "'Company domain'", "no URL"),
        ({"host": "https://acme.pipedrive.com:x", "port": 443}, "'Company domain'", "no URL"),
        ({"host": "https://acme.pipedrive.com:99999"}, "'Company domain'", "no URL"),
        ({"host": "https://acme.pipedrive.com:0"}, "'Company domain'", "no URL"),
        ({"host": "https://[::1", "port": 443}, "'Company domain'", "no URL"),
        ({"host": "https://[::1", "port": 8443}, "'Company domain'", "no URL"),
        ({"host": "https://[::1]x"}, "'Company domain'", "no URL"),
        ({"host": "https://["}, "'Company domain'", "no URL"),
        ({"host": "https://acme\u2100.pipedrive.com"}, "'Company domain'", "no URL"),
        ({"extra": {"base_url": "https://[::1"}}, "'Base URL'", "no URL"),
        ({"extra": {"base_url": "https://[1:2]"}}, "'Base URL'", "no URL"),
        ({"extra": {"base_url": "http://[::1%25lo]"}}, "'Base URL'", "no URL"),
        ({"extra": {"base_url": "http://[2001:db8::1]"}}, "'Base URL'", "this machine"),
        ({"extra": {"base_url": "https://proxy.example.com/v1"}}, "'Base URL'", "scheme, host and port only"),
    ],
)
def test_hosts_and_ports_that_do_not_are_told_by_their_field(parts, field, words):
    """As a sentence, and without a frame that shows the token."""
    with pytest.raises(PipedriveConfigError, match="Connection 'crm'") as raised:
        settings(**parts)
    assert field in str(raised.value)
    assert words in str(raised.value)
    frames = traceback.extract_tb(raised.value.__traceback__)
    assert {frame.name for frame in frames} <= {
        "test_hosts_and_ports_that_do_not_are_told_by_their_field",
        "settings",
        "read_connection",
    }
    assert raised.value.__context__ is None


TRICKS = (
    r"https://evil.test\.pipedrive.com",
    r"https://evil.test\@acme.pipedrive.com",
    "https://evil.test%5c.pipedrive.com",
    "https://evil.test%2f.pipedrive.com",
    "https://evil.test\t.pipedrive.com",
    "https://evil.test\n.pipedrive.com",
    "https://evil.test\x00.pipedrive.com",
    "https://evil.test;.pipedrive.com",
    "https://evil.test,.pipedrive.com",
    "https://evil.test?.pipedrive.com",
    "https://evil.test#.pipedrive.com",
    "https://evil.test/.pipedrive.com",
    "https://evil.test@acme.pipedrive.com",
    "https://acme.pipedrive.com@evil.test",
    "https://evil.test\uff0f.pipedrive.com",
    "https://evil\u3002test\u2488.pipedrive.com",
    "https://\u212aite.pipedrive.com",
    "https://acme.pipedrive.com\u200b",
    "https://-.pipedrive.com",
    "https://.pipedrive.com",
    "https://[.pipedrive.com",
    "https:\\\\acme.pipedrive.com",
    "https:///acme.pipedrive.com",
    " https://acme.pipedrive.com",
    "https://acme.pipedrive.com.",
)


@pytest.mark.parametrize("host", [trick for trick in TRICKS if trick.strip() == trick])
def test_no_trick_in_a_host_goes_into_an_address(host):
    with pytest.raises(PipedriveConfigError):
        settings(host=host)
    with pytest.raises(PipedriveConfigError):
        settings(extra={"base_url": host})


def test_letters_that_turn_into_others_are_no_company_domain():
    """A Kelvin sign in lower case is a k."""
    with pytest.raises(PipedriveConfigError, match="no company domain"):
        settings(host="\u212aite")


def test_a_login_in_the_host_is_not_repeated():
    with pytest.raises(PipedriveConfigError) as raised:
        settings(host="me:pass-word@acme.pipedrive.com")
    assert "pass-word" not in str(raised.value)


@pytest.fixture
def hook(monkeypatch):
    def made(**connection):
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
        return PipedriveLeadsHook("crm")

    return made


def test_a_connection_of_another_type_is_told_as_such(hook):
    postgres = hook(conn_type="postgres", host="db.example.com", login="me", password="pass-word", port=5432)
    with pytest.raises(PipedriveConfigError, match="'Connection Type': is 'postgres'") as raised:
        postgres.get_conn()
    assert "pass-word" not in str(raised.value)
    reached, sentence = postgres.test_connection()
    assert not reached
    assert sentence.startswith("This connection, field 'Connection Type'")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "base_url=https://proxy.example.com",
        "{'base_url': 'https://proxy.example.com'}",
        '{"base_url": "https://proxy.example.com",}',
        "[]",
        '"text"',
        "1",
    ],
)
def test_an_extra_that_is_no_json_object_is_refused(hook, caplog, text):
    """Airflow reads it as an empty object: calls would go to the shared host, without their reserve."""
    with pytest.raises(PipedriveConfigError, match="'Extra': is not a JSON object") as raised:
        hook(conn_type="pipedrive", password=TOKEN, extra=text).get_conn()
    assert raised.value.__context__ is None
    assert "proxy.example.com" not in caplog.text


def test_an_extra_too_deep_to_be_read_is_refused(monkeypatch):
    deep = Connection(conn_id="crm", conn_type="pipedrive", password=TOKEN, extra="[" * 100_000)
    monkeypatch.setattr(PipedriveLeadsHook, "get_connection", lambda *_: deep)
    with pytest.raises(PipedriveConfigError, match="'Extra'"):
        PipedriveLeadsHook("crm").get_conn()


@pytest.mark.parametrize("text", [None, "", "  ", "{}"])
def test_an_extra_may_be_empty(hook, text):
    assert (
        hook(conn_type="pipedrive", password=TOKEN, extra=text).get_conn().settings.base_url.endswith("pipedrive.com")
    )
