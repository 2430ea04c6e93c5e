"""Values as tables of numbers have them: gaps count as empty cells, and a whole number is one key however spelt."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.writing.lead import NewLead, create_lead, update_lead
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from tests.leads.loading.loads import failing_load, keyed, load

NAN = float("nan")


def row(person_id, number, **more):
    return {"origin_id": f"gap-{number}", "title": f"Gap {number}", "person_id": person_id, **more}


def test_a_gap_is_an_empty_cell(sandbox, client, person_id):
    rows = [
        row(person_id, 1, **{"Lead score": NAN, "Requirements": NAN, "organization_id": NAN}),
        row(person_id, 2, **{"Lead score": Decimal("nan"), "Requirements": "nan", "organization_id": None}),
    ]
    assert load(client, rows)["created"] == 2
    one, two = keyed(sandbox, "gap-").values()
    fields = {field.name: field.key for field in client.catalogue().fields}
    assert one.get(fields["Lead score"]) is two.get(fields["Lead score"]) is None
    assert (one.get(fields["Requirements"]), two.get(fields["Requirements"])) == (None, "nan")
    assert load(client, rows)["unchanged"] == 2
    rows[0]["Lead score"] = 5.0
    load(client, rows)
    rows[0]["Lead score"] = NAN
    assert load(client, rows)["updated"] == 1
    assert keyed(sandbox, "gap-")["gap-1"].get(fields["Lead score"]) is None


def test_a_row_whose_key_or_title_is_a_gap_fails_alone(sandbox, client, person_id):
    rows = [row(person_id, 1), {**row(person_id, 2), "origin_id": NAN}, {**row(person_id, 3), "title": NAN}]
    error, results = failing_load(client, rows)
    assert results.counts["failed"] == 2
    assert isinstance(error, PipedriveValidationError)
    assert {bad.error for bad in results.bad} == {"origin_id: must not be empty.", "title: must not be empty."}
    assert set(keyed(sandbox, "gap-")) <= {"gap-1"}


@pytest.mark.parametrize("again", [815, 815.0, Decimal("815.00"), Decimal("8.15E+2"), "815", " 815 "])
def test_one_spelling_for_one_number(sandbox, client, person_id, again):
    first = {"title": "Numbered", "person_id": person_id}
    assert load(client, [{"origin_id": 815, **first}], key_prefix="n-")["created"] == 1
    assert load(client, [{"origin_id": again, **first}], key_prefix="n-")["unchanged"] == 1
    assert set(keyed(sandbox, "n-")) == {"n-815"}


@pytest.mark.parametrize("key", [2.0**53, 1e300, math.inf, -math.inf])
def test_a_float_that_may_be_several_numbers_is_no_key(sandbox, client, person_id, key):
    error, results = failing_load(client, [{"origin_id": key, "title": "Large", "person_id": person_id}])
    assert results.counts["failed"] == 1
    assert isinstance(error, PipedriveValidationError)


class Memory(dict):
    def set(self, key, value):
        self[key] = value


def create(client, **parts):
    return client.get_lead(create_lead(client, NewLead(**parts), Memory(), Patience(0.0, 30.0)))


def test_a_new_lead_is_made_without_its_gaps(client, person_id):
    fields = {"Lead score": NAN, "Requirements": NAN, "owner_id": NAN, "Company size": "1-10"}
    lead = create(client, title="Gaps", key="gaps", person_id=person_id, fields=fields)
    named = client.named_fields(lead)
    assert (named["Lead score"], named["Requirements"], named["Company size"]) == (None, None, "1-10")
    with pytest.raises(PipedriveValidationError, match=r"^title: nan is no value\."):
        create(client, title=NAN, key="untitled", person_id=person_id)


def test_a_gap_wipes_nothing_that_people_typed(sandbox, client, person_id):
    lead = client.add_lead("Typed", person_id=person_id, Requirements="by hand")
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^Requirements: nan is no value\. Write None"):
        update_lead(client, lead["id"], fields={"Requirements": NAN, "title": "New"})
    assert sandbox.control.counters()["calls"] == 0
    update_lead(client, lead["id"], fields={"Requirements": None})
    assert client.named_fields(client.get_lead(lead["id"]))["Requirements"] is None
