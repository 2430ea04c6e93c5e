"""Which leads became deals, in accounts that tell little of when a deal was made, and with archived deals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import (
    OLDER_IN_A_ROW,
    active_deals_of_leads,
    deals_of_leads,
    find_deal,
)

MOMENT = datetime(2026, 1, 31, 9, tzinfo=UTC)


class Account:
    """Deals by growing id; how many of them were looked at."""

    def __init__(self, deals, archived=()):
        numbered = [{**deal, "id": number} for number, deal in enumerate(deals, 1)]
        self._active = [deal for deal in numbered if deal["id"] not in archived]
        self._archived = [deal for deal in numbered if deal["id"] in archived]
        self.seen = 0

    def get_deals(self, *, sort_by, sort_direction, page_size=500):
        assert (sort_by, sort_direction) == ("id", "desc")
        yield from self._each(self._active)

    def get_archived_deals(self, *, sort_by, sort_direction, page_size=500):
        assert (sort_by, sort_direction) == ("id", "desc")
        yield from self._each(self._archived)

    def _each(self, deals):
        for deal in reversed(deals):
            self.seen += 1
            yield deal


def at(seconds):
    return (MOMENT + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def entered(seconds, *, changed=None, dated=None):
    """A deal that somebody entered so many seconds after the moment, perhaps with a date of the past."""
    return {
        "add_time": at(seconds if dated is None else dated),
        "update_time": None if changed is None else at(changed),
    }


def made_of_lead(lead_id, add_time=None, update_time=None):
    return {"source_lead_id": lead_id, "add_time": add_time, "update_time": update_time}


@pytest.mark.parametrize("update_time", ["null", "add_time"])
@pytest.mark.parametrize("add_time", ["now", "of_lead"])
@pytest.mark.parametrize("archived", [False, True])
def test_a_converted_lead_is_found(sandbox, client, person_id, update_time, add_time, archived):
    sandbox.control.set_choice("new_record_update_time", update_time)
    sandbox.control.set_choice("converted_deal_add_time", add_time)
    lead_id = client.add_lead("Converted", person_id=person_id)["id"]
    sandbox.control.advance(86_400)
    since = datetime.fromisoformat(sandbox.control.now())
    conversion = client.convert_lead_to_deal(lead_id)
    sandbox.control.advance(5)
    deal_id = client.get_lead_conversion_status(lead_id, conversion)["deal_id"]
    if archived:
        client.request("PATCH", f"/api/v2/deals/{deal_id}", json={"is_archived": True})
    assert find_deal(client, lead_id, since) == deal_id
    assert dict(deals_of_leads(client, since)) == dict(deals_of_leads(client, None)) == {lead_id: deal_id}
    assert active_deals_of_leads(client, since) == ({} if archived else {lead_id: deal_id})


def test_it_is_read_down_to_a_row_of_older_deals_and_not_further():
    old = [entered(-1_000_000 + number) for number in range(1_000)]
    account = Account([*old, made_of_lead("a"), entered(5)])
    assert dict(deals_of_leads(account, MOMENT)) == {"a": 1_001}
    assert account.seen == 2 + OLDER_IN_A_ROW


@pytest.mark.parametrize(
    "newer",
    [
        entered(-10, changed=10),
        entered(10),
        entered(10, changed=10, dated=-1_000),
        {"add_time": None, "update_time": None},
        {"add_time": "yesterday", "update_time": None},
        {"add_time": 7, "update_time": None},
        {},
        {**entered(10), "add_time": at(10).removesuffix("Z")},
    ],
)
def test_what_does_not_show_that_it_is_older_ends_nothing(newer):
    account = Account([made_of_lead("a"), *[newer] * 3 * OLDER_IN_A_ROW])
    assert dict(deals_of_leads(account, MOMENT)) == {"a": 1}


past = st.integers(-100_000, -1).map(lambda second: entered(second, changed=second))
untouched = st.integers(-100_000, -1).map(entered)
imported = st.builds(lambda second: entered(0, dated=second), st.integers(-1_000_000, -1))
now = st.integers(0, 1_000).map(lambda second: entered(second, changed=second))
odd = st.sampled_from([{}, {"add_time": None, "update_time": ""}, {"source_lead_id": ""}])
of_leads = st.builds(
    made_of_lead,
    st.uuids().map(str),
    st.one_of(st.none(), st.integers(-1_000_000, 1_000).map(at)),
    st.one_of(st.none(), st.integers(-1_000_000, 1_000).map(at)),
)
before = st.lists(st.one_of(past, untouched, odd, of_leads), max_size=30)
since_then = st.lists(st.one_of(now, odd, of_leads, imported), max_size=OLDER_IN_A_ROW - 1)


@given(before, since_then, st.sets(st.integers(1, 100)), st.integers(0, 2 * OLDER_IN_A_ROW))
def test_every_deal_made_of_a_lead_since_the_moment_is_found(earlier, later, archived, long_before):
    account = Account([*[entered(-200_000)] * long_before, *earlier, *later], archived)
    found = dict(deals_of_leads(account, MOMENT))
    wanted = {deal["source_lead_id"] for deal in later if deal.get("source_lead_id")}
    assert wanted <= found.keys()
    assert all(find_deal(account, lead_id, MOMENT) == found[lead_id] for lead_id in wanted)
