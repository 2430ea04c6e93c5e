"""The page at ``/``: one file, nothing from elsewhere, no markup from data, calm refreshes.

``docs/sandbox.png`` is a picture of it: ``.venv/bin/python -m demo.sandbox_page docs/sandbox.png``. Before you commit
a change, look at it in the dark too (add ``--blink-settings=preferredColorScheme=0``) and on a phone (add
``--window-size=390,2600``).
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_pipedrive_leads.sandbox.server import PAGE, Sandbox
from tests.chromium import browser, page_at  # noqa: F401 - browser is a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
REFRESH_MILLISECONDS = 2_000
ATTACK = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"


class Seen(HTMLParser):
    """What is in a page: text by the id or the tag it stands in, rows of the two tables, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.tables: dict[str, list[dict[str, Any]]] = {"leads": [], "requests": []}
        self._body = self._identity = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        self._identity = attributes.get("id", tag if tag == "title" else "")
        if tag == "tbody":
            self._body = attributes["id"]
        elif tag == "tr" and self._body:
            self.tables[self._body].append({"attributes": attributes, "cells": []})
        elif tag in ("td", "th") and self._body:
            self.tables[self._body][-1]["cells"].append("")

    def handle_endtag(self, tag: str) -> None:
        self._identity = ""
        if tag == "tbody":
            self._body = ""

    def handle_data(self, data: str) -> None:
        if self._identity:
            self.texts[self._identity] = self.texts.get(self._identity, "") + data
        if self._body and self.tables[self._body]:
            self.tables[self._body][-1]["cells"][-1] += data


@contextmanager
def stub(page: str, overviews: list[dict[str, Any] | None]) -> Iterator[str]:
    """A server that shows ``page`` and tells one overview after the other, the last for good; None stands for 500."""
    waiting = list(overviews)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self.tell(page.encode(), "text/html")
            elif self.path.endswith("/counters"):
                self.tell(b'{"calls": 3, "rejected": 1}', "application/json")
            else:
                overview = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                self.tell(json.dumps(overview).encode(), "application/json", 200 if overview else 500)

        def tell(self, body: bytes, kind: str, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_it_is_served():
    with Sandbox() as sandbox:
        reply = requests.get(sandbox.url + "/")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply.content == PAGE.read_bytes()


def test_nothing_comes_from_elsewhere():
    page = PAGE.read_text()
    assert not re.search(r"https?:|@import|url\(|\bimport\b[ (]", page)
    links = [
        value for _, names in Seen(page).tags for name, value in names.items() if name in ("src", "href", "action")
    ]
    assert links == ["data:,", "/__sandbox__/overview"]
    assert "default-src 'none'" in page


def test_data_never_becomes_markup():
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", PAGE.read_text()
    )


def test_the_tables_have_real_headers():
    tags = Seen(PAGE.read_text()).tags
    headers = [attributes for tag, attributes in tags if tag == "th"]
    assert len(headers) == 6 + 5
    assert {header["scope"] for header in headers} == {"col"}
    assert ("html", {"lang": "en"}) in tags


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[[str], Page]]:  # noqa: F811
    """Gives a function that opens the page at noon, once it shows its rows."""
    with browser.new_context() as context:

        def open_page(url: str) -> Page:
            page = page_at(context, NOON)
            page.goto(url)
            page.locator("#leads tr").first.wait_for()
            return page

        yield open_page


def test_a_person_sees_leads_budget_and_requests(look):
    with Sandbox(leads=60, plan="growth", seats=1, profile="contrary") as sandbox:
        sandbox.control.freeze(NOON.isoformat())
        caller = {"x-api-token": sandbox.token}
        label = {"name": f"Label {ATTACK}", "color": "purple"}
        label_id = requests.post(f"{sandbox.url}/v1/leadLabels", json=label, headers=caller).json()["data"]["id"]
        value = {"amount": 1234.5, "currency": "EUR"}
        lead = {"title": ATTACK, "person_id": 1, "label_ids": [label_id], "value": value}
        requests.post(f"{sandbox.url}/v1/leads", json=lead, headers=caller).raise_for_status()
        requests.get(f"{sandbox.url}/v1/leads/search?term={ATTACK}", headers=caller)
        requests.get(f"{sandbox.url}/v1/leads")
        expected = sandbox.control.overview()
        seen = Seen(look(sandbox.url).content())
        assert sandbox.control.counters()["calls"] == 4, "looking at the page must not count as calls"
    assert seen.texts["title"] == "Pipedrive sandbox"
    assert not [tag for tag, attributes in seen.tags if tag == "img" or "onerror" in attributes]
    assert (seen.texts["profile"], seen.texts["plan"], seen.texts["calls"]) == ("contrary", "growth", "4")
    assert (int(seen.texts["active"]), int(seen.texts["archived"])) == tuple(expected["leads"].values())
    assert seen.texts["left"] == "59,940"
    bar = next(attributes for _, attributes in seen.tags if attributes.get("role") == "meter")
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("59940", "60000")
    rows = [row["cells"] for row in seen.tables["leads"]]
    assert len(rows) == 50
    title, labels, worth, contact, state, _ = rows[0]
    assert title == ATTACK + expected["users"][0]["name"]
    assert (labels, worth, state) == (f"Label {ATTACK}", "€1,234.50", "Active")
    assert contact.startswith(expected["newest_leads"][0]["person_name"])
    assert any(attributes.get("class") == "chip purple" for _, attributes in seen.tags)
    asked = [row["cells"][1:] for row in seen.tables["requests"]]
    assert [(method, status, tokens) for method, _, status, tokens in asked] == [
        ("GET", "401", "0"),
        ("GET", "200", "40"),
        ("POST", "200", "10"),
        ("POST", "200", "10"),
    ]
    assert asked[1][1] == f"/v1/leads/search?term={ATTACK}"


@pytest.fixture
def first() -> dict[str, Any]:
    """What the control API tells of a sandbox with two leads."""
    with Sandbox(leads=2) as sandbox:
        return sandbox.control.overview()


def test_a_refresh_touches_only_what_has_changed(first, look):
    second = copy.deepcopy(first)
    second["newest_leads"][1]["title"] = "Changed since"
    second["newest_leads"].insert(0, {**first["newest_leads"][0], "id": "new", "title": "New since"})
    with stub(PAGE.read_text(), [first, second]) as url:
        page = look(url)
        page.evaluate("window.first = document.querySelectorAll('#leads tr, #leads tr > *')")
        page.clock.run_for(REFRESH_MILLISECONDS)
        page.locator("#leads tr", has_text="New since").wait_for()
        page.evaluate("first.forEach(part => part.setAttribute('data-mark', 'kept'))")
        seen = Seen(page.content())
    rows = seen.tables["leads"]
    assert [row["attributes"].get("data-mark") for row in rows] == [None, "kept", "kept"]
    assert ["fresh" in row["attributes"]["class"].split() for row in rows] == [True, False, True]
    assert rows[0]["cells"][0].startswith("New since")
    assert rows[2]["cells"][0].startswith("Changed since")
    marked = [attributes for tag, attributes in seen.tags if tag in ("td", "th") and "data-mark" in attributes]
    assert len(marked) == 2 * 6 - 1, "of the changed lead only the title's cell is new"


def test_it_says_when_the_sandbox_is_gone_and_keeps_what_it_showed(first, look):
    with stub(PAGE.read_text(), [first, None, first]) as url:
        page = look(url)
        page.clock.run_for(REFRESH_MILLISECONDS)
        page.locator("#problem", has_text="The sandbox does not answer.").wait_for()
        assert len(Seen(page.content()).tables["leads"]) == 2
        page.clock.run_for(REFRESH_MILLISECONDS)
        page.locator("#problem:empty").wait_for(state="attached")
        assert len(Seen(page.content()).tables["leads"]) == 2


def test_an_empty_sandbox_says_so(look):
    with Sandbox() as sandbox:
        seen = Seen(look(sandbox.url).content())
    assert [row["cells"] for row in seen.tables["leads"]] == [["No leads yet."]]
    assert [row["cells"] for row in seen.tables["requests"]] == [["No requests yet."]]
