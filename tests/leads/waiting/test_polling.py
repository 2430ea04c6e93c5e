"""What users say of how often to poll."""

from __future__ import annotations

import pytest

from airflow_provider_pipedrive_leads.exceptions import PipedriveValidationError
from airflow_provider_pipedrive_leads.leads.waiting.polling import (
    daily_share_value,
    poll_interval_value,
)


@pytest.mark.parametrize("value", [9.99, "9", 0, -1, "often", True, None, "nan"])
def test_intervals_that_are_refused(value):
    with pytest.raises(PipedriveValidationError, match="poll_interval"):
        poll_interval_value(value)


@pytest.mark.parametrize("value", [0, -0.1, 1.01, "much", None])
def test_shares_that_are_refused(value):
    with pytest.raises(PipedriveValidationError, match="daily_share"):
        daily_share_value(value)


def test_texts_are_read():
    assert (poll_interval_value("10"), daily_share_value("0.25")) == (10.0, 0.25)
