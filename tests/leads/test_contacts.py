"""Finding or creating what a lead hangs on."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.contacts import find_or_create_organization, find_or_create_person


@pytest.fixture(autouse=True)
def prompt_index(sandbox):
    sandbox.control.set_delay("search_index", 0)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"name": "Kim One", "email": "kim@one.example"}, {"email": "KIM@one.example"}),
        ({"name": "Kim Two", "email": "kim@two.example"}, {"name": "Other Name", "email": "kim@two.example"}),
        ({"name": "Kim Three", "phone": "+49 30 1234567"}, {"phone": "+49 30 1234567"}),
        ({"name": "Kim Four"}, {"name": "kim four"}),
    ],
)
def test_a_person_is_created_once_and_found_again(client, first, again):
    assert find_or_create_person(client, first) == find_or_create_person(client, again)


def test_another_email_is_another_person(client):
    one = find_or_create_person(client, {"name": "Lou", "email": "lou@one.example"})
    assert find_or_create_person(client, {"name": "Lou", "email": "lou@two.example"}) != one


def test_an_organization_is_created_once_and_found_again(client):
    assert find_or_create_organization(client, {"name": "Acme Tools"}) == find_or_create_organization(
        client, {"name": "ACME tools"}
    )
    assert find_or_create_organization(client, {"name": "Acme"}) != find_or_create_organization(
        client, {"name": "Acme Tools"}
    )


@pytest.mark.parametrize("person", [{}, {"email": ""}, {"mail": "a@b.example"}, {"email": "nobody@nowhere.example"}])
def test_an_unusable_person_is_refused(client, person):
    with pytest.raises(PipedriveValidationError, match="person"):
        find_or_create_person(client, person)


@pytest.mark.parametrize("organization", [{}, {"name": None}, {"title": "x"}])
def test_an_unusable_organization_is_refused(client, organization):
    with pytest.raises(PipedriveValidationError, match="organization"):
        find_or_create_organization(client, organization)
