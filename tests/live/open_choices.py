"""The open choices of docs/pipedrive-api.md, section 10: what an account does, found out from outside.

Each probe is called like its choice and gives the setting that the account plays, in the words of the sandbox; or
``other: …`` where it does something that nobody thought of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import requests

from tests.live.account import Account, expect, page_of, rows
from tests.live.belongings import Belongings, lead_path

Probe = Callable[[Belongings], str]
PROBES: dict[str, Probe] = {}
SEARCH_SECONDS = (0.5, 0.5, 1, 2, 4, 8, 13, 20)
SEARCH_LAGS = 5
"""Seconds by which search may know one lead later than another that is younger."""
SEARCHES_OVER_THE_LIMIT = 14

NOT_ASKED = {
    "oauth_origin_id": "needs an OAuth app; the log of a creating task tells",
    "query_token": "would put the token into a URL",
    "ignored_429s": "would get the token banned",
    "day_zone": "would take a day and all its tokens",
}

DEPENDS = {
    "archived_lead_get": "docs/waiting.md: price only; with `404` the archived list is read as well",
    "archiving_update_time": "docs/exporting.md, Complete: with `stays`, passes and runs read everything",
    "archived_updated_since": "price only: the archived list is read newest first, without it",
    "unchanged_patch_update_time": "docs/writing.md, Update: with `moves`, if_unchanged_since stops at such an edit",
    "equal_times_order": "docs/exporting.md, Complete: any steady order will do",
    "empty_label_ids": "docs/writing.md, Update: with `ignored`, taking off the last label fails and says so",
    "stored_values": "docs/writing.md, Load: the second load writes nothing",
    "oauth_origin_id": "docs/writing.md, Once: with `overwritten`, an app needs key_field",
    "second_delete": "docs/writing.md, Convert, delete, label: both are taken for gone",
    "rate_headers": "README, Pipedrive's limits; docs/waiting.md: without them 30,000 tokens a day are assumed",
    "rate_limit_body": "README, Pipedrive's limits: either body is read",
    "retry_after": "README, Pipedrive's limits: kept to if it is there",
    "day_zone": "README, on_daily_budget: looks just after each half hour, midnight of most zones",
    "query_token": "README, Tokens: never used",
}
"""Which promise has to do with a choice; no other does."""


def probe(function: Probe) -> Probe:
    """Registers what finds out the choice that the function is called by."""
    PROBES[function.__name__] = function
    return function


def _accepted_or_refused(reply: requests.Response, accepted: str) -> str:
    if reply.status_code == 400:
        return "refused"
    return accepted if reply.ok else f"other: {reply.status_code}"


def _shape(page: dict[str, Any]) -> str:
    if "pagination" in page:
        return "nested"
    return "flat" if "more_items_in_collection" in page else f"other: {', '.join(sorted(page))}"


@probe
def lead_created_status(own: Belongings) -> str:
    return str(expect(own.lead_reply(), 200, 201).status_code)


@probe
def paging_shape(own: Belongings) -> str:
    return _shape(expect(own.account.get("/v1/leads", limit=1), 200).json()["additional_data"])


@probe
def field_paging_shape(own: Belongings) -> str:
    return _shape(expect(own.account.get("/v1/leadFields", limit=1), 200).json()["additional_data"])


@probe
def limit_over_500(own: Belongings) -> str:
    reply = own.account.get("/v1/leads", limit=501, person_id=own.person_id)
    if not reply.ok:
        return _accepted_or_refused(reply, "")
    limit = page_of(reply)["limit"]
    return "capped" if limit == 500 else f"other: a limit of {limit}"


@probe
def empty_page(own: Belongings) -> str:
    reply = own.account.get("/v1/leads", person_id=own.person_id, start=1_000)
    data = expect(reply, 200).json()["data"]
    return {"[]": "list", "None": "null"}.get(str(data), "other: not empty")


@probe
def malformed_lead_id(own: Belongings) -> str:
    return str(own.account.get("/v1/leads/17").status_code)


@probe
def archived_lead_get(own: Belongings) -> str:
    lead, _ = own.archived_lead()
    return str(own.account.get(lead_path(lead)).status_code)


@probe
def archived_lead_edit(own: Belongings) -> str:
    lead, _ = own.archived_lead()
    return str(own.account.patch(lead_path(lead), title=f"{own.mark} edited").status_code)


@probe
def archive_time_form(own: Belongings) -> str:
    _, archived = own.archived_lead()
    shape = re.sub(r"\d", "0", str(archived["archive_time"]))
    known = {"0000-00-00T00:00:00.000Z": "iso_ms", "0000-00-00 00:00:00": "plain", "None": "null"}
    return known.get(shape, f"other: {shape}")


@probe
def archiving_update_time(own: Belongings) -> str:
    lead, archived = own.archived_lead()
    own.account.let_time_pass()
    restored = expect(own.account.patch(lead_path(lead), is_archived=False), 200).json()["data"]
    moves = (archived["update_time"] != lead["update_time"], restored["update_time"] != archived["update_time"])
    known = {(True, True): "moves", (False, False): "stays", (True, False): "other: moves on archiving only"}
    return known.get(moves, "other: moves on restoring only")


@probe
def unchanged_patch_update_time(own: Belongings) -> str:
    lead = own.lead()
    own.account.let_time_pass()
    after = expect(own.account.patch(lead_path(lead), title=lead["title"]), 200).json()["data"]
    return "stays" if after["update_time"] == lead["update_time"] else "moves"


@probe
def archived_updated_since(own: Belongings) -> str:
    lead, _ = own.archived_lead()
    later = datetime.fromisoformat(lead["add_time"]) + timedelta(days=1)
    since = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    reply = own.account.get("/v1/leads/archived", person_id=own.person_id, updated_since=since)
    if not reply.ok:
        return _accepted_or_refused(reply, "")
    return "ignored" if lead["id"] in {row["id"] for row in rows(reply)} else "honoured"


@probe
def updated_since_fractions(own: Belongings) -> str:
    since = "2026-01-01T00:00:00.500Z"
    return _accepted_or_refused(own.account.get("/v1/leads", updated_since=since, limit=1), "accepted")


@probe
def archived_status_parameter(own: Belongings) -> str:
    lead, _ = own.archived_lead()
    reply = own.account.get("/v1/leads", person_id=own.person_id, archived_status="archived")
    if reply.ok and lead["id"] in {row["id"] for row in rows(reply)}:
        return "other: honoured"
    return _accepted_or_refused(reply, "ignored")


@probe
def equal_times_order(own: Belongings) -> str:
    made = [own.lead(expected_close_date="2031-05-17")["id"] for _ in range(4)]
    listed = rows(own.account.get("/v1/leads", person_id=own.person_id, sort="expected_close_date ASC"))
    order = [row["id"] for row in listed if row["id"] in made]
    if order == made:
        return "insertion"
    return "reversed" if order == made[::-1] else f"other: {', '.join(str(made.index(each) + 1) for each in order)}"


@probe
def unknown_keys(own: Belongings) -> str:
    return _accepted_or_refused(own.lead_reply(live_check_of_nothing="x"), "ignored")


@probe
def validation_error(own: Belongings) -> str:
    reply = expect(own.lead_reply(title=None), 400)
    return "schema" if reply.json()["error"].startswith("ERR_SCHEMA_VALIDATION_FAILED") else "plain"


@probe
def null_title(own: Belongings) -> str:
    lead = own.lead()
    reply = own.account.patch(lead_path(lead), title=None)
    if reply.ok and own.account.data(lead_path(lead))["title"] != lead["title"]:
        return "other: the title is gone"
    return _accepted_or_refused(reply, "ignored")


@probe
def unlink_last_contact(own: Belongings) -> str:
    lead = own.lead()
    reply = own.account.patch(lead_path(lead), person_id=None)
    if reply.ok and own.account.data(lead_path(lead))["person_id"] is not None:
        return "other: ignored"
    return _accepted_or_refused(reply, "allowed")


@probe
def empty_label_ids(own: Belongings) -> str:
    label = own.made("/v1/leadLabels", name=f"{own.mark} label", color="green")
    lead = own.lead(label_ids=[label["id"]])
    reply = own.account.patch(lead_path(lead), label_ids=[])
    if not reply.ok:
        return f"other: {reply.status_code}"
    return "ignored" if own.account.data(lead_path(lead))["label_ids"] else "clears"


@probe
def stored_values(own: Belongings) -> str:
    title = f" {own.mark} spaces "
    lead = own.lead(title=title, value={"amount": 10.125, "currency": "EUR"})
    stored = own.account.data(lead_path(lead))
    changed = (stored["title"] == title.strip(), stored["value"]["amount"] in {10.13, 10.12})
    kept = (stored["title"] == title, stored["value"]["amount"] == 10.125)
    if all(changed) or all(kept):
        return "normalised" if all(changed) else "verbatim"
    return f"other: title {'kept' if kept[0] else 'changed'}, amount {stored['value']['amount']}"


@probe
def second_delete(own: Belongings) -> str:
    path = lead_path(own.lead())
    expect(own.account.call("DELETE", path), 200)
    return str(own.account.call("DELETE", path).status_code)


@probe
def search_archived(own: Belongings) -> str:
    """The archived lead is older than the active one that search must know first."""
    title = f"{own.mark} archived or not"
    archived, _ = own.archived_lead(title=title)
    active = own.lead(title=title)
    wanted = {archived["id"], active["id"]}
    seen = "Search found one of two leads of one title"
    found = own.account.look_until(seen, lambda: wanted & found_by_title(own.account, title), SEARCH_SECONDS)
    if archived["id"] not in found:
        own.account.wait(SEARCH_LAGS)
        found = found_by_title(own.account, title)
    return "found" if archived["id"] in found else "left_out"


@probe
def new_record_update_time(own: Belongings) -> str:
    """Of a deal made by conversion, for which it matters, and of a person."""
    made = [own.converted_lead()[1], own.made("/api/v2/persons", name=f"{own.mark} person")]
    told = {"null" if each["update_time"] is None else "add_time" for each in made}
    return told.pop() if len(told) == 1 else "other: a converted deal differs from a person"


@probe
def converted_deal_add_time(own: Belongings) -> str:
    lead, deal = own.converted_lead()
    if not deal["add_time"]:
        return "other: null"
    return "of_lead" if deal["add_time"][:19] == lead["add_time"][:19] else "now"


@probe
def api_v1_prefix(own: Belongings) -> str:
    status = own.account.get("/api/v1/leads", limit=1, person_id=own.person_id).status_code
    return {200: "served", 404: "unknown"}.get(status, f"other: {status}")


@probe
def rate_headers(own: Belongings) -> str:
    headers = own.account.get("/v1/users/me").headers
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-daily-ratelimit-token-remaining")
    missing = [name for name in names if name not in headers]
    if missing in ([], list(names)):
        return "absent" if missing else "present"
    return f"other: {', '.join(missing)} missing"


@probe
def retry_after(own: Belongings) -> str:
    return "present" if "retry-after" in _over_the_limit(own.account).headers else "absent"


@probe
def rate_limit_body(own: Belongings) -> str:
    reply = _over_the_limit(own.account)
    try:
        body = reply.json()
    except requests.JSONDecodeError:
        return "text" if "html" not in reply.headers.get("content-type", "") else "other: HTML"
    return "envelope" if body.get("success") is False and "error" in body else f"other: {', '.join(sorted(body))}"


def found_by_title(account: Account, title: str) -> set[str]:
    """The ids of the leads that search finds by their whole title."""
    hits = account.data("/api/v2/leads/search", term=title, fields="title", exact_match="true")
    return {hit["item"]["id"] for hit in hits["items"]}


@cache
def _over_the_limit(account: Account) -> requests.Response:
    """The 429 that comes of a few searches more than any plan allows in two seconds."""
    replies = account.volley("/api/v2/leads/search", SEARCHES_OVER_THE_LIMIT, term="airflow-live-check")
    refused = [reply for reply in replies if reply.status_code == 429]
    assert refused, f"none of {SEARCHES_OVER_THE_LIMIT} searches at once was refused"
    return refused[0]
