"""Replies whose rows stay texts."""

from __future__ import annotations

import json

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api.endpoints import GET_LEADS
from airflow_provider_pipedrive_leads.api.replies import read_page, reply_from

LEADS = [{"id": "a", "title": 'two\nlines\r\n"quoted"'}, {"id": "b", "title": "\\"}]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_rows_kept_as_texts_stand_on_one_line_however_the_server_sets_them(line_break):
    body = json.dumps({"success": True, "data": LEADS}, indent=2).replace("\n", line_break).encode()
    rows = read_page(reply_from(GET_LEADS.call(rows=msgspec.Raw), 200, {}, body)).items
    assert [msgspec.json.decode(row) for row in rows] == LEADS
    assert all(not {10, 13}.intersection(bytes(row)) for row in rows)
