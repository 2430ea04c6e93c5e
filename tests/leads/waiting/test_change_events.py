"""What is told of changes: decided from values alone."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.fields import Catalogue, CustomField, Option
from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.waiting.change_events import (
    Wishes,
    cursor_before,
    describer,
    event,
    news,
    tokens_per_poll,
)
from airflow_provider_pipedrive_leads.leads.waiting.change_wishes import (
    expected_value,
    fields_value,
    json_value,
    kinds_value,
    links_value,
    most_leads_value,
)
from airflow_provider_pipedrive_leads.leads.waiting.changes import Change, Cursor

SIZE, BUDGET = "a" * 40, "b" * 40
CATALOGUE = Catalogue(
    fields=(
        CustomField(1, SIZE, "Company size", "enum", (Option("7", "11-50"),)),
        CustomField(2, BUDGET, "Budget", "monetary"),
    ),
    labels={"l1": "Hot"},
)


def lead(number, second, *, made=0, archived=False, **more):
    return {
        "id": f"lead-{number:03}",
        "title": f"Lead {number}",
        "owner_id": 1,
        "add_time": f"2026-03-01T10:00:{made:02}.000Z",
        "update_time": f"2026-03-01T10:00:{second:02}.000Z",
        "is_archived": archived,
        **more,
    }


def change(number, second, kind="updated", **more):
    return Change(lead(number, second, archived=kind == "archived", **more), kind)


def wishes(kinds=("created", "updated", "archived"), links=None, matches=lambda _: True, fields=("title",)):
    return Wishes(kinds, links or {}, matches, describer(fields, lambda: CATALOGUE))


def test_an_event_tells_leads_and_how_far_it_goes():
    changes = [change(1, 10, "created"), change(3, 30, "archived")]
    assert event(changes, 7, wishes()) == {
        "status": "success",
        "leads": [
            {
                "id": "lead-001",
                "kind": "created",
                "event_id": "lead-001@2026-03-01T10:00:10.000Z",
                "title": "Lead 1",
            },
            {
                "id": "lead-003",
                "kind": "archived",
                "event_id": "lead-003@2026-03-01T10:00:30.000Z/archived",
                "title": "Lead 3",
            },
        ],
        "count": 2,
        "more": 7,
        "watermark": "2026-03-01T10:00:30.000Z",
    }


KINDS_OF_LEADS = st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59), st.booleans()), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(KINDS_OF_LEADS, st.integers(0, 12))
def test_what_waits_is_told_again_by_a_later_life(leads, told):
    """As it was: a new lead that was edited since is still new."""
    start = Cursor("2026-03-01T10:00:00Z")
    changes = [
        change(number, max(made, edited), "created" if new else "updated", made=made)
        for number, (made, edited, new) in enumerate(leads)
    ]
    for item in changes:
        if item.kind == "updated":
            item.lead["add_time"] = "2026-01-01T00:00:00.000Z"
    changes.sort(key=lambda item: (item.lead["update_time"], item.lead["id"]))
    after = Cursor("2026-03-01T10:00:40Z", {item.lead["id"]: item.lead["update_time"] for item in changes})
    waiting = changes[told:]
    kept = cursor_before(waiting, after)
    assert start.since <= kept.since <= after.since
    assert [item for item in news(changes, kept) if item in waiting] == waiting


def test_where_nothing_waits_the_cursor_is_what_the_polls_came_to():
    cursor = Cursor("2026-03-01T10:00:40Z", {"lead-001": "2026-03-01T10:00:41.000Z"})
    assert cursor_before([], cursor) == cursor


def test_only_wanted_changes_are_told():
    changes = [change(1, 10, "created"), change(2, 20), change(3, 30, "archived"), change(4, 40, owner_id=9)]

    def told(wanted):
        return [item.lead["id"] for item in changes if wanted.want(item)]

    assert told(wishes(kinds=("created",))) == ["lead-001"]
    assert told(wishes(kinds=("archived",))) == ["lead-003"]
    assert told(wishes(links={"owner_id": 9})) == ["lead-004"]
    assert told(wishes(links={"person_id": 9})) == []
    assert told(wishes(matches=lambda lead: lead["title"] == "Lead 2")) == ["lead-002"]


def test_each_takes_what_is_new_to_it_from_a_poll_that_began_further_back():
    changes = [change(1, 10, "created", made=10), change(2, 30), change(3, 30), change(4, 40, "created", made=5)]
    cursor = Cursor("2026-03-01T10:00:30Z", {"lead-002": changes[1].lead["update_time"]})
    found = news(changes, cursor)
    assert [(item.lead["id"], item.kind) for item in found] == [("lead-003", "updated"), ("lead-004", "updated")]


def test_a_lead_that_was_archived_since_is_new():
    archived = change(1, 30, "archived")
    cursor = Cursor("2026-03-01T10:00:00Z", {"lead-001": archived.lead["update_time"]})
    assert news([archived], cursor) == [archived]
    known = Cursor("2026-03-01T10:00:00Z", {"lead-001": f"{archived.lead['update_time']} archived"})
    assert news([archived], known) == []


def test_fields_go_by_any_name_and_come_as_json():
    whole = lead(1, 10, label_ids=["l1", "l2"], value={"amount": 5, "currency": "EUR"})
    whole |= {SIZE: "7", BUDGET: 12.5, f"{BUDGET}_currency": "EUR"}
    names = ("title", "value", "labels", "Company size", "Budget", SIZE, "c" * 40)
    told = describer(names, lambda: CATALOGUE)(whole)
    assert told == {
        "title": "Lead 1",
        "value": {"amount": 5, "currency": "EUR"},
        "labels": ["Hot", "l2"],
        "Company size": "11-50",
        "Budget": {"amount": 12.5, "currency": "EUR"},
        SIZE: "11-50",
        "c" * 40: None,
    }
    assert json.loads(json.dumps(told)) == told


def test_a_value_that_does_not_fit_its_field_is_told_as_it_is():
    assert describer(["Budget"], lambda: CATALOGUE)(lead(1, 1, **{BUDGET: "much"})) == {"Budget": "much"}


def test_the_catalogue_is_asked_only_for_names_of_the_account():
    asked = []
    describer(("title", "update_time"), lambda: asked.append(1) or CATALOGUE)
    assert not asked


def test_an_unknown_field_is_refused_with_near_names():
    with pytest.raises(PipedriveValidationError, match="'Company size'"):
        describer(["Company sze"], lambda: CATALOGUE)


@pytest.mark.parametrize(
    ("value", "plain"),
    [(Decimal("3.0"), 3), (Decimal("0.5"), 0.5), (date(2026, 1, 31), "2026-01-31"), ([Decimal(1)], [1])],
)
def test_json_values(value, plain):
    assert json_value(value) == plain


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ({"deleted"}, "on: 'deleted' cannot be told: a deleted lead is in no list.*detect_deleted"),
        ({"created", "converted"}, "on: 'converted' cannot be told.*PipedriveLeadConversionSensor"),
        (["restored"], "on: 'restored' cannot be told.*comes as 'updated'"),
        (set(), "on: "),
        ({"moved"}, "on: .*created, updated, archived"),
        (None, "on: "),
    ],
)
def test_kinds_that_no_poll_sees_are_refused(on, words):
    with pytest.raises(PipedriveValidationError, match=words):
        kinds_value(on)


def test_kinds_have_one_order():
    assert kinds_value({"archived", "created"}) == kinds_value(["archived", "created"]) == ["created", "archived"]
    assert kinds_value("updated") == ["updated"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("previous.title",), "fields: 'previous.title' cannot be told: a poll sees the present values"),
        (["old_title"], "cannot be told"),
        (["kind"], "means something else"),
        ([""], "a list of names"),
        (7, "a list of names"),
    ],
)
def test_fields_that_cannot_be_told_are_refused(fields, words):
    with pytest.raises(PipedriveValidationError, match=words):
        fields_value(fields)


def test_parameters_are_read_into_one_form():
    assert fields_value(("title", "value", "title")) == ["title", "value"]
    assert fields_value("Previous supplier") == ["Previous supplier"]
    assert links_value(owner_id="7", person_id=None) == {"owner_id": 7}
    assert list(expected_value({"b": 1, "a": date(2026, 1, 31)}).items()) == [("a", "2026-01-31"), ("b", 1)]
    assert expected_value(None) is None
    assert most_leads_value("5") == 5


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda: links_value(owner_id="x"), "owner_id: 'x' is not an id"),
        (lambda: expected_value({}), "expected: "),
        (lambda: expected_value(["title"]), "expected: "),
        (lambda: expected_value({"title": {1}}), "expected: holds a value that JSON has no form for"),
        (lambda: most_leads_value(0), "max_leads: "),
        (lambda: most_leads_value(1001), "max_leads: '1001' is not a number from 1 to 1000"),
    ],
)
def test_parameters_that_cannot_be_right_are_refused(read, words):
    with pytest.raises(PipedriveValidationError, match=words):
        read()


def test_archived_leads_cost_a_list_more():
    assert (tokens_per_poll(["created", "updated"]), tokens_per_poll(["archived"])) == (20, 60)
