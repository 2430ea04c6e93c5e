"""What the tables of benchmarks share: the machine, and what was required beside what was measured."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.export_requirements import Verdict


def machine() -> str:
    """Where this runs."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def print_verdicts(judged: Sequence[Verdict], failures: Sequence[str]) -> None:
    """Print which requirements are met, and what could not be measured."""
    print("\n| requirement | measured | required | |\n| --- | ---: | ---: | --- |")
    for verdict in judged:
        bound = f"{'at least' if verdict.at_least else 'at most'} {verdict.bound:g} {verdict.unit}"
        print(f"| {verdict.what} | {verdict.figure:.4g} | {bound} | {'ok' if verdict.holds else 'MISSED'} |")
    for failure in failures:
        print(f"\nNot measured: {failure}")
