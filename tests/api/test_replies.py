"""Replies whose rows stay texts."""

from __future__ import annotations

import json

import msgspec
import pytest

from airflow_provider_pipedrive_leads.api.endpoints import GET_LEADS
from airflow_provider_pipedrive_leads.api.errors import ErrorBody, ReplyTooLargeError, read_error_body
from airflow_provider_pipedrive_leads.api.replies import MAX_VALUES, read_page, reply_from, unfit

LEADS = [{"id": "a", "title": 'two\nlines\r\n"quoted"'}, {"id": "b", "title": "\\"}]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_rows_kept_as_texts_stand_on_one_line_however_the_server_sets_them(line_break):
    body = json.dumps({"success": True, "data": LEADS}, indent=2).replace("\n", line_break).encode()
    rows = read_page(reply_from(GET_LEADS.call(rows=msgspec.Raw), 200, {}, body)).items
    assert [msgspec.json.decode(row) for row in rows] == LEADS
    assert all(not {10, 13}.intersection(bytes(row)) for row in rows)


@pytest.mark.parametrize("value", [b"{}", b"[]", b"1", b'""', b'{"a":1}'])
@pytest.mark.parametrize("rows", [None, msgspec.Raw])
def test_more_values_than_memory_is_worth_are_not_decoded(value, rows, monkeypatch):
    """64 MiB of ``{},{},…`` would be 22 million objects."""
    body = b'{"success":true,"data":[' + b",".join([value] * (MAX_VALUES + 1)) + b"]}"
    monkeypatch.setattr(msgspec.json, "decode", None)
    monkeypatch.setattr("airflow_provider_pipedrive_leads.api.replies._decoder", None)
    with pytest.raises(ReplyTooLargeError, match="GET /v1/leads: Pipedrive sent more than 2,000,000 values") as error:
        reply_from(GET_LEADS.call(rows=rows), 200, {}, body)
    assert error.value.in_doubt


def test_a_full_page_with_many_custom_fields_is_decoded():
    lead = {"id": "a", "title": "x" * 4_000, **{f"{number:040x}": None for number in range(400)}}
    body = json.dumps({"success": True, "data": [lead] * 500}).encode()
    assert len(read_page(reply_from(GET_LEADS.call(), 200, {}, body)).items) == 500


def test_words_are_not_looked_for_in_a_body_that_no_error_has():
    assert read_error_body(b'{"error":"gone","data":[%b]}' % b",".join([b"{}"] * 400_000)) == ErrorBody()


@pytest.mark.parametrize(
    ("told", "shown"), [("0" * 40, None), ("4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55",) * 2, ("Bearer x", None)]
)
def test_where_secrets_are_not_known_only_a_uuid_is_a_correlation_id(told, shown):
    reply = reply_from(GET_LEADS.call(), 200, {"x-correlation-id": told}, b'{"success":true}')
    assert unfit(reply, "without 'data'").correlation_id == shown
