"""Which account the checks may touch: one that was named, declared a test account, and looks like one."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_pipedrive_leads.api.connection import ConnectionSettings, read_connection
from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError
from tests.live.account import MOST_TOKENS, Account, expect, rows

NEEDED = ("PIPEDRIVE_API_TOKEN", "PIPEDRIVE_COMPANY_DOMAIN")
CONSENT = "PIPEDRIVE_LIVE_OK"
"""``yes``: the account is one for tests."""
MOST_LEADS = 2_000


class RefusedError(Exception):
    """The checks will not run, and why."""


def settings_from(environment: Mapping[str, str]) -> ConnectionSettings | None:
    """The account to run on; None where none is named.

    :raises RefusedError: one is named, but not declared a test account, or not rightly.
    """
    if not all(environment.get(name) for name in NEEDED):
        return None
    if environment.get(CONSENT) != "yes":
        raise RefusedError(
            f"{CONSENT}=yes is missing: it says that {NEEDED[1]} is a test account, in which leads, contacts, labels,"
            " filters, fields and deals may be made and deleted. See docs/live-checks.md."
        )
    try:
        return read_connection(
            name="the environment",
            host=environment["PIPEDRIVE_COMPANY_DOMAIN"],
            password=environment["PIPEDRIVE_API_TOKEN"],
            extra={"base_url": environment.get("PIPEDRIVE_BASE_URL")},
        )
    except PipedriveConfigError as error:
        problem = str(error)
    raise RefusedError(problem)


def admit(account: Account, domain: str) -> None:
    """Find out who calls, and whether the account is small enough and has enough of its day left. Only reads.

    :param domain: the company that the user believes to be in.
    :raises RefusedError: the checks must not touch this account.
    """
    me = account.get("/v1/users/me")
    if me.status_code == 401:
        raise RefusedError("PIPEDRIVE_API_TOKEN: Pipedrive does not know this token.")
    account.user = expect(me, 200).json()["data"]
    company = account.user["company_domain"]
    if company != domain.strip().lower().removeprefix("https://").removesuffix(".pipedrive.com"):
        raise RefusedError(f"PIPEDRIVE_COMPANY_DOMAIN: the token belongs to the company {company}, not to {domain}.")
    left = me.headers.get("x-daily-ratelimit-token-remaining")
    if left is not None and int(left) < 2 * MOST_TOKENS:
        raise RefusedError(f"The company has {left} API tokens left today; {2 * MOST_TOKENS} must be there.")
    for path in ("/v1/leads", "/v1/leads/archived"):
        if rows(account.get(path, start=MOST_LEADS, limit=1)):
            raise RefusedError(f"The account has more than {MOST_LEADS} leads in {path}: this is no test account.")
