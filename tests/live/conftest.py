"""Lets the checks run on a vendor test account that was named on purpose, cleans up behind them, and reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.account import Account, expect
from tests.live.admission import CONSENT, NEEDED, RefusedError, admit, settings_from
from tests.live.belongings import Belongings, new_mark, remove, sweep
from tests.live.report import lines

HERE = Path(__file__).parent
FOUND = pytest.StashKey[dict[str, str]]()
ACCOUNT = pytest.StashKey[Account]()
LEFT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the checks where no account is named."""
    ours = [item for item in items if HERE in item.path.parents]
    try:
        named = settings_from(os.environ)
    except RefusedError as refusal:
        raise pytest.UsageError(str(refusal)) from None
    if named is None:
        named_by = f"{', '.join(NEEDED)} and {CONSENT}"
        reason = f"run by `make test-live`, on a test account named by {named_by}: docs/live-checks.md"
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    """The account, once it is known to be one for tests; swept in the end."""
    settings = settings_from(os.environ)
    assert settings is not None
    account = Account(settings)
    try:
        admit(account, os.environ["PIPEDRIVE_COMPANY_DOMAIN"])
    except (RefusedError, AssertionError) as problem:
        pytest.exit(str(problem), returncode=pytest.ExitCode.USAGE_ERROR)
    stash = request.config.stash
    stash[ACCOUNT], stash[FOUND], stash[LEFT] = account, {}, []
    yield account
    account.cleaning = True
    stash[LEFT].extend(sweep(account))
    assert not stash[LEFT], "something could not be cleaned up: see the report"


@pytest.fixture(scope="session")
def mark() -> str:
    """What everything of this run is called by."""
    return new_mark()


@pytest.fixture(scope="session")
def person_id(account: Account, mark: str) -> Iterator[int]:
    """The person on whom all leads of this run hang."""
    person = expect(account.post("/api/v2/persons", name=f"{mark} person"), 200, 201).json()["data"]
    yield person["id"]
    account.cleaning = True
    remove(account, f"/api/v2/persons/{person['id']}")


@pytest.fixture
def own(account: Account, mark: str, person_id: int) -> Iterator[Belongings]:
    """What one check makes; taken away when it ends, however it ends."""
    made = Belongings(account, mark, person_id)
    yield made
    account.cleaning = True
    made.clear()
    account.cleaning = False


@pytest.fixture
def found(request: pytest.FixtureRequest, account: Account) -> dict[str, str]:
    """What was found out so far, by choice."""
    return request.config.stash[FOUND]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was found out."""
    account = config.stash.get(ACCOUNT, None)
    if account is not None:
        terminalreporter.section("what this account does")
        for line in lines(config.stash[FOUND], account, config.stash[LEFT]):
            terminalreporter.write_line(line)
