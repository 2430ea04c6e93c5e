"""A path is looked at before anything is read: whole, and somewhere where a file can be written."""

from __future__ import annotations

import pytest
from airflow.sdk import ObjectStoragePath
from upath import UPath

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from airflow_provider_pipedrive_leads.files.destination import check
from airflow_provider_pipedrive_leads.files.publishing import check_whole


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("leads.csv", "file:///…/leads.csv"),
        ("./lake/leads.csv", "file:///…/lake/leads.csv"),
        ("../leads.csv", "file:///…/leads.csv"),
        ("~/leads.csv", "file:///…/leads.csv"),
        ("file://leads.csv", "file:///…/leads.csv"),
        ("s3//lake/leads.csv", "s3://lake/leads.csv"),
        ("s3:/lake/leads.csv", "s3://lake/leads.csv"),
        ("gs/lake/leads.csv", "gs://lake/leads.csv"),
        ("file:/lake/leads.csv", "file:///lake/leads.csv"),
        (str(ObjectStoragePath("s3//lake/leads.csv")), "s3://lake/leads.csv"),
        ("", "file:///…/"),
    ],
)
def test_what_only_the_worker_could_find_is_refused(path, meant):
    with pytest.raises(PipedriveConfigError) as refused:
        check_whole(path, "results")
    assert str(refused.value).startswith(f"results: {path!r} would lie in ")
    assert str(refused.value).endswith(f"such as {meant}.")


@pytest.mark.parametrize(
    "path", ["/lake/leads.csv", "file:///lake/leads.csv", "s3://lake/leads.csv", "s3://aws_default@lake/x.csv", "x://y"]
)
def test_whole_paths_pass(path):
    check_whole(path)


class Store:
    """An object store that refuses to take files."""

    def __init__(self, problem):
        self._problem = problem

    def pipe_file(self, path, content):
        raise self._problem


class Elsewhere:
    protocol = "s3"
    path = "lake/leads.csv"

    def __init__(self, problem):
        self.fs = Store(problem)

    def __str__(self):
        return "s3://lake/leads.csv"


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (FileNotFoundError("The specified bucket does not exist"), PipedriveConfigError),
        (PermissionError("Access Denied"), PipedriveConfigError),
        (OSError(5, "slow down"), OSError),
        (ConnectionError("reset"), ConnectionError),
    ],
)
def test_a_store_that_takes_no_file_is_told(problem, error):
    with pytest.raises(error, match=str(problem.args[-1])):
        check(Elsewhere(problem))


def test_looking_leaves_nothing():
    place = UPath("memory://lake/leads.csv")
    check(place)
    assert place.fs.find("/lake") == []
