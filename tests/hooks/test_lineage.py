"""Lineage: what was read and written is told once, with the company and nothing else, and never gets in the way."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.sdk import BaseHook, ObjectStoragePath, lineage, plugins_manager

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.connection import ApiToken, ConnectionSettings, OAuthApp, Secret
from airflow_provider_pipedrive_leads.api.endpoints import Call, free_call
from airflow_provider_pipedrive_leads.api.oauth import OAuthTokens
from airflow_provider_pipedrive_leads.api.replies import Reply
from airflow_provider_pipedrive_leads.exceptions import PipedriveNotFoundError
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.hooks.lineage import (
    company_at,
    company_in,
    direction_of,
    export_lineage,
    file_uri,
    left_to_hooks,
    report_file,
    table_lineage,
)
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.hooks.token_store import VariableTokenStore

LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"
ADDRESS = "acme+8+lead12ab@pipedrivemail.com"
READ = {"getLeads", "getArchivedLeads", "getLead", "searchLeads"}
WRITTEN = {"addLead", "updateLead", "deleteLead", "convertLeadToDeal", "convertDealToLead"}


@pytest.fixture
def collector(monkeypatch):
    """Let Airflow gather lineage as it does beside a reader, from nothing."""
    monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", lambda: [lineage.HookLineageReader])
    get_collector = lineage.get_hook_lineage_collector
    get_collector.cache_clear()
    yield get_collector()
    get_collector.cache_clear()


@pytest.fixture
def hook(sandbox, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_PIPEDRIVE_DEFAULT", json.dumps(sandbox.connection))
    made = PipedriveLeadsHook()
    yield made
    made.close()


@pytest.fixture
def uri(client):
    return f"pipedrive://{client.get_current_user()['company_domain']}/leads"


def told(collector):
    """Uris and counts of inputs and outputs."""
    found = collector.collected_assets
    return [[(info.asset.uri, info.count) for info in infos] for infos in (found.inputs, found.outputs)]


@pytest.mark.parametrize("endpoint", endpoints.ENDPOINTS, ids=lambda endpoint: endpoint.operation)
def test_the_direction_of_every_endpoint(endpoint):
    path = re.sub(r"\{[a-z_]+\}", LEAD, endpoint.path)
    due = "input" if endpoint.operation in READ else "output" if endpoint.operation in WRITTEN else None
    assert direction_of(Call(endpoint.method, path, 1)) == due


@pytest.mark.parametrize(
    ("method", "path", "due"),
    [
        ("GET", "/api/v1/leads", "input"),
        ("PUT", f"/api/v1/leads/{LEAD}", "output"),
        ("GET", "/v1/leadSources", None),
        ("POST", "/v1/notes", None),
        ("GET", "/api/v2/itemSearch", None),
        ("POST", f"/v1/leads/{LEAD}/permittedUsers", None),
        ("GET", "/v1/deals", None),
    ],
)
def test_the_direction_of_free_calls(method, path, due):
    assert direction_of(free_call(method, path)) == due


@pytest.mark.parametrize(
    ("url", "company"),
    [
        ("https://acme.pipedrive.com", "acme"),
        ("https://api.pipedrive.com", None),
        ("https://acme.example.com", None),
        ("http://localhost:9", None),
        ("http://127.0.0.1:9", None),
        ("", None),
    ],
)
def test_the_company_at_a_server(url, company):
    assert company_at(url) == company


@pytest.mark.parametrize(
    ("path", "data", "company"),
    [
        ("/v1/leads", [{"cc_email": ADDRESS}, {"cc_email": "other+1+lead1@pipedrivemail.com"}], "acme"),
        ("/v1/leads/archived", [], None),
        (f"/v1/leads/{LEAD}", {"cc_email": ADDRESS}, "acme"),
        (f"/v1/leads/{LEAD}", {"cc_email": None}, None),
        (f"/v1/leads/{LEAD}", {"cc_email": "robin@example.com"}, None),
        (f"/v1/leads/{LEAD}", {"cc_email": f"robin@example.com, {ADDRESS}"}, None),
        (f"/v1/leads/{LEAD}", None, None),
        ("/v1/users/me", {"company_domain": "acme"}, "acme"),
        ("/v1/users/me", {"company_domain": None, "cc_email": ADDRESS}, None),
        ("/v1/users/me", ["acme"], None),
        ("/v1/notes", [{"cc_email": ADDRESS}], None),
    ],
)
def test_the_company_in_a_reply(path, data, company):
    assert company_in(Call("GET", path, 1), Reply(200, {}, {"data": data})) == company


def test_pages_are_one_input(hook, collector, uri):
    assert len(list(hook.get_leads(page_size=7))) > 14
    list(hook.get_archived_leads())
    assert told(collector) == [[(uri, 1)], []]


def test_add_update_and_delete_are_one_output(hook, collector, uri, person_id):
    lead = hook.add_lead("Silver Spoon", person_id=person_id)
    hook.update_lead(lead["id"], title="Golden Spoon")
    hook.delete_lead(lead["id"])
    assert told(collector) == [[], [(uri, 1)]]


def test_what_is_read_and_written_is_both(hook, collector, uri, person_id):
    hook.get_lead(hook.add_lead("Both", person_id=person_id)["id"])
    assert told(collector) == [[(uri, 1)], [(uri, 1)]]


def test_many_threads_tell_once(hook, collector, uri):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: next(hook.get_leads()), range(16)))
    assert told(collector) == [[(uri, 1)], []]


def test_a_hook_can_be_copied():
    assert pickle.loads(pickle.dumps(copy.deepcopy(PipedriveLeadsHook("crm")))).pipedrive_conn_id == "crm"


def test_every_hook_tells_for_itself(hook, collector, uri):
    next(hook.get_leads())
    next(PipedriveLeadsHook().get_leads())
    assert told(collector) == [[(uri, 1), (uri, 1)], []]


def test_all_else_is_no_lineage(hook, collector, person_id):
    label = hook.add_lead_label("Lineage", "red")
    hook.delete_lead_label(label["id"])
    hook.catalogue()
    hook.get_lead_sources()
    hook.get_current_user()
    list(hook.search_persons("Robin Example"))
    with pytest.raises(PipedriveNotFoundError):
        hook.delete_lead("00000000-1f7a-11ef-8c3b-6f1e2a9d7c55")
    assert told(collector) == [[], []]


def test_no_token_and_no_lead_is_in_it(hook, collector, sandbox):
    leads = list(hook.get_leads())
    (info,) = collector.collected_assets.inputs
    shown = f"{info.asset!r} {info.context!r} {collector.collected_assets!r}"
    assert sandbox.token not in shown
    for lead in leads:
        assert not any(str(lead[name]) in shown for name in ("id", "title", "cc_email"))
    assert info.asset.extra == {}
    assert collector.collected_assets.extra == []


def test_what_was_done_before_the_company_was_known_is_told_then(hook, collector, uri, client, person_id):
    """The answer to a delete tells nothing of the company; no call is made to find out."""
    lead = client.add_lead("Gone", person_id=person_id)
    hook.delete_lead(lead["id"])
    assert hook.usage.requests == 1
    assert told(collector) == [[], []]
    hook.get_current_user()
    assert told(collector) == [[], [(uri, 1)]]


class SilentClient:
    """Answers each call with nothing."""

    def __init__(self, base_url="https://api.pipedrive.com", login=None):
        self.settings = ConnectionSettings("c", base_url, login or ApiToken(Secret("t" * 40)))

    def send(self, call):
        return Reply(200, {}, {"data": []})


def test_the_companys_own_host_names_it(collector):
    hook = PipedriveLeadsHook()
    hook._client = SilentClient("https://acme.pipedrive.com")
    assert list(hook.get_leads()) == []
    assert told(collector) == [[("pipedrive://acme/leads", 1)], []]


@pytest.mark.parametrize(
    ("api_domain", "due"),
    [
        ("https://acme.pipedrive.com", [("pipedrive://acme/leads", 1)]),
        ("https://api.pipedrive.com", []),
        ("https://acme.example.com", []),
    ],
)
def test_oauth_tokens_name_the_company(collector, monkeypatch, api_domain, due):
    looks = []

    def load(store):
        looks.append(store.key)
        return OAuthTokens(Secret("a"), Secret("r"), 1e12, api_domain, "g")

    monkeypatch.setattr(VariableTokenStore, "load", load)
    hook = PipedriveLeadsHook("crm")
    hook._client = SilentClient(login=OAuthApp("id", Secret("s"), Secret("r"), "https://oauth.pipedrive.com"))
    for _ in range(3):
        list(hook.get_leads())
    assert told(collector) == [due, []]
    assert looks == ["pipedrive_leads_access_token_crm"]


def test_without_a_reader_nothing_is_looked_up(monkeypatch):
    monkeypatch.setattr(VariableTokenStore, "load", lambda store: pytest.fail("nobody listens"))
    lineage.get_hook_lineage_collector.cache_clear()
    assert isinstance(lineage.get_hook_lineage_collector(), lineage.NoOpCollector)
    hook = PipedriveLeadsHook("crm")
    hook._client = SilentClient(login=OAuthApp("id", Secret("s"), Secret("r"), "https://oauth.pipedrive.com"))
    assert list(hook.get_leads()) == []


@pytest.mark.parametrize("broken", ["get_hook_lineage_collector", "add_input_asset"])
def test_what_goes_wrong_in_lineage_fails_no_call(hook, collector, monkeypatch, broken):
    tries = []

    def fail(*args, **kwargs):
        tries.append(1)
        raise RuntimeError("a plugin's")

    monkeypatch.setattr(lineage if broken.startswith("get") else collector, broken, fail)
    assert len(list(hook.get_leads(page_size=20))) > 20
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/tmp/a b.csv", "file:///tmp/a b.csv"),
        ("file:///tmp/a.csv", "file:///tmp/a.csv"),
        ("memory://bucket/a.csv", "memory://bucket/a.csv"),
        ("s3://conn@bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("s3://user:secret@bucket/a.csv?sig=secret#secret", "s3://bucket/a.csv"),
    ],
)
def test_the_uri_of_a_file(path, uri):
    assert file_uri(ObjectStoragePath(path)) == uri


def test_the_uri_of_a_file_beside_us(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert file_uri(ObjectStoragePath("a.csv")) == f"file://{tmp_path}/a.csv"


@pytest.mark.parametrize("broken", ["get_hook_lineage_collector", "add_output_asset"])
def test_what_goes_wrong_in_lineage_fails_no_file(collector, monkeypatch, broken):
    def fail(*args, **kwargs):
        raise RuntimeError("a plugin's")

    monkeypatch.setattr(lineage if broken.startswith("get") else collector, broken, fail)
    report_file(ObjectStoragePath("a.csv"))


COLUMNS = [Column("id", "text", "id"), Column("value_amount", "number", "value")]


@pytest.fixture
def openlineage():
    pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is not installed")


@pytest.fixture
def acme():
    made = PipedriveLeadsHook()
    made._client = SilentClient("https://acme.pipedrive.com")
    return made


def names(datasets):
    return [(dataset.namespace, dataset.name) for dataset in datasets]


def facets(lineage_told):
    """Columns and rows of the one output."""
    (written,) = lineage_told.outputs
    schema = written.facets.get("schema")
    columns = [(field.name, field.type) for field in schema.fields] if schema else None
    return columns, written.outputFacets["outputStatistics"].rowCount


@pytest.mark.usefixtures("openlineage")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tmp/a b.csv", ("file", "/tmp/a b.csv")),
        ("file:///tmp/parts/", ("file", "/tmp/parts")),
        ("s3://conn@lake/crm/a@b.csv", ("s3://lake", "crm/a@b.csv")),
        ("s3://user:hidden@lake/a.csv?sig=hidden", ("s3://lake", "a.csv")),
        ("s3a://lake/a.csv", ("s3://lake", "a.csv")),
        ("gcs://lake/a.csv", ("gs://lake", "a.csv")),
        ("memory://lake/a.csv", ("memory://lake", "a.csv")),
    ],
)
def test_openlineage_of_an_export(acme, path, name):
    told_of = export_lineage(acme, ObjectStoragePath(path), COLUMNS, 7)
    assert names(told_of.inputs) == [("pipedrive://acme", "leads")]
    assert names(told_of.outputs) == [name]
    assert facets(told_of) == ([("id", "text"), ("value_amount", "number")], 7)


@pytest.mark.usefixtures("openlineage")
def test_a_file_is_called_the_same_by_operators_and_by_hooks(acme, collector, tmp_path):
    from airflow.providers.openlineage.extractors.manager import ExtractorManager

    place = ObjectStoragePath(f"{tmp_path}/leads.csv")
    report_file(place)
    assert names(export_lineage(acme, place, [], 0).outputs) == names(ExtractorManager().get_hook_lineage().outputs)


@pytest.mark.usefixtures("openlineage")
def test_openlineage_of_leads_as_they_came_and_of_nobody(tmp_path):
    hook = PipedriveLeadsHook()
    hook._client = SilentClient()
    told_of = export_lineage(hook, ObjectStoragePath(tmp_path / "leads.jsonl"), [], 0)
    assert told_of.inputs == []
    assert facets(told_of) == (None, 0)


@pytest.mark.usefixtures("openlineage")
def test_openlineage_names_the_company_that_replies_named(hook, uri, tmp_path):
    next(hook.get_leads())
    told_of = export_lineage(hook, ObjectStoragePath(tmp_path / "leads.csv"), COLUMNS, 1)
    assert ["/".join(name) for name in names(told_of.inputs)] == [uri]


@pytest.mark.usefixtures("openlineage")
@pytest.mark.parametrize(
    ("connection", "table", "name"),
    [
        ({"conn_type": "sqlite", "host": "/data/a@b.db"}, "leads", ("sqlite:///data/a@b.db", "leads")),
        ({"conn_type": "sqlite"}, "main.leads", ("sqlite", "main.leads")),
        (
            {"conn_type": "duckdb", "host": "md:crm?motherduck_token=hidden"},
            "sales.leads",
            ("duckdb://md:crm", "sales.leads"),
        ),
        (
            {"conn_type": "duckdb", "host": "https://user:hidden@db.example.com", "port": 99, "schema": "crm"},
            "leads",
            ("duckdb://db.example.com:99", "crm.leads"),
        ),
        ({"conn_type": "sqlite", "host": "db;password=hidden"}, "leads", ("sqlite://db", "leads")),
        (
            {"conn_type": "postgres", "host": "db", "login": "me", "password": "hidden", "schema": "crm"},
            "sales.leads",
            ("postgres://db:5432", "crm.sales.leads"),
        ),
        (
            {"conn_type": "mysql", "host": "db", "port": 99, "password": "hidden", "schema": "crm"},
            "leads",
            ("mysql://db:99", "crm.leads"),
        ),
        ({"conn_type": "mysql", "host": "db", "schema": "crm"}, "sales.leads", ("mysql://db:3306", "sales.leads")),
    ],
)
def test_openlineage_of_a_load(acme, monkeypatch, connection, table, name):
    pytest.importorskip(f"airflow.providers.{connection['conn_type']}.hooks.{connection['conn_type']}")
    monkeypatch.setenv("AIRFLOW_CONN_DATABASE", json.dumps(connection))
    told_of = table_lineage(acme, BaseHook.get_hook("database"), table, COLUMNS, 7)
    assert names(told_of.inputs) == [("pipedrive://acme", "leads")]
    assert names(told_of.outputs) == [name]
    assert facets(told_of) == ([("id", "text"), ("value_amount", "number")], 7)
    assert "hidden" not in repr(told_of)


@pytest.mark.usefixtures("openlineage")
def test_what_cannot_be_told_is_left_to_the_hooks(acme, tmp_path):
    """A value that OpenLineage takes without a warning, and merges with what the collector holds."""
    for told_of in (
        table_lineage(acme, object(), "leads", COLUMNS, 7),
        export_lineage(object(), ObjectStoragePath(tmp_path / "leads.csv"), COLUMNS, 7),
        left_to_hooks(),
    ):
        assert (told_of.inputs, told_of.outputs) == ([], [])


def test_without_openlineage_nothing_is_told(acme, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    assert export_lineage(acme, ObjectStoragePath(tmp_path / "leads.csv"), COLUMNS, 7) is None
    assert table_lineage(acme, object(), "leads", COLUMNS, 7) is None
    assert left_to_hooks() is None
