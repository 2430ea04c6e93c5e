"""Running what stands on a page, block after block.

* A ``python`` block that imports ``DAG`` is a DAG file: it is written to a file as it stands, parsed, and run.
* Any other ``python`` block is a part of a DAG file, and sees what stands in :data:`IMPORTS` and in earlier blocks. It
  is run inside of a DAG of the page, which is run in the end with all tasks of all such blocks.
* A function ``test_…`` is called last of all, with a ``pipedrive_sandbox`` in which its DAG has run.
* A ``sql`` block is run in the warehouse, a ``json`` block is read, each line of a block without a language is a
  command, which is checked.

Nothing of a block is changed but the places: ``s3://`` and ``file:///tmp`` become the test's own folder.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import tomllib
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads import authorize
from airflow_provider_pipedrive_leads.api.connection import EXTRA_NAMES, read_connection
from airflow_provider_pipedrive_leads.sandbox import cli
from tests.docs.pages import ROOT, Block

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "airflow-provider-pipedrive-leads"
IMPORTS = """
import json, os
import pytest
from airflow.sdk import DAG, Asset, AssetWatcher, Param, TaskGroup, task
from airflow_provider_pipedrive_leads.operators.leads import *
from airflow_provider_pipedrive_leads.hooks.pipedrive_leads import PipedriveLeadsHook
from airflow_provider_pipedrive_leads.sensors.leads import *
from airflow_provider_pipedrive_leads.transfers.leads_to_sql import PipedriveLeadsToSqlOperator
from airflow_provider_pipedrive_leads.triggers.leads_changed import PipedriveLeadsChangedTrigger
"""
PLACEHOLDER = re.compile(r"<[A-Za-z ]+>")


def in_folder(code: str, folder: Path) -> str:
    """Put the places that a block names into a folder."""
    places = {"s3://": f"file://{folder}/", "file:///tmp": f"file://{folder}/tmp"}
    return re.sub("|".join(places), lambda found: places[found[0]], code)


def way_to_run(block: Block) -> str:
    """Which of the ways above is a block's: ``dag file``, ``part``, ``test``, ``sql``; empty if it is not run."""
    if block.kind in ("file", "not run") or block.language not in ("python", "sql"):
        return ""
    if block.language == "sql":
        return "sql"
    program = ast.parse(block.code).body
    if any(isinstance(node, ast.FunctionDef) and node.name.startswith("test_") for node in program):
        return "test"
    imported = [alias.name for node in program if isinstance(node, ast.ImportFrom) for alias in node.names]
    return "dag file" if "DAG" in imported else "part"


class Parts:
    """The parts of DAG files that stand on a page, as one DAG."""

    def __init__(self, name: str, folder: Path) -> None:
        from airflow.sdk import DAG

        self.dag = DAG(name, schedule=None, params={"name": "Robin Example", "email": "robin@example.com"})
        self._folder = folder
        self._names: dict[str, Any] = {}
        exec(IMPORTS, self._names)

    def add(self, block: Block) -> None:
        """Run a block; its tasks come into a group, because other blocks have tasks of the same name."""
        from airflow.sdk import TaskGroup
        from airflow.sdk.bases.decorator import _TaskDecorator

        known = set(self._names)
        with self.dag, TaskGroup(f"line_{block.line}"):
            exec(compile(in_folder(block.code, self._folder), str(block), "exec"), self._names)
            for name in set(self._names) - known:
                if isinstance(self._names[name], _TaskDecorator):
                    self._names[name]()

    def let_waiting_come_first(self) -> None:
        """Let tasks of other blocks not change the lead that a sensor waits for."""
        from airflow.sdk import BaseSensorOperator

        sensors = [each for each in self.dag.tasks if isinstance(each, BaseSensorOperator)]
        before = {name for sensor in sensors for name in (sensor.task_id, *sensor.get_flat_relative_ids(upstream=True))}
        for sensor in sensors:
            sensor.set_downstream([each for each in self.dag.tasks if each.task_id not in before])

    def test(self, block: Block) -> Any:
        """Give the test function of a block."""
        names = dict(self._names)
        exec(compile(block.code, str(block), "exec"), names)
        return next(what for name, what in names.items() if name.startswith("test_"))


def check_commands(block: Block) -> None:
    """Check each line of a block of commands, as far as that goes without doing what it does.

    :raises AssertionError: a line that nothing here can read.
    """
    for line in PLACEHOLDER.sub("x" * 40, block.code).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            reader = READERS.get(words[0])
            assert reader is not None, f"{block}: nothing checks the command {words[0]!r}"
            reader(words[1:])


def _pip(words: list[str]) -> None:
    assert words.pop(0) == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    others = {"pytest", *project["dependency-groups"]["dev"]}
    for word in words:
        name, extras = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", word).groups()
        assert name == PACKAGE or name in others, word
        assert set((extras or "").split(",")) - {""} <= set(project["project"]["optional-dependencies"]), word


def _make(words: list[str]) -> None:
    assert re.search(rf"^{re.escape(words[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words


def _export(words: list[str]) -> None:
    (setting,) = words
    name, _, value = setting.partition("=")
    if name.startswith("AIRFLOW_CONN_"):
        _check_connection(value)
    elif name.startswith("AIRFLOW__"):
        from airflow.configuration import conf

        assert conf.has_option(*name.lower().split("__")[1:]), name
    else:
        assert any(name in file.read_text() for file in (ROOT / "tests" / "live").glob("*.py")), name


def _check_connection(text: str) -> None:
    from airflow.models import Connection

    found = Connection.from_json(text) if text.startswith("{") else Connection(uri=text)
    if found.conn_type == "pipedrive":
        settings = read_connection(
            host=found.host,
            login=found.login,
            password=found.password,
            port=found.port,
            extra=found.extra_dejson,
        )
        assert settings.base_url == "https://acme.pipedrive.com"
        assert set(found.extra_dejson) <= set(EXTRA_NAMES)


def _parsed_by(parser: argparse.ArgumentParser) -> Any:
    def read(words: list[str]) -> None:
        parser.parse_args(words)

    return read


def _airflow(words: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(words)


READERS = {
    "airflow": _airflow,
    "export": _export,
    "make": _make,
    "pip": _pip,
    "pipedrive-authorize": _parsed_by(authorize._parser()),
    "pipedrive-sandbox": _parsed_by(cli._parser()),
}


def check_json(block: Block) -> None:
    """Read a block of JSON."""
    json.loads(block.code)
