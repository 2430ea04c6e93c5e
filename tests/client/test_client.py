"""The client against the sandbox: logins, pages, repeats, errors, safety."""

from __future__ import annotations

import threading
from datetime import date, time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveConnectionError,
    PipedriveDailyBudgetError,
    PipedriveError,
    PipedriveNotFoundError,
    PipedriveRateLimitError,
    PipedriveServerError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.client import PipedriveClient

UNKNOWN_LEAD = "00000000-1f7a-11ef-8c3b-6f1e2a9d7c55"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def settings_for(url, token=TOKEN, **extra):
    return read_connection(password=token, extra={"base_url": url, **extra}, name="connection 'crm'")


def writes(sandbox, method, path):
    return [seen for seen in sandbox.control.requests() if (seen["method"], seen["path"]) == (method, path)]


# Every operation


def test_a_leads_life(client, person_id):
    lead = client.add_lead("Rollout", person_id=person_id, value={"amount": "12.5", "currency": "eur"})
    assert lead["value"] == {"amount": 12.5, "currency": "EUR"}
    assert client.get_lead(lead["id"])["title"] == "Rollout"
    changed = client.update_lead(lead["id"], title="Second", value=None, label_ids=["Hot"])
    assert (changed["title"], changed["value"], len(changed["label_ids"])) == ("Second", None, 1)
    assert client.get_lead_users(lead["id"])
    assert client.delete_lead(lead["id"]) == lead["id"]
    with pytest.raises(PipedriveNotFoundError, match=lead["id"]):
        client.get_lead(lead["id"])


def test_archiving_moves_between_the_lists(client, person_id):
    lead = client.add_lead("Old", person_id=person_id)
    client.update_lead(lead["id"], is_archived=True)
    assert lead["id"] in {found["id"] for found in client.get_archived_leads(person_id=person_id)}
    assert lead["id"] not in {found["id"] for found in client.get_leads(person_id=person_id)}


@pytest.mark.long
@pytest.mark.parametrize("page_size", [1, 7, 500])
def test_pages_of_any_size_give_all_leads_once(sandbox, client, page_size):
    active = [lead["id"] for lead in client.get_leads(page_size=page_size)]
    archived = [lead["id"] for lead in client.get_archived_leads(page_size=page_size)]
    assert len(set(active)) == len(active) == sandbox.control.lead_count(archived=False)
    assert len(set(archived)) == len(archived) == sandbox.control.lead_count(archived=True)


def test_iterators_fetch_only_what_is_asked_for(sandbox, client):
    sandbox.control.reset_counters()
    leads = client.get_leads(page_size=5)
    assert sandbox.control.counters()["calls"] == 0
    next(leads)
    assert sandbox.control.counters()["calls"] == 1


@pytest.mark.parametrize("page_size", [0, 501, "5", True])
def test_a_page_size_out_of_range_is_refused(client, page_size):
    with pytest.raises(PipedriveValidationError, match="page_size"):
        next(client.get_leads(page_size=page_size))


def test_filters_and_updated_since(client, person_id):
    lead = client.add_lead("Filtered", person_id=person_id)
    assert [found["id"] for found in client.get_leads(person_id=str(person_id))] == [lead["id"]]
    since = [found["id"] for found in client.get_leads(updated_since=lead["update_time"], sort="update_time ASC")]
    assert lead["id"] in since


def test_labels_sources_fields_and_user(client):
    label = client.add_lead_label("Later", "purple")
    assert client.update_lead_label(label["id"], color="green")["color"] == "green"
    assert "Later" in {found["name"] for found in client.get_lead_labels()}
    assert client.delete_lead_label(label["id"]) == label["id"]
    assert "API" in client.get_lead_sources()
    assert {"title", "owner_id"} < {field["key"] for field in client.get_lead_fields()}
    assert client.get_current_user()["company_domain"]
    with pytest.raises(PipedriveValidationError, match="color"):
        client.add_lead_label("Odd", "mauve")


def test_search_finds_leads_persons_and_organizations(sandbox, client, person_id):
    sandbox.control.set_delay("search_index", 0)
    client.add_lead("Zeppelin hangar", person_id=person_id)
    client.add_organization("Zeppelin Works")
    client.add_person("Ada Zeppelin", emails=[{"value": "ada@zeppelin.example", "primary": True, "label": "work"}])
    assert [hit["title"] for hit in client.search_leads("Zeppelin", fields="title")] == ["Zeppelin hangar"]
    assert [hit["name"] for hit in client.search_organizations("Zeppelin Works", exact_match=True)] == [
        "Zeppelin Works"
    ]
    assert [hit["name"] for hit in client.search_persons("ada@zeppelin.example", fields="email")] == ["Ada Zeppelin"]
    with pytest.raises(PipedriveValidationError, match="term"):
        next(client.search_leads("Z"))


def test_a_lead_becomes_a_deal_and_a_lead_again(sandbox, client, person_id):
    sandbox.control.set_delay("conversion", 0)
    lead = client.add_lead("There and back", person_id=person_id)
    conversion = client.convert_lead_to_deal(lead["id"])
    status = client.get_lead_conversion_status(lead["id"], conversion)
    assert status["status"] == "completed"
    with pytest.raises(PipedriveNotFoundError):
        client.get_lead(lead["id"])
    back = client.convert_deal_to_lead(status["deal_id"])
    status = client.get_deal_conversion_status(status["deal_id"], back)
    assert client.get_lead(status["lead_id"])["title"] == "There and back"


def test_notes_and_webhooks(client, person_id):
    lead = client.add_lead("Noted", person_id=person_id)
    assert client.add_note("Called back", lead_id=lead["id"])["lead_id"] == lead["id"]
    hook = client.add_webhook("http://127.0.0.1:9/leads", "*", "lead", "Test")
    assert hook["id"] in {found["id"] for found in client.get_webhooks()}
    client.delete_webhook(hook["id"])
    assert hook["id"] not in {found["id"] for found in client.get_webhooks() if found.get("is_active")}


def test_any_other_endpoint_by_request(client):
    assert client.request("GET", "/v1/users/me")["data"]["company_domain"]
    with pytest.raises(PipedriveNotFoundError):
        client.request("GET", "/v1/noSuchThing")


def test_fields_by_name_reach_the_server_as_keys(client, person_id):
    lead = client.add_lead("Named", person_id=person_id, **{"Company size": "11-50", "Lead score": "8.5"})
    field = {found.name: found for found in client.catalogue().fields}
    assert field["Company size"].label_of(lead[field["Company size"].key]) == "11-50"
    assert lead[field["Lead score"].key] == 8.5


# Bad input: nothing is sent


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "person_id, organization_id"),
        ({"person_id": 1, "value": {"amount": 5}}, "value"),
        ({"person_id": 1, "expected_close_date": "2026-01-31T00:00:00Z"}, "expected_close_date"),
        ({"person_id": 1, "is_archived": True}, "is_archived"),
        ({"person_id": 1, "title ": "x"}, "title "),
    ],
)
def test_a_bad_lead_is_refused_before_it_is_sent(sandbox, client, fields, words):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError, match=words):
        client.add_lead("Bad", **fields)
    assert writes(sandbox, "POST", "/v1/leads") == []


@pytest.mark.parametrize("fields", [{}, {"origin_id": "7"}, {"title": None}])
def test_a_bad_change_is_refused_before_it_is_sent(sandbox, client, fields):
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveValidationError):
        client.update_lead(UNKNOWN_LEAD, **fields)
    assert sandbox.control.counters()["calls"] == 0


def test_an_unknown_lead_is_named(client):
    for attempt in (client.get_lead, client.delete_lead, lambda lead_id: client.update_lead(lead_id, title="x")):
        with pytest.raises(PipedriveNotFoundError, match=UNKNOWN_LEAD):
            attempt(UNKNOWN_LEAD)


# Faults


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("kind", ["status", "html"])
def test_a_failing_server_is_asked_again(sandbox, client, status, kind):
    sandbox.control.fault("GET", "/v1/leadSources", kind, status=status, times=2)
    assert client.get_lead_sources()
    assert client.usage.retries == 2


@pytest.mark.parametrize("kind", ["close_before", "close_after", "cut_body", "broken_json"])
def test_a_broken_reply_is_asked_for_again(sandbox, client, kind):
    sandbox.control.fault("GET", "/v1/leadSources", kind)
    assert client.get_lead_sources()
    assert (client.usage.requests, client.usage.retries, client.usage.tokens) == (2, 1, 4)


@pytest.mark.parametrize("kind", ["close_before", "close_after", "cut_body", "broken_json"])
def test_a_create_in_doubt_is_not_repeated(sandbox, client, person_id, kind):
    sandbox.control.fault("POST", "/v1/leads", kind)
    sandbox.control.reset_counters()
    with pytest.raises(PipedriveError) as raised:
        client.add_lead("Once", person_id=person_id)
    assert raised.value.in_doubt
    assert len(writes(sandbox, "POST", "/v1/leads")) == 1
    assert len(list(client.get_leads(person_id=person_id))) == (0 if kind == "close_before" else 1)


def test_a_create_that_met_a_full_window_is_repeated(sandbox, no_waiting, client, person_id):
    sandbox.control.fault("POST", "/v1/leads", "status", status=429)
    client.add_lead("Patient", person_id=person_id)
    assert len(list(client.get_leads(person_id=person_id))) == 1
    assert client.usage.rate_limited == 1


def test_a_deletion_whose_reply_was_lost_is_done(sandbox, client, person_id):
    lead = client.add_lead("Gone", person_id=person_id)
    sandbox.control.fault("DELETE", "/v1/leads/*", "close_after")
    assert client.delete_lead(lead["id"]) == lead["id"]


def test_a_server_that_stays_down_is_given_up(sandbox, client):
    sandbox.control.fault("GET", "/v1/leadSources", "status", status=503, times=50)
    with pytest.raises(PipedriveServerError, match="503"):
        client.get_lead_sources()
    assert client.usage.requests == 6


def test_a_ban_is_not_hammered(sandbox, client):
    sandbox.control.fault("GET", "/v1/leadSources", "html", status=403)
    with pytest.raises(PipedriveRateLimitError, match="ban") as raised:
        client.get_lead_sources()
    assert raised.value.retry_after >= 60
    assert client.usage.requests == 1


def test_a_silent_server_is_given_up_in_time(sandbox):
    impatient = PipedriveClient(settings_for(sandbox.url, sandbox.token, timeout=0.3), chance=lambda: 0.0)
    sandbox.control.fault("POST", "/v1/leads", "hold")
    with pytest.raises(PipedriveConnectionError, match=r"within 0\.3 s") as raised:
        impatient.add_lead("Slow", person_id=1)
    assert raised.value.in_doubt


# Budgets


@pytest.fixture
def with_rate_headers(sandbox, shared_time):
    """Replies tell what is left of the day, which does not end meanwhile."""
    sandbox.control.set_choice("rate_headers", "present")


def test_the_reserve_of_the_day_is_kept(sandbox, client, with_rate_headers):
    client.get_lead_sources()
    left = client.usage.daily_tokens_left
    reserved = PipedriveClient(settings_for(sandbox.url, sandbox.token, daily_token_reserve=left - 10))
    reserved.get_lead_sources()
    with pytest.raises(PipedriveDailyBudgetError, match="Daily token reserve"):
        list(reserved.get_leads())
    assert reserved.usage.requests == 1


def test_a_long_lived_client_learns_of_the_next_day(sandbox, client, with_rate_headers):
    client.get_lead_sources()
    left = client.usage.daily_tokens_left
    now = [0.0]
    reserved = PipedriveClient(
        settings_for(sandbox.url, sandbox.token, daily_token_reserve=left - 10), clock=lambda: now[0]
    )
    reserved.get_lead_sources()
    with pytest.raises(PipedriveDailyBudgetError):
        list(reserved.get_leads())
    now[0] = 1900
    list(reserved.get_leads())  # what was told half an hour ago may be of a day that is over
    with pytest.raises(PipedriveDailyBudgetError):
        list(reserved.get_leads())


def test_a_long_lived_client_that_is_told_nothing_counts_anew_each_day(sandbox):
    sandbox.control.set_choice("rate_headers", "absent")
    now = [0.0]
    blind = PipedriveClient(
        settings_for(sandbox.url, sandbox.token, daily_token_reserve=30_000 - 5), clock=lambda: now[0]
    )
    blind.get_lead_sources()
    blind.get_lead_sources()
    with pytest.raises(PipedriveDailyBudgetError):
        blind.get_lead_sources()
    now[0] = 80_000
    with pytest.raises(PipedriveDailyBudgetError):
        blind.get_lead_sources()
    now[0] = 90_000
    blind.get_lead_sources()


def test_a_reserve_larger_than_the_day_is_a_mistake(sandbox, client, with_rate_headers):
    client.get_lead_sources()
    size = client._day.size
    greedy = PipedriveClient(settings_for(sandbox.url, sandbox.token, daily_token_reserve=size))
    greedy.get_lead_sources()
    with pytest.raises(PipedriveConfigError, match="Daily token reserve"):
        greedy.get_lead_sources()


def test_without_headers_the_reserve_counts_own_calls_and_warns_once(sandbox, no_waiting, caplog):
    sandbox.control.set_choice("rate_headers", "absent")
    blind = PipedriveClient(settings_for(sandbox.url, sandbox.token, daily_token_reserve=30_000 - 5))
    blind.get_lead_sources()
    blind.get_lead_sources()
    with pytest.raises(PipedriveDailyBudgetError, match="about 29996 are left"):
        blind.get_lead_sources()
    assert blind.usage.daily_tokens_left is None
    assert len([record for record in caplog.records if "does not tell" in record.message]) == 1


def test_a_429_that_outlasts_five_windows_is_a_spent_day(sandbox, client, no_waiting):
    patient = PipedriveClient(client.settings)
    sandbox.control.set_choice("rate_headers", "absent")  # nobody says that tokens are left
    sandbox.control.fault("GET", "/v1/leadSources", "status", status=429, times=20)
    with pytest.raises(PipedriveDailyBudgetError, match="most likely spent"):
        patient.get_lead_sources()
    assert patient.usage.rate_limited == 6
    assert patient.usage.tokens == 0


def test_usage_counts_requests_and_tokens(sandbox, client):
    sandbox.control.reset_counters()
    list(client.get_leads(page_size=20))
    client.get_lead_sources()
    counters = sandbox.control.counters()
    assert (client.usage.requests, client.usage.tokens) == (counters["calls"], counters["tokens"])


# Safety


def test_a_wrong_token_says_where_to_mend_it(sandbox):
    client = PipedriveClient(settings_for(sandbox.url, "f" * 40))
    with pytest.raises(PipedriveAuthError, match=r"'API token' \(Password\) of connection 'crm'") as raised:
        client.get_current_user()
    assert client.usage.requests == 1
    assert "f" * 40 not in str(raised.value)


def test_an_unreachable_host_says_so(nobody):
    client = PipedriveClient(settings_for(nobody), sleep=lambda _: None)
    with pytest.raises(PipedriveConnectionError, match="cannot be reached") as raised:
        client.add_lead("Nowhere", person_id=1)
    assert not raised.value.in_doubt
    assert client.usage.requests == 0


class Recording(BaseHTTPRequestHandler):
    """Keeps the headers of every request, and answers with a redirect to another host name."""

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
        self.end_headers()

    def log_message(self, *args):
        """Be quiet."""


@pytest.fixture
def recorder():
    server = HTTPServer(("127.0.0.1", 0), Recording)
    server.seen = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_redirects_are_not_followed(recorder):
    client = PipedriveClient(settings_for(f"http://127.0.0.1:{recorder.server_port}"))
    with pytest.raises(PipedriveError, match="points to localhost"):
        client.get_lead_sources()
    assert [path for path, _ in recorder.seen] == ["/v1/leadSources"]


def test_the_token_is_a_header_and_netrc_is_not_read(recorder, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password elses\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client = PipedriveClient(settings_for(f"http://127.0.0.1:{recorder.server_port}"))
    with pytest.raises(PipedriveError):
        list(client.get_leads())
    ((path, headers),) = recorder.seen
    assert headers["x-api-token"] == TOKEN
    assert "Authorization" not in headers
    assert TOKEN not in path


def test_a_full_window_is_waited_out_and_no_429_comes(sandbox, shared_time):
    """That of searches: the one of all calls has room for many more."""
    settings = settings_for(sandbox.url, sandbox.token, burst_limit=100)
    client = PipedriveClient(settings, clock=shared_time.monotonic, sleep=shared_time.sleep)
    sandbox.control.set_burst()
    sandbox.control.reset_counters()
    threads = [
        threading.Thread(target=lambda: [list(client.search_leads("Rollout")) for _ in range(4)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counters = sandbox.control.counters()
    assert counters["rejected"] == 0
    assert counters["calls"] >= 16


def test_every_type_of_custom_field_comes_back_as_it_was_written(client, person_id):
    topics = next(field for field in client.catalogue().fields if field.name == "Interests").options
    owner = client.get_current_user()["id"]
    written = {
        "Company size": "11-50",
        "Interests": [topics[0].label, topics[1].label],
        "Lead score": Decimal("8.5"),
        "Budget": {"amount": Decimal("3000.5"), "currency": "EUR"},
        "Next review": date(2026, 3, 1),
        "Trial period": {"from": date(2026, 3, 1), "until": date(2026, 4, 1)},
        "Best time to call": time(9, 30),
        "Office hours": {"from": time(9), "until": time(17, 30)},
        "External ID": "crm-17",
        "Requirements": "Cold room, two doors",
        "Site address": "12 Harbour Street, 20457 Hamburg, Germany",
        "Switchboard": "+49 40 123456",
        "Technical owner": owner,
        "Partner": client.add_organization("Partner Works")["id"],
        "Recommended by": person_id,
    }
    lead = client.add_lead("Typed", person_id=person_id, **written)
    read = client.named_fields(client.get_lead(lead["id"]))
    assert read == written
    assert {field.name for field in client.catalogue().fields} == set(written)
    unset = client.update_lead(lead["id"], **dict.fromkeys(written))
    assert set(client.named_fields(unset).values()) == {None}


def test_a_client_that_makes_a_field_or_a_label_knows_it(client, person_id):
    client.catalogue()
    body = {"field_name": "Made just now", "field_type": "text"}
    key = client.request("POST", "/api/v2/dealFields", json=body)["data"]["field_code"]
    assert client.add_lead("By key", person_id=person_id, **{key: "x"})[key] == "x"
    client.catalogue()
    label = client.add_lead_label("Made just now", "blue")
    assert client.add_lead("By label", person_id=person_id, label_ids="made just now")["label_ids"] == [label["id"]]
