"""Lead labels that are there once, whoever makes them at the same time and whatever becomes of the calls."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError, PipedriveValidationError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.writing.labels import WantedLabel, ensure_labels, named, wanted_labels
from airflow_provider_pipedrive_leads.leads.writing.settling import Patience
from tests.until import until

SETTLE = 30.0
LABELS = "/v1/leadLabels"


class Memory(dict):
    """What Airflow keeps for the tries of a task."""

    def set(self, key, value):
        self[key] = value


class Killed(BaseException):
    """The worker died here."""


@pytest.fixture(autouse=True)
def unhurried(sandbox, no_waiting):
    """No test waits for a burst window."""
    sandbox.control.set_burst(1_000_000)


@pytest.fixture
def patience(sandbox):
    """Waiting moves the sandbox's clock on, and counts."""
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        sandbox.control.advance(seconds)

    made = Patience(SETTLE, SETTLE, sleep, lambda: datetime.fromisoformat(sandbox.control.now()))
    return made, slept


@pytest.fixture
def other(sandbox):
    """Another worker's client."""
    settings = read_connection(password=sandbox.token, extra={"base_url": sandbox.url})
    made = PipedriveClient(settings, chance=lambda: 0.0)
    yield made
    made.close()


def ensure(client, labels, patience, memory=None, **options):
    memory = Memory() if memory is None else memory
    return ensure_labels(client, wanted_labels(labels), memory, patience[0], **options)


def present(sandbox, client, name):
    """The labels of a name, those included that a server finishes late."""
    sandbox.control.advance(2 * SETTLE)
    return named(client.get_lead_labels(), name)


def posts(sandbox):
    return [seen for seen in sandbox.control.requests() if (seen["method"], seen["path"]) == ("POST", LABELS)]


def test_what_is_missing_is_made_and_what_is_there_stays(sandbox, client, patience):
    (hot,) = named(client.get_lead_labels(), "Hot")
    ids = ensure(client, [{"name": " hot ", "color": "blue"}, "Fair", {"name": "Trade", "color": "pink"}], patience)
    assert list(ids) == ["hot", "Fair", "Trade"]
    assert ids["hot"] == hot["id"]
    found = {label["id"]: label for label in client.get_lead_labels()}
    assert found[hot["id"]] == hot
    assert [(found[ids[name]]["name"], found[ids[name]]["color"]) for name in ("Fair", "Trade")] == [
        ("Fair", "gray"),
        ("Trade", "pink"),
    ]
    sandbox.control.reset_counters()
    assert ensure(client, ["TRADE", "fair", "Fair"], patience) == {
        "TRADE": ids["Trade"],
        "fair": ids["Fair"],
        "Fair": ids["Fair"],
    }
    assert sandbox.control.counters()["tokens"] == 10
    assert ensure(client, [], patience) == {}


def test_colors_change_only_on_demand_and_only_where_one_is_wanted(sandbox, client, patience):
    ensure(client, [{"name": "Red one", "color": "red"}, {"name": "Red two", "color": "red"}], patience)
    wanted = [{"name": "Red one", "color": "green"}, "red TWO"]

    def colors():
        return [present(sandbox, client, name)[0]["color"] for name in ("Red one", "Red two")]

    ensure(client, wanted, patience)
    assert colors() == ["red", "red"]
    ensure(client, wanted, patience, update_colors=True)
    assert colors() == ["green", "red"]


def test_of_twins_that_were_there_the_oldest_counts_and_none_is_touched(sandbox, client, patience):
    made = [client.add_lead_label(name, "gray")["id"] for name in ("Twins", "twins", "TWINS")]
    assert ensure(client, ["Twins"], patience) == {"Twins": made[0]}
    assert [label["id"] for label in present(sandbox, client, "Twins")] == made


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("Hot", "JSON"),
        ("['Hot']", "JSON"),
        ('{"name": "Hot"}', "list"),
        (None, "list"),
        ({"name": "Hot"}, "list"),
        ([""], "empty"),
        (["  "], "empty"),
        ([True], "not understood"),
        ([{"color": "red"}], "not understood"),
        ([{"name": "Hot", "colour": "red"}], "not understood"),
        ([{"name": "Hot", "color": "crimson"}], "crimson"),
        ([{"name": "Hot", "color": ["red"]}], "none of"),
        ([{"name": "Hot", "color": "red"}, "Cold", {"name": " hOT", "color": "blue"}], "both in red and in blue"),
    ],
)
def test_bad_wishes_are_refused(labels, words):
    with pytest.raises(PipedriveValidationError, match=f"^labels: .*{words}"):
        wanted_labels(labels)


def test_a_name_may_have_come_as_a_number():
    due = [WantedLabel("2026"), WantedLabel("7")]
    assert wanted_labels([2026, {"name": 7.0}]) == wanted_labels("[2026, 7.0]") == due


def test_wishes_as_templates_render_them():
    labels = ["A", {"name": "B", "color": "red"}, {"name": " b "}, {"name": "a", "color": None}]
    due = [WantedLabel("A"), WantedLabel("B", "red"), WantedLabel("b", "red"), WantedLabel("a")]
    assert wanted_labels(labels) == wanted_labels(json.dumps(labels)) == wanted_labels(tuple(labels)) == due


FAULTS = {
    "close_before": ({}, 2),
    "close_after": ({}, 1),
    "close_and_finish": ({"after": 5.0}, 1),
    "cut_body": ({}, 1),
    "broken_json": ({}, 1),
    "status": ({"status": 503}, 2),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_doubtful_create_is_looked_for_before_it_is_sent_again(sandbox, client, patience, kind):
    options, sent = FAULTS[kind]
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", LABELS, kind, **options)
    ids = ensure(client, [f"Doubt {kind}"], patience)
    (label,) = present(sandbox, client, f"Doubt {kind}")
    assert ids == {f"Doubt {kind}": label["id"]}
    assert len(posts(sandbox)) == sent
    assert patience[1] == ([SETTLE] if sent == 2 or kind == "close_and_finish" else [])


def test_three_creates_at_most_and_a_retry_does_no_harm(sandbox, client, patience):
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", LABELS, "status", times=3, status=503)
    with pytest.raises(PipedriveServerError) as caught:
        ensure(client, ["Thrice"], patience)
    assert not caught.value.in_doubt
    assert len(posts(sandbox)) == 3
    assert present(sandbox, client, "Thrice") == []


def test_a_refusal_is_not_repeated(sandbox, client, patience):
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", LABELS, "status", status=400)
    with pytest.raises(PipedriveValidationError):
        ensure(client, ["Refused"], patience)
    assert (len(posts(sandbox)), patience[1]) == (1, [])


def test_a_later_try_waits_for_what_an_earlier_one_sent(sandbox, client, patience):
    def die(_):
        raise Killed

    memory = Memory()
    sandbox.control.fault("POST", LABELS, "close_and_finish", after=20.0)
    dying = Patience(SETTLE, SETTLE, die, patience[0].now)
    with pytest.raises(Killed):
        ensure(client, ["Late"], (dying,), memory)
    ids = ensure(client, ["Late"], patience, memory)
    assert ids == {"Late": present(sandbox, client, "Late")[0]["id"]}
    assert len(present(sandbox, client, "Late")) == 1
    assert patience[1] == [SETTLE]
    ensure(client, ["Later"], patience, memory)
    ensure(client, ["Latest"], patience, memory)
    assert patience[1] == [SETTLE, SETTLE]


@pytest.mark.parametrize("fault", [None, "close_after", "broken_json"])
def test_of_twins_made_side_by_side_the_younger_goes(sandbox, client, other, patience, monkeypatch, fault):
    """Between this task's look and its create, another task makes the label; nobody else's is taken away."""
    name, add = f"Race {fault}", client.add_lead_label

    def late(*arguments):
        other.add_lead_label(name.upper(), "pink")
        if fault:
            sandbox.control.fault("POST", LABELS, fault)
        return add(*arguments)

    monkeypatch.setattr(client, "add_lead_label", late)
    ids = ensure(client, [name], patience)
    (label,) = present(sandbox, client, name)
    assert (label["name"], ids) == (name.upper(), {name: label["id"]})


@pytest.mark.parametrize(("kind", "options"), [("close_after", {}), ("status", {"status": 404})])
def test_taking_a_twin_back_copes_with_a_lost_answer_and_with_its_being_gone(
    sandbox, client, other, patience, monkeypatch, kind, options
):
    add = client.add_lead_label

    def late(*arguments):
        other.add_lead_label(f"Back {kind}", "gray")
        return add(*arguments)

    monkeypatch.setattr(client, "add_lead_label", late)
    sandbox.control.fault("DELETE", f"{LABELS}/*", kind, **options)
    ids = ensure(client, [f"Back {kind}"], patience)
    assert ids == {f"Back {kind}": present(sandbox, client, f"Back {kind}")[0]["id"]}


def test_names_compare_without_blanks_and_case_whatever_the_server_keeps():
    labels = [
        {"id": "1", "name": " Hot ", "add_time": "2026-01-02"},
        {"id": "2", "name": "hOT"},
        {"id": "3", "name": "H"},
    ]
    assert [label["id"] for label in named(labels, "HOT")] == ["2", "1"]


def test_a_younger_twin_of_another_task_is_left_to_that_task(sandbox, client, other, patience, monkeypatch):
    add = client.add_lead_label

    def early(*arguments):
        made = add(*arguments)
        other.add_lead_label("Early", "gray")
        return made

    monkeypatch.setattr(client, "add_lead_label", early)
    ids = ensure(client, ["Early"], patience)
    first, _ = present(sandbox, client, "Early")
    assert ids == {"Early": first["id"]}


def test_eight_tasks_at_once_leave_one_of_each(sandbox, patience):
    settings = read_connection(password=sandbox.token, extra={"base_url": sandbox.url})
    names = ["Crowd one", "Crowd two", "Crowd three"]
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", LABELS, "hold", times=8)

    def task(number):
        client = PipedriveClient(settings)
        try:
            return ensure(client, names if number % 2 else names[::-1], patience)
        finally:
            client.close()

    with ThreadPoolExecutor(8) as pool:
        tasks = pool.map(task, range(8))
        until(lambda: sandbox.control.held() == 8)  # each has seen that its first label is not there
        sandbox.control.let_go()
        given = list(tasks)
    client = PipedriveClient(settings)
    left = {name: [label["id"] for label in present(sandbox, client, name)] for name in names}
    client.close()
    assert len(posts(sandbox)) > len(names)
    assert all(ids == {name: left[name][0] for name in names} for ids in given)
    assert [len(ids) for ids in left.values()] == [1, 1, 1]


class LateList:
    """A client of an account whose list shows a label some seconds after it was made."""

    def __init__(self, client, sandbox, late):
        self._client, self._sandbox, self._late = client, sandbox, late

    def __getattr__(self, name):
        return getattr(self._client, name)

    def get_lead_labels(self):
        now = datetime.fromisoformat(self._sandbox.control.now())
        return [
            label
            for label in self._client.get_lead_labels()
            if (now - datetime.fromisoformat(label["add_time"])).total_seconds() >= self._late
        ]


@pytest.mark.parametrize("late", [1, 3, 1000])
def test_a_label_that_the_list_shows_late_is_made_once_and_told_by_its_id(sandbox, client, patience, late):
    sandbox.control.reset_counters()
    ids = ensure(LateList(client, sandbox, late), ["Slow", "slow"], patience)
    (label,) = present(sandbox, client, "Slow")
    assert ids == {"Slow": label["id"], "slow": label["id"]}
    assert len(posts(sandbox)) == 1


def test_tasks_side_by_side_leave_one_where_the_list_is_late(sandbox, client, other, patience):
    late, add = LateList(client, sandbox, 3), client.add_lead_label
    seen = []

    def after_another(*arguments):
        if not seen:
            seen.append(other.add_lead_label("Side by side", "gray")["id"])
            sandbox.control.advance(1)
        return add(*arguments)

    late.add_lead_label = after_another
    ids = ensure(late, ["Side by side"], patience)
    (label,) = present(sandbox, client, "Side by side")
    assert ids == {"Side by side": label["id"]} == {"Side by side": seen[0]}


KEPT = {
    "blanks": ("Two  words", lambda name: " ".join(name.split())),
    "NFC": ("Cafe\u0301", lambda name: name.replace("e\u0301", "\u00e9")),
    "cut": ("A name of many more characters than fit", lambda name: name[:20]),
    "cut and lower case": ("Another name of many more characters than fit", lambda name: name[:20].lower()),
}


@pytest.mark.parametrize("how", KEPT)
@pytest.mark.parametrize("fault", [None, "close_after"])
def test_a_name_that_the_server_changes_leaves_one_label_however_often_it_is_asked_for(
    sandbox, client, patience, monkeypatch, how, fault
):
    name, kept = KEPT[how]
    add = client.add_lead_label
    monkeypatch.setattr(client, "add_lead_label", lambda name, color: add(kept(name), color))
    if fault:
        sandbox.control.fault("POST", LABELS, fault)
    given = [ensure(client, [name], patience) for _ in range(3)]
    (label,) = present(sandbox, client, kept(name))
    assert given == [{name: label["id"]}] * 3
