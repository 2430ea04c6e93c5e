"""Incremental exports, in DAG runs: where each begins, and what it leaves for the next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG, Asset

from airflow_provider_pipedrive_leads.operators.leads import PipedriveExportLeadsOperator
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox

FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("connection", "no_waiting")


@pytest.fixture(autouse=True)
def calm(sandbox):
    """Let an hour pass, so that all that is there already lies behind every overlap."""
    sandbox.control.advance(3600)


def on(number):
    """The run of a day: the same run, if it is the same day again."""
    day = FIRST_DAY + timedelta(days=number)
    return {"logical_date": day, "run_after": day}


def active_lead(sandbox):
    return next(lead for lead in sandbox.control.all_leads() if not lead["is_archived"])


def rows_of(path):
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def incremental(dag_id, path, **options):
    options.setdefault("outlets", [Asset(f"leads_of_{dag_id}")])
    with DAG(dag_id, schedule=None) as dag:
        PipedriveExportLeadsOperator(task_id="export", path=str(path), **{"incremental": True, **options})
    return dag


def overwriting(dag_id, path, **options):
    """One whose file is looked at after each run."""
    return incremental(dag_id, path, overwrite=True, **options)


def detecting(dag_id, path, **options):
    """One that writes everything each time, and looks what is gone."""
    return incremental(dag_id, path, incremental=False, detect_deleted=True, **options)


def test_the_second_run_brings_what_changed(run_dag, sandbox, client, person_id, tmp_path):
    dag = incremental("second", f"{tmp_path}/{{{{ ds_nodash }}}}.jsonl")
    first = run_dag(dag, **on(1)).returned["export"]
    assert first["rows"] == sandbox.control.lead_count()
    again = in_last_minute(sandbox)
    sandbox.control.advance(600)
    made = client.add_lead("New", person_id=person_id)["id"]
    archived = active_lead(sandbox)["id"]
    client.update_lead(archived, is_archived=True)
    second = run_dag(dag, **on(2)).returned["export"]
    (file,) = second["files"]
    found = rows_of(type(tmp_path)(file))
    assert made in found
    assert found[archived]["is_archived"] is True
    if sandbox.control.choices()["archiving_update_time"] == "moves":
        assert set(found) == again | {made, archived}
        assert second["tokens"] < first["tokens"]


def in_last_minute(sandbox):
    """The leads that a run without changes reads again: those of the minute before the newest change."""
    newest = max(lead["update_time"] for lead in sandbox.control.all_leads())
    since = datetime.fromisoformat(newest).replace(microsecond=0) - timedelta(seconds=60)
    leads = sandbox.control.all_leads()
    return {lead["id"] for lead in leads if datetime.fromisoformat(lead["update_time"]) >= since}


def test_a_quiet_hour_brings_the_newest_changes_once_more(run_dag, sandbox, tmp_path):
    dag = overwriting("quiet", f"{tmp_path}/leads.jsonl")
    run_dag(dag, **on(1))
    sandbox.control.advance(3600)
    returned = run_dag(dag, **on(2)).returned["export"]
    if sandbox.control.choices()["archiving_update_time"] == "moves":
        assert set(rows_of(tmp_path / "leads.jsonl")) == in_last_minute(sandbox)
        assert returned["requests"] == 4  # two pages, fields, labels


def test_clearing_the_first_run_after_the_second_takes_nothing_away(
    run_dag, clear_and_run, sandbox, client, person_id, tmp_path
):
    dag = incremental("cleared", f"{tmp_path}/{{{{ ds_nodash }}}}.jsonl", columns=["id", "title"])
    first = run_dag(dag, **on(1)).returned["export"]
    sandbox.control.advance(600)
    made = client.add_lead("Between", person_id=person_id)["id"]
    run_dag(dag, **on(2))
    before = rows_of(type(tmp_path)(first["path"]))
    sandbox.control.advance(600)
    again = clear_and_run(dag, on(1)).returned["export"]
    after = rows_of(type(tmp_path)(again["path"]))
    assert again["path"] == first["path"]
    assert set(before) | {made} == set(after)
    sandbox.control.advance(600)
    third = run_dag(dag, **on(3)).returned["export"]
    assert third["rows"] < again["rows"] or sandbox.control.choices()["archiving_update_time"] == "stays"


def test_a_second_try_reads_from_where_the_first_did(run_dag, sandbox, client, person_id, tmp_path):
    dag = overwriting("tried", f"{tmp_path}/leads.jsonl", retries=1, retry_delay=timedelta(0))
    run_dag(dag, **on(1))
    sandbox.control.advance(600)
    made = client.add_lead("Once", person_id=person_id)["id"]
    sandbox.control.fault("GET", "/v1/leads", "status", status=501)
    ran = run_dag(dag, **on(2))
    assert ran.state == "success"
    assert made in rows_of(tmp_path / "leads.jsonl")


def test_mapped_accounts_on_one_outlet_keep_their_own_watermarks(run_dag, tmp_path, monkeypatch):
    with Sandbox(leads=5, seed=1) as one, Sandbox(leads=7, seed=2) as two, Sandbox(leads=9, seed=3) as three:
        boxes = {"crm_a": one, "crm_b": two, "crm_c": three}
        for name, box in boxes.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(box.connection))
        with DAG("mapped_accounts", schedule=None) as dag:
            PipedriveExportLeadsOperator.partial(
                task_id="export", incremental=True, overwrite=True, columns="keys", outlets=[Asset("all_leads")]
            ).expand_kwargs([{"pipedrive_conn_id": name, "path": f"{tmp_path}/{name}.jsonl"} for name in boxes])
        for box in boxes.values():
            box.control.advance(3600)
        first = run_dag(dag, **on(1)).returned
        assert [first["export", number]["rows"] for number in range(3)] == [5, 7, 9]
        for box in boxes.values():
            box.control.advance(600)
        crowd = active_lead(two)
        requests_client = _client(two)
        requests_client.update_lead(crowd["id"], title="Changed")
        second = run_dag(dag, **on(2)).returned
        assert [second["export", number]["rows"] for number in range(3)] == [1, 2, 1]  # each its newest lead again


def _client(box):
    from airflow_provider_pipedrive_leads.api.connection import read_connection
    from airflow_provider_pipedrive_leads.client import PipedriveClient

    return PipedriveClient(read_connection(password=box.token, extra={"base_url": box.url}))


def test_other_filters_are_another_stream(run_dag, sandbox, tmp_path):
    outlet = Asset("shared")
    with DAG("filtered", schedule=None) as dag:
        for archived in ("include", "exclude"):
            PipedriveExportLeadsOperator(
                task_id=archived, path=f"{tmp_path}/x.jsonl", archived=archived, incremental=True, outlets=[outlet]
            )
    returned = run_dag(dag, **on(1)).returned
    assert returned["include"]["rows"] == sandbox.control.lead_count()
    assert returned["exclude"]["rows"] == sandbox.control.lead_count(False)


def test_full_refresh_reads_everything(run_dag, sandbox, tmp_path):
    dag = overwriting("refreshed", f"{tmp_path}/leads.jsonl", full_refresh="{{ run_id.endswith('Z') or 'true' }}")
    run_dag(dag, **on(1))
    sandbox.control.advance(3600)
    assert run_dag(dag, **on(2)).returned["export"]["rows"] == sandbox.control.lead_count()


@pytest.mark.parametrize(
    "options",
    [
        {"outlets": []},
        {"outlets": [Asset("one"), Asset("two")]},
        {"watermark_asset": Asset("elsewhere")},
        {"updated_since": "2026-01-01"},
        {"detect_deleted": True, "owner_id": 1},
        {"detect_deleted": True, "max_deleted": 3},
    ],
    ids=["no outlet", "two outlets", "foreign asset", "two beginnings", "filtered deletions", "share"],
)
def test_what_does_not_go_together_fails_before_a_request(run_dag, sandbox, tmp_path, options):
    sandbox.control.reset_counters()
    dag = overwriting("wrong", f"{tmp_path}/leads.jsonl", **options)
    assert run_dag(dag).tasks["export"] == "failed"
    assert sandbox.control.counters()["calls"] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("kept", [{"watermark": "soon"}, ["nonsense"], {"watermark": "2999-01-01T00:00:00Z"}])
def test_a_watermark_that_cannot_be_is_an_error_until_a_full_refresh(run_dag, sandbox, tmp_path, kept, monkeypatch):
    from airflow_provider_pipedrive_leads.leads.reading import incremental as room

    dag = overwriting("odd", f"{tmp_path}/leads.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(room, "after", lambda past, **_: kept)
        assert run_dag(dag, **on(1)).state == "success"
    (tmp_path / "leads.jsonl").unlink()
    assert run_dag(dag, **on(2)).tasks["export"] == "failed"
    assert list(tmp_path.iterdir()) == []
    refreshed = overwriting("odd", f"{tmp_path}/leads.jsonl", full_refresh=True)
    assert run_dag(refreshed, **on(3)).returned["export"]["rows"] == sandbox.control.lead_count()


def test_deleted_and_converted_leads_get_a_row(run_dag, clear_and_run, sandbox, client, person_id, tmp_path):
    dag = detecting("deleted", f"{tmp_path}/leads.jsonl", max_deleted=0.5)
    gone, converted = (client.add_lead(title, person_id=person_id)["id"] for title in ("Gone", "Deal"))
    first = run_dag(dag, **on(1)).returned["export"]
    assert first["deleted"] == 0
    client.delete_lead(gone)
    conversion = client.convert_lead_to_deal(converted)
    sandbox.control.advance(60)
    deal = client.get_lead_conversion_status(converted, conversion)["deal_id"]

    def plainly(dag, day):
        return run_dag(dag, **day)

    for run, number, told in ((plainly, 2, 2), (clear_and_run, 2, 2), (plainly, 3, 0)):
        returned = run(dag, on(number)).returned["export"]
        found = rows_of(tmp_path / "leads.jsonl")
        rows = {key: row["converted_deal_id"] for key, row in found.items() if row["is_deleted"]}
        assert rows == ({gone: None, converted: deal} if told else {})
        assert (returned["rows"], returned["deleted"]) == (sandbox.control.lead_count(), told)


def test_too_many_deleted_leads_are_refused(run_dag, sandbox, client, person_id, tmp_path):
    dag = detecting("emptied", f"{tmp_path}/leads.jsonl")
    many = [client.add_lead(f"Many {number}", person_id=person_id)["id"] for number in range(20)]
    run_dag(dag, **on(1))
    before = (tmp_path / "leads.jsonl").read_text()
    for lead in many:
        client.delete_lead(lead)
    assert run_dag(dag, **on(2)).tasks["export"] == "failed"
    assert (tmp_path / "leads.jsonl").read_text() == before


@pytest.mark.long
def test_only_the_ids_of_the_last_reads_are_kept(run_dag, tmp_path):
    dag = detecting("forgetful", f"{tmp_path}/leads.jsonl")
    for number in range(1, 8):
        assert run_dag(dag, **on(number)).state == "success"
    assert len([file for file in tmp_path.iterdir() if file.name.endswith(".ids")]) == 5


def test_a_full_file_is_not_replaced_by_a_few_changes(run_dag, clear_and_run, sandbox, tmp_path):
    dag = incremental("fixed", f"{tmp_path}/leads.jsonl")
    assert run_dag(dag, **on(1)).returned["export"]["rows"] == sandbox.control.lead_count()
    full = (tmp_path / "leads.jsonl").read_text()
    sandbox.control.reset_counters()
    assert run_dag(dag, **on(2)).tasks["export"] == "failed"
    assert sandbox.control.counters()["calls"] == 0
    assert (tmp_path / "leads.jsonl").read_text() == full
    assert clear_and_run(dag, on(1)).returned["export"]["rows"] == sandbox.control.lead_count()
    allowed = overwriting("fixed", f"{tmp_path}/leads.jsonl")
    assert run_dag(allowed, **on(2)).returned["export"]["rows"] < sandbox.control.lead_count()
    refreshed = incremental("fixed", f"{tmp_path}/leads.jsonl", full_refresh=True)
    assert run_dag(refreshed, **on(3)).returned["export"]["rows"] == sandbox.control.lead_count()


def test_what_changed_and_what_is_gone_is_written_and_nothing_else(
    run_dag, sandbox, client, person_id, tmp_path, capsys
):
    dag = incremental("both", f"{tmp_path}/{{{{ ds_nodash }}}}.jsonl", detect_deleted=True)
    gone, changed = (client.add_lead(title, person_id=person_id)["id"] for title in ("Gone", "Here"))
    sandbox.control.advance(3600)
    first = run_dag(dag, **on(1)).returned["export"]
    assert (first["rows"], first["deleted"]) == (sandbox.control.lead_count(), 0)
    sandbox.control.advance(3600)
    client.delete_lead(gone)
    client.update_lead(changed, title="Changed")
    archived = active_lead(sandbox)["id"]
    client.update_lead(archived, is_archived=True)
    capsys.readouterr()
    second = run_dag(dag, **on(2)).returned["export"]
    rows = rows_of(tmp_path / f"{on(2)['logical_date']:%Y%m%d}.jsonl")
    again = {lead["id"] for lead in sandbox.control.all_leads()} & rows.keys() - {changed, archived}
    assert {gone, changed, archived} <= rows.keys()
    assert len(again) <= 1  # the newest of the run before
    assert rows[gone] == {**dict.fromkeys(rows[changed]), "id": gone, "is_deleted": True}
    counts = (second["rows"], second["deleted"], second["unchanged"])
    assert counts == (2 + len(again), 1, sandbox.control.lead_count() - 2 - len(again))
    assert "{} changed, {} deleted, {} unchanged leads".format(*counts) in capsys.readouterr().out


@pytest.mark.parametrize("how", ["removed", "spoiled"])
def test_ids_that_are_lost_are_told_before_the_read_and_it_begins_anew(
    run_dag, sandbox, client, person_id, tmp_path, caplog, how
):
    """As by a lifecycle rule, or on another machine's disk."""
    dag = detecting("lost", f"{tmp_path}/leads.jsonl", max_deleted=0.5)
    leads = [client.add_lead(f"Lead {number}", person_id=person_id)["id"] for number in range(3)]
    run_dag(dag, **on(1))
    client.delete_lead(leads[0])
    for kept in [file for file in tmp_path.iterdir() if file.name.endswith(".ids")]:
        kept.unlink() if how == "removed" else kept.write_bytes(b"spoiled")
    assert run_dag(dag, **on(2)).returned["export"]["deleted"] == 0
    assert "cannot be told: this run begins anew" in caplog.text
    client.delete_lead(leads[1])
    assert run_dag(dag, **on(3)).returned["export"]["deleted"] == 1
    assert rows_of(tmp_path / "leads.jsonl")[leads[1]]["is_deleted"]


def test_where_only_the_last_ids_are_lost_those_before_them_tell(run_dag, client, person_id, sandbox, tmp_path):
    dag = detecting("partly", f"{tmp_path}/leads.jsonl", max_deleted=0.5)
    deleted, converted = (client.add_lead(title, person_id=person_id)["id"] for title in ("Gone", "Deal"))
    run_dag(dag, **on(1))
    first = {file.name for file in tmp_path.iterdir() if file.name.endswith(".ids")}
    client.delete_lead(deleted)
    client.convert_lead_to_deal(converted)
    sandbox.control.advance(3600)
    run_dag(dag, **on(2))
    for kept in [file for file in tmp_path.iterdir() if file.name.endswith(".ids") and file.name not in first]:
        kept.unlink()
    assert run_dag(dag, **on(3)).returned["export"]["deleted"] == 2
    rows = rows_of(tmp_path / "leads.jsonl")
    assert rows[converted]["converted_deal_id"]


@pytest.mark.parametrize("path", ["leads.csv", "~/leads.csv", "s3//lake/leads.csv", "{{ ds }}.csv"])
def test_a_path_that_only_the_worker_could_find_is_refused_before_the_read(
    run_dag, sandbox, tmp_path, monkeypatch, path
):
    """When the task runs, not when the DAG is parsed."""
    monkeypatch.chdir(tmp_path)
    with DAG("relative", schedule=None) as dag:
        PipedriveExportLeadsOperator(task_id="export", path=path)
    sandbox.control.reset_counters()
    assert run_dag(dag, **on(1)).tasks["export"] == "failed"
    assert sandbox.control.counters()["calls"] == 0
    assert list(tmp_path.iterdir()) == []


def test_deals_are_looked_for_since_the_last_full_read(run_dag, sandbox, client, person_id, tmp_path, monkeypatch):
    """Runs between two full reads move the watermark past conversions that none of them could tell of."""
    from airflow_provider_pipedrive_leads.leads.reading import deleted

    asked = []
    look = deleted.deals_of_leads
    monkeypatch.setattr(deleted, "deals_of_leads", lambda api, since: asked.append(since) or look(api, since))
    path, often = f"{tmp_path}/{{{{ ds_nodash }}}}.jsonl", "{{ ds in ('2026-01-02', '2026-01-04') }}"
    dag = incremental("nightly", path, detect_deleted=often)
    converted = client.add_lead("Deal", person_id=person_id)["id"]
    sandbox.control.freeze()
    began = datetime.fromisoformat(sandbox.control.now()).replace(microsecond=0)
    run_dag(dag, **on(1))
    sandbox.control.advance(3600)
    client.convert_lead_to_deal(converted)
    client.update_lead(active_lead(sandbox)["id"], title="Changed")
    sandbox.control.advance(3600)
    client.update_lead(active_lead(sandbox)["id"], title="Changed again")
    sandbox.control.advance(3600)
    run_dag(dag, **on(2))
    assert run_dag(dag, **on(3)).returned["export"]["deleted"] == 1
    assert asked == [began]
