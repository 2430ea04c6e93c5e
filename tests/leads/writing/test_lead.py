"""Writing one lead, end to end."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead, update_lead
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
PATIENCE = Patience(0.0, 30.0)


class Memory(dict):
    """What Airflow keeps for the tries of a task."""

    def set(self, key, value):
        self[key] = value


def create(client, title, **parts):
    """Create a lead and give it as the sandbox has it."""
    return client.get_lead(create_lead(client, NewLead(title=title, key=title, **parts), Memory(), PATIENCE))


def names_of(client, label_ids):
    return {client.catalogue().labels[label_id] for label_id in label_ids}


def test_a_lead_with_its_contact_fields_and_origin(client):
    lead = create(
        client,
        "Complete",
        person={"name": "Sam Complete", "email": "sam@complete.example"},
        organization={"name": "Complete Works"},
        fields={"label_ids": ["Hot"], "Company size": "1-10"},
    )
    assert lead["person_id"]
    assert lead["organization_id"]
    assert names_of(client, lead["label_ids"]) == {"Hot"}
    assert lead["origin_id"] == "Complete"


def test_a_contact_made_by_an_earlier_try_is_not_made_again(sandbox, client):
    sandbox.control.set_delay("search_index", 3600)
    memory, new = Memory(), NewLead(title="Torn", key="torn", person={"name": "Tess Torn", "email": "t@torn.example"})
    sandbox.control.fault("POST", "/v1/leads", "status", status=400)
    with pytest.raises(PipedriveError):
        create_lead(client, new, memory, PATIENCE)
    create_lead(client, new, memory, PATIENCE)
    assert len([person for person in client.get_persons() if person["name"] == "Tess Torn"]) == 1
    sandbox.control.set_delay("search_index", 0)


def test_labels_are_added_and_removed_beside_those_there(client, person_id):
    lead = create(client, "Labelled", person_id=person_id, fields={"label_ids": ["Hot", "Cold"]})
    update_lead(client, lead["id"], add_labels=["Warm"], remove_labels=["Cold"])
    changed = client.get_lead(lead["id"])
    assert names_of(client, changed["label_ids"]) == {"Hot", "Warm"}
    assert changed["title"] == "Labelled"


def test_a_lead_is_archived_and_restored_in_one_go_with_other_changes(sandbox, client, person_id):
    lead = create(client, "Moving", person_id=person_id)

    def present():
        (found,) = [one for one in sandbox.control.all_leads() if one["id"] == lead["id"]]
        return found["title"], found["is_archived"], found["labels"]

    update_lead(client, lead["id"], fields={"title": "Away", "is_archived": "true"}, add_labels=["Hot"])
    assert present() == ("Away", True, ["Hot"])
    with pytest.raises(PipedriveError):
        update_lead(client, lead["id"], fields={"title": "Not asked to restore"})
    assert present() == ("Away", True, ["Hot"])
    update_lead(
        client, lead["id"], fields={"title": "Back", "is_archived": False}, add_labels=["Cold"], remove_labels=["Hot"]
    )
    assert present() == ("Back", False, ["Cold"])


def test_the_last_label_is_taken_off_or_the_task_says_that_it_is_not(sandbox, client, person_id):
    lead = create(client, "Last label", person_id=person_id, fields={"label_ids": ["Hot"]})
    if sandbox.control.choices()["empty_label_ids"] == "ignored":
        with pytest.raises(PipedriveValidationError, match="label_ids: Pipedrive kept"):
            update_lead(client, lead["id"], remove_labels=["Hot"])
    else:
        update_lead(client, lead["id"], remove_labels=["Hot"])
    assert bool(client.get_lead(lead["id"])["label_ids"]) == (sandbox.control.choices()["empty_label_ids"] == "ignored")


def test_a_lead_that_was_edited_since_is_left_alone(sandbox, client, person_id):
    lead = create(client, "Edited", person_id=person_id)
    update_lead(client, lead["id"], fields={"title": "Mine"}, if_unchanged_since=lead["update_time"])
    sandbox.control.advance(2)
    client.update_lead(lead["id"], title="Theirs")
    for since in (lead["update_time"], datetime.fromisoformat(lead["update_time"]), lead["update_time"][:-1]):
        with pytest.raises(PipedriveValidationError, match="if_unchanged_since: lead"):
            update_lead(client, lead["id"], fields={"title": "Mine again"}, if_unchanged_since=since)
    assert client.get_lead(lead["id"])["title"] == "Theirs"
    with pytest.raises(PipedriveValidationError, match="if_unchanged_since: 'yesterday'"):
        update_lead(client, lead["id"], fields={"title": "x"}, if_unchanged_since="yesterday")


def test_an_update_of_nothing_is_refused(client):
    with pytest.raises(PipedriveValidationError, match="nothing to change"):
        update_lead(client, UNKNOWN_LEAD)


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
        create(client, "Bad", **parts)
    assert {seen["method"] for seen in sandbox.control.requests()} <= {"GET"}


def test_labels_by_both_ways_are_refused(client):
    with pytest.raises(PipedriveValidationError, match="label_ids"):
        update_lead(client, UNKNOWN_LEAD, fields={"label_ids": ["Hot"]}, add_labels=["Warm"])


def test_updating_an_unknown_lead_names_it(client):
    with pytest.raises(PipedriveNotFoundError, match=UNKNOWN_LEAD):
        update_lead(client, UNKNOWN_LEAD, add_labels=["Warm"])


def replying(client, monkeypatch, method, **other):
    """Let Pipedrive answer with something else than it was sent."""
    original = getattr(client, method)
    monkeypatch.setattr(client, method, lambda *given, **fields: {**original(*given, **fields), **other})


@pytest.mark.parametrize("way", ["create", "update"])
def test_what_was_stored_otherwise_is_told_by_field_and_not_by_value(client, person_id, monkeypatch, caplog, way):
    size = next(field.key for field in client.catalogue().fields if field.name == "Company size")
    lead = create(client, "Before", person_id=person_id)
    changed = {"title": "Cut sho", size: None, "expected_close_date": "2026-01-31"}
    fields = {"Company size": "1-10", "expected_close_date": "2026-01-31"}
    replying(client, monkeypatch, "add_lead" if way == "create" else "update_lead", **changed)
    caplog.clear()
    if way == "create":
        create(client, "Cut short", person_id=person_id, fields=fields)
    else:
        update_lead(client, lead["id"], fields={**fields, "title": "Cut short"})
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("Lead ")
    assert set(warning.removesuffix(".").rpartition(" in: ")[2].split(", ")) == {"title", "Company size"}
    assert "Cut" not in warning


def test_what_was_stored_as_sent_is_not_told(sandbox, client, person_id, caplog):
    lead = create(client, "As sent", person_id=person_id, fields={"Company size": "1-10", "label_ids": ["Hot"]})
    sandbox.control.reset_counters()
    update_lead(client, lead["id"], fields={"title": "As sent again", "value": {"amount": 5, "currency": "eur"}})
    assert sandbox.control.counters()["calls"] == 1, "standard fields ask for no names"
    assert not [record for record in caplog.records if "stored a value other" in record.getMessage()]


@pytest.mark.parametrize(("key", "kept"), [(4711, "4711"), (0, "0"), (4711.0, "4711"), (" a-1 ", "a-1")])
def test_a_key_may_be_a_number(client, person_id, key, kept):
    new = NewLead(title="Numbered", key=key, person_id=1.0 * person_id, fields='{"Company size": "1-10"}')
    lead = client.get_lead(create_lead(client, new, Memory(), PATIENCE))
    assert (lead["origin_id"], lead["person_id"]) == (kept, person_id)
    assert client.named_fields(lead)["Company size"] == "1-10"
    update_lead(client, lead["id"], fields='{"Company size": "11-50"}')
    assert client.named_fields(client.get_lead(lead["id"]))["Company size"] == "11-50"


@pytest.mark.parametrize("parts", [{"fields": "x"}, {"fields": 5}, {"person": "Kim"}, {"organization": ["Acme"]}])
def test_what_is_no_mapping_is_refused_before_anything_is_sent(sandbox, client, parts):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=f"^{next(iter(parts))}: must be a mapping"):
        create_lead(
            client, NewLead(title="x", key="x", person_id=None if "person" in parts else 1, **parts), Memory(), PATIENCE
        )
    assert sandbox.control.counters()["calls"] == 0


def test_a_lead_is_not_created_archived_and_no_person_is_made_for_it(sandbox, client):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^fields: a lead is created active"):
        create(client, "Archived", person={"name": "Nobody"}, fields={"is_archived": True})
    assert not [call for call in sandbox.control.requests() if call["method"] == "POST"]
