"""Single values as dataframes, databases and people write them: read where nothing is lost, else refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import (
    bool_value,
    date_value,
    id_value,
    key_value,
    mapping_value,
    number_value,
    text_value,
    time_value,
    visibility_value,
)


class Float64(float):
    """As numpy has it: a float that does not print as one."""

    def __repr__(self):
        return f"np.float64({float(self)})"

    __str__ = float.__repr__


class Timestamp(datetime):
    """As pandas has it."""


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (date_value, date(2026, 1, 31), "2026-01-31"),
        (date_value, datetime(2026, 1, 31), "2026-01-31"),
        (date_value, Timestamp(2026, 1, 31), "2026-01-31"),
        (date_value, "2026-01-31T00:00:00", "2026-01-31"),
        (date_value, "2026-01-31 00:00:00.000", "2026-01-31"),
        (bool_value, 1.0, True),
        (bool_value, Float64(0.0), False),
        (bool_value, "1.0", True),
        (bool_value, " Yes ", True),
        (visibility_value, 3.0, "3"),
        (visibility_value, "3.0", "3"),
        (visibility_value, Decimal("7.00"), "7"),
        (id_value, 12.0, 12),
        (id_value, "12.0", 12),
        (id_value, Decimal("12.000"), 12),
        (id_value, Float64(12.0), 12),
        (id_value, " 12 ", 12),
        (time_value, timedelta(hours=9, minutes=30), "09:30:00"),
        (time_value, timedelta(0), "00:00:00"),
        (time_value, "9:30", "09:30:00"),
        (time_value, "09:30:00.000", "09:30:00"),
        (time_value, time(9, 30), "09:30:00"),
        (number_value, "12.50", 12.5),
        (number_value, Decimal("1E+3"), 1000),
        (number_value, 2**53, 2.0**53),
        (number_value, str(2**53 + 2), 2.0**53 + 2),
        (number_value, 1e300, 1e300),
        (text_value, 2026, "2026"),
        (key_value, " a ", "a"),
        (key_value, 815, "815"),
        (key_value, 0, "0"),
        (key_value, 815.0, "815"),
        (key_value, 12.50, "12.5"),
        (key_value, Decimal("815.00"), "815"),
        (key_value, Decimal("8.15E+2"), "815"),
        (key_value, Decimal("12.50"), "12.5"),
        (key_value, 2**70, str(2**70)),
        (mapping_value, None, {}),
        (mapping_value, "", {}),
        (mapping_value, {"a": 1}, {"a": 1}),
        (mapping_value, ' {"a": null}', {"a": None}),
    ],
)
def test_what_is_lossless_is_read(read, value, expected):
    found = read("field", value)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (date_value, datetime(2026, 1, 31, 9)),
        (date_value, datetime(2026, 1, 31, tzinfo=UTC)),
        (date_value, "2026-01-31T00:00:00Z"),
        (date_value, "2026-01-31T00:00:00+02:00"),
        (date_value, "2026-02-30 00:00:00"),
        (date_value, "31.01.2026"),
        (bool_value, 2.0),
        (bool_value, None),
        (visibility_value, 3.5),
        (visibility_value, True),
        (id_value, 12.5),
        (id_value, "12.5"),
        (id_value, True),
        (id_value, 0.0),
        (id_value, 1e300),
        (time_value, timedelta(days=1)),
        (time_value, timedelta(seconds=-1)),
        (time_value, timedelta(microseconds=1)),
        (time_value, "09:30:00+02:00"),
        (time_value, time(9, 30, tzinfo=timezone(timedelta(hours=2)))),
        (time_value, "09:30:00.5"),
        (time_value, "930"),
        (number_value, "1_234"),
        (number_value, 2**53 + 1),
        (number_value, str(2**53 + 1)),
        (number_value, Decimal(2**53 + 1)),
        (number_value, True),
        (number_value, "1,5"),
        (text_value, True),
        (text_value, float("inf")),
        (key_value, True),
        (key_value, float("inf")),
        (key_value, Decimal("nan")),
        (key_value, ["a"]),
    ],
)
def test_what_would_lose_something_is_refused(read, value):
    with pytest.raises(PipedriveValidationError, match=r"^field: .* is not "):
        read("field", value)


@pytest.mark.parametrize("value", [2.0**53, -1e300])
def test_a_float_that_may_be_several_numbers_is_no_key(value):
    with pytest.raises(PipedriveValidationError, match=r"^field: a float of 2\*\*53 or more may stand for several"):
        key_value("field", value)


@pytest.mark.parametrize("value", ["title=x", "[1]", '{"a": ', 5, ["a"]])
def test_what_is_no_mapping_is_refused(value):
    with pytest.raises(PipedriveValidationError, match=r"^fields: must be a mapping or a JSON object; it is a \w+\.$"):
        mapping_value("fields", value)
