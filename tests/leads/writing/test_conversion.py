"""Conversions that are started once: whatever happens to the start, its answer, the worker and the status."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.replies import Reply
from airflow_provider_pipedrive_leads.api.retries import after_failure
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.exceptions import (
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.leads.writing.conversion import (
    DIRECTIONS,
    Conversion,
    Verdict,
    ask,
    judge,
    order_of,
    read_verdict,
)
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience

pytestmark = pytest.mark.usefixtures("no_waiting")
SETTLE = 30
BOTH = pytest.mark.parametrize("source", ["lead", "deal"])


class Memory:
    """Keeps what Airflow's store can keep: JSON."""

    def __init__(self):
        self.kept = {}

    def get(self, key, default=None):
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key, value):
        assert value is not None
        self.kept[key] = json.dumps(value)

    def only(self):
        (value,) = self.kept.values()
        return json.loads(value)


class Scene:
    """A sandbox, a memory, and one clock for both ends that stands still until somebody waits."""

    def __init__(self, sandbox, client):
        self.sandbox = sandbox
        self.client = client
        self.memory = Memory()
        self.slept = []
        self._ahead = timedelta(0)
        sandbox.control.freeze()

    def now(self):
        return datetime.fromisoformat(self.sandbox.control.now()) + self._ahead

    def pass_time(self, seconds):
        self.sandbox.control.advance(seconds)

    def differ(self, seconds):
        """Put the worker's clock ahead of the server's."""
        self._ahead += timedelta(seconds=seconds)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.pass_time(seconds)

    def attempt(self, source, source_id, *, timeout=600, account="crm", direction=None, api=None, **options):
        """What one try of the task begins with."""
        order = order_of(source, source_id, account, **options)
        order = msgspec.structs.replace(order, direction=direction or order.direction)
        patience = Patience(SETTLE, 30, self.sleep, self.now)
        return Conversion(api or self.client, order, self.memory, patience, timeout=timeout)

    def convert(self, source, source_id, *, poll_interval=5, **options):
        """One whole try."""
        conversion = self.attempt(source, source_id, **options)
        conversion.begin()
        return conversion.wait(poll_interval)

    def new(self, source, person_id):
        lead_id = self.client.add_lead("To convert", person_id=person_id)["id"]
        if source == "lead":
            return lead_id
        conversion_id = self.client.convert_lead_to_deal(lead_id)
        self.pass_time(2)
        deal_id = self.client.get_lead_conversion_status(lead_id, conversion_id)["deal_id"]
        self.sandbox.control.reset_counters()
        return deal_id

    def starts(self):
        """How many starts arrived at the server."""
        return len([seen for seen in self.sandbox.control.requests() if seen["method"] == "POST"])

    def made_of(self, source, source_id):
        """The ids of all that was made of a source."""
        if source == "lead":
            return [deal["id"] for deal in self.client.get_deals() if deal["source_lead_id"] == source_id]
        return [lead["id"] for lead in self.sandbox.control.all_leads() if lead["source_deal_id"] == source_id]


@pytest.fixture
def scene(sandbox, client, person_id):
    sandbox.control.reset_counters()
    made = Scene(sandbox, client)
    made.new_lead = lambda: made.new("lead", person_id)
    return made


@pytest.fixture
def fresh(scene, person_id):
    """Give a function that makes something to convert, and forgets the calls that it took."""

    def make(source):
        made = scene.new(source, person_id)
        scene.sandbox.control.reset_counters()
        return made

    return make


def start_path(source, source_id):
    return f"/api/v2/{source}s/{source_id}/convert/{DIRECTIONS[source].target}"


@BOTH
def test_it_is_started_once_and_gives_what_was_made(scene, fresh, source):
    source_id = fresh(source)
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert isinstance(made, int if source == "lead" else str)
    assert scene.starts() == 1
    assert scene.slept == [5]


def test_stage_and_pipeline_are_passed_on(scene, fresh):
    made = scene.convert("lead", fresh("lead"), stage_id="7", pipeline_id=None)
    assert next(deal for deal in scene.client.get_deals() if deal["id"] == made)["stage_id"] == 7


@BOTH
def test_a_later_try_goes_on_waiting(scene, fresh, source):
    source_id = fresh(source)
    first = scene.attempt(source, source_id)
    first.begin()
    assert scene.memory.only()["conversion_id"] == first.conversion_id
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == 1


@BOTH
def test_a_try_after_the_end_asks_nothing(scene, fresh, source):
    source_id = fresh(source)
    made = scene.convert(source, source_id)
    scene.sandbox.control.reset_counters()
    assert scene.convert(source, source_id) == made
    assert scene.sandbox.control.counters()["calls"] == 0


FAULTS = {
    "close_before": ({}, 2),
    "close_after": ({}, 1),
    "close_and_finish": ({"after": SETTLE - 5}, 1),
    "cut_body": ({}, 1),
    "broken_json": ({}, 1),
    "status": ({"status": 503}, 2),
}


@BOTH
@pytest.mark.parametrize("kind", FAULTS)
def test_a_start_without_an_answer_is_settled_before_a_second(scene, fresh, source, kind):
    options, starts = FAULTS[kind]
    source_id = fresh(source)
    scene.sandbox.control.fault("POST", start_path(source, source_id), kind, **options)
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == starts
    assert SETTLE in scene.slept


@BOTH
@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "not-sent"])
def test_a_killed_start_is_settled_by_the_next_try(scene, fresh, source, arrived):
    source_id = fresh(source)

    def die(api, source_id):
        assert scene.memory.only()["started_at"]
        if arrived:
            DIRECTIONS[source].start(api, source_id)
        raise KeyboardInterrupt

    killed = scene.attempt(source, source_id, direction=msgspec.structs.replace(DIRECTIONS[source], start=die))
    with pytest.raises(KeyboardInterrupt):
        killed.begin()
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == 1


@BOTH
def test_a_conversion_between_look_and_start_is_found(scene, fresh, source):
    source_id = fresh(source)
    scene.sandbox.control.fault("POST", start_path(source, source_id), "close_after")
    scene.sandbox.control.set_delay("conversion", SETTLE + 10)
    looks = []

    def find(api, source_id, since):
        looks.append(DIRECTIONS[source].find(api, source_id, since))
        if len(looks) == 2:
            scene.pass_time(20)
        return looks[-1]

    conversion = scene.attempt(source, source_id, direction=msgspec.structs.replace(DIRECTIONS[source], find=find))
    conversion.begin()
    made = conversion.wait(30)
    assert scene.made_of(source, source_id) == [made]
    assert looks[:2] == [None, None]


@BOTH
@pytest.mark.parametrize("ahead", [-240, 240])
def test_clocks_may_differ_by_some_minutes(scene, fresh, source, ahead):
    source_id = fresh(source)
    scene.differ(ahead)
    scene.sandbox.control.fault("POST", start_path(source, source_id), "close_after")
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == 1


@BOTH
def test_what_is_there_already_is_found_without_waiting(scene, fresh, source):
    source_id = fresh(source)
    scene.sandbox.control.fault("POST", start_path(source, source_id), "close_after")
    scene.sandbox.control.set_delay("conversion", 0)
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.slept == []


def test_an_archived_lead_that_was_a_deal_is_found(scene, fresh):
    deal_id = fresh("deal")
    scene.sandbox.control.fault("POST", start_path("deal", deal_id), "close_after")

    def sleep(seconds):
        scene.pass_time(seconds)
        (lead_id,) = scene.made_of("deal", deal_id)
        scene.client.update_lead(lead_id, is_archived=True)

    scene.sleep = sleep
    made = scene.convert("deal", deal_id)
    assert scene.made_of("deal", deal_id) == [made]


@BOTH
def test_a_source_that_is_gone_without_a_trace_is_an_error(scene, fresh, source):
    source_id = fresh(source)
    scene.sandbox.control.fault("POST", start_path(source, source_id), "close_before")

    def sleep(seconds):
        scene.pass_time(seconds)
        if source == "lead":
            scene.client.delete_lead(source_id)
        else:  # converted by somebody, and the lead deleted
            scene.client.convert_deal_to_lead(source_id)
            scene.pass_time(2)
            scene.client.delete_lead(*scene.made_of("deal", source_id))

    scene.sleep = sleep
    with pytest.raises(PipedriveNotFoundError, match=rf"{source}_id: .* is gone"):
        scene.convert(source, source_id)


def test_a_lead_that_never_was_is_an_error_and_leaves_no_doubt(scene):
    with pytest.raises(PipedriveNotFoundError):
        scene.convert("lead", str(uuid.uuid4()))
    assert scene.memory.only() == {}
    assert scene.slept == []


@pytest.mark.parametrize(
    ("options", "error"), [({"stage_id": 99}, PipedriveValidationError), ({"stage_id": "x"}, PipedriveValidationError)]
)
def test_a_refused_start_leaves_no_doubt(scene, fresh, options, error):
    lead_id = fresh("lead")
    with pytest.raises(error):
        scene.convert("lead", lead_id, **options)
    assert scene.memory.only() == {}
    made = scene.convert("lead", lead_id)
    assert scene.made_of("lead", lead_id) == [made]
    assert scene.slept == [5]


def test_a_server_that_is_down_leaves_no_doubt(scene, fresh, nobody):
    nowhere = PipedriveClient(read_connection(password="f" * 40, extra={"base_url": nobody}))
    with pytest.raises(PipedriveConnectionError) as caught:
        scene.convert("lead", fresh("lead"), api=nowhere)
    assert scene.memory.only() == {}
    assert after_failure(caught.value, chance=0).retry is None


@BOTH
def test_it_is_started_three_times_at_most(scene, fresh, source):
    source_id = fresh(source)
    scene.sandbox.control.fault("POST", start_path(source, source_id), "close_before", times=4)
    with pytest.raises(PipedriveError, match="started 3 times") as caught:
        scene.convert(source, source_id)
    assert scene.starts() == 3
    assert after_failure(caught.value, chance=0).retry is False
    made = scene.convert(source, source_id)  # cleared by a person
    assert scene.starts() == 5
    assert scene.made_of(source, source_id) == [made]


def test_starts_of_killed_tries_count(scene, fresh):
    lead_id = fresh("lead")

    def die(api, source_id):
        raise KeyboardInterrupt

    for _ in range(3):
        dying = scene.attempt("lead", lead_id, direction=msgspec.structs.replace(DIRECTIONS["lead"], start=die))
        with pytest.raises(KeyboardInterrupt):
            dying.begin()
    with pytest.raises(PipedriveError, match="started 3 times"):
        scene.convert("lead", lead_id)
    assert scene.starts() == 0


@BOTH
@pytest.mark.parametrize(
    ("outcome", "error"),
    [("failed", PipedriveError), ("rejected", PipedriveValidationError)],
    ids=["failed", "rejected"],
)
def test_a_conversion_that_pipedrive_ended_is_an_error_and_can_be_cleared(scene, fresh, source, outcome, error):
    source_id = fresh(source)
    scene.sandbox.control.next_conversion(outcome)
    with pytest.raises(error, match=rf"{source}_id: .*'{outcome}'.*clear this task") as caught:
        scene.convert(source, source_id)
    assert type(caught.value) is error
    assert after_failure(caught.value, chance=0).retry is False
    assert scene.made_of(source, source_id) == []
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == 2


@BOTH
def test_a_failure_because_another_conversion_was_faster_is_none(scene, fresh, source):
    source_id = fresh(source)
    DIRECTIONS[source].start(scene.client, source_id)
    scene.pass_time(0.1)  # a conversion takes a second
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert "failed" in str(
        scene.client.request(
            "GET", f"{start_path(source, source_id).rpartition('/')[0]}/status/{scene.memory.only()['conversion_id']}"
        )
    )


@BOTH
def test_a_forgotten_conversion_is_settled_by_what_it_made(scene, fresh, source):
    source_id = fresh(source)
    scene.attempt(source, source_id).begin()
    scene.pass_time(5 * 86_400)
    made = scene.convert(source, source_id)
    assert scene.made_of(source, source_id) == [made]
    assert scene.starts() == 1


def test_a_forgotten_conversion_that_made_nothing_is_started_again(scene, fresh):
    lead_id = fresh("lead")
    scene.sandbox.control.next_conversion("failed")
    scene.attempt("lead", lead_id).begin()
    scene.pass_time(5 * 86_400)
    made = scene.convert("lead", lead_id)
    assert scene.made_of("lead", lead_id) == [made]
    assert scene.starts() == 2


def test_the_time_out_counts_from_the_start_not_from_the_try(scene, fresh):
    lead_id = fresh("lead")
    scene.sandbox.control.set_delay("conversion", 1000)
    with pytest.raises(PipedriveError, match=r"conversion_timeout: .*600 s.*running") as caught:
        scene.convert("lead", lead_id)
    assert after_failure(caught.value, chance=0).retry is False
    waited = len(scene.slept)
    assert sum(scene.slept) == 600
    with pytest.raises(PipedriveError, match="conversion_timeout"):
        scene.convert("lead", lead_id)
    assert len(scene.slept) == waited
    made = scene.convert("lead", lead_id, timeout=2000)
    assert scene.made_of("lead", lead_id) == [made]
    assert scene.starts() == 1


def test_a_start_after_a_doubt_of_yesterday_has_its_own_time(scene, fresh):
    lead_id = fresh("lead")

    def die(api, source_id):
        raise KeyboardInterrupt

    dying = scene.attempt("lead", lead_id, direction=msgspec.structs.replace(DIRECTIONS["lead"], start=die))
    with pytest.raises(KeyboardInterrupt):
        dying.begin()
    scene.pass_time(86_400)
    assert scene.convert("lead", lead_id) in scene.made_of("lead", lead_id)


def test_another_account_is_another_conversion(scene, fresh):
    first, second = fresh("deal"), fresh("lead")
    scene.convert("deal", first)
    assert scene.attempt("deal", first, account="crm").noted is not None
    assert scene.attempt("deal", first, account="other").noted is None
    assert scene.attempt("lead", second).noted is None


def test_a_lost_note_is_not_taken_for_nothing(scene, fresh):
    with pytest.raises(PipedriveError, match="lost"):
        scene.attempt("lead", fresh("lead")).conclude(Verdict("forgotten"))
    assert scene.starts() == 0
    assert scene.attempt("lead", fresh("lead")).conclude(Verdict("completed", 42)) == 42


def test_pipedrive_being_away_is_a_reason_to_wait(scene, fresh):
    lead_id = fresh("lead")
    conversion = scene.attempt("lead", lead_id)
    conversion.begin()
    scene.sandbox.control.fault("GET", "/api/v2/leads/*/convert/status/*", "status", status=501)
    assert conversion.ask().outcome == "wait"
    scene.pass_time(2)
    assert conversion.ask().outcome == "completed"


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ({"status": "not_started"}, Verdict("wait", said="not_started")),
        ({"status": "running"}, Verdict("wait", said="running")),
        ({"status": "completed", "deal_id": 3}, Verdict("completed", 3, "completed")),
        ({"status": "completed"}, Verdict("forgotten", said="completed")),
        ({"status": "failed"}, Verdict("failed", said="failed")),
        ({"status": "rejected"}, Verdict("rejected", said="rejected")),
        ({"status": "parked"}, Verdict("unknown", said="parked")),
        ({}, Verdict("unknown", said="None")),
    ],
)
def test_what_a_status_means(reply, verdict):
    assert judge(DIRECTIONS["lead"], reply) == verdict
    assert read_verdict({"status": "success", **msgspec.to_builtins(verdict)}) == verdict


def test_an_unknown_word_is_told(scene, fresh):
    conversion = scene.attempt("lead", fresh("lead"))
    conversion.begin()
    with pytest.raises(PipedriveError, match="'parked'"):
        conversion.conclude(Verdict("unknown", said="parked"))


@pytest.mark.parametrize("event", [{}, {"status": "success"}, {"outcome": "odd"}])
def test_an_event_without_a_verdict_is_an_error(event):
    with pytest.raises(PipedriveError, match="cannot be understood"):
        read_verdict(event)


def test_an_answer_without_an_id_is_in_doubt(client, monkeypatch):
    monkeypatch.setattr(client, "send", lambda call: Reply(200, {}, {"data": {"conversion_id": None}}, call))
    with pytest.raises(PipedriveServerError, match="conversion's id") as caught:
        client.convert_lead_to_deal(str(uuid.uuid4()))
    assert caught.value.in_doubt


def test_a_spent_day_is_not_waited_out_here(scene, fresh):
    lead_id = fresh("lead")
    conversion = scene.attempt("lead", lead_id)
    conversion.begin()
    path = "/api/v2/leads/*/convert/status/*"
    scene.sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    scene.sandbox.control.fault("GET", path, "status", status=429, retry_after=4000)
    with pytest.raises(PipedriveDailyBudgetError):
        ask(scene.client, DIRECTIONS["lead"], lead_id, conversion.conversion_id)
