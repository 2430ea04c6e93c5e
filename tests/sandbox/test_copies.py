"""A small sandbox begins as a copy of one that was filled before: with the same things, and with none of its own."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.sandbox.state import State
from airflow_provider_pipedrive_leads.sandbox.world import Options, World


def tables(world):
    connection = world.state.connection
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return {name: connection.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for (name,) in names}


@pytest.mark.parametrize("leads", [0, 60])
def test_a_copy_holds_what_one_that_is_filled_anew_holds(leads):
    options = Options(leads=leads, seed=7, token="t" * 40)
    World(Options(leads=leads, seed=7, token="o" * 40))
    copy, anew = World(options), World(options, lambda _: State())
    assert tables(copy) == tables(anew)
    assert (copy.serial, copy.members) == (anew.serial, anew.members)
    assert copy.fresh_uuid() == anew.fresh_uuid()


def test_what_is_done_in_one_does_not_show_in_another():
    options = Options(leads=3, seed=7)
    one, before = World(options), tables(World(options))
    for lead in one.state.leads.all():
        one.state.leads.remove(lead["id"])
    assert tables(World(options)) == before
