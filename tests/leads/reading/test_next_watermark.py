"""The watermark errs toward reading again: it is never later than the server's clock nor than what was read."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.leads.reading.complete import Reading
from airflow_provider_pipedrive_leads.leads.reading.incremental import Past, after, next_watermark
from tests.leads.reading.test_complete_reads import before, rows_of
from tests.leads.simulated_account import SimulatedSource, Wait, World, beginnings, changes, schedules

NOON = "2026-05-01T12:00:00Z"
OVERLAP_MS = 60_000


@pytest.mark.parametrize(
    ("began", "newest", "watermark"),
    [
        (NOON, "2026-05-01T11:30:00.500Z", "2026-05-01T11:30:00Z"),
        (NOON, "2026-05-01T12:00:00.001Z", NOON),
        (NOON, "2026-05-01T13:00:00.000Z", NOON),
        (NOON, "2026-05-01 11:30:00", "2026-05-01T11:30:00Z"),
        (NOON, None, None),
        (None, "2026-05-01T11:30:00.500Z", None),
        (None, None, None),
    ],
)
def test_it_is_the_earlier_of_the_servers_time_and_the_newest_change(began, newest, watermark):
    assert next_watermark(began, newest) == watermark


def test_without_rows_it_stays_where_it_was():
    past = Past(watermark=NOON)
    assert after(past, watermark=next_watermark("2026-05-02T00:00:00Z", None), moves_unseen=False, size=None) == past


@given(
    beginning=beginnings,
    reads=st.lists(st.tuples(schedules, changes), min_size=1, max_size=4),
    ahead_by=st.sampled_from([0, 600, 86_400]),
)
def test_nothing_is_lost_however_far_the_clock_that_is_told_runs_ahead(beginning, reads, ahead_by):
    """A read that lasts longer than the overlap is safe only by a clock that is right."""
    lasts = [sum(step.milliseconds for step in meanwhile if isinstance(step, Wait)) for meanwhile, _ in reads]
    assume(not ahead_by or max(lasts) < OVERLAP_MS)
    world = World(beginning, (), contrary=False, moves_allowed=1_000)
    destination = {}
    past = Past()
    for meanwhile, between in [*reads, ((), ())]:
        world.steps.clear()
        world.steps.extend(meanwhile)
        source = SimulatedSource(world, [2])
        since = past.watermark and before(past.watermark, 60)
        reading = Reading(source, changed_since=since, limit=3)
        destination |= {row.id: row for row in rows_of(reading)}
        told = before(source.first_answer_at, -ahead_by)
        watermark = next_watermark(told, reading.updated_until)
        assert watermark is None or watermark <= told
        past = after(past, watermark=watermark, moves_unseen=False, size=None)
        for step in between:
            world.play(step)
    held = {lead_id: destination.get(lead_id) for lead_id in world.account.leads}
    assert held == world.account.leads
