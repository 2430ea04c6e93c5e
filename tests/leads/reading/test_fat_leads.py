"""Leads that weigh much: no more of them are held than are being read and being written."""

from __future__ import annotations

import weakref

import msgspec
import pytest

from airflow_provider_pipedrive_leads.client import PipedriveClient
from airflow_provider_pipedrive_leads.leads.reading import pages as pages_module
from airflow_provider_pipedrive_leads.leads.reading.complete import LARGEST_PAGE, Reading, Selection
from airflow_provider_pipedrive_leads.leads.reading.export import deliver
from airflow_provider_pipedrive_leads.leads.reading.pages import LeadPages, Shape
from tests.answering import Answer, Asked, Leads, client_of, leads
from tests.until import until

KILOBYTE = 1_000


@pytest.mark.parametrize(("weight", "ahead"), [(KILOBYTE, 4), (2 * KILOBYTE, 2), (9 * KILOBYTE, 1)])
def test_the_heavier_the_pages_the_fewer_are_asked_for_at_once(monkeypatch, weight, ahead):
    monkeypatch.setattr(pages_module, "BYTES_AHEAD", 5 * LARGEST_PAGE * KILOBYTE)
    monkeypatch.setattr(PipedriveClient, "calls_ahead", lambda _: 4)
    fat = leads(2 * LARGEST_PAGE, text="x" * weight)
    with client_of(Leads(fat)) as (client, _), LeadPages(client, Selection().filters()) as pages:
        assert pages.ahead() == 4
        assert sum(len(batch) for batch in Reading(pages).batches()) == len(fat)
        assert pages.ahead() == ahead


class Row(msgspec.Struct, weakref=True):
    id: str
    update_time: str
    archive_time: str | None = None


def test_leads_that_were_written_are_gone_before_the_next_come():
    """But for the last one, by which the next page is known to fit."""
    seen: list[weakref.ref[Row]] = []
    written: list[int] = []
    listed = Leads(leads(3 * LARGEST_PAGE))

    def heads(rows):
        seen.extend(map(weakref.ref, rows))
        return rows

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/leads" and int(asked.query["start"]):
            until(lambda: sum(ref() is not None for ref in seen) <= 1)
        return listed(asked)

    with client_of(answer) as (client, server):
        deliver(client, Selection(), Shape(Row, heads), lambda rows: written.append(len(rows)))
    assert sum(written) == 3 * LARGEST_PAGE
    assert sum(int(asked.query.get("start", 0)) > 0 for asked in server.asked) >= 3
