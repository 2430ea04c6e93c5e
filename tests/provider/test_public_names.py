"""What users and Airflow's database hold on to stays: import paths, parameters and their defaults.

``public_names.json`` was written by ``python -m tests.provider.test_public_names`` and is only ever added to: a name
that moves stays importable at its old path, and a parameter keeps its name and its default.
"""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.get_provider_info import get_provider_info
from demo.api_reference import ERRORS, FIXTURE, HOOK, NOT_FOR_USERS, PACKAGE, SECTIONS

FILE = Path(__file__).with_name("public_names.json")
REQUIRED = "required"
ADDRESS = " at 0x"


def described(thing: Any) -> dict[str, str]:
    """The parameters of a callable and their defaults; of a class, those of its constructor."""
    return {
        name: REQUIRED if parameter.default is parameter.empty else repr(parameter.default).split(ADDRESS)[0]
        for name, parameter in inspect.signature(thing).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and name != "self"
    }


def public_now() -> dict[str, dict[str, str]]:
    """Every public name as ``module:name``, with its parameters."""
    found = {f"{module}:{name}" for module, names in SECTIONS.values() for name in names}
    found |= {
        f"{HOOK}:PipedriveLeadsHook",
        f"{FIXTURE}:pipedrive_sandbox",
        f"{PACKAGE}.page.plugin:PipedriveLeadsPlugin",
    }
    hook = import_module(HOOK).PipedriveLeadsHook
    methods = {name for name, _ in inspect.getmembers(hook, inspect.isfunction) if not name.startswith("_")}
    found |= {f"{HOOK}:PipedriveLeadsHook.{name}" for name in methods - NOT_FOR_USERS if is_ours(getattr(hook, name))}
    errors = import_module(ERRORS)
    found |= {f"{ERRORS}:{name}" for name in errors.__all__}
    found |= {link.rpartition(".")[0] + ":" + link.rpartition(".")[2] for link in get_provider_info()["extra-links"]}
    for entry in get_provider_info()["triggers"]:
        for module in entry["python-modules"]:
            found |= {f"{module}:{name}" for name in classes_of(import_module(module))}
    return {name: described(at(name)) for name in sorted(found)}


def is_ours(method: Any) -> bool:
    return method.__module__.startswith(PACKAGE)


def classes_of(module: Any) -> list[str]:
    """The triggers that are at home in a module: Airflow keeps their paths while tasks wait."""
    return [
        name
        for name, thing in inspect.getmembers(module, inspect.isclass)
        if thing.__module__ == module.__name__ and hasattr(thing, "serialize") and not name.startswith("_")
    ]


def at(path: str) -> Any:
    module, _, name = path.partition(":")
    thing = import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


KNOWN: dict[str, dict[str, str]] = json.loads(FILE.read_text()) if FILE.exists() else {}


@pytest.mark.parametrize("name", KNOWN)
def test_a_public_name_stays_with_its_parameters(name):
    now = described(at(name))
    assert {parameter: now.get(parameter) for parameter in KNOWN[name]} == KNOWN[name]
    new = {parameter: default for parameter, default in now.items() if parameter not in KNOWN[name]}
    assert REQUIRED not in new.values()


def test_every_public_name_is_known():
    assert public_now().keys() <= KNOWN.keys(), (
        "run python -m tests.provider.test_public_names and look at what it adds"
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps({**KNOWN, **public_now()}, indent=1, sort_keys=True) + "\n")
