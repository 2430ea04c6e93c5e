"""Where a run begins, from what earlier ones left: decisions over plain stores."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.incremental import (
    MOST_KEPT,
    Past,
    after,
    past_at_first_try,
    past_of,
    stream_key,
    window_start,
)
from tests.unhurried import unhurried

NOON = "2026-05-01T12:00:00Z"
ONE = "2026-05-01T13:00:00Z"


class Kept(dict):
    def get(self, key, default=None):
        return super().get(key, default)

    def set(self, key, value):
        self[key] = value


def test_the_first_run_reads_everything_and_the_second_from_before_the_watermark():
    assert window_start(Kept(), "k", Past()) is None
    assert window_start(Kept(), "k", Past(watermark=NOON)) == "2026-05-01T11:59:00Z"
    assert window_start(Kept(), "k", Past(watermark=NOON), lookback=0) == NOON
    assert window_start(Kept(), "k", Past(watermark=NOON), full_refresh=True) is None


def test_each_try_of_a_run_begins_where_the_first_did():
    run = Kept()
    assert window_start(run, "k", Past()) is None
    assert window_start(run, "k", Past(watermark=NOON), first_try=False) is None
    other = Kept()
    began = window_start(other, "k", Past(watermark=NOON))
    assert window_start(other, "k", Past(watermark=ONE), first_try=False) == began


def test_a_later_try_whose_beginning_is_forgotten_reads_everything():
    assert window_start(Kept(), "k", Past(watermark=NOON), first_try=False) is None


def test_a_full_refresh_of_a_cleared_run_is_full_for_its_further_tries():
    run = Kept()
    window_start(run, "k", Past(watermark=NOON))
    assert window_start(run, "k", Past(watermark=NOON), full_refresh=True) is None
    assert window_start(run, "k", Past(watermark=NOON), first_try=False) is None


def test_what_was_there_at_the_first_try_is_remembered():
    run = Kept()
    assert past_at_first_try(run, "k", Past(NOON, ids=["a"])) == Past(NOON, ids=["a"])
    assert past_at_first_try(run, "k", Past(ONE, ids=["a", "b"])) == Past(NOON, ids=["a"])


@unhurried
@given(st.lists(st.sampled_from([None, NOON, ONE, "2025-01-01T00:00:00Z"]), max_size=6))
def test_a_watermark_never_moves_back(watermarks):
    past = Past()
    for number, watermark in enumerate(watermarks):
        left = after(past, watermark=watermark, moves_unseen=number == 1, size=None, ids=(str(number), NOON))
        assert (left.watermark or "") >= (past.watermark or "")
        assert left.moves_unseen == (number >= 1)
        assert left.ids[-1] == str(number)
        assert len(left.ids) <= MOST_KEPT
        past = left


def test_runs_that_keep_no_ids_leave_alone_when_the_last_ones_were_read():
    """Between two full reads others may move the watermark: deals are looked for since the read, not since that."""
    full = after(Past(), watermark=NOON, moves_unseen=False, size=None, ids=("a", NOON))
    partial = after(full, watermark=ONE, moves_unseen=False, size=None)
    assert (partial.watermark, partial.ids, partial.ids_read_at) == (ONE, ["a"], NOON)


def test_streams_do_not_share_a_key():
    keys = {
        stream_key(connection, company, selection, destination)
        for connection in ("a", "b")
        for company in ("https://acme.pipedrive.com", "https://other.pipedrive.com")
        for selection in (Selection(), Selection(owner_id=1), Selection(person_id=1), Selection(archived="only"))
        for destination in ("d t x", "d t y")
    }
    assert len(keys) == 2 * 2 * 4 * 2


def test_what_is_kept_comes_back():
    store = Kept()
    assert past_of(store, "k") == Past()
    store.set("k", {"watermark": NOON, "size": 3})
    assert past_of(store, "k") == Past(NOON, size=3)
