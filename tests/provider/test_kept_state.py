"""What version 0.1 keeps outside of itself is read by every later one: the values here are as it wrote them."""

from __future__ import annotations

import base64
import json
from importlib import import_module

import msgspec
import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import Secret
from airflow_provider_pipedrive_leads.api.oauth import fingerprint
from airflow_provider_pipedrive_leads.files.parts import Manifest
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from airflow_provider_pipedrive_leads.hooks import token_store
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.deleted import unpack_ids
from airflow_provider_pipedrive_leads.leads.reading.incremental import past_of, stream_key
from airflow_provider_pipedrive_leads.leads.writing.conversion import Noted
from airflow_provider_pipedrive_leads.leads.writing.create_once import key_of_run
from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead
from airflow_provider_pipedrive_leads.leads.writing.notes import note_once
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

PACKAGE = "airflow_provider_pipedrive_leads"
LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
PATIENCE = Patience(30.0, 30.0)
STREAMS = {
    "pipedrive_leads_1315e796cf31c684": (Selection(), "s3://lake/leads"),
    "pipedrive_leads_8484694ec31e4a50": (Selection(owner_id=7, archived="exclude"), "public.leads"),
}
PAST = {
    "watermark": "2026-01-31T09:30:00Z",
    "moves_unseen": True,
    "size": 1000,
    "ids": ["s3://lake/.leads.jsonl.0123456789abcdef.ids"],
    "ids_read_at": "2026-01-31T09:30:00Z",
    "published": "s3://lake/leads.jsonl",
    "published_by": "dag\nrun\nexport\n-1",
}
TRIGGERS = {
    f"{PACKAGE}.triggers.leads.PipedriveLeadTrigger": {
        "lead_id": LEAD,
        "expected": {"title": "x"},
        "since": "2026-01-31T09:30:00Z",
        "changed": "2026-01-31T09:30:00.000Z",
        "poll_interval": 300.0,
        "daily_share": 0.1,
        "on_daily_budget": "fail",
        "pipedrive_conn_id": "crm",
    },
    f"{PACKAGE}.triggers.leads.PipedriveLeadsTrigger": {
        "min_count": 2,
        "since": "2026-01-31T09:30:00Z",
        "matching": [LEAD],
        "owner_id": 7,
        "person_id": None,
        "organization_id": None,
        "filter_id": None,
        "updated_since": None,
        "expected": None,
        "poll_interval": 300.0,
        "daily_share": 0.1,
        "on_daily_budget": "wait",
        "pipedrive_conn_id": "crm",
    },
    f"{PACKAGE}.triggers.conversion.PipedriveConversionTrigger": {
        "source": "lead",
        "source_id": LEAD,
        "conversion_id": LEAD,
        "deadline": "2026-01-31T09:30:00+00:00",
        "poll_interval": 5.0,
        "pipedrive_conn_id": "crm",
    },
    f"{PACKAGE}.triggers.daily_budget.PipedriveDailyBudgetTrigger": {
        "pipedrive_conn_id": "crm",
        "since": "2026-01-31T09:30:00+00:00",
        "resets_at": None,
        "needed": 40,
    },
    f"{PACKAGE}.triggers.leads_changed.PipedriveLeadsChangedTrigger": {
        "on": ["created", "updated"],
        "fields": ["title"],
        "expected": None,
        "owner_id": None,
        "person_id": None,
        "organization_id": None,
        "poll_interval": 300.0,
        "daily_share": 0.1,
        "max_leads": 100,
        "pipedrive_conn_id": "crm",
    },
}


class Memory(dict):
    def get(self, key, default=None):
        return super().get(key, default)

    def set(self, key, value):
        self[key] = value


@pytest.mark.parametrize("path", TRIGGERS)
def test_a_trigger_that_airflow_holds_is_built_anew(path):
    module, _, name = path.rpartition(".")
    kept, parameters = getattr(import_module(module), name)(**TRIGGERS[path]).serialize()
    assert json.loads(json.dumps(parameters)).keys() >= TRIGGERS[path].keys()
    assert kept.startswith(f"{PACKAGE}.triggers.")


@pytest.mark.parametrize("key", STREAMS)
def test_a_stream_keeps_its_name(key):
    selection, destination = STREAMS[key]
    assert stream_key("crm", "https://acme.pipedrive.com", selection, destination) == key


def test_the_past_of_a_stream_is_read():
    past = past_of(Memory(key=PAST), "key")
    assert {name: getattr(past, name) for name in PAST} == PAST


def test_ids_of_a_full_read_are_read():
    kept = base64.b64decode("H4sIAAAAAAAEA2NgQAGMKDwGBtYGNAEAHiIpbDAAAAA=")
    assert unpack_ids(kept) == {1, 5, 2**127}


def test_a_task_finds_the_lead_and_the_note_that_it_made():
    memory = Memory(
        pipedrive_create={"since": "2026-01-31T09:30:00+00:00", "contact": {"person_id": 7}, "lead_id": LEAD},
        pipedrive_note={"lead_id": LEAD, "since": "2026-01-31T09:30:00+00:00", "note_id": 12},
    )
    assert create_lead(None, NewLead(title="x", key="k", person_id=7), memory, PATIENCE) == LEAD
    assert note_once(None, LEAD, "x", memory, PATIENCE) == 12
    assert key_of_run("dag\nrun\ntask\n-1") == "airflow-0eb2cc3eb0cbda717c0821b4"


def test_a_noted_conversion_is_read():
    kept = {"account": "https://acme.pipedrive.com", "started_at": "2026-01-31T09:30:00+00:00", "starts": 1}
    noted = msgspec.convert({**kept, "conversion_id": LEAD, "target_id": 5}, Noted)
    assert (noted.conversion_id, noted.target_id, noted.starts) == (LEAD, 5, 1)


def test_tokens_of_a_connection_are_read(monkeypatch):
    grant = fingerprint(Secret("first"))
    kept = {"access_token": "a", "refresh_token": "r", "expires_at": 1.5, "api_domain": "https://x", "grant": grant}
    asked = []
    monkeypatch.setattr(token_store.Variable, "get", lambda key, **_: asked.append(key) or kept)
    tokens = token_store.VariableTokenStore("crm").load()
    assert asked == ["pipedrive_leads_access_token_crm"]
    assert (tokens.access_token.reveal, tokens.refresh_token.reveal, tokens.expires_at) == ("a", "r", 1.5)
    assert tokens.grant == grant == "a7937b64b8caa58f"


def test_a_folder_of_parts_is_read(tmp_path):
    folder = tmp_path / "leads.jsonl"
    folder.mkdir()
    (folder / "part-0123456789ab-00000.jsonl").write_text('{"id": 1}\n')
    manifest = {
        "format": "jsonl",
        "files": [{"name": "part-0123456789ab-00000.jsonl", "rows": 1}],
        "rows": 1,
        "columns": [{"name": "id", "kind": "integer"}],
        "replaced": [],
    }
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    with reading_rows(UPath(folder)) as rows:
        assert [row.values for row in rows] == [{"id": 1}]
    assert msgspec.convert(manifest, Manifest).rows == 1
