"""Which of the open choices the account takes. Red is only what is none of the known settings."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.sandbox.choices import CHOICES
from tests.live.belongings import Belongings
from tests.live.open_choices import PROBES


@pytest.mark.parametrize("name", PROBES)
def test_a_known_setting(own: Belongings, found: dict[str, str], name: str) -> None:
    try:
        found[name] = PROBES[name](own)
    except AssertionError as error:
        found[name] = f"not found out: {error}".replace("|", "/")
        raise
    assert found[name] in CHOICES[name].values
