"""What can be seen of the pages without running them: links, lengths, figures, and that nothing goes unread."""

from __future__ import annotations

import inspect
import re

import pytest

from airflow_provider_pipedrive_leads.api.endpoints import ENDPOINTS
from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.limits import PLANS, SEARCH_BURST, TOKENS_PER_SEAT
from demo import api_reference
from tests.docs.pages import GUIDES, PAGES, ROOT, WRITTEN_BY_A_SCRIPT, anchors_of, blocks_of, links_of

MOST_LINES = 95
MOST_LINES_OF_REFERENCE = 1500
BUDGETS = ROOT / "docs" / "guides" / "budgets.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    lost = []
    for target in links_of(page):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            lost.append(target)
    assert lost == []


def test_every_page_and_picture_is_linked():
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links_of(page)}
    pictures = {file for file in (ROOT / "docs").rglob("*") if file.suffix in (".png", ".svg")}
    assert {page for page in {*PAGES, *pictures} if page not in linked} <= {ROOT / "README.md", ROOT / "docs/README.md"}


def test_a_guide_is_short():
    assert {page.name: lines for page in GUIDES if (lines := len(page.read_text().splitlines())) > MOST_LINES} == {}


def test_every_block_was_found():
    for page in PAGES:
        fences = len(re.findall(r"^```", page.read_text(), re.MULTILINE))
        assert fences == 2 * len(blocks_of(page)), page


def test_the_reference_is_what_the_docstrings_say():
    found = WRITTEN_BY_A_SCRIPT.read_text()
    assert found == api_reference.page(), "run: .venv/bin/python -m demo.api_reference docs/reference.md"
    assert len(found.splitlines()) <= MOST_LINES_OF_REFERENCE


def test_the_reference_knows_every_operator_and_describes_every_parameter():
    kinds = [kind for _, *what in api_reference.classes() for kind in what]
    assert len(kinds) > 15
    for kind in kinds:
        given = inspect.signature(kind).parameters.values()
        named = {each.name for each in given if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
        if "__init__" in vars(kind):
            assert named <= set(api_reference.words_of(kind).parameters), kind.__name__


def test_the_budget_guide_names_every_operator_at_its_cost():
    text = BUDGETS.read_text()
    costs = {each.operation: each.cost for each in ENDPOINTS}
    named = re.findall(r"`([a-z]\w+[A-Z]\w+)` (\d+)", text)
    assert len(named) > 15
    assert {(name, int(cost)) for name, cost in named} <= set(costs.items())
    operators = {kind.__name__ for _, *what in api_reference.classes() for kind in what if "Operator" in kind.__name__}
    assert {name for name in operators if f"`{name}`" not in text} == set()


def test_the_budget_guide_knows_the_plans():
    rows = {
        cells[0].strip(): [int(cell.replace(",", "")) for cell in cells[1:5]]
        for cells in (line.split("|")[1:] for line in BUDGETS.read_text().splitlines() if line.startswith("| "))
        if len(cells) > 5 and cells[1].strip(" ,0123456789") == ""
    }
    plans = PLANS.values()
    assert rows == {
        "tokens a day and seat": [TOKENS_PER_SEAT * plan.multiplier for plan in plans],
        "calls in two seconds, by API token": [plan.api_token_burst for plan in plans],
        "calls in two seconds, by an OAuth app": [plan.oauth_burst for plan in plans],
        "searches in two seconds": [SEARCH_BURST] * len(plans),
    }


def test_what_is_said_of_the_control_of_the_local_pipedrive_is_there():
    named = {name for page in PAGES for name in re.findall(r"\.control\.(\w+)\(", page.read_text())}
    assert len(named) > 3
    assert {name for name in named if not hasattr(SandboxControl, name)} == set()
