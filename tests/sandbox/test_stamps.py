"""The times on records: all differ while the clock runs, however fast the machine; who wants ties freezes it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox import clock as clock_module
from airflow_provider_pipedrive_leads.sandbox.choices import PROFILES
from airflow_provider_pipedrive_leads.sandbox.clock import Clock

NOON_SECONDS = 1_780_315_200.0
MANY = 25


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand on a machine so fast that all happens in one and the same millisecond, the sandbox's clock running."""
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(time=lambda: NOON_SECONDS))


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def running(start: Callable[..., Any], profile: str, no_time_passes: None) -> Any:
    """A sandbox in which a call takes no time."""
    api = start(profile=profile)
    api.control.unfreeze()
    return api


def _listed(api: Any, **params: Any) -> list[str]:
    return [lead["id"] for lead in api.data("/v1/leads", **params)]


def test_leads_made_and_changed_at_once_have_times_of_their_own(running: Any) -> None:
    made = [running.new_lead() for _ in range(MANY)]
    assert all(lead["add_time"] == lead["update_time"] for lead in made)
    changed = [running.patch(f"/v1/leads/{lead['id']}", title="Other").json()["data"] for lead in reversed(made)]
    times = [lead["add_time"] for lead in made] + [lead["update_time"] for lead in changed]
    assert times == sorted(set(times))
    assert len(times) == 2 * MANY
    assert running.control.now() == times[0]
    assert _listed(running) == [lead["id"] for lead in made]
    assert _listed(running, sort="update_time ASC") == [lead["id"] for lead in changed]
    assert _listed(running, sort="update_time DESC") == [lead["id"] for lead in made]


def test_so_have_labels_and_what_conversions_make(running: Any) -> None:
    label = running.post("/v1/leadLabels", name="New", color="green").json()["data"]
    renamed = running.patch(f"/v1/leadLabels/{label['id']}", name="Newer").json()["data"]
    leads = [running.new_lead() for _ in range(2)]
    for number, lead in enumerate(leads, start=1):
        assert running.post(f"/api/v2/leads/{lead['id']}/convert/deal").ok
        running.control.advance(2)
        assert running.post(f"/api/v2/deals/{number}/convert/lead").ok
    running.control.advance(2)
    back = running.data("/v1/leads")
    assert {lead["source_deal_id"] for lead in back} == {1, 2}
    times = [label["add_time"], renamed["update_time"], *(lead["add_time"] for lead in (*leads, *back))]
    assert len(set(times)) == len(times)


def test_a_clock_that_is_frozen_and_runs_on_never_goes_behind_what_it_stamped(running: Any) -> None:
    before = [running.new_lead() for _ in range(3)]
    running.control.freeze()
    frozen = [running.new_lead() for _ in range(2)]
    running.control.unfreeze()
    after = [running.new_lead() for _ in range(2)]
    times = [lead["add_time"] for lead in (*before, *frozen, *after)]
    assert times == sorted(times)
    assert len(set(times[:3])) == 3
    assert times[2] <= times[3] == times[4] < times[5] < times[6]


def test_a_clock_set_back_stamps_the_time_that_it_is_set_to(no_time_passes: None) -> None:
    clock = Clock()
    noon = round(NOON_SECONDS * 1000)
    assert [clock.stamp_ms(noon) for _ in range(3)] == [noon, noon + 1, noon + 2]
    clock.freeze(NOON_SECONDS - 3600)
    earlier = noon - 3_600_000
    assert [clock.stamp_ms(earlier) for _ in range(3)] == [earlier] * 3
    clock.unfreeze()
    assert [clock.stamp_ms(earlier) for _ in range(2)] == [earlier + 1, earlier + 2]


def test_a_clock_that_was_frozen_for_a_moment_remembers_what_it_stamped_if_that_lies_behind(
    no_time_passes: None,
) -> None:
    clock = Clock()
    noon = round(NOON_SECONDS * 1000)
    assert [clock.stamp_ms(noon) for _ in range(3)] == [noon, noon + 1, noon + 2]
    clock.freeze()
    clock.unfreeze()
    assert clock.stamp_ms(noon) == noon + 3
    clock.freeze(NOON_SECONDS - 3600)
    clock.unfreeze()
    assert clock.stamp_ms(noon - 3_600_000) == noon - 3_600_000 + 1


@pytest.mark.parametrize(
    ("sort", "descending"),
    [({}, False), ({"sort": "add_time DESC"}, True), ({"sort": "update_time ASC"}, False)],
    ids=["unasked", "add_time DESC", "update_time ASC"],
)
def test_a_frozen_clock_makes_ties_which_come_in_the_order_of_the_choice(
    start: Callable[..., Any], profile: str, sort: dict[str, str], descending: bool
) -> None:
    api = start(profile=profile)
    leads = [api.new_lead() for _ in range(4)]
    leads[1] = api.patch(f"/v1/leads/{leads[1]['id']}", title="Other").json()["data"]
    assert {lead[name] for lead in leads for name in ("add_time", "update_time")} == {"2026-06-01T12:00:00.000Z"}
    made = [lead["id"] for lead in leads]
    by_choice = {"insertion": made, "reversed": made[::-1]}[PROFILES[profile]["equal_times_order"]]
    expected = by_choice[::-1] if descending else by_choice
    assert _listed(api, **sort) == expected
    assert _listed(api, **sort, limit=2) + _listed(api, **sort, limit=2, start=2) == expected
    api.control.advance(0.001)
    last = api.new_lead()["id"]
    assert _listed(api, **sort) == ([last, *expected] if descending else [*expected, last])
