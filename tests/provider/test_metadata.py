"""The metadata: a slip here breaks every ``airflow`` command, so it is checked against both of Airflow's schemas."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
import yaml

from airflow_provider_pipedrive_leads.api.connection import EXTRA_NAMES
from airflow_provider_pipedrive_leads.get_provider_info import get_provider_info
from airflow_provider_pipedrive_leads.operators import leads as operators

INFO = get_provider_info()
STRICT = json.loads(files("airflow").joinpath("provider.yaml.schema.json").read_text())


def dotted_paths(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from dotted_paths(part)
    elif isinstance(value, list):
        for part in value:
            yield from dotted_paths(part)
    elif isinstance(value, str) and re.fullmatch(r"airflow_provider_pipedrive_leads(\.\w+)+", value):
        yield value


def test_airflows_runtime_schema():
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


@pytest.mark.parametrize("section", [name for name in INFO if name in STRICT["properties"]])
def test_airflows_strict_schema(section):
    schema = {**STRICT["properties"][section], "definitions": STRICT.get("definitions", {})}
    jsonschema.validate(INFO[section], schema)


def test_the_name_is_the_distributions():
    metadata = importlib.metadata.metadata("airflow-provider-pipedrive-leads")
    assert INFO["package-name"] == metadata["Name"] == "airflow-provider-pipedrive-leads"


@pytest.mark.parametrize("path", sorted(set(dotted_paths(INFO))))
def test_every_dotted_path_is_there(path):
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, name = path.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), name)


def test_the_form_has_the_fields_that_the_parser_reads():
    (connection_type,) = INFO["connection-types"]
    assert tuple(connection_type["conn-fields"]) == EXTRA_NAMES
    assert set(connection_type["ui-field-behaviour"]["relabeling"]) == {"host", "password"}


def test_airflow_itself_sees_the_provider_and_its_form():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-pipedrive-leads" in manager.providers
    assert manager.hooks["pipedrive"].hook_name == "Pipedrive"
    assert INFO["extra-links"][0] in manager.extra_links_class_names


def test_the_registry_lists_every_face():
    listed = yaml.safe_load(Path(".airflow-registry.yaml").read_text())
    assert listed["package-name"] == INFO["package-name"]
    faces = [entry["module"] for section in listed.values() if isinstance(section, list) for entry in section]
    for face in faces:
        module, _, name = face.rpartition(".")
        assert hasattr(importlib.import_module(module), name), face
    assert {face.rpartition(".")[2] for face in faces} >= set(operators.__all__)


def test_users_get_the_package_and_nothing_beside_it():
    targets = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == ["airflow_provider_pipedrive_leads"]
    assert not {"tests", "benchmarks", "demo", "docs"} & set(targets["sdist"]["include"])
