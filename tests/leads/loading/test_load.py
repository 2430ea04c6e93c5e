"""Loads on a sandbox: only differences are written, every row has a result, a bad row stops no other."""

from __future__ import annotations

import re
import uuid

import pytest
from upath import UPath

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveConfigError,
    PipedriveDailyBudgetError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.files.rows import reading_rows
from tests.leads.loading.loads import failing_load, into, keyed, load, told, writes

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture(autouse=True)
def calm(sandbox):
    sandbox.control.set_burst(100_000, 100_000)
    sandbox.control.reset_counters()


@pytest.fixture
def prefix():
    """Of this test's leads alone."""
    return f"t{uuid.uuid4().hex[:8]}-"


def plain_rows(person_id, count):
    return [{"origin_id": str(number), "title": f"Lead {number}", "person_id": person_id} for number in range(count)]


def test_the_second_load_writes_nothing(sandbox, client, person_id, prefix):
    rows = [
        {
            "origin_id": "1",
            "title": "  Padded ",
            "person_id": str(person_id),
            "value": {"amount": 1234.567, "currency": "eur"},
            "expected_close_date": "2026-05-01",
            "labels": "Hot, Cold",
            "Company size": "51-200",
            "interests": ["Sensors", "Training"],
            "lead_score": "-12.34567",
            "budget_amount": 7.005,
            "budget_currency": "EUR",
            "trial_period_from": "2026-01-01",
            "trial_period_until": "2026-02-01",
            "best_time_to_call": "09:30",
            "requirements": " wide \n open ",
            "site_address": "Mill Lane 12 ,  10115 Berlin, Germany",
            "visible_to": 3,
            "was_seen": "yes",
        },
        {"origin_id": 2, "title": "Bare", "person_id": person_id, "labels": None, "was_seen": None},
    ]
    first = load(client, rows, key_prefix=prefix)
    assert (first["created"], first["updated"], first["unchanged"]) == (2, 0, 0)
    leads = keyed(sandbox, prefix)
    assert leads[f"{prefix}1"]["labels"] == ["Hot", "Cold"]
    assert leads[f"{prefix}1"]["fields"]["Company size"] == "51-200"
    sandbox.control.reset_counters()
    second = load(client, rows, key_prefix=prefix)
    assert (second["created"], second["updated"], second["unchanged"]) == (0, 0, 2)
    assert writes(sandbox) == []
    assert keyed(sandbox, prefix) == leads


def test_only_what_differs_is_sent(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 3)
    load(client, rows, key_prefix=prefix)
    rows[1] |= {"title": "Another", "value": {"amount": 5, "currency": "USD"}}
    sandbox.control.reset_counters()
    facts = load(client, rows, key_prefix=prefix)
    assert (facts["created"], facts["updated"], facts["unchanged"]) == (0, 1, 2)
    (patch,) = [call for call in sandbox.control.requests() if call["method"] == "PATCH"]
    assert patch["json"] == {"title": "Another", "value": {"amount": 5, "currency": "USD"}} or (
        set(patch["json"]) == {"title", "value"}
    )
    (changed,) = facts["results"]
    assert (changed["row"], changed["key"], changed["outcome"]) == (2, f"{prefix}1", "updated")


def test_an_empty_value_unsets_and_an_absent_column_leaves_alone(sandbox, client, person_id, prefix):
    value = {"amount": 5, "currency": "USD"}
    full = {"origin_id": "1", "title": "Full", "person_id": person_id, "value": value, "Lead score": 4, "owner_id": ""}
    load(client, [full], key_prefix=prefix)
    load(client, [{"origin_id": "1", "value": None}], key_prefix=prefix)
    lead = keyed(sandbox, prefix)[f"{prefix}1"]
    assert (lead["value"], lead["title"], lead["fields"]["Lead score"]) == (None, "Full", 4)
    load(client, [{"origin_id": "1", "Lead score": " ", "title": "Other"}], key_prefix=prefix)
    lead = keyed(sandbox, prefix)[f"{prefix}1"]
    assert "Lead score" not in {name for name, value in lead["fields"].items() if value is not None}


def test_a_custom_field_can_be_the_key(sandbox, client, person_id, prefix):
    rows = [{"external_id": "7", "title": "By field", "person_id": person_id}]
    assert load(client, rows, key="External ID", key_prefix=prefix)["created"] == 1
    assert load(client, rows, key="External ID", key_prefix=prefix)["unchanged"] == 1
    lead = next(lead for lead in sandbox.control.all_leads() if lead["fields"].get("External ID") == f"{prefix}7")
    rows[0]["title"] = "Other"
    renamed = [{"nr": "7", "name": "Other", "junk": 1}]
    fields = {"External ID": "nr", "title": "name"}
    facts = load(client, renamed, key="External ID", key_prefix=prefix, fields=fields)
    assert facts["results"][0]["lead_id"] == lead["id"]


def test_by_id_nothing_is_created(sandbox, client, person_id):
    lead = client.add_lead("By id", person_id=person_id)
    unknown = str(uuid.uuid4())
    rows = [
        {"id": lead["id"].upper(), "title": "New title"},
        {"id": unknown, "title": "Nobody"},
        {"id": "x", "title": "No id"},
    ]
    facts = load(client, rows, key="id", max_failed=2)
    assert (facts["updated"], facts["created"], facts["failed"]) == (1, 0, 2)
    assert client.get_lead(lead["id"])["title"] == "New title"
    assert {row["row"] for row in facts["results"] if row["outcome"] == "failed"} == {2, 3}
    assert all(row["error"].startswith("id: ") for row in facts["results"] if row["outcome"] == "failed")


BAD = {
    "value": {"value_amount": 5, "value_currency": None},
    "Budget": {"budget_amount": None, "budget_currency": "EUR"},
    "Trial period": {"trial_period_from": "2026-01-01"},
    "label_ids": {"labels": "Hott"},
    "Company size": {"Company size": "huge"},
    "Lead score": {"Lead score": "many"},
    "expected_close_date": {"expected_close_date": "2026-01-01T10:00:00"},
    "title": {"title": ""},
    "owner_id": {"owner_id": "me"},
    "visible_to": {"visible_to": "2"},
    "person_id": {"person_id": -1},
}


@pytest.mark.parametrize("secret", ["Robin's", 'xylo "quince"', """zebra's "jotun" of 'kraken'""", "larch\nmaple"])
def test_the_reason_of_a_failure_shows_no_value(client, person_id, prefix, secret):
    rows = [{**plain_rows(person_id, 1)[0], "Lead score": secret, "Company size": secret}]
    error, results = failing_load(client, rows, key_prefix=prefix)
    words = re.findall(r"[A-Za-z]{4,}", secret)
    assert all(word in results.bad[0].error for word in words)
    assert not [word for word in words if word in str(error)]
    assert "row 1 (" in str(error)


def test_an_answer_is_told_by_its_status(sandbox, client, person_id, prefix):
    sandbox.control.fault("POST", "/v1/leads", "status", status=400)
    error, _ = failing_load(client, plain_rows(person_id, 1), key_prefix=prefix)
    assert "row 1 (POST /v1/leads: Pipedrive answered 400)" in str(error)


def test_bad_rows_are_told_by_line_and_field_and_the_rest_goes_in(sandbox, client, person_id, prefix, tmp_path):
    rows = plain_rows(person_id, len(BAD) + 3)
    for row, bad in zip(rows, BAD.values(), strict=False):
        row.update(bad)
    del rows[-3]["title"]
    del rows[-2]["person_id"]
    error, _ = failing_load(client, rows, key_prefix=prefix)
    assert isinstance(error, PipedriveValidationError)
    assert str(error).startswith("max_failed: ")
    assert "row 1 (value: needs both an amount and a currency; the row has only one of them), " in str(error)
    assert "row 4 (label_ids: there is no lead label '…'" in str(error)
    assert not [value for value in ("many", "Hott", "huge") if value in str(error)]
    assert set(keyed(sandbox, prefix)) == {f"{prefix}{len(rows) - 1}"}
    load(client, rows, key_prefix=prefix, max_failed=len(rows), results=into(tmp_path))
    outcomes = {outcome["row"]: outcome for outcome in told(tmp_path)}
    assert sorted(outcomes) == list(range(1, len(rows) + 1))
    for number, field in enumerate([*BAD, "title", "person_id, organization_id"], 1):
        assert outcomes[number]["outcome"] == "failed"
        assert outcomes[number]["error"].startswith(field), outcomes[number]
    assert outcomes[len(rows)]["outcome"] == "unchanged"


def test_what_the_api_refuses_fails_alone(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 4)
    rows[0]["person_id"] = 99_999_999
    facts = load(client, rows, key_prefix=prefix, max_failed="1")
    assert (facts["created"], facts["failed"]) == (3, 1)
    (failed,) = [row for row in facts["results"] if row["outcome"] == "failed"]
    assert failed["row"] == 1
    assert "400" in failed["error"]


def test_stop_ends_before_the_first_write_if_planning_finds_a_bad_row(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 3)
    rows[2]["visible_to"] = 2
    error, results = failing_load(client, rows, key_prefix=prefix, on_row_error="stop")
    assert str(error).startswith("on_row_error: ")
    assert writes(sandbox) == []
    assert results.counts == {"failed": 1, "not sent": 2}


def test_stop_ends_at_the_first_row_that_the_api_refuses(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 30)
    rows[0]["person_id"] = 99_999_999
    _, results = failing_load(client, rows, key_prefix=prefix, on_row_error="stop")
    assert results.counts == {"failed": 1, "not sent": 29}


def test_two_rows_or_two_leads_with_one_key_are_conflicts(sandbox, client, person_id, prefix):
    for _ in range(2):
        client.add_lead("Twin", person_id=person_id, origin_id=f"{prefix}1")
    rows = [
        {"origin_id": "1", "title": "Twin"},
        *({"origin_id": "2", "title": f"Row {number}", "person_id": person_id} for number in range(3)),
        {"origin_id": "3", "title": "Alone", "person_id": person_id},
    ]
    error, results = failing_load(client, rows, key_prefix=prefix, max_failed=3)
    assert str(error).startswith("max_failed: ")
    assert results.counts == {"conflict": 4, "created": 1}
    twin = next(outcome for outcome in results.kept if outcome.row == 1)
    assert twin.error.count(",") >= 1
    assert load(client, rows, key_prefix=prefix, max_failed=4)["conflicts"] == 4


def test_an_archived_lead_is_a_conflict_unless_it_may_be_restored(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 2)
    load(client, rows, key_prefix=prefix)
    for lead in keyed(sandbox, prefix).values():
        client.update_lead(lead["id"], is_archived=True)
    rows[0]["title"] = "Changed"
    sandbox.control.reset_counters()
    facts = load(client, rows, key_prefix=prefix, max_failed=1)
    assert (facts["conflicts"], facts["unchanged"]) == (1, 1)
    assert writes(sandbox) == []
    facts = load(client, rows, key_prefix=prefix, restore="true")
    assert (facts["updated"], facts["unchanged"]) == (1, 1)
    leads = keyed(sandbox, prefix)
    assert [leads[f"{prefix}{n}"]["is_archived"] for n in (0, 1)] == [False, True]
    assert leads[f"{prefix}0"]["title"] == "Changed"
    assert len(writes(sandbox)) == 2


def test_is_archived_can_be_a_column(sandbox, client, person_id, prefix):
    rows = [row | {"is_archived": number == 0} for number, row in enumerate(plain_rows(person_id, 2))]
    assert load(client, rows, key_prefix=prefix)["created"] == 2
    assert keyed(sandbox, prefix)[f"{prefix}0"]["is_archived"] is True
    assert load(client, rows, key_prefix=prefix)["unchanged"] == 2
    rows[0]["title"], rows[1]["is_archived"] = "Still archived", "yes"
    assert load(client, rows, key_prefix=prefix, restore=True)["updated"] == 2
    assert {lead["is_archived"] for lead in keyed(sandbox, prefix).values()} == {True}
    assert load(client, rows, key_prefix=prefix)["unchanged"] == 2


def test_missing_leads_are_archived_within_bounds(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 10)
    load(client, rows, key_prefix=prefix)
    others = [lead for lead in sandbox.control.all_leads() if not str(lead["origin_id"]).startswith(prefix)]
    sandbox.control.reset_counters()
    options = {"key_prefix": prefix, "on_missing": "archive"}
    with pytest.raises(PipedriveValidationError, match=r"^max_missing: "):
        load(client, rows[2:], **options)
    for none in ([], [{"origin_id": None, "title": "x"}]):
        with pytest.raises(PipedriveValidationError, match=r"^on_missing: "):
            load(client, none, **options)
    assert writes(sandbox) == []
    facts = load(client, rows[1:], **options)
    assert (facts["archived"], facts["unchanged"]) == (1, 9)
    assert facts["results"] == [
        {
            "row": None,
            "key": f"{prefix}0",
            "outcome": "archived",
            "lead_id": keyed(sandbox, prefix)[f"{prefix}0"]["id"],
            "error": None,
            "rewritten": [],
            "deal_id": None,
        }
    ]
    assert load(client, rows[1:], **options)["archived"] == 0
    assert [lead for lead in sandbox.control.all_leads() if not str(lead["origin_id"]).startswith(prefix)] == others


def test_nothing_is_archived_where_a_key_cannot_be_read(sandbox, client, person_id, prefix):
    rows = plain_rows(person_id, 10)
    load(client, rows, key_prefix=prefix)
    rows[0]["origin_id"] = None
    facts = load(client, rows, key_prefix=prefix, on_missing="archive", max_failed=1)
    assert (facts["archived"], facts["failed"], facts["unchanged"]) == (0, 1, 9)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([{"origin_id": "1", "titel": "x"}], {}, "Did you mean 'title'"),
        ([{"origin_id": "1", "add_time": "x"}], {}, "add_time"),
        ([{"origin_id": "1", "title": "x"}], {"fields": {"title": "name"}}, "'name'"),
        ([{"origin_id": "1", "title": "x"}], {"fields": {"titel": "title"}}, "titel"),
        ([{"nr": "1", "title": "x"}], {"fields": {"title": "title"}}, "^key: "),
        ([{"origin_id": "1", "value": None, "value_amount": 1}], {}, "both fill"),
        ([{"x": "1"}], {"key": "Lead score"}, "^key: "),
        ([{"x": "1"}], {"key": "Leed"}, "^key: "),
        ([{"id": "1"}], {"key": "id", "key_prefix": "a"}, "^key_prefix: "),
        ([{"origin_id": "1"}], {"on_missing": "archive"}, "^on_missing: "),
        ([{"origin_id": "1"}], {"on_missing": "delete"}, "^on_missing: "),
        ([{"origin_id": "1"}], {"on_row_error": "ignore"}, "^on_row_error: "),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(sandbox, client, rows, options, words):
    with pytest.raises(PipedriveConfigError, match=words):
        load(client, rows, **options)
    assert writes(sandbox) == []


def test_a_dry_run_writes_nothing_and_tells_the_cost(sandbox, client, person_id, prefix, tmp_path):
    rows = plain_rows(person_id, 5)
    load(client, rows[:3], key_prefix=prefix)
    rows[0]["title"] = "Other"
    rows[4]["is_archived"] = True
    sandbox.control.reset_counters()
    facts = load(client, rows[:1] + rows[2:], key_prefix=prefix, dry_run=True, on_missing="archive", max_missing=1)
    assert writes(sandbox) == []
    told_of = {name: facts[name] for name in ("created", "updated", "unchanged", "archived", "cost")}
    assert told_of == {"created": 2, "updated": 1, "unchanged": 1, "archived": 1, "cost": 50}
    assert sorted(row["outcome"] for row in facts["results"]) == [
        "would archive",
        "would create",
        "would create",
        "would update",
    ]
    spent = client.usage.tokens
    load(client, rows[:1] + rows[2:], key_prefix=prefix, on_missing="archive", max_missing=1)
    reading = client.usage.tokens - spent - 50
    assert 0 < reading < 500


def test_a_load_that_the_day_cannot_pay_does_not_begin(sandbox, client, person_id, prefix):
    sandbox.control.set_choice("rate_headers", "present")
    sandbox.control.freeze("2026-03-04T18:00:00Z")  # no day ends by itself
    rows = plain_rows(person_id, 20)
    sandbox.control.set_budget(400)
    with pytest.raises(PipedriveDailyBudgetError, match="Nothing was written"):
        load(client, rows, key_prefix=prefix, reserve=200)
    assert writes(sandbox) == []
    sandbox.control.set_budget(10_000)
    with pytest.raises(PipedriveDailyBudgetError):
        load(client, rows, key_prefix=prefix, reserve=9_700)
    whole_day = client.usage.daily_tokens
    with pytest.raises(PipedriveDailyBudgetError, match=f"A whole day has {whole_day}: on_daily_budget"):
        load(client, rows, key_prefix=prefix, reserve=whole_day)
    sandbox.control.set_budget(1_000_000)
    assert load(client, rows, key_prefix=prefix)["created"] == 20


def test_what_the_server_stores_otherwise_is_reported(sandbox, client, person_id, prefix):
    value = {"amount": 10.005, "currency": "EUR"}
    rows = [{"origin_id": "1", "title": " Trimmed ", "person_id": person_id, "value": value, "lead_score": 1.5}]
    facts = load(client, rows, key_prefix=prefix)
    normalised = sandbox.control.choices()["stored_values"] == "normalised"
    assert facts["results"][0]["rewritten"] == (["title", "value"] if normalised else [])
    assert load(client, rows, key_prefix=prefix)["unchanged"] == 1


def test_an_account_that_overwrites_the_key_is_found_out_at_the_first_lead(sandbox, prefix):
    sandbox.control.set_choice("oauth_origin_id", "overwritten")
    connection = sandbox.oauth_connection
    app = PipedriveClient(read_connection(extra=connection["extra"]))
    person = app.add_person("Robin Example")["id"]
    before = sandbox.control.lead_count()
    error, results = failing_load(app, plain_rows(person, 5), key_prefix=prefix)
    assert isinstance(error, PipedriveConfigError)
    assert sandbox.control.lead_count() == before + 1
    assert results.counts == {"created": 1, "not sent": 4}
    rows = [{"External ID": "1", "title": "x", "person_id": person}]
    assert load(app, rows, key="External ID", key_prefix=prefix)["created"] == 1
    assert load(app, rows, key="External ID", key_prefix=prefix)["unchanged"] == 1


def test_rows_in_which_nothing_stands_are_none(client, person_id, prefix):
    blank = [{}, {"origin_id": None, "title": ""}, {"origin_id": "", "title": "  ", "person_id": None}]
    rows = [blank[0], *plain_rows(person_id, 1), *blank[1:]]
    facts = load(client, rows, key_prefix=prefix)
    assert (facts["rows"], facts["created"], facts["failed"]) == (1, 1, 0)
    assert facts["results"][0]["row"] == 2


def test_no_rows_are_no_error_but_where_all_leads_would_be_archived(client, sandbox, prefix):
    assert load(client, [], key_prefix=prefix)["rows"] == 0
    with pytest.raises(PipedriveValidationError, match=r"^on_missing: "):
        load(client, [], key_prefix=prefix, on_missing="archive")
    assert writes(sandbox) == []


@pytest.mark.parametrize("column", ["origin_id", "title", "requirements"])
def test_a_row_with_half_a_character_fails_alone(client, person_id, prefix, column):
    rows = plain_rows(person_id, 2)
    rows[0][column] = "cut \ud83d"
    facts = load(client, rows, key_prefix=prefix, max_failed=1)
    assert (facts["created"], facts["failed"]) == (1, 1)
    (failed,) = [result for result in facts["results"] if result["outcome"] == "failed"]
    assert failed["error"].startswith(
        f"{'Requirements' if column == 'requirements' else column}: contains half a character"
    )


def test_a_file_that_may_be_cut_archives_nothing(client, sandbox, person_id, prefix, tmp_path, caplog):
    rows = plain_rows(person_id, 10)
    load(client, rows, key_prefix=prefix)
    lines = [f"{row['origin_id']},{row['title']},{person_id}" for row in rows[:9]]
    path = tmp_path / "leads.csv"
    for ending, archived in (("", 0), ("\n", 1)):
        path.write_text("\n".join(["origin_id,title,person_id", *lines]) + ending)
        with reading_rows(UPath(path)) as opened:
            facts = load(client, opened, key_prefix=prefix, on_missing="archive")
        assert (facts["archived"], facts["unchanged"]) == (archived, 9)
        assert ("does not end with a line feed" in caplog.text) is (archived == 0)
        caplog.clear()


def test_a_load_ends_when_row_after_row_is_forbidden(client, sandbox, person_id, prefix):
    rows = plain_rows(person_id, 300)
    load(client, rows[:1], key_prefix=prefix)
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", "/v1/leads", "status", status=403, times=300)
    error, results = failing_load(client, rows, key_prefix=prefix)
    assert error.status == 403
    assert results.counts["failed"] + results.counts["not sent"] == 299
    assert len(writes(sandbox)) < 50


def test_the_mapping_of_columns_may_be_json(client, person_id, prefix):
    rows = [{"nr": 1, "name": "Mapped", "person_id": person_id}]
    fields = '{"origin_id": "nr", "title": "name", "person_id": "person_id"}'
    assert load(client, rows, key_prefix=prefix, fields=fields)["created"] == 1
    with pytest.raises(PipedriveValidationError, match=r"^fields: must be a mapping"):
        load(client, rows, fields="nr")


def exported(client, lead_id, *columns):
    """Some columns of a lead as an export has them, and those by which exports are known."""
    lead = client.get_lead(lead_id)
    return {name: lead[name] for name in ("id", "add_time", "update_time", *columns)}


def test_labels_beside_their_ids_count_in_rows_of_their_own_only(sandbox, client, person_id):
    one, two = (client.add_lead(f"Labelled {number}", person_id=person_id)["id"] for number in (1, 2))
    hot = next(key for key, name in client.catalogue().labels.items() if name == "Hot")
    whole = {**exported(client, one, "title", "label_ids"), "labels": []}
    assert load(client, [whole], key="id")["unchanged"] == 1
    facts = load(client, [{**whole, "labels": ["Hot"]}], key="id", max_failed=1)
    assert (facts["failed"], facts["results"][0]["error"][:19]) == (1, "labels, label_ids: ")
    assert load(client, [{**whole, "labels": ["Hot"], "label_ids": [hot]}], key="id")["updated"] == 1
    assert load(client, [{**exported(client, two), "labels": ["Hot"]}], key="id")["updated"] == 1


def test_a_column_is_left_aside_in_rows_that_are_exports_and_in_no_others(client, person_id):
    one = client.add_lead("Exported", person_id=person_id)["id"]
    rows = [exported(client, one, "title"), {"id": one, "title": "Exported", "add_time": "2020-01-01"}]
    with pytest.raises(PipedriveConfigError, match="'add_time': is set by Pipedrive"):
        load(client, rows, key="id")


def test_parts_of_an_address_are_left_aside_beside_the_whole_only(sandbox, client, person_id):
    lead = client.add_lead("Addressed", person_id=person_id, **{"Site address": "Mill Lane 12, Berlin"})
    part = {**exported(client, lead["id"]), "site_address_locality": "Nowhere"}
    assert load(client, [{**part, "site_address": "Mill Lane 12, Berlin"}], key="id")["unchanged"] == 1
    key = next(field.key for field in client.catalogue().fields if field.name == "Site address")
    keyed_part = {**exported(client, lead["id"], key), f"{key}_locality": "Nowhere"}
    assert load(client, [keyed_part], key="id")["unchanged"] == 1
    sandbox.control.reset_counters()
    load(client, [part], key="id", max_failed=1)
    assert len(writes(sandbox)) == 1
