"""Writing one lead, end to end."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError, PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.writing import create_lead, update_lead

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"


def names_of(client, label_ids):
    return {client.catalogue().labels[label_id] for label_id in label_ids}


def test_a_lead_with_its_contact_fields_and_origin(client):
    lead = create_lead(
        client,
        title="Complete",
        person={"name": "Sam Complete", "email": "sam@complete.example"},
        organization={"name": "Complete Works"},
        fields={"label_ids": ["Hot"], "Company size": "1-10"},
        origin_id="form-17",
    )
    assert lead["person_id"]
    assert lead["organization_id"]
    assert names_of(client, lead["label_ids"]) == {"Hot"}
    assert lead["origin_id"] == "form-17"


def test_labels_are_added_and_removed_beside_those_there(client, person_id):
    lead = create_lead(client, title="Labelled", person_id=person_id, fields={"label_ids": ["Hot", "Cold"]})
    changed = update_lead(client, lead["id"], add_labels=["Warm"], remove_labels=["Cold"])
    assert names_of(client, changed["label_ids"]) == {"Hot", "Warm"}
    assert changed["title"] == "Labelled"


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"person_id": 1, "person": {"name": "Both"}},
        {"organization_id": 1, "organization": {"name": "Both"}},
        {"person_id": 1, "fields": {"title": "again"}},
        {"person_id": "None"},
        {"person": {"name": "X"}, "fields": {"Company size": "huge"}},
        {"person": {"name": "X"}, "fields": {"value": {"amount": 1}}},
    ],
)
def test_nothing_is_written_for_a_bad_lead(sandbox, client, parts):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError):
        create_lead(client, title="Bad", **parts)
    assert {seen["method"] for seen in sandbox.control.requests()} <= {"GET"}


def test_labels_by_both_ways_are_refused(client):
    with pytest.raises(PipedriveValidationError, match="label_ids"):
        update_lead(client, UNKNOWN_LEAD, fields={"label_ids": ["Hot"]}, add_labels=["Warm"])


def test_updating_an_unknown_lead_names_it(client):
    with pytest.raises(PipedriveNotFoundError, match=UNKNOWN_LEAD):
        update_lead(client, UNKNOWN_LEAD, add_labels=["Warm"])
