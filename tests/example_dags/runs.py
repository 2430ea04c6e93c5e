"""What the tests of the example DAGs share: the days of their runs, and files in the folders that they are given."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "example_dags"
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def on(day: int, *, hour: int = 0, **conf: Any) -> dict[str, Any]:
    """The run of a day and hour, with parameters: the same run, if it is the same day and hour again."""
    when = FIRST_DAY + timedelta(days=day, hours=hour)
    return {"logical_date": when, "run_after": when, "run_conf": conf}


def read(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(str(path).removeprefix("file://")).read_text())


def read_lines(path: str | Path) -> dict[str, Any]:
    """Read rows of JSON lines by their ids."""
    rows = map(json.loads, Path(str(path).removeprefix("file://")).read_text().splitlines())
    return {row["id"]: row for row in rows}
