"""The link of an export: where its file can be seen, with no login or query in it, and none that leads nowhere."""

from __future__ import annotations

import pytest
from airflow.sdk import BaseOperator, ObjectStoragePath

from airflow_provider_pipedrive_leads.links.leads_file import LeadsFileLink, web_address

AMAZON = "https://s3.console.aws.amazon.com/s3/buckets/"
GOOGLE = "https://console.cloud.google.com/storage/browser/"


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("s3://lake/crm/2026/leads.csv", f"{AMAZON}lake?prefix=crm/2026/"),
        ("s3://lake/crm/leads.csv.gz", f"{AMAZON}lake?prefix=crm/"),
        ("s3a://my-team.lake/leads.csv", f"{AMAZON}my-team.lake"),
        ("s3n://lake", f"{AMAZON}lake"),
        ("s3://aws_default@lake/crm/a@b.csv", f"{AMAZON}lake?prefix=crm/"),
        ("s3://lake/Übersicht & more=1/100%/leads.csv", f"{AMAZON}lake?prefix=%C3%9Cbersicht%20%26%20more%3D1/100%25/"),
        ("s3://lake/crm/parts/", f"{AMAZON}lake?prefix=crm/parts/"),
        ("gs://lake/crm/leads.parquet", f"{GOOGLE}lake/crm/"),
        ("gs://google_cloud_default@lake/leads.parquet", f"{GOOGLE}lake"),
        ("gcs://lake/a b/leads.parquet", f"{GOOGLE}lake/a%20b/"),
        ("https://files.example.com:8443/crm/leads.csv", "https://files.example.com:8443/crm/leads.csv"),
        ("http://files.example.com", "http://files.example.com/"),
    ],
)
def test_places_with_a_web_address(path, address):
    assert web_address(path) == address


@pytest.mark.parametrize(
    "path",
    [
        "",
        "leads.csv",
        "/data/leads.csv",
        "file:///data/leads.csv",
        "memory://lake/leads.csv",
        "abfs://container@account.dfs.core.windows.net/leads.csv",
        "wasbs://container@account.blob.core.windows.net/leads.csv",
        "sftp://files.example.com/leads.csv",
        "javascript://example.com/%0aalert(1)",
        "s3://",
        "s3:///leads.csv",
        "gs://?a=b",
    ],
)
def test_places_without_one(path):
    assert web_address(path) == ""


@pytest.mark.parametrize("scheme", ["s3", "s3a", "gs", "http", "https", "abfs", "sftp"])
@pytest.mark.parametrize(
    "rest",
    [
        "user:hidden@lake/crm/leads.csv",
        "hidden@lake/crm/leads.csv",
        "user:hid/hidden@lake/crm/leads.csv",
        "user:1234/hidden@lake/crm/leads.csv",
        "user:hidden?x@lake/crm/leads.csv",
        "user:hidden#x@lake/crm/leads.csv",
        "user:hid@hidden@lake/crm/leads.csv",
        "lake/crm/leads.csv?X-Amz-Signature=hidden",
        "lake/crm/leads.csv#hidden",
    ],
)
def test_secrets_stay_out(scheme, rest):
    address = web_address(f"{scheme}://{rest}")
    assert not [secret for secret in ("hid", "1234", "user", "Signature") if secret in address]
    if scheme in ("s3", "gs", "https"):
        assert bool(address) == (rest.count("/") == 2 and "x@" not in rest)


class Export(BaseOperator):
    """What the link needs to know of an operator."""

    def __init__(self, *, path, rows_per_file=None, **kwargs):
        super().__init__(**kwargs)
        self.path = path
        self.rows_per_file = rows_per_file


def link_of(operator):
    return LeadsFileLink().get_link(operator, ti_key=None)


@pytest.mark.parametrize(
    ("path", "rows_per_file", "address"),
    [
        ("s3://lake/crm/leads.csv", None, f"{AMAZON}lake?prefix=crm/"),
        ("s3://lake/crm/leads.csv", 1000, f"{AMAZON}lake?prefix=crm/leads.csv/"),
        ("s3://lake/crm/leads.csv/", "1000", f"{AMAZON}lake?prefix=crm/leads.csv/"),
        (ObjectStoragePath("s3://aws_default@lake/crm/leads.csv"), None, f"{AMAZON}lake?prefix=crm/"),
        ("/data/leads.csv", None, ""),
    ],
)
def test_the_link_of_a_task(path, rows_per_file, address):
    assert link_of(Export(task_id="export", path=path, rows_per_file=rows_per_file)) == address


def test_the_link_of_a_task_without_a_path():
    assert link_of(BaseOperator(task_id="other")) == ""
