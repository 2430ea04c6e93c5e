"""Runs of DAGs in an Airflow that may not answer for a while, and their figures."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import requests

from tests.standalone.running_airflow import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.cluster.companies import Company
    from tests.standalone.running_airflow import RunningAirflow

SECONDS_BETWEEN_LOOKS = 1.0
COUNTED = ("calls", "tokens", "rejected")


class Deadline:
    """When all must have happened: one for the whole test, whatever it waits for.

    :param seconds: from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._started = time.monotonic()
        self._seconds = seconds

    def passed(self) -> float:
        return time.monotonic() - self._started

    def until(self, happened: Callable[[], Any], what: str) -> Any:
        """Wait for something, and give what it gave; an Airflow that does not answer counts as not yet."""
        while not (found := _answer(happened)):
            assert self.passed() < self._seconds, f"Not within {self._seconds:.0f} s of the beginning: {what}."
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return found


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (requests.RequestException, AssertionError):  # what `ask` raises for a status that is no success
        return None


class Run:
    """A run of a DAG of one, perhaps mapped, task."""

    def __init__(self, airflow: RunningAirflow, dag_id: str, task_id: str, **conf: Any) -> None:
        self._airflow = airflow
        self.dag_id = dag_id
        self.task_id = task_id
        self.run_id = str(airflow.ask("POST", f"dags/{dag_id}/dagRuns", logical_date=None, conf=conf)["dag_run_id"])
        self._path = f"dags/{dag_id}/dagRuns/{self.run_id}"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dag_id, self.run_id, self.task_id

    def state(self) -> str | None:
        """``success`` or ``failed``; None before."""
        state = self._airflow.ask("GET", self._path)["state"]
        return state if state in ENDED else None

    def succeeded(self) -> int:
        """How many of its tasks have succeeded so far."""
        return int(self._airflow.ask("GET", f"{self._path}/taskInstances?state=success&limit=1")["total_entries"])

    def tasks(self) -> list[dict[str, Any]]:
        return list(self._airflow.ask("GET", f"{self._path}/taskInstances?limit=1000")["task_instances"])

    def returned(self) -> Any:
        """What its task returned, if it is a single one."""
        path = f"{self._path}/taskInstances/{self.task_id}/xcomEntries/return_value?deserialize=false&stringify=false"
        return self._airflow.ask("GET", path)["value"]

    def wait(self, deadline: Deadline) -> None:
        """Wait for its end, which must be a good one."""
        state = deadline.until(self.state, f"{self.dag_id} ends")
        failed = [(task["map_index"], task["try_number"]) for task in self.tasks() if task["state"] != "success"]
        assert state == "success", f"{self.dag_id}: map index and tries of the tasks that failed: {failed}"

    def began_and_ended(self) -> tuple[datetime, datetime]:
        run = self._airflow.ask("GET", self._path)
        return datetime.fromisoformat(run["start_date"]), datetime.fromisoformat(run["end_date"])

    def tries(self) -> int:
        return sum(task["try_number"] for task in self.tasks())


def seconds_of(runs: Sequence[Run]) -> float:
    """From the first beginning of some runs to the last end."""
    began, ended = zip(*(run.began_and_ended() for run in runs), strict=True)
    return float((max(ended) - min(began)).total_seconds())


class Work(Protocol):
    """A piece of work that is done by a run."""

    title: str
    run: Run
    companies: Sequence[Company]

    def check(self) -> int:
        """See that it was done right, and give how many leads it was about."""


class Figures(NamedTuple):
    """A line of the report.

    :param work: what was done.
    :param workers: by how many workers, and under what circumstances.
    :param tasks: how many tasks that were.
    :param tries: how often they were tried, all in all.
    :param leads: exported or created.
    """

    work: str
    workers: str
    tasks: int
    tries: int
    leads: int
    seconds: float
    calls: int
    tokens: int
    rejected: int


def spent(companies: Sequence[Company]) -> dict[str, int]:
    """What some companies counted since their counters were reset."""
    counters = [company.control.counters() for company in companies]
    return {name: sum(each[name] for each in counters) for name in COUNTED}


def table(lines: Sequence[Figures]) -> str:
    """The report, in Markdown."""
    head = "| work | workers | tasks | tries | leads | seconds | leads/s | calls | tokens | 429s |"
    rows = [
        f"| {each.work} | {each.workers} | {each.tasks} | {each.tries} | {each.leads:,} | {each.seconds:.0f} |"
        f" {each.leads / each.seconds:.1f} | {each.calls:,} | {each.tokens:,} |"
        f" {each.rejected} ({each.rejected / max(1, each.calls):.1%}) |"
        for each in lines
    ]
    return "\n".join([head, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *rows])
