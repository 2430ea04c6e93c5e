"""Sockets: whoever is dropped gives them back, closed or not."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from tests.until import until

pytestmark = pytest.mark.slow

MANY = 50


def connections_to(url):
    """How many descriptors of this process are connections to a server."""
    port = int(url.rsplit(":", 1)[1])
    inodes = set()
    for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[2].split(":")[1], 16) == port:
            inodes.add(f"socket:[{words[9]}]")
    return sum(_target(link) in inodes for link in Path("/proc/self/fd").iterdir())


def _target(link):
    try:
        return str(link.readlink())
    except OSError:
        return ""


@pytest.fixture
def settings(sandbox):
    return read_connection(password=sandbox.token, extra=sandbox.connection["extra"])


def test_a_client_that_is_dropped_leaves_no_socket(sandbox, settings):
    gc.disable()  # nothing but the last reference is needed
    try:
        for _ in range(MANY):
            PipedriveClient(settings).get_current_user()
        left = connections_to(sandbox.url)
    finally:
        gc.enable()
    assert left == 0


def test_a_hook_that_is_dropped_leaves_no_socket(sandbox, monkeypatch):
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    for _ in range(MANY):
        next(PipedriveLeadsHook().get_leads())
    gc.collect()
    assert connections_to(sandbox.url) == 0


def test_the_test_button_leaves_no_socket(sandbox, monkeypatch):
    from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook

    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    hook = PipedriveLeadsHook()
    assert hook.test_connection()[0]
    assert connections_to(sandbox.url) == 0


def test_a_client_in_use_keeps_its_socket(sandbox, settings):
    client = PipedriveClient(settings)
    for _ in range(3):
        client.get_current_user()
        assert connections_to(sandbox.url) == 1
    client.close()
    assert until(lambda: connections_to(sandbox.url) == 0)
