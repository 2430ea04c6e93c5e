"""The reference of all public names: ``.venv/bin/python -m demo.api_reference docs/reference.md``."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

PACKAGE = "airflow_provider_pipedrive_leads"
HEAD = """# Reference

Every public name with its parameters. `python -m demo.api_reference docs/reference.md` writes this page out of the
docstrings; change them, not this page. Parameters without a default are required. Operators, sensors and transfers also
take what Airflow's `BaseOperator` takes, `task_id` for one.
"""
SECTIONS = {
    "Operators": (
        f"{PACKAGE}.operators.leads",
        (
            "PipedriveCreateLeadOperator",
            "PipedriveUpdateLeadOperator",
            "PipedriveGetLeadOperator",
            "PipedriveDeleteLeadOperator",
            "PipedriveSearchLeadsOperator",
            "PipedriveConvertLeadOperator",
            "PipedriveConvertDealOperator",
            "PipedriveEnsureLeadLabelsOperator",
            "PipedriveExportLeadsOperator",
            "PipedriveLoadLeadsOperator",
        ),
    ),
    "Transfer to SQL": (f"{PACKAGE}.transfers.leads_to_sql", ("PipedriveLeadsToSqlOperator",)),
    "Transfer from SQL": (f"{PACKAGE}.transfers.sql_to_leads", ("PipedriveSqlToLeadsOperator",)),
    "Sensors": (
        f"{PACKAGE}.sensors.leads",
        ("PipedriveLeadSensor", "PipedriveLeadsSensor", "PipedriveLeadConversionSensor"),
    ),
    "Trigger for asset watchers": (f"{PACKAGE}.triggers.leads_changed", ("PipedriveLeadsChangedTrigger",)),
    "Triggers of deferred tasks": (
        f"{PACKAGE}.triggers.leads",
        ("PipedriveLeadTrigger", "PipedriveLeadsTrigger"),
    ),
    "Retry policy": (f"{PACKAGE}.retry_policy", ("PipedriveRetryPolicy",)),
}
HOOK = f"{PACKAGE}.hooks.pipedrive_leads"
ERRORS = f"{PACKAGE}.exceptions"
FIXTURE = f"{PACKAGE}.sandbox.pytest_plugin"
COMMANDS = {
    "pipedrive-sandbox": f"{PACKAGE}.sandbox.cli",
    "pipedrive-authorize": f"{PACKAGE}.authorize",
}
NOT_FOR_USERS = {"calls_ahead", "close", "interrupt", "send", "read_catalogue", "read_custom_fields", "read_labels"}
"""Public methods of the hook that the provider itself needs."""
FIELD = re.compile(
    r"^:(?P<kind>param|return|raises|ivar)(?: (?P<name>\w+))?: (?P<words>.*?)(?=^:|\Z)", re.MULTILINE | re.DOTALL
)


class Words(NamedTuple):
    """A docstring, taken apart."""

    purpose: str
    parameters: dict[str, str]
    returned: str


def words_of(thing: object) -> Words:
    """Take a docstring apart; the purpose is its first paragraph."""
    text = inspect.getdoc(thing) or ""
    found = [(field["kind"], field["name"] or "", _markdown(field["words"])) for field in FIELD.finditer(text)]
    return Words(
        purpose=_markdown(re.split(r"\n\n|^:", text, maxsplit=1, flags=re.MULTILINE)[0]),
        parameters={name: words for kind, name, words in found if kind == "param"},
        returned=next((words for kind, _, words in found if kind == "return"), ""),
    )


def _markdown(text: str) -> str:
    line = " ".join(text.split())
    line = re.sub(r":(?:class|meth|func|data):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", line)
    return line.replace("``", "`")


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, *(part for title, *kinds in classes() for part in _classes(title, kinds))]
    parts += [*_hook(), *_errors(), *_fixture(), *_commands()]
    return "\n".join(parts).rstrip() + "\n"


def classes() -> Iterator[tuple[Any, ...]]:
    """Each section's title, and its classes."""
    for title, (module, names) in SECTIONS.items():
        yield title, *(getattr(import_module(module), name) for name in names)


def _classes(title: str, kinds: list[type]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"`from {SECTIONS[title][0]} import …`\n"
    for kind in kinds:
        name = kind.__name__
        words = words_of(kind)
        own = _parameters(vars(kind)["__init__"]) if "__init__" in vars(kind) else {}
        needed = ", ".join(f"{each}=…" for each, given in own.items() if given.default is inspect.Parameter.empty)
        yield f"### {name}\n\n`{name}({needed})`\n\n{words.purpose}\n"
        if own:
            yield _table(own, words.parameters)
        if words.returned:
            yield f"Gives: {words.returned}\n"


def _hook() -> Iterator[str]:
    kind = import_module(HOOK).PipedriveLeadsHook
    yield f"## Hook\n\n`from {HOOK} import PipedriveLeadsHook`\n"
    yield f"`PipedriveLeadsHook(pipedrive_conn_id='pipedrive_default')`\n\n{words_of(kind).purpose}\n"
    order = [*import_module(f"{PACKAGE}.api.operations").LeadsApi.__dict__, *vars(kind)]
    for name in dict.fromkeys(order):
        method = inspect.getattr_static(kind, name)
        if name.startswith("_") or name in NOT_FOR_USERS or not isinstance(method, property | FunctionType):
            continue
        words = words_of(method)
        yield f"### {_call(name, method)}\n\n{words.purpose}\n"
        if words.parameters and inspect.isfunction(method):
            own = {key: given for key, given in _parameters(method, all_kinds=True).items() if key in words.parameters}
            yield _table(own, words.parameters)
        if words.returned:
            yield f"Gives: {words.returned}\n"


def _call(name: str, method: object) -> str:
    if not inspect.isfunction(method):
        return f"`hook.{name}`"
    plain = [
        given.replace(annotation=inspect.Parameter.empty) for given in inspect.signature(method).parameters.values()
    ]
    return f"`hook.{name}{inspect.Signature(plain[1:])}`"


def _errors() -> Iterator[str]:
    module = import_module(ERRORS)
    yield f"## Errors\n\n`from {ERRORS} import …`\n\nAll are a `PipedriveError`, which carries:\n"
    yield "| attribute | what it is |\n| --- | --- |"
    yield "".join(
        f"| `{name}` | {_cell(words)} |\n"
        for name, words in words_of(module.PipedriveError).parameters.items()
        if name != "message"
    )
    yield "| error | when | more attributes |\n| --- | --- | --- |"
    for name in module.__all__:
        words = words_of(getattr(module, name))
        own = {} if name == "PipedriveError" else words.parameters
        more = "; ".join(f"`{key}`: {text.rstrip('.')}" for key, text in own.items())
        yield f"| `{name}` | {_cell(words.purpose)} | {_cell(more)} |"
    yield ""


def _fixture() -> Iterator[str]:
    module = import_module(FIXTURE)
    yield f"## The pytest fixture `pipedrive_sandbox`\n\n{words_of(module.PipedriveSandbox).purpose}"
    yield "How to start it: [testing your DAGs](testing-dags.md#the-fixture).\n"
    yield "| | what it is |\n| --- | --- |"
    for name, what in vars(module.PipedriveSandbox).items():
        if not name.startswith("_"):
            called = _call(name, what).replace("hook.", "pipedrive_sandbox.")
            yield f"| {_cell(called)} | {_cell(words_of(what).purpose)} |"
    yield ""


def _commands() -> Iterator[str]:
    for command, module in COMMANDS.items():
        parser: argparse.ArgumentParser = import_module(module)._parser()  # noqa: SLF001 - the command's own options
        yield f"## The command `{command}`\n\n{parser.description}\n"
        yield "| option | what it does |\n| --- | --- |"
        for action in parser._actions:  # noqa: SLF001 - argparse gives them in no other way
            choices = "" if not action.choices else f": {', '.join(map(str, action.choices))}"
            yield f"| `{action.option_strings[-1]}` | {_cell((action.help or '') + choices)} |"
        yield ""


def _parameters(function: Any, *, all_kinds: bool = False) -> dict[str, inspect.Parameter]:
    given = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    stars = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {each.name: each for each in given if all_kinds or each.kind not in stars}


def _table(own: dict[str, inspect.Parameter], words: dict[str, str]) -> str:
    lines = ["| parameter | type | default | what it does |", "| --- | --- | --- | --- |"]
    for name, given in own.items():
        kind = "" if given.annotation is inspect.Parameter.empty else f"`{given.annotation}`"
        default = "" if given.default is inspect.Parameter.empty else f"`{_default(given.default)}`"
        lines.append(f"| `{name}` | {_cell(kind)} | {default} | {_cell(words.get(name, ''))} |")
    lines += [f"| `{name}` | | | {_cell(text)} |" for name, text in words.items() if name not in own]
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    return f"{type(value).__name__}()" if " object at " in repr(value) else repr(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
