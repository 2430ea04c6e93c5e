"""Reading all values of a column at once says what reading them one by one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.sql.values import Reader

TEXTS = st.text(st.sampled_from('a\0é"\\\n🎉'), max_size=4)
MOMENTS = st.sampled_from(
    [
        *("2026-01-31T09:30:00.123Z", "2026-01-31T09:30:00Z", "2026-01-31 09:30:00", "2026-01-31T11:30:00.123+02:00"),
        *("2026-02-30T09:30:00.123Z", "2026-01-31 09:30:00.123Z", "2026-01-31T09:30:00.1234Z", "2026", ""),
    ]
)
ANYTHING = st.one_of(
    *(st.booleans(), st.integers(-(2**64), 2**64), st.floats(), TEXTS, st.lists(TEXTS | st.integers(), max_size=3)),
    st.dictionaries(TEXTS, TEXTS | st.none(), max_size=2),
)
USUAL = {
    "text": TEXTS,
    "integer": st.integers(-(2**63), 2**63),
    "number": st.floats() | st.integers(),
    "boolean": st.booleans(),
    "timestamp": MOMENTS,
    "list<string>": st.lists(TEXTS, max_size=3),
    "json": ANYTHING,
    "date": st.sampled_from(["2026-01-31", "20260131", "2026-02-30", "2026-W05-1"]),
    "time": st.sampled_from(["09:30:00", "09:30", "9:30"]),
}


def read(column, values, reader):
    try:
        return reader.column(column, values)
    except PipedriveValidationError as problem:
        return str(problem).split(", row")[1]


@pytest.mark.parametrize("zone", ["Z", ""])
@pytest.mark.parametrize("kind", USUAL)
@given(data=st.data())
def test_all_at_once_is_one_by_one(kind, zone, data):
    values = data.draw(st.lists(st.none() | USUAL[kind], max_size=5) | st.lists(st.none() | ANYTHING, max_size=3))
    column, at_once, each = Column("a", kind, "a"), Reader(zone), Reader(zone)
    each._usual.clear()
    found, expected = read(column, values, at_once), read(column, values, each)
    assert [(type(one), one) for one in found] == [(type(one), one) for one in expected]
    assert at_once.removed == each.removed
