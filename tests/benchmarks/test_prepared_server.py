"""The server that benchmarks measure against tells of each lead once, in any order that is read."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from benchmarks.export_cases import prepared_server
from benchmarks.export_ours import TOKEN

LEADS = 1_200


@pytest.fixture(scope="module")
def client():
    with prepared_server(LEADS) as url:
        client = PipedriveClient(read_connection(password=TOKEN, extra={"base_url": url}))
        yield client
        client.close()


@pytest.mark.parametrize("sort", [None, "update_time ASC, id ASC", "add_time DESC"])
def test_each_lead_is_told_once(client, sort):
    leads = list(client.get_leads(sort=sort))
    assert len({lead["id"] for lead in leads}) == len(leads) == LEADS


def test_fields_have_names(client):
    assert {"Company size"} <= {field.name for field in client.catalogue().fields}


def test_there_are_no_deals(client):
    assert [*client.get_deals(), *client.get_archived_deals()] == []
