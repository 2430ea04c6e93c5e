"""The checks of real accounts (tests/live), run against the local Pipedrive: they tell every open choice both ways.

Nothing that they make is left, nothing else is touched, the token is never shown, and no call comes before consent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_pipedrive_leads.api.connection import read_connection
from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES, PROFILES
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from tests.live.account import MOST_CALLS, MOST_TOKENS, Account
from tests.live.admission import MOST_LEADS, RefusedError, admit, settings_from
from tests.live.belongings import Belongings, new_mark, sweep
from tests.live.open_choices import DEPENDS, NOT_ASKED, PROBES

ROOT = Path(__file__).parents[2]
DOMAIN = "brightwater-sandbox"
MEASURED = (
    "A new lead was in the list after 0.0 s.",
    "Search found a new lead after 2.0 s.",
    "A conversion ended after 4.0 s.",
)
KINDS = ("leads", "persons", "organizations", "deals", "labels", "filters", "custom_fields", "notes")


def environment(sandbox: Sandbox, **more: str) -> dict[str, str]:
    """The variables that point the checks at a local Pipedrive."""
    return {
        "PIPEDRIVE_API_TOKEN": sandbox.token,
        "PIPEDRIVE_COMPANY_DOMAIN": DOMAIN,
        "PIPEDRIVE_BASE_URL": sandbox.url,
        "PIPEDRIVE_LIVE_OK": "yes",
        **more,
    }


def run_checks(
    variables: dict[str, str], *options: str, conftest: str = "tests/live"
) -> subprocess.CompletedProcess[str]:
    """The checks as `make test-live` runs them; with another ``conftest``, as `make test` would."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--confcutdir={conftest}",
        "-p",
        "no:cacheprovider",
        "-rs",
        "tests/live",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIPEDRIVE_", "PYTEST_"))}
    return subprocess.run([*command, *options], cwd=ROOT, env={**kept, **variables}, capture_output=True, text=True)


@contextmanager
def standing(**options: Any) -> Iterator[Sandbox]:
    """A local Pipedrive on which only the checks let time pass: its calls take none, as on the fastest machine."""
    with Sandbox(**options) as sandbox:
        sandbox.control.freeze("2026-06-01T12:00:00Z")
        sandbox.control.set_burst(1_000_000, search=10)
        sandbox.control.set_delay("search_index", 1.2)
        sandbox.control.set_delay("conversion", 2.5)
        yield sandbox


def records(sandbox: Sandbox) -> dict[str, list[dict[str, Any]]]:
    """All that is in the account and not deleted."""
    state = sandbox.world.state
    return {kind: [each for each in getattr(state, kind).all() if not each.get("is_deleted")] for kind in KINDS}


def table(output: str) -> dict[str, str]:
    """What the report says that the account does, by choice."""
    cells = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")]
    return {row[0]: row[3] for row in cells[2:]}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_run_finds_what_the_sandbox_plays_and_leaves_nothing(profile: str) -> None:
    with standing(leads=30, profile=profile) as sandbox:
        before = records(sandbox)
        run = run_checks(environment(sandbox))
        assert run.returncode == 0, run.stdout
        found = table(run.stdout)
        asked = {name: setting for name, setting in found.items() if not setting.startswith("not asked")}
        assert asked == {name: PROFILES[profile][name] for name in PROBES}
        assert set(found) - set(asked) == set(NOT_ASKED)
        assert records(sandbox) == before
        counters = sandbox.control.counters()
        assert 250 < counters["calls"] <= MOST_CALLS
        assert 2_500 < counters["tokens"] <= MOST_TOKENS
        assert f"(at most {MOST_CALLS} and {MOST_TOKENS})" in run.stdout
        assert sandbox.token not in run.stdout + run.stderr
        assert "skipped" not in run.stdout
        for measured in MEASURED:
            assert measured in run.stdout


def test_every_choice_is_asked_or_not_for_a_reason() -> None:
    assert set(PROBES) | set(NOT_ASKED) == set(CHOICES)
    assert not set(PROBES) & set(NOT_ASKED)
    assert set(DEPENDS) <= set(CHOICES)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with standing(leads=8) as running:
        yield running


def account_of(sandbox: Sandbox) -> Account:
    settings = settings_from(environment(sandbox))
    assert settings is not None
    account = Account(settings)
    admit(account, DOMAIN)
    return account


@pytest.mark.long
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_tells_its_own_choice_and_no_other(sandbox: Sandbox, name: str) -> None:
    """Each setting of one choice, among likely ones and among contrary ones."""
    for profile in PROFILES:
        sandbox.control.set_profile(profile)
        for setting in CHOICES[name].values:
            sandbox.control.set_choice(name, setting)
            account = account_of(sandbox)
            before = records(sandbox)
            own = Belongings(account, new_mark())
            own.person_id = own.made("/api/v2/persons", name=f"{own.mark} person")["id"]
            assert PROBES[name](own) == setting, profile
            own.clear()
            assert records(sandbox) == before
            sandbox.control.advance(5)


@pytest.mark.long
def test_a_run_through_failures_leaves_nothing() -> None:
    with standing(leads=30) as sandbox:
        before = records(sandbox)
        for method, path, kind, times in (
            ("POST", "/v1/leads", "close_after", 3),
            ("POST", "/v1/leadLabels", "close_after", 1),
            ("POST", "/v1/filters", "close_after", 1),
            ("POST", "/api/v2/dealFields", "close_after", 1),
            ("POST", "/api/v2/leads/*/convert/deal", "close_after", 1),
            ("PATCH", "/v1/leads/*", "status", 4),
            ("DELETE", "/v1/leads/*", "status", 6),
            ("DELETE", "/api/v2/persons/*", "status", 1),
        ):
            sandbox.control.fault(method, path, kind, times=times)
        run = run_checks(environment(sandbox))
        assert run.returncode == 1, run.stdout
        assert " failed" in run.stdout
        assert "NOT CLEANED UP" not in run.stdout
        assert records(sandbox) == before
        assert sandbox.token not in run.stdout + run.stderr


def test_the_sweep_takes_what_bears_the_prefix_and_is_the_callers_own(sandbox: Sandbox) -> None:
    account = account_of(sandbox)
    other = Account(read_connection(password=sandbox.control.token_for(11_400_002), extra={"base_url": sandbox.url}))
    before = records(sandbox)
    own = Belongings(account, "airflow-live-check-0123abcd", person_id=1)
    own.lead()
    own.lead(title=" airflow-live-check-0123abcd ")
    own.archived_lead()
    own.made("/v1/leadLabels", name=f"{own.mark} label", color="green")
    assert sweep(account) == []
    assert records(sandbox) == before
    for title in ("airflow-live-check", "airflow-live-check-0123abcdef", "About airflow-live-check-0123abcd"):
        own.lead(title=title)
    Belongings(other, own.mark, person_id=1).lead()
    kept = records(sandbox)
    assert sweep(account) == []
    assert records(sandbox) == kept


def test_an_archived_lead_that_cannot_be_deleted_is_restored_first(sandbox: Sandbox) -> None:
    account = account_of(sandbox)
    own = Belongings(account, new_mark(), person_id=1)
    before = records(sandbox)
    own.archived_lead()
    sandbox.control.fault("DELETE", "/v1/leads/*", "status", status=400)
    assert sweep(account) == []
    assert records(sandbox) == before


def test_what_will_not_go_is_told(sandbox: Sandbox) -> None:
    account = account_of(sandbox)
    lead = Belongings(account, new_mark(), person_id=1).lead()
    sandbox.control.fault("DELETE", "/v1/leads/*", "status", times=2)
    (problem,) = sweep(account)
    assert problem.startswith(f"DELETE /v1/leads/{lead['id']}: 500; ")
    assert "An ordered fault" in problem


def test_without_an_account_all_is_skipped(sandbox: Sandbox) -> None:
    run = run_checks(environment(sandbox, PIPEDRIVE_API_TOKEN=""))
    assert run.returncode == 0
    assert "named by PIPEDRIVE_API_TOKEN, PIPEDRIVE_COMPANY_DOMAIN and PIPEDRIVE_LIVE_OK" in run.stdout
    assert "passed" not in run.stdout
    assert sandbox.control.counters()["calls"] == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("variables", "words", "calls"),
    [
        ({"PIPEDRIVE_LIVE_OK": "no"}, "PIPEDRIVE_LIVE_OK=yes is missing", 0),
        ({"PIPEDRIVE_BASE_URL": "http://pipedrive.example"}, "http:// is allowed to this machine only", 0),
        ({"PIPEDRIVE_COMPANY_DOMAIN": "acme"}, "not to acme", 1),
    ],
)
def test_a_refused_run_says_why(sandbox: Sandbox, variables: dict[str, str], words: str, calls: int) -> None:
    run = run_checks(environment(sandbox, **variables))
    assert run.returncode == 4
    assert words in run.stdout + run.stderr
    assert sandbox.token not in run.stdout + run.stderr
    assert sandbox.control.counters()["calls"] == calls


@pytest.mark.long
def test_other_runs_of_the_tests_never_ask_an_account(sandbox: Sandbox) -> None:
    run = run_checks(environment(sandbox), conftest="tests")
    assert run.returncode == 0
    assert "run by `make test-live`" in run.stdout
    assert "passed" not in run.stdout
    assert sandbox.control.counters()["calls"] == 0


@pytest.mark.parametrize("consent", ["", "no", "1"])
def test_consent_is_one_word(sandbox: Sandbox, consent: str) -> None:
    with pytest.raises(RefusedError, match="PIPEDRIVE_LIVE_OK=yes is missing"):
        settings_from(environment(sandbox, PIPEDRIVE_LIVE_OK=consent))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda sandbox: {"PIPEDRIVE_COMPANY_DOMAIN": "acme"},
            "belongs to the company brightwater-sandbox, not to acme",
        ),
        (lambda sandbox: {"PIPEDRIVE_API_TOKEN": "a" * 40}, "does not know this token"),
        (lambda sandbox: sandbox.control.leads(MOST_LEADS + 1, archived=0.0), "more than 2000 leads in /v1/leads:"),
        (lambda sandbox: sandbox.control.leads(MOST_LEADS + 1, archived=1.0), "leads in /v1/leads/archived:"),
        (lambda sandbox: sandbox.control.set_budget(MOST_TOKENS), "API tokens left today"),
    ],
)
def test_another_account_is_only_looked_at(sandbox: Sandbox, change: Any, words: str) -> None:
    variables = environment(sandbox, **(change(sandbox) or {}))
    settings = settings_from(variables)
    assert settings is not None
    before = records(sandbox)
    with pytest.raises(RefusedError, match=words):
        admit(Account(settings), variables["PIPEDRIVE_COMPANY_DOMAIN"])
    assert records(sandbox) == before


def test_a_token_is_in_no_failure(sandbox: Sandbox) -> None:
    account = account_of(sandbox)
    sandbox.control.fault("GET", "/v1/leads", "close_before", times=1)
    with pytest.raises(AssertionError, match="GET /v1/leads: no answer") as caught:
        account.get("/v1/leads")
    shown = caught.getrepr(showlocals=True, style="long", chain=True)
    assert sandbox.token not in str(shown)
    assert caught.value.__context__ is None
    assert not isinstance(caught.value, requests.RequestException)


def test_a_run_stops_at_its_bounds(sandbox: Sandbox) -> None:
    account = account_of(sandbox)
    account.tokens = int(MOST_TOKENS * 0.7)
    with pytest.raises(AssertionError, match="as much as a run may spend"):
        account.get("/v1/leads")
    account.cleaning = True
    assert account.get("/v1/leads").ok
