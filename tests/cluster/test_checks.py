"""What the test with many workers looks for at its end is found when it is there."""

from __future__ import annotations

import json

import pytest

from airflow_provider_pipedrive_leads.leads.writing.create_once import key_of_run
from tests.cluster.checks import check_created_once, check_loaded_once, check_no_token, check_only_these, check_whole
from tests.cluster.services import missing_services

RUN = ("dag", "run", "task")
LEADS = [{"id": f"id-{number}", "title": f"Lead {number}"} for number in range(3)]
ROWS = [{"origin_id": number, "title": f"Row {number}"} for number in range(3)]


def written(path, leads):
    path.write_text("".join(f"{json.dumps(lead)}\n" for lead in leads))
    return path


def made(number):
    return {"title": f"New {number}", "origin_id": key_of_run("\n".join((*RUN, str(number))))}


def loaded(number):
    return {"title": f"Row {number}", "origin_id": f"p-{number}"}


def test_a_whole_export_passes_and_may_hold_what_came_meanwhile(tmp_path):
    file = written(tmp_path / "leads.jsonl", LEADS)
    assert check_whole(file, LEADS[:2], LEADS) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [([*LEADS, LEADS[0]], "twice"), (LEADS[:2], "missing"), ([*LEADS, {"id": "x", "title": "y"}], "none of")],
)
def test_an_export_that_is_not_whole_is_found(rows, words, tmp_path):
    file = written(tmp_path / "leads.jsonl", rows)
    with pytest.raises(AssertionError, match=words):
        check_whole(file, LEADS, LEADS)


def test_a_file_cut_off_is_found(tmp_path):
    file = written(tmp_path / "leads.jsonl", LEADS)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="line 1"):
        check_whole(file, LEADS[:2], LEADS)


@pytest.mark.parametrize("left", [".a.csv.part", "b.csv"])
def test_what_was_left_behind_is_found(left, tmp_path):
    (tmp_path / "a.csv").touch()
    check_only_these(tmp_path, ["a.csv"])
    (tmp_path / left).touch()
    with pytest.raises(AssertionError):
        check_only_these(tmp_path, ["a.csv"])


@pytest.mark.parametrize("leads", [[made(0), made(0), made(1)], [made(0)], [made(0), {**made(1), "origin_id": None}]])
def test_a_creation_twice_or_not_at_all_is_found(leads):
    check_created_once([made(0), made(1)], "New", RUN, 2)
    with pytest.raises(AssertionError, match="too many"):
        check_created_once(leads, "New", RUN, 2)


@pytest.mark.parametrize("numbers", [[0, 1, 2, 2], [0, 1], [0, 1, 2, 3]])
def test_a_row_loaded_twice_or_not_at_all_is_found(numbers):
    check_loaded_once(map(loaded, range(3)), "p-", ROWS)
    with pytest.raises(AssertionError, match="too many"):
        check_loaded_once(map(loaded, numbers), "p-", ROWS)


def test_a_token_in_a_log_or_in_the_database_is_found(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("nothing")
    assert check_no_token(["secret"], [log], "nothing") == 1
    with pytest.raises(AssertionError, match="database"):
        check_no_token(["secret"], [log], "a secret")
    log.write_text("a secret")
    with pytest.raises(AssertionError, match=r"a\.log"):
        check_no_token(["secret"], [log], "nothing")


def test_what_is_not_installed_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.cluster.services.POSTGRES_FOLDERS", tmp_path)
    words = missing_services()
    assert words is not None
    assert words.endswith("On Debian: apt install postgresql redis-server")
    assert "redis-server and PostgreSQL's server" in words
