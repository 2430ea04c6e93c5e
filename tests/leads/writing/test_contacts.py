"""Finding or creating what a lead hangs on, once."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import urllib3

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveValidationError
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.writing.contacts import (
    _recent,
    find_or_create_organization,
    find_or_create_person,
)
from tests.until import until

DAY = 24 * 3600
NOW = datetime(2026, 3, 1, 0, 5, tzinfo=UTC)
PERSONS, ORGANIZATIONS = "/api/v2/persons", "/api/v2/organizations"
KINDS = {
    PERSONS: (find_or_create_person, "get_persons", "add_person"),
    ORGANIZATIONS: (find_or_create_organization, "get_organizations", "add_organization"),
}


def no_time(seconds: float) -> None:
    """Wait, but not really."""


@pytest.fixture(autouse=True)
def prompt_sandbox(sandbox, no_waiting):
    """No limit to calls, and an index that knows everything at once."""
    sandbox.control.set_burst(1_000_000, search=1_000_000)
    sandbox.control.set_delay("search_index", 0)


@pytest.fixture
def lagging(sandbox):
    """An index that learns nothing during the test."""
    sandbox.control.set_delay("search_index", 1000 * DAY)


@pytest.fixture
def yesterday(sandbox):
    """The sandbox's time is a day ago until the test moves it."""
    sandbox.control.freeze((datetime.fromisoformat(sandbox.control.now()) - timedelta(days=1)).isoformat())


def named(client, path: str, name: str) -> list[int]:
    """The ids of all living contacts of a name."""
    return [row["id"] for row in getattr(client, KINDS[path][1])() if row["name"] == name]


def calls(sandbox, method: str, path: str = "*") -> int:
    return sum(
        call["method"] == method and path in ("*", call["path"])
        for call in sandbox.control.requests()
        if not call["path"].startswith("/__sandbox__")
    )


# Looking up


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ({"name": "Kim One", "email": "kim@one.example"}, {"email": "KIM@one.example"}),
        ({"name": "Kim Two", "email": "kim@two.example"}, {"name": "Other Name", "email": "kim@two.example"}),
        ({"name": "Kim Three", "phone": "+49 30 1234567"}, {"phone": "+49 30 1234567"}),
        ({"name": "Kim Four"}, {"name": "kim four"}),
        ({"name": "Kim Five", "email": "kim@five.example", "phone": "555 5"}, {"name": "X", "phone": "555 5"}),
    ],
)
@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_a_person_is_created_once_and_found_again(sandbox, client, first, again, delay):
    sandbox.control.set_delay("search_index", delay)
    first, again = (
        {key: f"{delay}{text}" if key != "name" else f"{text} {delay}" for key, text in contact.items()}
        for contact in (first, again)
    )
    made = find_or_create_person(client, first, sleep=no_time)
    assert find_or_create_person(client, again, sleep=no_time) == made
    row = client.get_person(made)
    assert [item["value"] for item in row["emails"] + row["phones"]] == [
        first[key] for key in ("email", "phone") if key in first
    ]


def test_a_phone_number_added_a_moment_ago_is_found_by_its_digits(client, lagging):
    made = find_or_create_person(client, {"name": "Phil", "phone": "+44 20 7946 0000"}, sleep=no_time)
    assert find_or_create_person(client, {"phone": "0044 (20) 7946-0000"}, sleep=no_time) == made


@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_another_email_is_another_person(sandbox, client, delay):
    sandbox.control.set_delay("search_index", delay)
    one = find_or_create_person(client, {"name": "Lou", "email": f"lou@one{delay}.example"}, sleep=no_time)
    two = find_or_create_person(client, {"name": "Lou", "email": f"lou@two{delay}.example"}, sleep=no_time)
    assert one != two


@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_an_organization_is_created_once_and_found_again(sandbox, client, delay):
    sandbox.control.set_delay("search_index", delay)
    tools = find_or_create_organization(client, {"name": f"Acme Tools {delay}"}, sleep=no_time)
    assert find_or_create_organization(client, {"name": f"ACME tools {delay}"}, sleep=no_time) == tools
    assert find_or_create_organization(client, {"name": f"Acme {delay}"}, sleep=no_time) != tools


def test_of_several_old_ones_the_oldest_is_taken(sandbox, client, yesterday):
    ids = [client.add_person("Old Twin")["id"] for _ in range(3)]
    sandbox.control.advance(DAY)
    sandbox.control.reset_counters()
    assert find_or_create_person(client, {"name": "old twin"}, sleep=no_time) == min(ids)
    assert calls(sandbox, "GET") == 2  # the search, and a look whether it is still there


def test_what_search_still_shows_though_it_is_deleted_is_not_taken(sandbox, client, yesterday):
    gone, kept = (client.add_person("Ghost")["id"] for _ in range(2))
    sandbox.control.advance(DAY)
    sandbox.control.set_delay("search_index", 1000 * DAY)
    client.delete_person(gone)
    assert find_or_create_person(client, {"name": "Ghost"}, sleep=no_time) == kept
    client.delete_person(kept)
    assert find_or_create_person(client, {"name": "Ghost"}, sleep=no_time) not in (gone, kept)


def test_a_young_hit_of_search_gives_way_to_an_older_one_that_search_does_not_know(sandbox, client):
    sandbox.control.set_delay("search_index", 1000 * DAY)
    first = client.add_person("Half Known")["id"]
    sandbox.control.set_delay("search_index", 0)
    second = client.add_person("Half Known")["id"]
    assert [hit["id"] for hit in client.search_persons("Half Known")] == [second]
    assert find_or_create_person(client, {"name": "Half Known"}, sleep=no_time) == first


# Organizations by domain


@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_a_domain_leads_to_the_organization_of_its_people(sandbox, client, delay):
    sandbox.control.set_delay("search_index", delay)
    domain = f"known{delay}.example"
    house = client.add_organization("Known House")["id"]
    client.add_person("A", emails=[{"value": f"A@{domain.upper()}"}], org_id=house)
    client.add_person("B", emails=[{"value": f"b@sub.{domain}"}], org_id=1)
    client.add_person("C", emails=[{"value": f"c@{domain}"}])
    wanted = {"domain": domain.upper(), "name": "Some Other Name"}
    assert find_or_create_organization(client, wanted, sleep=no_time) == house
    assert find_or_create_organization(client, {"domain": domain}, sleep=no_time) == house


@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_the_name_decides_where_the_people_of_a_domain_do_not_agree(sandbox, client, delay):
    sandbox.control.set_delay("search_index", delay)
    domain = f"split{delay}.example"
    for organization in (1, 2):
        client.add_person("S", emails=[{"value": f"s@{domain}"}], org_id=organization)
    made = find_or_create_organization(client, {"domain": domain.upper(), "name": "Split"}, sleep=no_time)
    assert client.get_organization(made)["website"] == domain
    client.delete_organization(made)
    with pytest.raises(PipedriveValidationError, match=r"^organization: .* a name is needed"):
        find_or_create_organization(client, {"domain": domain}, sleep=no_time)


def test_a_deleted_organization_is_not_taken_for_its_domain(sandbox, client):
    gone = client.add_organization("Gone House")["id"]
    client.add_person("G", emails=[{"value": "g@gone.example"}], org_id=gone)
    client.delete_organization(gone)
    made = find_or_create_organization(client, {"domain": "gone.example", "name": "New House"}, sleep=no_time)
    assert client.get_organization(made)["name"] == "New House"


# Bad input


@pytest.mark.parametrize(
    "person",
    [
        {},
        {"email": ""},
        {"name": " "},
        {"mail": "a@b.example"},
        {"name": True},
        {"name": "A", "email": "a.example"},
        {"name": "A", "email": "a@"},
        {"name": "A", "email": "a b@c.example"},
        {"name": "A", "phone": "unknown"},
        "Kim",
    ],
)
def test_an_unusable_person_is_refused_before_anything_is_sent(sandbox, client, person):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^person: "):
        find_or_create_person(client, person)
    assert sandbox.control.counters()["calls"] == 0


def test_nobody_is_created_without_a_name(sandbox, client):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^person: nobody has this email"):
        find_or_create_person(client, {"email": "nobody@nowhere.example"})
    assert calls(sandbox, "POST") == 0


@pytest.mark.parametrize(
    "organization",
    [
        {},
        {"name": None},
        {"title": "x"},
        *(
            {"name": "Acme", "domain": domain}
            for domain in ("https://acme.example", "acme.example/about", "acme example.org", "@acme.example", "acme")
        ),
    ],
)
def test_an_unusable_organization_is_refused_before_anything_is_sent(sandbox, client, organization):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=r"^organization: "):
        find_or_create_organization(client, organization)
    assert sandbox.control.counters()["calls"] == 0


# Creates that break off


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ({"kind": "close_after"}, 1),
        ({"kind": "cut_body"}, 1),
        ({"kind": "broken_json"}, 1),
        ({"kind": "close_and_finish", "after": 0}, 1),
        ({"kind": "close_and_finish", "after": 20}, 1),
        ({"kind": "close_and_finish", "after": 29.5}, 1),
        ({"kind": "close_before"}, 2),
        ({"kind": "status", "status": 502}, 2),
        ({"kind": "status", "status": 429}, 2),
    ],
    ids=str,
)
def test_a_create_that_broke_off_leaves_one(sandbox, client, lagging, path, fault, sent):
    name = f"Broken {fault} {sent}"
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", path, **fault)
    found = KINDS[path][0](client, {"name": name}, sleep=sandbox.control.advance)
    assert named(client, path, name) == [found]
    assert calls(sandbox, "POST", path) == sent


def test_a_create_whose_reply_does_not_come_in_time_leaves_one(sandbox, client, lagging, monkeypatch):
    """It is given up while the server has it in hand, and done while it is looked for."""
    add, wait = client.add_person, urllib3.connection.HTTPConnection.getresponse

    def add_impatiently(*arguments, **fields):
        monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", give_up)
        return add(*arguments, **fields)

    def give_up(connection):
        monkeypatch.setattr(urllib3.connection.HTTPConnection, "getresponse", wait)
        until(sandbox.control.held)
        connection.timeout = 0.01
        return wait(connection)

    def go_on(_):
        sandbox.control.let_go()
        until(lambda: not sandbox.control.held())

    monkeypatch.setattr(client, "add_person", add_impatiently)
    sandbox.control.fault("POST", PERSONS, "hold")
    sandbox.control.reset_counters()
    found = find_or_create_person(client, {"name": "Slow"}, sleep=go_on)
    assert named(client, PERSONS, "Slow") == [found]
    assert calls(sandbox, "POST") == 1


def test_absence_is_believed_only_after_the_settling_time(sandbox, client, lagging):
    waited: list[float] = []
    sandbox.control.fault("POST", PERSONS, "close_before")
    find_or_create_person(client, {"name": "Patience"}, settle=10, sleep=waited.append)
    assert waited == [3, 3, 3, 1, 0.5, 0.5]


def test_after_three_creates_that_broke_off_the_error_is_raised(sandbox, client, lagging):
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", PERSONS, "close_before", times=9)
    with pytest.raises(PipedriveError) as failure:
        find_or_create_person(client, {"name": "Never"}, sleep=no_time)
    assert not failure.value.in_doubt
    assert calls(sandbox, "POST") == 3


def test_a_create_that_was_refused_is_not_sent_again(sandbox, client):
    sandbox.control.reset_counters()
    sandbox.control.fault("POST", PERSONS, "status", status=403)
    with pytest.raises(PipedriveError):
        find_or_create_person(client, {"name": "Refused"}, sleep=no_time)
    assert calls(sandbox, "POST") == 1


def test_a_later_try_finds_what_the_earlier_one_created(sandbox, client, lagging, yesterday):
    begun = datetime.fromisoformat(sandbox.control.now())
    made = find_or_create_person(client, {"name": "Second Try"}, sleep=no_time)
    sandbox.control.advance(DAY)
    client.add_person("Somebody Else")
    for since in (begun, begun + timedelta(minutes=4), begun.replace(tzinfo=None)):
        assert find_or_create_person(client, {"name": "Second Try"}, since=since, sleep=no_time) == made
    late = begun + timedelta(minutes=6)
    assert find_or_create_person(client, {"name": "Second Try"}, since=late, sleep=no_time) != made


def test_to_create_one_takes_a_search_two_pages_of_the_newest_and_the_create(sandbox, client):
    sandbox.control.reset_counters()
    find_or_create_person(client, {"name": "One Page"}, sleep=no_time)
    lists = [call for call in sandbox.control.requests() if call["path"] == PERSONS and call["method"] == "GET"]
    assert [(call["query"]["sort_by"], call["query"]["sort_direction"]) for call in lists] == [("add_time", "desc")] * 2
    assert sandbox.control.counters()["tokens"] == 45


def rows_of_an_hour():
    """A row of each minute, the newest first."""
    return iter({"id": age, "add_time": (NOW - timedelta(minutes=age)).isoformat()} for age in range(60))


def test_the_list_is_read_no_further_than_needed():
    rows = rows_of_an_hour()
    assert [row["id"] for row in _recent(rows, NOW - timedelta(minutes=20))] == [*range(21)]
    assert next(rows)["id"] == 22


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_machine_whose_clock_is_wrong_reads_the_newest_all_the_same(hours):
    believed = NOW + timedelta(hours=hours)
    read = [row["id"] for row in _recent(rows_of_an_hour(), believed - timedelta(minutes=15))]
    assert read[:16] == [*range(16)]


# Twins


@pytest.mark.parametrize("path", KINDS)
def test_eight_threads_that_want_the_same_new_contact_get_one(sandbox, client, lagging, path):
    find, *_ = KINDS[path]

    def want(_: int) -> int:
        return find(client, {"name": f"Wanted by all of {path}"}, sleep=no_time)

    sandbox.control.reset_counters()
    sandbox.control.fault("POST", path, "hold", times=8)
    with ThreadPoolExecutor(8) as pool:
        wanting = pool.map(want, range(8))
        until(lambda: sandbox.control.held() == 8)  # all have looked, and found nobody
        sandbox.control.let_go()
        found = set(wanting)
    assert calls(sandbox, "POST", path) == 8
    assert named(client, path, f"Wanted by all of {path}") == [*found]


class Rival(PipedriveClient):
    """A client beside which, after each create of its own, somebody else does something."""

    def and_then(self, deed):
        self.deed = deed
        return self

    def add_person(self, name, **fields):
        made = super().add_person(name, **fields)
        self.deed(made)
        return made


@pytest.fixture
def rival(sandbox):
    made = Rival(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


def test_a_later_twin_changes_nothing(client, rival, lagging):
    others: list[int] = []
    rival.and_then(lambda _: others.append(client.add_person("Later Twin")["id"]))
    found = find_or_create_person(rival, {"name": "Later Twin"}, sleep=no_time)
    assert named(client, PERSONS, "Later Twin") == [found, *others]


@pytest.fixture
def earlier_twin(client, rival, lagging):
    """Somebody was faster by a moment: the twin gets its name only when the look for it has been."""
    twin = client.add_person("Not yet")["id"]
    rival.and_then(lambda made: client.request("PATCH", f"{PERSONS}/{twin}", json={"name": made["name"]}))
    return twin


def test_the_own_contact_goes_when_an_earlier_twin_is_there(client, rival, earlier_twin, caplog):
    assert find_or_create_person(rival, {"name": "Faster"}, sleep=no_time) == earlier_twin
    assert named(client, PERSONS, "Faster") == [earlier_twin]
    assert "stays" not in caplog.text


def test_a_twin_that_cannot_be_deleted_is_named_by_its_id(sandbox, client, rival, earlier_twin, caplog):
    sandbox.control.fault("DELETE", f"{PERSONS}/*", "status", status=403)
    with caplog.at_level(logging.WARNING):
        assert find_or_create_person(rival, {"name": "Confidential"}, sleep=no_time) == earlier_twin
    both = named(client, PERSONS, "Confidential")
    assert len(both) == 2
    assert all(str(number) in caplog.text for number in both)
    assert "Confidential" not in caplog.text


def test_a_twin_that_has_a_lead_already_is_not_deleted(client, rival, earlier_twin, caplog):
    rename = rival.deed
    rival.and_then(lambda made: (rename(made), client.add_lead("Fast", person_id=made["id"])))
    assert find_or_create_person(rival, {"name": "Popular"}, sleep=no_time) == earlier_twin
    assert len(named(client, PERSONS, "Popular")) == 2
    assert "merge them" in caplog.text


class LaggingList(PipedriveClient):
    """A client to which the list shows the newest persons only after some looks."""

    hidden = 0

    def get_persons(self, **query):
        self.hidden -= 1
        return (row for row in super().get_persons(**query) if self.hidden < 0 or row["name"] != "Hidden")


@pytest.mark.parametrize(("looks", "warned"), [(3, False), (9, True)])
def test_a_list_that_does_not_show_the_own_contact_is_read_again(sandbox, lagging, caplog, looks, warned):
    lagging_list = LaggingList(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    for row in lagging_list.get_persons():
        if row["name"] == "Hidden":
            lagging_list.delete_person(row["id"])
    earlier = lagging_list.add_person("Hidden")["id"]
    lagging_list.hidden = looks
    found = find_or_create_person(lagging_list, {"name": "Hidden"}, sleep=no_time)
    assert (found == earlier) is not warned
    assert ("may have a twin" in caplog.text) is warned
    lagging_list.close()


class ShowingDeleted(PipedriveClient):
    """A client of a server that goes on showing the person it deleted last, marked as such."""

    deleted: dict = {}

    def delete_person(self, person_id):
        self.deleted = {**self.get_person(person_id), "is_deleted": True}
        super().delete_person(person_id)

    def get_person(self, person_id):
        return self.deleted if self.deleted.get("id") == person_id else super().get_person(person_id)

    def get_persons(self, **query):
        yield from [self.deleted] if self.deleted else []
        yield from super().get_persons(**query)


@pytest.mark.parametrize("delay", [0, 1000 * DAY])
def test_a_person_shown_as_deleted_is_not_taken(sandbox, yesterday, delay):
    showing = ShowingDeleted(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    sandbox.control.set_delay("search_index", delay)
    gone = showing.add_person(f"Late {delay}")["id"]
    sandbox.control.advance(0 if delay else DAY)
    sandbox.control.set_delay("search_index", 1000 * DAY)
    showing.delete_person(gone)
    assert find_or_create_person(showing, {"name": f"Late {delay}"}, sleep=no_time) != gone
    showing.close()


@pytest.mark.parametrize(
    "written",
    [
        *("mailto:kim@bare.example", "MAILTO:kim@bare.example", "<kim@bare.example>", " kim@bare.example, "),
        *("kim@bare.example;", "kim@bare.example.", "<mailto:kim@bare.example>", "\u200bkim@bare\u200d.example\ufeff"),
        *("kim@\u2060bare.example\n", "..kim@bare.example"),
    ],
)
def test_an_address_is_one_however_it_was_copied(client, written):
    one = find_or_create_person(client, {"name": "Kim Bare", "email": "kim@bare.example"})
    assert find_or_create_person(client, {"name": "Kim Bare", "email": written}) == one


@pytest.mark.parametrize(
    "written", ["Kim <kim@bare.example>", "kim@bare.example, lou@bare.example", 'kim"@bare.example', "mailto:", "<>"]
)
def test_what_is_more_than_an_address_is_refused(client, written):
    with pytest.raises(PipedriveValidationError, match=r"^person: "):
        find_or_create_person(client, {"email": written})


class LateList:
    """A client of an account whose lists show a contact some seconds after it was made."""

    def __init__(self, client, sandbox, late):
        self._client, self._sandbox, self._late = client, sandbox, late

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if name not in ("get_persons", "get_organizations"):
            return found
        return lambda **options: [row for row in found(**options) if self._is_shown(row)]

    def _is_shown(self, row):
        now = datetime.fromisoformat(self._sandbox.control.now())
        return (now - datetime.fromisoformat(row["add_time"])).total_seconds() >= self._late


@pytest.mark.parametrize("late", [1, 3, 5])
@pytest.mark.parametrize("path", [PERSONS, ORGANIZATIONS])
def test_one_stays_of_two_made_side_by_side_where_the_list_is_late(sandbox, client, lagging, path, late):
    find_or_create, _, add = KINDS[path]
    name, first = f"Late {late}", []
    account = LateList(client, sandbox, late)

    def after_another(*given, **options):
        first.append(getattr(client, add)(name)["id"])
        sandbox.control.advance(1)
        return getattr(client, add)(*given, **options)

    setattr(account, add, after_another)
    sandbox.control.freeze()
    assert find_or_create(account, {"name": name}, sleep=sandbox.control.advance) == first[0]
    sandbox.control.advance(60)
    assert named(client, path, name) == first


def test_a_person_who_is_created_belongs_to_the_organization_so_that_its_domain_leads_there(client):
    house = find_or_create_organization(client, {"name": "Own Make", "domain": "own-make.example"}, sleep=no_time)
    person = {"name": "Kim", "email": "kim@own-make.example"}
    find_or_create_person(client, person, organization_id=house, sleep=no_time)
    assert find_or_create_organization(client, {"domain": "own-make.example"}, sleep=no_time) == house
    assert find_or_create_person(client, person, organization_id=house, sleep=no_time)
