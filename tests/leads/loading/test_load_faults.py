"""Loads while things go wrong: nothing is written twice, nothing is lost, and a stop is a stop."""

from __future__ import annotations

import contextlib
import random
import tracemalloc
import uuid
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.files.rows import rows_of
from airflow_provider_pipedrive_leads.leads.loading.load import NOTE, Tries, seconds_to_wait
from airflow_provider_pipedrive_leads.leads.loading.mapping import UpToDateReader
from airflow_provider_pipedrive_leads.leads.loading.planning import Plan
from airflow_provider_pipedrive_leads.leads.loading.results import Outcome, Results
from airflow_provider_pipedrive_leads.leads.loading.settings import read_load
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from tests.leads.loading.loads import failing_load, into, keyed, load, told, writes
from tests.leads.stops import stop

pytestmark = pytest.mark.slow

SETTLE = 30.0
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def calm(sandbox, no_waiting):
    sandbox.control.set_burst(100_000, 100_000)
    sandbox.control.reset_counters()


@pytest.fixture
def patience(sandbox):
    """Waiting moves the sandbox's clock, so that what a server finishes late is finished by then."""
    sandbox.control.freeze()
    return Patience(SETTLE, SETTLE, sandbox.control.advance, lambda: datetime.fromisoformat(sandbox.control.now()))


def new_prefix():
    return f"t{uuid.uuid4().hex[:8]}-"


def plain_rows(person_id, count):
    return [{"origin_id": str(number), "title": f"Lead {number}", "person_id": person_id} for number in range(count)]


def posts(sandbox):
    return [method for method, _ in writes(sandbox)].count("POST")


@pytest.mark.parametrize(
    ("kind", "options", "sent"),
    [
        ("close_after", {}, 5),
        ("cut_body", {}, 5),
        ("close_before", {}, 6),
        ("close_and_finish", {"after": SETTLE / 2}, 5),
        ("status", {"status": 500}, 6),
        ("status", {"status": 503}, 6),
        ("status", {"status": 429}, 6),
        ("html", {"status": 502}, 6),
        ("broken_json", {}, 5),
    ],
)
def test_a_creation_in_doubt_is_settled(sandbox, client, person_id, patience, kind, options, sent):
    prefix = new_prefix()
    sandbox.control.fault("POST", "/v1/leads", kind, **options)
    facts = load(client, plain_rows(person_id, 5), key_prefix=prefix, patience=patience)
    assert facts["created"] == 5
    assert len(keyed(sandbox, prefix)) == 5
    assert posts(sandbox) == sent


def test_what_stays_in_doubt_fails_with_words_and_the_rest_goes_in(sandbox, client, person_id):
    prefix = new_prefix()
    sandbox.control.fault("POST", "/v1/leads", "close_before")
    rows = plain_rows(person_id, 1)
    sandbox.control.fault("POST", "/v1/leads", "close_before")
    error, results = failing_load(client, rows, key_prefix=prefix)
    assert isinstance(error, PipedriveServerError)  # another try may go better
    assert posts(sandbox) == 2
    assert "not known" in results.kept[0].error
    assert load(client, rows, key_prefix=prefix)["created"] == 1


@pytest.mark.parametrize("kind", ["close_after", "close_before", "status"])
def test_a_change_is_repeated_until_it_is_done(sandbox, client, person_id, kind):
    prefix = new_prefix()
    rows = plain_rows(person_id, 3)
    load(client, rows, key_prefix=prefix)
    sandbox.control.fault("PATCH", "/v1/leads/*", kind, times=2)
    facts = load(client, [row | {"was_seen": True} for row in rows], key_prefix=prefix)
    assert facts["updated"] == 3
    assert all(lead["was_seen"] for lead in keyed(sandbox, prefix).values())


def test_a_lead_that_goes_away_meanwhile_fails_alone(sandbox, client, person_id):
    prefix = new_prefix()
    rows = plain_rows(person_id, 3)
    load(client, rows, key_prefix=prefix)
    sandbox.control.fault("PATCH", "/v1/leads/*", "status", status=404)
    facts = load(client, [row | {"was_seen": True} for row in rows], key_prefix=prefix, max_failed=1)
    assert (facts["updated"], facts["failed"]) == (2, 1)


KINDS = (
    ("status", {"status": 429}),
    ("status", {"status": 500}),
    ("close_before", {}),
    ("close_after", {}),
    ("close_and_finish", {"after": SETTLE / 2}),
    ("cut_body", {}),
)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_faults_at_random_make_nothing_twice(sandbox, client, person_id, patience, seed):
    chance = random.Random(seed)
    prefix = new_prefix()
    rows = plain_rows(person_id, 12)
    load(client, rows[:4], key_prefix=prefix)
    rows = [row | {"was_seen": True} for row in rows]
    for _ in range(8):
        kind, options = chance.choice(KINDS)
        method, path = chance.choice([("POST", "/v1/leads"), ("PATCH", "/v1/leads/*")])
        sandbox.control.fault(method, path, kind, times=chance.randint(1, 2), **options)
    with contextlib.suppress(PipedriveError):
        load(client, rows, key_prefix=prefix, patience=patience)
    sandbox.control.clear_faults()
    sandbox.control.advance(SETTLE)
    facts = load(client, rows, key_prefix=prefix)
    assert facts["failed"] == facts["conflicts"] == 0
    leads = keyed(sandbox, prefix)
    assert len(leads) == 12
    assert all(lead["was_seen"] for lead in leads.values())
    assert load(client, rows, key_prefix=prefix)["unchanged"] == 12


WHOLE = st.fixed_dictionaries(
    {
        "title": st.sampled_from(["A", "B"]),
        "was_seen": st.booleans(),
        "labels": st.sampled_from([["Hot"], ["Cold", "Hot"], ["Hot", "Cold"]]),
        "Lead score": st.sampled_from([None, 1, 2.5]),
        "Company size": st.sampled_from([None, "1-10", "51-200"]),
        "value": st.sampled_from([None, {"amount": 1, "currency": "EUR"}, {"amount": 2.5, "currency": "USD"}]),
    }
)
KEYS = st.sampled_from("abcd")


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    present=st.dictionaries(KEYS, st.tuples(WHOLE, st.booleans()), max_size=4),
    wanted=st.dictionaries(KEYS, WHOLE, min_size=1, max_size=4),
    restore=st.booleans(),
    archive=st.booleans(),
)
def test_a_load_reaches_what_is_wanted_and_the_next_plan_is_empty(sandbox, client, present, wanted, restore, archive):
    prefix = new_prefix()
    person = client.add_person("Robin Example")["id"]
    for key, (fields, archived) in present.items():
        labels = fields["labels"]
        values = {name: value for name, value in fields.items() if name != "labels"}
        lead = client.add_lead(person_id=person, origin_id=prefix + key, label_ids=labels, **values)
        if archived:
            client.update_lead(lead["id"], is_archived=True)
    before = keyed(sandbox, prefix)
    rows = [{"origin_id": key, "person_id": person, **fields} for key, fields in wanted.items()]
    options = {"key_prefix": prefix, "restore": restore, "max_failed": 4, "max_missing": 1}
    options["on_missing"] = "archive" if archive else "ignore"
    facts = load(client, rows, **options)
    after = keyed(sandbox, prefix)
    assert set(after) == {prefix + key for key in {*present, *wanted}}
    conflicts = 0
    for key, fields in wanted.items():
        was, lead = before.get(prefix + key), after[prefix + key]
        if was is not None and was["is_archived"] and shown(was) != expected(fields) and not restore:
            conflicts += 1
            assert lead == was
        else:
            assert shown(lead) == expected(fields)
            assert not lead["is_archived"] or lead == was
    for key in set(present) - set(wanted):
        lead = after[prefix + key]
        assert shown(lead) == shown(before[prefix + key])
        assert lead["is_archived"] == (archive or before[prefix + key]["is_archived"])
    assert facts["conflicts"] == conflicts
    sandbox.control.reset_counters()
    again = load(client, rows, **options)
    assert (again["created"], again["updated"], again["conflicts"]) == (0, 0, conflicts)
    assert again.get("archived", 0) == 0
    assert writes(sandbox) == []


def shown(lead):
    fields = lead["fields"]
    return {
        "title": lead["title"],
        "was_seen": lead["was_seen"],
        "labels": set(lead["labels"]),
        "value": lead["value"],
        **{name: fields.get(name) for name in ("Lead score", "Company size")},
    }


def expected(fields):
    return fields | {"labels": set(fields["labels"])}


def test_a_day_that_ends_meanwhile_ends_the_load_and_the_next_one_goes_on(sandbox, client, person_id, tmp_path):
    prefix = new_prefix()
    rows = plain_rows(person_id, 30)
    sandbox.control.freeze("2026-03-04T18:00:00Z")  # no day ends by itself
    sandbox.control.set_budget(290)
    with pytest.raises(PipedriveDailyBudgetError):
        load(client, rows, key_prefix=prefix, reserve=None, results=into(tmp_path))
    sandbox.control.set_budget(1_000_000)
    outcomes = told(tmp_path)
    assert sorted(outcome["row"] for outcome in outcomes) == list(range(1, 31))
    created = [outcome for outcome in outcomes if outcome["outcome"] == "created"]
    assert len(created) == len(keyed(sandbox, prefix)) < 30
    facts = load(client, rows, key_prefix=prefix)
    assert (facts["created"], facts["unchanged"]) == (30 - len(created), len(created))


@pytest.mark.parametrize(
    ("note_age", "try_age", "wait"),
    [(1, 0, 10), (1, 4, 6), (1, 11, 0), (399, 0, 10), (401, 0, 0)],
)
def test_how_long_a_try_waits_for_the_one_before(note_age, try_age, wait):
    patience = Patience(10.0, 30.0, now=lambda: NOW)
    noted, began = (NOW - timedelta(seconds=age) for age in (note_age, try_age))
    assert seconds_to_wait(noted, began, patience) == wait


class Memory(dict):
    def set(self, key, value):
        self[key] = value


def test_a_try_notes_that_it_writes_and_the_next_one_waits(sandbox, client, person_id):
    prefix, memory, slept = new_prefix(), Memory(), []
    rows = plain_rows(person_id, 2)
    patience = Patience(7.0, 30.0, sleep=slept.append, now=lambda: NOW)
    load(client, rows[:1], key_prefix=prefix, memory=memory, patience=patience)
    assert memory == {NOTE: ""}
    load(client, rows[:1], key_prefix=prefix, memory=memory, patience=patience)
    assert slept == []
    sandbox.control.fault("POST", "/v1/leads", "status", status=401)
    with pytest.raises(PipedriveError):
        load(client, rows, key_prefix=prefix, memory=memory, patience=patience)
    assert memory[NOTE]
    load(client, rows, key_prefix=prefix, memory=memory, patience=patience)
    assert sum(slept) == 7.0


def test_the_note_is_renewed_while_a_try_writes():
    now, memory = [NOW], Memory()
    tries = Tries(memory, Patience(10.0, 30.0, now=lambda: now[0]))
    for seconds, noted in ((0, NOW), (200, NOW), (250, NOW + timedelta(seconds=250))):
        now[0] = NOW + timedelta(seconds=seconds)
        tries.writing()
        assert memory[NOTE] == noted.isoformat()
    tries.done()
    assert memory[NOTE] == ""


def test_parts_hold_a_thousand_rows_or_what_came_in_five_seconds(tmp_path):
    now = [0.0]
    with Results(into(tmp_path)._folder, "r", clock=lambda: now[0]) as results:
        for number in range(1_500):
            results.add(Outcome(number, "k", "unchanged"))
        results.tick()
        assert len(told(tmp_path)) == 1_000
        now[0] = 5.0
        results.tick()
        results.tick()
        assert len(told(tmp_path)) == 1_500
        results.add(Outcome(1_500, "k", "failed"))
    assert [len(part.read_text().splitlines()) for part in sorted(tmp_path.iterdir())] == [1_000, 500, 1]
    assert len(results.files) == 3


def test_a_stopped_load_ends_all_its_threads(sandbox):
    """Some rows were written; the answers to the others never come."""
    settings_ = read_connection(password=sandbox.token, extra={"base_url": sandbox.url, "timeout": 600})
    client = PipedriveClient(settings_)
    prefix, person_id = new_prefix(), client.add_person("Robin Example")["id"]
    rows = plain_rows(person_id, 60)
    sandbox.control.fault("POST", "/v1/leads", "delay", times=10)
    sandbox.control.fault("POST", "/v1/leads", "hold", times=60)
    assert stop(lambda: load(client, rows, key_prefix=prefix), sandbox.control.held)
    assert len(keyed(sandbox, prefix)) == 10


def test_a_stop_at_the_first_failure_names_all_rows(sandbox, client, person_id, tmp_path):
    prefix = new_prefix()
    rows = plain_rows(person_id, 120)
    rows[20]["person_id"] = 99_999_999
    with pytest.raises(PipedriveValidationError):
        load(client, rows, key_prefix=prefix, on_row_error="stop", results=into(tmp_path))
    outcomes = told(tmp_path)
    assert sorted(outcome["row"] for outcome in outcomes) == list(range(1, 121))
    assert {outcome["outcome"] for outcome in outcomes} == {"created", "failed", "not sent"}
    assert len(keyed(sandbox, prefix)) == sum(outcome["outcome"] == "created" for outcome in outcomes)


@pytest.mark.long
def test_ten_thousand_rows_twice(sandbox, client, person_id, tmp_path):
    prefix = new_prefix()
    rows = plain_rows(person_id, 10_000)
    first = load(client, rows, key_prefix=prefix, results=into(tmp_path / "first"))
    assert first["created"] == 10_000
    sandbox.control.reset_counters()
    second = load(client, rows, key_prefix=prefix, results=into(tmp_path / "second"))
    assert second["unchanged"] == 10_000
    assert writes(sandbox) == []
    assert len(second["results"]) == 10
    assert {outcome["row"] for outcome in told(tmp_path / "second")} == set(range(1, 10_001))


def test_a_server_that_fails_for_all_rows_is_not_asked_for_each(sandbox, client, person_id):
    prefix = new_prefix()
    sandbox.control.fault("POST", "/v1/leads", "status", status=500, times=200)
    error, results = failing_load(client, plain_rows(person_id, 150), key_prefix=prefix)
    assert isinstance(error, PipedriveServerError)
    assert posts(sandbox) < 100
    assert results.counts.total() == 150


def test_leads_of_one_title_are_told_apart_by_key(sandbox, client, person_id):
    prefix = new_prefix()
    sandbox.control.fault("POST", "/v1/leads", "delay", seconds=0)
    sandbox.control.fault("POST", "/v1/leads", "close_before")
    rows = [row | {"title": "Website lead"} for row in plain_rows(person_id, 3)]
    assert load(client, rows, key_prefix=prefix)["created"] == 3
    assert len(keyed(sandbox, prefix)) == 3


def memory_kept(client, length):
    """Bytes that a plan keeps of rows of a length."""
    count = 5_000
    todo = read_load(key="origin_id", key_prefix="crm-")
    rows = ({"origin_id": str(n), "title": f"{n}", "requirements": f"{n}" + length * "x"} for n in range(count))
    with Plan(todo, UpToDateReader(todo, client)) as plan:
        tracemalloc.start()
        try:
            plan.want(rows_of(rows))
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert plan.rows == count
    return kept


@pytest.mark.long
def test_memory_holds_keys_and_not_rows(client):
    assert memory_kept(client, 5_000) < 1.5 * memory_kept(client, 500)


@pytest.mark.parametrize("data", [None, {}, [], "made", {"id": None}])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_success_without_a_lead_is_looked_into(sandbox, client, person_id, monkeypatch, method, data):
    rows = [{"origin_id": f"empty-{number}", "title": "Empty", "person_id": person_id} for number in range(3)]
    if method == "PATCH":
        load(client, rows)
        rows = [{**row, "title": "Full"} for row in rows]
    send, answered = client.send, []

    def send_and_lose(call):
        reply = send(call)
        if call.method == method and call.path.startswith("/v1/leads") and not answered:
            answered.append(call)
            return msgspec.structs.replace(reply, envelope={"success": True, "data": data})
        return reply

    monkeypatch.setattr(client, "send", send_and_lose)
    with contextlib.suppress(PipedriveServerError):
        load(client, rows)
    assert load(client, rows)["unchanged"] == 3
    assert {lead["title"] for lead in keyed(sandbox, "empty-").values()} == {rows[0]["title"]}


def test_a_creation_in_doubt_is_not_taken_for_another_row_of_the_same_origin(sandbox, client, person_id):
    shared = {"origin_id": "campaign-7", "person_id": person_id}
    rows = [{"External ID": f"x{number}", "title": f"Row {number}", **shared} for number in (1, 2)]
    load(client, rows[:1], key="External ID")
    sandbox.control.fault("POST", "/v1/leads", "close_before")
    facts = load(client, rows, key="External ID")
    assert (facts["created"], facts["unchanged"], facts["failed"]) == (1, 1, 0)


def test_a_creation_in_doubt_is_not_stopped_by_a_shorter_title(sandbox, client, person_id):
    titles = ("Lead", "Lead 2")
    rows = [{"origin_id": f"short-{title}", "title": title, "person_id": person_id} for title in titles]
    load(client, rows[:1])
    sandbox.control.fault("POST", "/v1/leads", "close_before")
    assert load(client, rows)["created"] == 1
