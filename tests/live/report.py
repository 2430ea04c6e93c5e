"""What a run found out, as a table to read and to send in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES
from tests.live.account import MOST_CALLS, MOST_TOKENS, Account
from tests.live.open_choices import DEPENDS, NOT_ASKED

HEAD = ("choice", "likely", "contrary", "this account", "what depends on it")


def lines(found: Mapping[str, str], account: Account, left: list[str]) -> Iterator[str]:
    """The report, line by line; it holds nothing of the account's own data, nor its name."""
    yield _row(HEAD)
    yield _row(["---"] * len(HEAD))
    for choice in CHOICES.values():
        here = found.get(choice.name) or f"not asked: {NOT_ASKED.get(choice.name, 'left out of this run')}"
        yield _row((choice.name, choice.likely, choice.contrary, here, DEPENDS.get(choice.name, "nothing")))
    yield ""
    yield from account.measured
    yield f"{account.calls} calls, {account.tokens} API tokens (at most {MOST_CALLS} and {MOST_TOKENS})."
    yield from (f"NOT CLEANED UP: {each}" for each in left)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
