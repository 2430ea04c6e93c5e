"""On an object store too, a table appears whole or not at all: tried on a real S3 protocol over loopback."""

from __future__ import annotations

import json

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem
from upath import UPath

from airflow_provider_pipedrive_leads.files.destination import check, writing_lines, writing_table
from airflow_provider_pipedrive_leads.files.table import Column

pytestmark = pytest.mark.slow

COLUMNS = [Column("id", "integer", "id")]
KEYS = {"key": "any", "secret": "any"}


@pytest.fixture(scope="module")
def server():
    S3FileSystem.clear_instance_cache()  # an earlier server may have had the same port
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server):
    """An empty bucket."""
    s3 = boto3.resource(
        "s3", endpoint_url=server, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1"
    )
    made = s3.create_bucket(Bucket="lake")
    made.objects.all().delete()  # servers of one process share what they hold
    yield made
    made.objects.all().delete()
    made.delete()


@pytest.fixture
def place(server):
    return lambda path: UPath(f"s3://{path}", endpoint_url=server, **KEYS)


def keys(bucket):
    return sorted(item.key for item in bucket.objects.all())


def body(bucket, key):
    return bucket.Object(key).get()["Body"].read()


def export(place, count, *, fail=None, seen=lambda: None, **how):
    with writing_table(place, COLUMNS, **how) as table:
        for number in range(count):
            table.write([[number]])
        seen()
        if fail:
            raise fail
    return table


def ids(bucket, folder):
    """What a reader that goes by the manifest sees."""
    manifest = json.loads(body(bucket, f"{folder}/_manifest.json"))
    lines = b"".join(body(bucket, f"{folder}/{part['name']}") for part in manifest["files"]).splitlines()
    return [json.loads(line)["id"] for line in lines]


def test_a_file_is_there_only_when_it_is_complete(bucket, place):
    check(place("lake/leads.jsonl"))
    seen = []
    table = export(place("lake/leads.jsonl"), 3, seen=lambda: seen.extend(keys(bucket)))
    assert (seen, keys(bucket)) == ([], ["leads.jsonl"])
    assert body(bucket, "leads.jsonl") == b'{"id":0}\n{"id":1}\n{"id":2}\n'
    assert table.files == ["s3://lake/leads.jsonl"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv.gz", ".parquet"])
def test_a_crash_leaves_the_file_that_was_there(bucket, place, suffix):
    bucket.put_object(Key=f"leads{suffix}", Body=b"yesterday")
    with pytest.raises(RuntimeError):
        export(place(f"lake/leads{suffix}"), 3, fail=RuntimeError())
    assert (keys(bucket), body(bucket, f"leads{suffix}")) == ([f"leads{suffix}"], b"yesterday")


@pytest.mark.parametrize("run_key", ["", "run 1"])
def test_parts_replace_the_old_table_when_their_manifest_stands(bucket, place, run_key):
    export(place("lake/leads.jsonl"), 5, rows_per_file=2, run_key=run_key)
    before = keys(bucket)
    during = []
    table = export(
        place("lake/leads.jsonl"),
        3,
        rows_per_file=2,
        run_key=run_key,
        seen=lambda: during.extend([set(before) <= set(keys(bucket)), ids(bucket, "leads.jsonl")]),
    )
    assert during == [True, [0, 1, 2, 3, 4]]
    assert ids(bucket, "leads.jsonl") == [0, 1, 2]
    named = [name.removeprefix("s3://lake/") for name in table.files]
    assert keys(bucket) == sorted(["leads.jsonl/_manifest.json", *named])


@pytest.mark.parametrize("run_key", ["", "run 1"])
def test_a_crash_leaves_the_old_table_and_no_part(bucket, place, run_key):
    export(place("lake/leads.jsonl"), 5, rows_per_file=2, run_key=run_key)
    before = keys(bucket)
    with pytest.raises(RuntimeError):
        export(place("lake/leads.jsonl"), 9, rows_per_file=2, run_key=run_key, fail=RuntimeError())
    assert keys(bucket) == before
    assert ids(bucket, "leads.jsonl") == [0, 1, 2, 3, 4]


def test_the_next_try_removes_what_a_killed_one_left(bucket, place):
    table = export(place("lake/a.jsonl"), 5, rows_per_file=2, run_key="run 1")
    bucket.Object("a.jsonl/_manifest.json").delete()  # as if it had been killed before its manifest
    bucket.put_object(Key="a.jsonl/part-0123456789ab-00000.jsonl", Body=b"of another run under way")
    again = export(place("lake/a.jsonl"), 1, rows_per_file=2, run_key="run 1")
    assert again.files == table.files[:1]
    assert len(keys(bucket)) == 3
    assert ids(bucket, "a.jsonl") == [0]


def test_leftovers_are_found_though_an_older_listing_is_remembered(bucket, place):
    table = export(place("lake/a.jsonl"), 5, rows_per_file=2, run_key="run 1")
    for item in bucket.objects.all():
        item.delete()
    folder = place("lake/a.jsonl")
    bucket.put_object(Key="a.jsonl/other", Body=b"x")
    folder.fs.invalidate_cache()
    assert folder.fs.ls(folder.path, detail=False) == ["lake/a.jsonl/other"]
    bucket.put_object(Key=table.files[-1].removeprefix("s3://lake/"), Body=b"of a try that was killed elsewhere")
    export(folder, 1, rows_per_file=2, run_key="run 1")
    assert len(keys(bucket)) == 3


def test_json_texts_go_to_an_object_store_too(bucket, place):
    with writing_lines(place("lake/x.jsonl")) as lines:
        lines.write([b"1", b"2"])
    assert body(bucket, "x.jsonl") == b"1\n2\n"


def test_a_bucket_that_is_not_there_is_named(bucket, place):
    with pytest.raises(OSError, match=r"s3://nowhere/leads\.csv"):
        export(place("nowhere/leads.csv"), 1)


class LostReply:
    """The store takes the manifest, but its reply is lost."""

    def __init__(self, filesystem):
        self._filesystem = filesystem

    def __getattr__(self, name):
        return getattr(self._filesystem, name)

    def put_file(self, source, target):
        self._filesystem.put_file(source, target)
        if target.endswith("_manifest.json"):
            raise TimeoutError("no reply")


def test_parts_of_a_manifest_that_stands_stay_though_its_reply_was_lost(bucket, place):
    class Place:
        protocol, path = "s3", "lake/leads.jsonl"
        fs = LostReply(place("lake/leads.jsonl").fs)

        def __str__(self):
            return "s3://lake/leads.jsonl"

    with pytest.raises(OSError, match="no reply"):
        export(Place(), 3, rows_per_file=2)
    assert ids(bucket, "leads.jsonl") == [0, 1, 2]
