"""What is no character in JSON gives way to U+FFFD, and nothing else is touched."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.endpoints import GET_LEAD, GET_LEADS, GET_USERS, SEARCH_LEADS, Call
from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.replies import read_page, reply_from
from airflow_provider_pipedrive_leads.api.texts import MAX_TOLD, ToldOnce, is_utf8, mended

LEAD = "4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55"


@pytest.mark.parametrize(
    ("body", "text", "times"),
    [
        (rb'"\ud83d"', "\ufffd", 1),
        (rb'"\uDE00"', "\ufffd", 1),
        (rb'"\ud83dx"', "\ufffdx", 1),
        (rb'"\ud83d\n"', "\ufffd\n", 1),
        (rb'"\ud83d\ud83d"', "\ufffd\ufffd", 2),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\N{GRINNING FACE}", 1),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd", 2),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}", 0),
        (rb'"\\ud83d"', "\\ud83d", 0),
        (rb'"\\\ud83d"', "\\\ufffd", 1),
        (rb'"\ue000\ud7ff"', "\ue000\ud7ff", 0),
        (b'"a\xffb"', "a\ufffdb", 1),
        (b'"\xe2\x82"', "\ufffd", 1),
        (b'"\xed\xa0\xbd"', "\ufffd", 1),
        (b'"\xf0\x9f\x98"', "\ufffd", 1),
        ('"\N{GRINNING FACE} é \ufffd"'.encode(), "\N{GRINNING FACE} é \ufffd", 0),
    ],
)
def test_what_is_no_character_gives_way(body, text, times):
    sound = mended(body)
    assert (msgspec.json.decode(sound.text), len(sound.places)) == (text, times)
    assert all(sound.text[place] == "\ufffd" for place in sound.places)


@given(st.text(st.characters(exclude_categories=()), max_size=30))
def test_every_text_that_json_can_write_can_be_read_and_whole_ones_stay_as_they_are(text):
    sound = mended(json.dumps(text).encode())
    read = msgspec.json.decode(sound.text)
    with_pairs = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    halves = [char for char in with_pairs if 0xD800 <= ord(char) <= 0xDFFF]
    assert len(sound.places) == len(halves)
    assert read == "".join("\ufffd" if char in halves else char for char in with_pairs)


@example(b"\\\x80")
@given(st.binary(max_size=40))
def test_any_bytes_become_utf8(body):
    sound = mended(b'"' + body + b'"')
    assert sound.text.encode().decode() == sound.text
    assert is_utf8(body) == (not any(0xDC80 <= ord(char) <= 0xDCFF for char in body.decode("utf-8", "surrogateescape")))


def body_of(text: bytes) -> bytes:
    return b'{"success":true,"data":[{"id":"a","title":"\xef\xbf\xbd"},{"id":"%b","title":"%b"},{"id":"c"}]}' % (
        LEAD.encode(),
        text,
    )


@pytest.mark.parametrize("text", [rb"\ud83d", b"\xff"])
@pytest.mark.parametrize("rows", [None, msgspec.Raw, dict])
def test_a_reply_names_the_row_that_held_it(text, rows):
    reply = reply_from(GET_LEADS.call(rows=rows), 200, {}, body_of(text))
    titles = [
        msgspec.json.decode(row)["title"] if rows is msgspec.Raw else row["title"] for row in read_page(reply).items[:2]
    ]
    assert titles == ["\ufffd", "\ufffd"]
    assert reply.mended == (f"Lead {LEAD}",)


def test_rows_that_say_the_same_are_told_apart():
    same = rb'{"id":"%b","title":"\ud83d"}'
    body = b'{"data":[' + b",".join([same % b"a", same % b"b", same % b"a"]) + b"]}"
    assert reply_from(GET_LEADS.call(rows=msgspec.Raw), 200, {}, body).mended == ("Lead a", "Lead b")


@pytest.mark.parametrize(
    ("call", "body", "name"),
    [
        (GET_LEAD.call(ids={"lead_id": LEAD}), rb'{"data":{"id":"x","title":"\ud83d"}}', "Lead x"),
        (SEARCH_LEADS.call(), rb'{"data":{"items":[{"item":{"id":"x","notes":["\ud83d"]}}]}}', "Lead x"),
        (GET_USERS.call(), rb'{"data":[{"id":7,"name":"\ud83d"}]}', "GET /v1/users, id 7"),
        (GET_USERS.call(), rb'{"data":[{"name":"\ud83d"}]}', "GET /v1/users"),
        (GET_USERS.call(), rb'{"data":[],"more":"\ud83d"}', "GET /v1/users"),
        (Call("GET", "/v1/others", 1), rb'{"other":"\ud83d"}', "GET /v1/others"),
    ],
)
def test_whatever_held_it_is_named(call, body, name):
    assert reply_from(call, 200, {}, body).mended == (name,)


@pytest.mark.parametrize("body", [b"\xff", rb"\ud83d", b'{"data":"\xff', rb'["\ud83d"]'])
def test_what_is_no_envelope_stays_none(body):
    with pytest.raises(PipedriveServerError):
        reply_from(GET_LEADS.call(), 200, {}, body)


def test_each_is_told_once_and_many_are_not_told():
    told = ToldOnce()
    assert len(told.sentences(["Lead a", "Lead b", "Lead a"])) == 2
    assert told.sentences(["Lead a"]) == []
    sentences = told.sentences(f"Lead {number}" for number in range(2 * MAX_TOLD))
    assert len(sentences) == MAX_TOLD - 2 + 1
    assert "not named" in sentences[-1]
    assert told.sentences(["Lead x"]) == []


@pytest.mark.parametrize(
    ("query", "body", "name"),
    [
        ({"term": "a\ud83d"}, None, "term"),
        ({}, {"title": "\ude00"}, "title"),
        ({}, {"value": {"currency": "\ud83d"}}, "value.currency"),
        ({}, {"label_ids": ["a", "\ud83d"]}, "label_ids"),
        ({}, {"a\ud83d": 1}, "a\\ud83d"),
        ({}, [{"title": "\ud83d\ud83d"}], "title"),
        ({}, ["\ud83d"], "body"),
        ({}, "\ud83d", "body"),
        ({}, {"": "\ud83d"}, "body"),
    ],
)
def test_half_a_pair_on_the_way_out_is_refused_by_name(query, body, name):
    with pytest.raises(PipedriveValidationError) as refused:
        Call("POST", "/v1/leads", 1, query, body)
    assert str(refused.value).startswith(f"{name}: ")
    assert str(refused.value).encode()


@given(
    st.recursive(
        st.text(st.characters(exclude_categories=())), lambda each: st.lists(each) | st.dictionaries(st.text(), each)
    )
)
def test_whatever_is_not_refused_can_be_sent(body):
    try:
        call = Call("POST", "/v1/leads", 1, {}, body)
    except PipedriveValidationError:
        with pytest.raises(UnicodeEncodeError):
            msgspec.json.encode(body)
    else:
        assert msgspec.json.encode(call.body)
