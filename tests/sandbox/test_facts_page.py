"""The page of facts against the code that rests on it: open choices, costs, plans, and every section cited."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES
from airflow_provider_pipedrive_leads.sandbox.limits import PLANS, SEARCH_BURST, TOKENS_PER_SEAT
from airflow_provider_pipedrive_leads.sandbox.routes import ENDPOINTS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "airflow_provider_pipedrive_leads"
PAGE = ROOT / "docs" / "pipedrive-api.md"
HEADING = re.compile(r"^#+ (?:(\d+(?:\.\d+)?) )?(.+)$", re.MULTILINE)
MARKS = {"A", "L", "C", "D"}
NUMBERS = re.compile(r"\d+(?:\.\d+)?")
# "section 3.1", "sections 7 and 8", "sections 3.1, 3.5 and 3.6"
CITED = re.compile(r"\bsections? (\d[\d.]*(?:(?:, | and | to )\d[\d.]*)*)")
# a test's docstring begins with the section it proves: """3.2, A: …
PROVED = re.compile(r'"""(\d(?:\.\d+)?)[,:;]')
# docs/pipedrive-api.md, "Errors"
TITLED = re.compile(r'pipedrive-api\.md`*, "([^"]+)"')


@cache
def page() -> str:
    return PAGE.read_text()


def section(number: str) -> str:
    """The text of a section, up to the next heading that is not below it."""
    depth = "#{2}" if "." not in number else "#{2,3}"
    found = re.search(rf"^#+ {re.escape(number)} .*?(?=^{depth} |\Z)", page(), re.MULTILINE | re.DOTALL)
    assert found, f"the page has no section {number}"
    return found[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows but for heads and rules."""
    lines = text.splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("| ---")}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for number, line in enumerate(lines)
        if line.startswith("|") and number not in heads and not line.startswith("| ---")
    ]


def sources() -> Iterator[tuple[str, str]]:
    """Every file that may cite the page, with its text."""
    for folder in (PACKAGE, ROOT / "tests"):
        for file in sorted(folder.rglob("*.py")):
            yield str(file.relative_to(ROOT)), file.read_text()


def test_the_page_has_every_open_choice_and_no_other() -> None:
    drawn = {
        name: (likely, contrary, {other} - {"-"}, cited)
        for name, _, likely, contrary, other, cited in (
            [cell.strip("`") for cell in row] for row in rows(section("10"))
        )
    }
    assert drawn == {
        name: (
            choice.likely,
            choice.contrary,
            set(choice.values) - {choice.likely, choice.contrary},
            choice.section,
        )
        for name, choice in CHOICES.items()
    }


def test_the_page_has_every_route_at_its_cost_and_no_other() -> None:
    drawn = {
        (method, path.strip("`")): int(cost)
        for paths, costs, *_ in rows(section("2"))
        for path in paths.split(", ")
        for method, cost in (pair.split() for pair in costs.split(" · "))
    }
    assert drawn == {(each.method, each.path): each.cost for each in ENDPOINTS if not each.open}


def test_the_page_has_the_limits_of_every_plan() -> None:
    by_token, by_app, searches = ([int(cell) for cell in row[1:]] for row in rows(section("8.4")))
    assert by_token == [plan.api_token_burst for plan in PLANS.values()]
    assert by_app == [plan.oauth_burst for plan in PLANS.values()]
    assert set(searches) == {SEARCH_BURST}
    budget = section("8.3")
    assert f"{TOKENS_PER_SEAT:,} tokens" in budget
    for name, plan in PLANS.items():
        assert f"{name.title()} {plan.multiplier}" in budget


@pytest.mark.parametrize("numbered", ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"])
def test_the_ten_sections_stand_in_order(numbered: str) -> None:
    tops = [number for number, _ in HEADING.findall(page()) if number and "." not in number]
    assert tops[int(numbered) - 1] == numbered


def test_every_section_cited_is_there() -> None:
    there = {number for number, _ in HEADING.findall(page()) if number}
    there |= {f"9.{number}" for number in re.findall(r"^(\d+)\. ", section("9"), re.MULTILINE)}
    cited = {
        (name, number)
        for name, text in sources()
        for words in (*CITED.findall(text), *(PROVED.findall(text) if name.startswith("tests/sandbox/") else ()))
        for number in NUMBERS.findall(words)
    }
    cited |= {("choices.py", choice.section) for choice in CHOICES.values()}
    assert len(cited) > 50
    assert not {(name, number) for name, number in cited if number not in there}


def test_every_title_cited_is_a_heading() -> None:
    titles = [title.lower() for _, title in HEADING.findall(page())]
    cited = {(name, title) for name, text in sources() for title in TITLED.findall(text)}
    assert len(cited) >= 5
    assert not {(name, title) for name, title in cited if not any(title.lower() in each for each in titles)}


def test_every_fact_in_a_table_has_a_mark_and_a_known_source() -> None:
    known = {row[0] for row in rows(page()[: page().index("## 1 ")])} - MARKS
    names = {name for cell in known for name in cell.split(", ")} | {"-", "users", "recomputed"}
    wrong = []
    for number in ("1", "3", "4", "5", "6", "7", "8"):
        for table in re.findall(r"^\|.*\| Mark \| Source \|\n(?:\|.*\n)+", section(number), re.MULTILINE):
            for *_, marks, cited in rows(table):
                said = {re.split(r"[ #]", name.strip())[0] for name in re.split(r"[,;](?![^(]*\))", cited)}
                if not set(re.findall(r"\b[A-Z]\b", marks)) & MARKS or not said <= names:
                    wrong.append((number, marks, cited))
    assert not wrong


def test_the_page_speaks_of_public_things_only() -> None:
    assert not re.search(r"/work|\.\./|fact sheet", page())
