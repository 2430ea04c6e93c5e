"""What the checks make in an account, and how it goes again. Everything bears the prefix and the mark of its run."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import requests

from tests.live.account import Account, expect, words

PREFIX = "airflow-live-check"
OURS = re.compile(rf"\s*{PREFIX}-[0-9a-f]{{8}}(\s|$)")
WHOLE_PAGE = 500
MOST_PAGES = 5
MOST_SWEPT = 150
GONE = (404, 410)
UNDER_WAY = ("not_started", "running")
CONVERSION_SECONDS = (0.5, 0.5, 1, 2, 4, 8, 15, 30)


def new_mark() -> str:
    """What a run's things are called by."""
    return f"{PREFIX}-{secrets.token_hex(4)}"


class Belongings:
    """Makes things for one check and takes them away again.

    :param mark: the beginning of every title and name.
    """

    def __init__(self, account: Account, mark: str, person_id: int = 0) -> None:
        self.account = account
        self.mark = mark
        self.person_id = person_id
        self._made: list[str] = []

    def lead_reply(self, **fields: Any) -> requests.Response:
        """Ask for a new lead, which may be refused."""
        reply = self.account.post("/v1/leads", **{"title": f"{self.mark} lead", "person_id": self.person_id, **fields})
        if reply.ok:
            self.owns(f"/v1/leads/{reply.json()['data']['id']}")
        return reply

    def lead(self, **fields: Any) -> dict[str, Any]:
        """A new lead."""
        lead: dict[str, Any] = expect(self.lead_reply(**fields), 200, 201).json()["data"]
        return lead

    def leads(self, count: int) -> list[str]:
        """The ids of new leads, the eldest first; no two have the same time."""
        made = [self.lead()["id"]]
        while len(made) < count:
            self.account.let_time_pass()
            made.append(self.lead()["id"])
        return made

    def archived_lead(self, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new lead as it was made, and as the reply to its archiving shows it."""
        lead = self.lead(**fields)
        self.account.let_time_pass()
        archived = expect(self.account.patch(lead_path(lead), is_archived=True), 200).json()["data"]
        return lead, archived

    def converted_lead(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new lead as it was made, and the deal that it became a while later."""
        lead = self.lead()
        self.account.let_time_pass()
        self.account.let_time_pass()
        deal_id = self.conversion(f"/api/v2/leads/{lead['id']}", "deal")
        deal = self.account.data(f"/api/v2/deals/{deal_id}", include_fields="source_lead_id")
        return lead, deal

    def conversion(self, source: str, target: str) -> Any:
        """The id of what a lead or deal was converted to.

        :param source: its path.
        :param target: ``deal`` or ``lead``.
        """
        begun = expect(self.account.post(f"{source}/convert/{target}"), 200, 201).json()["data"]["conversion_id"]

        def last_status() -> dict[str, Any] | None:
            status: dict[str, Any] = self.account.data(f"{source}/convert/status/{begun}")
            return None if status["status"] in UNDER_WAY else status

        status = self.account.look_until("A conversion ended", last_status, CONVERSION_SECONDS) or {}
        assert status["status"] == "completed"
        made = status[f"{target}_id"]
        self.owns(f"/api/v2/deals/{made}" if target == "deal" else f"/v1/leads/{made}")
        return made

    def made(self, path: str, **body: Any) -> dict[str, Any]:
        """A new thing of another kind."""
        thing: dict[str, Any] = expect(self.account.post(path, **body), 200, 201).json()["data"]
        self.owns(f"{path}/{thing['id']}")
        return thing

    def owns(self, path: str) -> None:
        """Take a thing away in the end, too."""
        self._made.append(path)

    def clear(self) -> None:
        """Take away what was made, latest first; what will not go is left to the sweep."""
        while self._made:
            remove(self.account, self._made.pop())


def lead_path(lead: dict[str, Any]) -> str:
    """Where a lead is found."""
    return f"/v1/leads/{lead['id']}"


def remove(account: Account, path: str) -> str | None:
    """Delete one thing.

    :return: None if it is gone now, else what the account said.
    """
    try:
        reply = account.call("DELETE", path)
        if path.startswith("/v1/leads/") and not reply.ok and reply.status_code not in GONE:
            account.patch(path, is_archived=False)  # perhaps an archived lead takes nothing but this
            reply = account.call("DELETE", path)
    except AssertionError as error:
        return str(error)
    return None if reply.ok or reply.status_code in GONE else f"DELETE {path}: {reply.status_code}; {words(reply)}"


def sweep(account: Account) -> list[str]:
    """Delete whatever bears the prefix, of this run and of earlier ones, and nothing else.

    :return: what could not be deleted, and why.
    """
    left: list[str] = []
    paths = _leftovers(account)
    for number, path in enumerate(paths):
        problem = f"more than {MOST_SWEPT} things: run the checks once more" if number == MOST_SWEPT else None
        problem = problem or remove(account, path)
        if problem:
            left.append(problem)
        if number == MOST_SWEPT:
            break
    return left


def _leftovers(account: Account) -> Iterator[str]:
    yield from _owned(account)
    for path, query, name, identity in (
        ("/v1/leadLabels", {}, "name", "id"),
        ("/v1/filters", {"type": "leads"}, "name", "id"),
        ("/api/v2/dealFields", {"limit": WHOLE_PAGE}, "field_name", "field_code"),
    ):
        yield from (f"{path}/{thing[identity]}" for thing in account.data(path, **query) if OURS.match(thing[name]))


def _owned(account: Account) -> Iterator[str]:
    """What has a user besides its name: only the token's own."""
    me = account.user["id"]
    for path in ("/v1/leads", "/v1/leads/archived"):
        leads = list(_newest_v1(account, path))  # before one goes, and the pages move
        yield from (lead_path(lead) for lead in leads if OURS.match(lead["title"]) and lead["creator_id"] == me)
    for kind, name in (("deals", "title"), ("persons", "name"), ("organizations", "name")):
        path = f"/api/v2/{kind}"
        listed = account.data(path, sort_by="add_time", sort_direction="desc", limit=WHOLE_PAGE)
        yield from (f"{path}/{each['id']}" for each in listed if OURS.match(each[name]) and each["owner_id"] == me)


def _newest_v1(account: Account, path: str) -> Iterator[dict[str, Any]]:
    for page in range(MOST_PAGES):
        found = account.data(path, sort="add_time DESC", start=page * WHOLE_PAGE, limit=WHOLE_PAGE)
        yield from found
        if len(found) < WHOLE_PAGE:
            return
