"""Pages of leads: ids and times in texts that are left as they are, and the moment of a page."""

from __future__ import annotations

import json
from uuid import UUID

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api.endpoints import Call
from airflow_provider_pipedrive_leads.api.operations import LeadsApi
from airflow_provider_pipedrive_leads.api.replies import Reply
from airflow_provider_pipedrive_leads.leads.reading import pages as pages_module
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.pages import AS_GIVEN, LeadPages
from airflow_provider_pipedrive_leads.leads.reading.walk import BY_CHANGE, Page, Question

LEADS = [
    {
        "id": f"4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c5{number}",
        "title": f'"id":"{number}" {{"id":"0" "update_time":"1999"',
        "add_time": "2026-01-01T00:00:00.000Z",
        "update_time": f"2026-01-0{number}T00:00:00.000Z",
        "archive_time": None,
    }
    for number in range(1, 5)
]
UNUSUAL = {
    "live": LEADS,
    "id last": [{**{key: lead[key] for key in lead if key != "id"}, "id": lead["id"]} for lead in LEADS],
    "one begins otherwise": [*LEADS[:3], {"title": "x", **LEADS[3]}],
    "dashes but no digits": [{**lead, "id": f"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxx{i}"} for i, lead in enumerate(LEADS)],
    "white space": [{**lead, "id": f"4d1b0a50-1f7a-11ef-8c3b-          {i} "} for i, lead in enumerate(LEADS)],
    "other ids": [{**lead, "id": f"lead-{number}"} for number, lead in enumerate(LEADS)],
}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "with spaces"])
@pytest.mark.parametrize("name", UNUSUAL)
def test_ids_and_heads_are_those_in_the_text(name, separators):
    leads = UNUSUAL[name]
    rows = msgspec.json.decode(json.dumps(leads, separators=separators), type=list[msgspec.Raw])
    page = Page(AS_GIVEN.heads(rows), rows, more=False)
    keys = AS_GIVEN.keys(rows)
    assert keys is None or keys == [UUID(lead["id"]).int for lead in leads]
    assert [head.id for head in page.heads] == [lead["id"] for lead in leads]
    assert [head.update_time for head in page.heads[1:3]] == [lead["update_time"] for lead in leads[1:3]]
    assert page.heads[-1].update_time == leads[-1]["update_time"]
    assert len(page.heads) == len(leads)


def test_the_live_form_needs_no_heads_for_its_ids():
    rows = msgspec.json.decode(json.dumps(LEADS, separators=(",", ":")), type=list[msgspec.Raw])
    assert AS_GIVEN.keys(rows) == [UUID(lead["id"]).int for lead in LEADS]


class SlowApi(LeadsApi):
    """Answers an empty page a while after it was asked for, by the clock of this object."""

    def __init__(self, headers: dict[str, str], seconds: float) -> None:
        self._headers = headers
        self._seconds = seconds
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def send(self, call: Call) -> Reply:
        self._now += self._seconds
        return Reply(200, self._headers, {"data": []})


@pytest.mark.parametrize(
    ("headers", "seconds", "asked_at"),
    [
        ({"date": "Sat, 31 Jan 2026 09:30:00 GMT"}, 0.02, "2026-01-31T09:29:59Z"),
        ({"date": "Sat, 31 Jan 2026 09:30:00 GMT"}, 59.5, "2026-01-31T09:29:00Z"),
        ({}, 0.02, None),
        ({"date": "Fri, 31 Dec 9999 23:59:59 -0500"}, 0.02, None),
    ],
    ids=["told when it answered", "told late", "untold", "told a time that no clock shows"],
)
def test_a_page_has_the_time_at_which_it_was_asked_for_not_that_of_a_slow_answer(
    monkeypatch, headers, seconds, asked_at
):
    api = SlowApi(headers, seconds)
    monkeypatch.setattr(pages_module, "time", api)
    with LeadPages(api, Selection().filters()) as pages:
        page = pages.ask(BY_CHANGE, Question(None, 0), 10, archived=False).result()
    assert page.asked_at == asked_at
