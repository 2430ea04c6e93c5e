"""Whether a lead is as expected, by any name."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.waiting.expecting import compile_expectation, wanted_values


@pytest.fixture
def lead(client, person_id):
    fields = {"Company size": "11-50", "Interests": ["Sensors"], "label_ids": ["Hot"], "Lead score": 87}
    return client.add_lead("Known", person_id=person_id, **fields)


@pytest.mark.parametrize(
    "expected",
    [
        {"title": "Known"},
        {"Company size": "11-50"},
        {"company SIZE": "11-50", "label_ids": "hot"},
        {"Interests": "Sensors", "Lead score": "87"},
        {"is_archived": "false", "expected_close_date": None},
        {"source_deal_id": None},
        {"source_name": "API"},
    ],
)
def test_it_is(client, lead, expected):
    assert compile_expectation(client, expected)(lead)


@pytest.mark.parametrize(
    "expected",
    [
        {"title": "Unknown"},
        {"title": "Known", "Company size": "51-200"},
        {"Interests": ["Sensors", "Training"]},
        {"label_ids": []},
        {"Company size": None},
        {"source_deal_id": 7},
    ],
)
def test_it_is_not(client, lead, expected):
    assert not compile_expectation(client, expected)(lead)


def test_keys_are_read_by_the_type_of_their_field(client, lead):
    field = next(field for field in client.catalogue().fields if field.name == "Company size")
    assert compile_expectation(client, {field.key: "11-50"})(lead)
    assert wanted_values(client, {field.key: "11-50"}) == {field.key: lead[field.key]}


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"Compny size": "11-50"}, "Company size"),
        ({"Company size": "11-55"}, "11-50"),
        ({"label_ids": ["Hott"]}, "Hot"),
        ({"f" * 40: "x"}, "no lead field"),
        ({}, "expected"),
        (None, "expected"),
        ("title", "expected"),
    ],
)
def test_what_cannot_be_expected_is_refused(client, expected, words):
    with pytest.raises(PipedriveValidationError, match=words):
        compile_expectation(client, expected)
