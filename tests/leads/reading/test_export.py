"""An export holds what was selected, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConfigError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.reading import export
from airflow_provider_pipedrive_leads.leads.reading.complete import Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.export import export_leads


def read_rows(path: Path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        if ".csv" in path.suffixes:
            return list(csv.DictReader(file))
        return [json.loads(line) for line in file]


@pytest.mark.long
@pytest.mark.parametrize("columns", ["names", "keys"])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".ndjson", ".csv", ".csv.gz"])
def test_every_lead_is_in_every_format(sandbox, client, tmp_path, suffix, columns):
    path = tmp_path / f"leads{suffix}"
    exported = export_leads(client, Selection(), UPath(path), columns=columns)
    rows = read_rows(path)
    assert exported.rows == len(rows) == len({row["id"] for row in rows}) == sandbox.control.lead_count()
    assert exported.updated_until == max(row["update_time"] for row in rows)


@pytest.mark.parametrize(("archived", "counted"), [("include", None), ("exclude", False), ("only", True)])
def test_archived_leads_are_taken_as_asked(sandbox, client, tmp_path, archived, counted):
    exported = export_leads(client, Selection(archived=archived), UPath(tmp_path / "leads.jsonl"))
    assert exported.rows == sandbox.control.lead_count(counted)


@pytest.mark.parametrize(("filters", "filtered"), [({}, False), ({"person_id": "1"}, True)], ids=str)
def test_a_read_knows_whether_it_is_filtered(client, tmp_path, monkeypatch, filters, filtered):
    told: list[bool] = []

    class Watched(Reading):
        def __init__(self, *given, **options):
            told.append(options["filtered"])
            super().__init__(*given, **options)

    monkeypatch.setattr(export, "Reading", Watched)
    export_leads(client, Selection(**filters), UPath(tmp_path / "leads.jsonl"))
    assert told == [filtered]


def test_json_lines_by_keys_are_the_leads_as_the_api_gives_them(client, tmp_path):
    export_leads(client, Selection(archived="exclude"), UPath(tmp_path / "leads.jsonl"), columns="keys")
    given = {lead["id"]: lead for lead in client.get_leads()}
    assert {row["id"]: row for row in read_rows(tmp_path / "leads.jsonl")} == given


def test_rows_by_names_are_readable(client, person_id, tmp_path):
    fields = {"Company size": "11-50", "Interests": ["Training"], "label_ids": ["Hot"]}
    known = {field.name: [option.label for option in field.options] for field in client.catalogue().fields}
    fields["Interests"] = known["Interests"][:2]
    lead = client.add_lead("Readable", person_id=person_id, value={"amount": 1, "currency": "EUR"}, **fields)
    selection = Selection(person_id=str(person_id))
    export_leads(client, selection, UPath(tmp_path / "leads.jsonl"))
    (row,) = read_rows(tmp_path / "leads.jsonl")
    assert (row["id"], row["company_size"], row["interests"]) == (lead["id"], "11-50", known["Interests"][:2])
    assert (row["labels"], row["value_amount"], row["value_currency"]) == (["Hot"], 1, "EUR")
    export_leads(client, selection, UPath(tmp_path / "leads.csv"))
    (row,) = read_rows(tmp_path / "leads.csv")
    assert (json.loads(row["labels"]), row["was_seen"], row["value_amount"]) == (["Hot"], "false", "1")


def test_only_what_changed_since(client, person_id, tmp_path):
    lead = client.add_lead("Newest", person_id=person_id)
    bound = lead["update_time"]
    export_leads(client, Selection(updated_since=bound), UPath(tmp_path / "leads.jsonl"))
    rows = read_rows(tmp_path / "leads.jsonl")
    assert lead["id"] in {row["id"] for row in rows}
    assert all(row["update_time"] >= bound[:19] for row in rows)


def test_no_lead_is_a_header_and_no_row(client, person_id, tmp_path):
    exported = export_leads(client, Selection(person_id=person_id), UPath(tmp_path / "leads.csv"))
    assert (exported.rows, exported.updated_until) == (0, None)
    assert (tmp_path / "leads.csv").read_text().startswith("id,title,")


def test_a_failed_export_leaves_nothing_and_spares_what_was_there(sandbox, client, tmp_path):
    path = tmp_path / "leads.jsonl"
    path.write_text("yesterday\n")
    sandbox.control.fault("GET", "/v1/leads/archived", "status", status=501)
    with pytest.raises(PipedriveServerError):
        export_leads(client, Selection(), UPath(path))
    assert path.read_text() == "yesterday\n"
    assert [file.name for file in tmp_path.iterdir()] == ["leads.jsonl"]


def test_an_object_store_gets_the_whole_file_or_none(sandbox, client):
    exported = export_leads(client, Selection(), UPath("memory://exports/leads.jsonl"))
    place = UPath("memory://exports/leads.jsonl")
    assert len(place.read_text().splitlines()) == exported.rows
    place.unlink()
    sandbox.control.fault("GET", "/v1/leads/archived", "status", status=501)
    with pytest.raises(PipedriveServerError):
        export_leads(client, Selection(), place)
    assert not place.exists()


@pytest.mark.parametrize(
    ("name", "selection", "columns", "words"),
    [
        ("leads.xlsx", Selection(), "names", "path"),
        ("leads", Selection(), "names", "path"),
        ("leads.jsonl", Selection(archived="yes"), "names", "archived"),
        ("leads.jsonl", Selection(updated_since="soon"), "names", "updated_since"),
        ("file/leads.jsonl", Selection(), "names", "path"),
        ("folder.csv", Selection(), "names", "path"),
    ],
)
def test_what_cannot_work_is_found_before_the_first_request(sandbox, client, tmp_path, name, selection, columns, words):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.csv").mkdir()
    sandbox.control.reset_counters()
    with pytest.raises((PipedriveConfigError, PipedriveValidationError), match=words):
        export_leads(client, selection, UPath(tmp_path / name), columns=columns)
    assert sandbox.control.counters()["calls"] == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_bad_filters_and_columns_leave_nothing(client, tmp_path):
    with pytest.raises(PipedriveValidationError, match="owner_id"):
        export_leads(client, Selection(owner_id="me"), UPath(tmp_path / "leads.jsonl"))
    with pytest.raises(PipedriveValidationError, match="compny_size"):
        export_leads(client, Selection(), UPath(tmp_path / "leads.jsonl"), columns=["compny_size"])
    assert list(tmp_path.iterdir()) == []
