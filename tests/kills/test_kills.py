"""An export that is killed at any moment leaves nothing that could be taken for data, and its next try completes it.

Fifty processes are killed with SIGKILL: half of them at steps drawn over a whole export, half at or shortly after one
of its last, where publishing happens.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

import boto3
import pyarrow.parquet
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.kills.obeying import GO_ON, Obeying

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

LEADS = 2_400
SUFFIXES = (".csv.gz", ".parquet", ".jsonl")
ROWS_PER_FILE = 400
LAST_STEPS = 12
"""Steps, counted from the end of an export, at which the later half of the kills happen."""
SHARE_STANDING = 0.6
"""The part of those that are killed exactly before a step, not some moment after it."""
END = "end"
THERE_AT_LATEST = (END, "store")
"""Steps at which an export that is killed stands still in any case: it has ended, or what it sent could yet arrive."""
MANIFEST = "_manifest.json"
KEYS = {"key": "any", "secret": "any"}


class Store(Protocol):
    """A place for files, looked at as others do."""

    storage: dict[str, str]
    watched: str

    def place(self, name: str) -> str:
        """The path of a file or folder, as an export takes it."""

    def names(self, name: str) -> list[str]:
        """All that is there of a file or folder and around it, hidden files too."""

    def read(self, name: str) -> bytes | None:
        """What a reader gets."""

    def empty(self, name: str) -> None:
        """Remove a file or folder."""

    def close(self) -> None:
        """Remove everything."""


class Disk:
    """A folder of a filesystem."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.storage: dict[str, str] = {}
        self.watched = str(root)

    def place(self, name: str) -> str:
        return str(self._root / name)

    def names(self, name: str) -> list[str]:
        found = [str(file.relative_to(self._root)) for file in self._root.rglob("*") if file.is_file()]
        return sorted(file for file in found if file.removeprefix(".").startswith(name))

    def read(self, name: str) -> bytes | None:
        return (self._root / name).read_bytes() if (self._root / name).is_file() else None

    def empty(self, name: str) -> None:
        for file in self.names(name):
            (self._root / file).unlink()

    def close(self) -> None:
        """A folder needs no closing."""


class ObjectStore:
    """A bucket of an S3 server."""

    def __init__(self, server: str, spool: Path) -> None:
        self._name = f"lake-{secrets.token_hex(8)}"  # the servers of a process share their buckets
        self._bucket = boto3.resource(
            "s3", endpoint_url=server, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1"
        ).create_bucket(Bucket=self._name)
        self.storage = {"endpoint_url": server, **KEYS}
        self.watched = str(spool)

    def place(self, name: str) -> str:
        return f"s3://{self._name}/{name}"

    def names(self, name: str) -> list[str]:
        return sorted(item.key for item in self._bucket.objects.filter(Prefix=name))

    def read(self, name: str) -> bytes | None:
        return self._bucket.Object(name).get()["Body"].read() if name in self.names(name) else None

    def empty(self, name: str) -> None:
        self._bucket.objects.filter(Prefix=name).delete()

    def close(self) -> None:
        self._bucket.objects.all().delete()
        self._bucket.delete()


def ids_in(name: str, content: bytes) -> list[str]:
    """The ids of a file of any format; raises an error where it is not whole."""
    if name.endswith(".parquet"):
        return pyarrow.parquet.read_table(io.BytesIO(content))["id"].to_pylist()
    if ".csv" in name:
        rows = csv.reader(io.StringIO(gzip.decompress(content).decode(), newline=""))
        header = next(rows)
        return [dict(zip(header, row, strict=True))["id"] for row in rows]
    assert content.endswith(b"\n")
    return [json.loads(line)["id"] for line in content.splitlines()]


@dataclass
class Looked:
    """What a reader found.

    :ivar ids: of the leads there.
    :ivar data: the names of all that counts.
    """

    ids: list[str]
    data: list[str]


def look(store: Store, name: str, *, parts: bool) -> Looked:
    """Read what is there as a reader does."""
    if not parts:
        content = store.read(name)
        return Looked([], []) if content is None else Looked(ids_in(name, content), [name])
    text = store.read(f"{name}/{MANIFEST}")
    if text is None:
        return Looked([], [])
    files = {f"{name}/{part['name']}": part["rows"] for part in json.loads(text)["files"]}
    ids = []
    for file, rows in files.items():
        content = store.read(file)
        assert content is not None, f"{file} is in the manifest, but not there"
        found = ids_in(file, content)
        assert len(found) == rows
        ids += found
    return Looked(ids, sorted([f"{name}/{MANIFEST}", *files]))


def check_others(store: Store, name: str, looked: Looked, *, parts: bool) -> list[str]:
    """Check that what lies around does not look like data; give it."""
    others = [file for file in store.names(name) if file not in looked.data]
    for file in others:
        base = file.rpartition("/")[2]
        if isinstance(store, Disk) and base.startswith("."):
            continue
        assert parts, f"{file} is no complete earlier version"
        assert base.startswith("part-"), f"{file} is neither a part nor hidden"
        ids_in(file, store.read(file) or b"")
    return others


@dataclass
class Kill:
    """When to kill an export.

    :ivar step: at which of its steps; None: as soon as something is there that it wrote. The last is that it has ended.
    :ivar stands_still: whether it does so, or the kill meets it on its way to the next step.
    """

    step: int | None
    stands_still: bool = True


class Exports:
    """Processes that export, and are killed."""

    def __init__(self, sandbox: Sandbox, spool: Path) -> None:
        self._order = {"server": sandbox.url, "token": sandbox.token}
        self._process = Obeying("exports_to_kill", TMPDIR=str(spool))

    def run(self, kill: Kill | None = None, wrote: Callable[[], bool] = bool, **order: Any) -> list[str]:
        """Let one export, and give the steps that it told.

        :param wrote: whether something is there that it wrote.
        """
        self._process.order({**self._order, "killed": kill is not None, **order})
        steps: list[str] = []
        struck = False
        while isinstance(told := self._process.told(), str):
            steps.append(told)
            if kill is None or struck:
                continue
            struck = told == END or (wrote() if kill.step is None else len(steps) == kill.step)
            if not struck or not (kill.stands_still or told in THERE_AT_LATEST):
                self._process.signal(GO_ON)
            if struck:
                self._process.signal(signal.SIGKILL)
        assert told == {"status": -signal.SIGKILL if kill else 0}
        return steps

    def close(self) -> None:
        self._process.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(leads=LEADS, seed=11, token=secrets.token_hex(20)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[PipedriveClient]:
    made = PipedriveClient(read_connection(password=sandbox.token, extra={"base_url": sandbox.url}))
    yield made
    made.close()


@pytest.fixture
def s3() -> Iterator[str]:
    running = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The temporary folder of the exporting processes."""
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, spool: Path) -> Iterator[Store]:
    (tmp_path / "lake").mkdir()
    made: Store = (
        Disk(tmp_path / "lake") if request.param == "disk" else ObjectStore(request.getfixturevalue("s3"), spool)
    )
    yield made
    made.close()


@pytest.fixture
def exports(sandbox: Sandbox, spool: Path) -> Iterator[Exports]:
    made = Exports(sandbox, spool)
    yield made
    made.close()


def drawn_kill(chance: Random, number: int, kills: int, steps: int) -> Kill:
    """When to kill: at its first step, as soon as something is written, in each stretch of an export, at its end.

    :param steps: of an export that was not killed.
    """
    early = (kills + 1) // 2
    if number < 2:
        return Kill(None if number else 1)
    if number == kills - 1:
        return Kill(steps + LEADS)
    stands_still = chance.random() < SHARE_STANDING
    if number < early:
        return Kill(1 + int((number + chance.random()) / early * steps), stands_still)
    return Kill(chance.randint(max(1, steps - LAST_STEPS), steps), stands_still)


def phase_of(looked: Looked, others: list[str], old: list[str], spool: Path) -> str:
    """How far an export had come, by what it left."""
    if sorted(looked.ids) != old:
        return "published"
    return "under way" if others or any(spool.iterdir()) else "nothing written"


def writing(store: Store, spool: Path, name: str) -> Callable[[], bool]:
    """Tell whether something was written since now."""
    there = store.names(name)
    return lambda: any(spool.iterdir()) or store.names(name) != there


def orders_for(store: Store, *, parts: bool) -> dict[str, dict[str, Any]]:
    """What to export, by the name of the file or folder."""
    return {
        f"leads{suffix}": {
            "path": store.place(f"leads{suffix}"),
            "storage": store.storage,
            "watched": store.watched,
            "columns": "keys" if suffix == ".jsonl" else "names",
            "rows_per_file": ROWS_PER_FILE if parts else None,
        }
        for suffix in SUFFIXES
    }


@pytest.mark.parametrize(("parts", "kills"), [(False, 12), (True, 13)], ids=["one-file", "parts"])
def test_a_killed_export_leaves_no_half_data_and_its_next_try_completes_it(
    sandbox: Sandbox, client: PipedriveClient, store: Store, exports: Exports, spool: Path, parts: bool, kills: int
):
    seed = int(os.environ.get("KILLS_SEED") or int.from_bytes(os.urandom(4)))
    chance, story = Random(seed), [f"KILLS_SEED={seed}"]
    leads = {lead["id"] for lead in sandbox.control.all_leads()}
    person = client.add_person("Robin Example")["id"]
    phases: Counter[str] = Counter()
    orders = orders_for(store, parts=parts)
    steps: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for name, order in orders.items():
        exports.run(**order, run_key="first")
        steps[name] = exports.run(**order, run_key="second")
        before[name] = sorted(leads)
    for number in range(kills):
        name = f"leads{SUFFIXES[number % len(SUFFIXES)]}"
        if number % 4 == 3:
            store.empty(name)
            before[name] = []
        leads.add(client.add_lead("New", person_id=person)["id"])
        now = sorted(leads)
        kill = drawn_kill(chance, number, kills, len(steps[name]))
        exports.run(kill, wrote=writing(store, spool, name), **orders[name], run_key=f"run {number}")
        looked = look(store, name, parts=parts)
        others = check_others(store, name, looked, parts=parts)
        phase = phase_of(looked, others, before[name], spool)
        phases[phase] += 1
        story.append(f"kill {number} of {name} at {kill}: {phase}, left {others}")
        assert sorted(looked.ids) in (before[name], now), "\n".join(story)

        steps[name] = exports.run(**orders[name], run_key=f"run {number}")
        looked = look(store, name, parts=parts)
        assert sorted(looked.ids) == now, "\n".join(story)
        assert check_others(store, name, looked, parts=parts) == [], "\n".join(story)
        assert list(spool.iterdir()) == [], "\n".join(story)
        before[name] = now
    assert {"nothing written", "under way", "published"} <= set(phases), "\n".join(story)
