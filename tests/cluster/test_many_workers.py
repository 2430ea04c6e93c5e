"""Many workers on one Airflow, and outages of all that it stands on: every lead once, every export whole.

``make test-cluster`` runs it, and prints how much how many workers do. Everything runs on this machine: PostgreSQL and
Redis from Debian's packages, an Airflow with CeleryExecutor, and the companies in a process of their own. Fifty
connections export from ten companies; one token of another company exports by owner, creates and loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.checks import check_no_token
from tests.cluster.runs import Figures, seconds_of, spent, table
from tests.cluster.services import missing_services
from tests.cluster.stage import CONNECTIONS, staged
from tests.cluster.works import Connections, Creations, Load, Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.cluster.companies import Company
    from tests.cluster.runs import Work
    from tests.cluster.stage import Stage

SECONDS_FOR_ALL = 1800
"""It takes nine minutes of processor time: five to six minutes on two idle cores."""
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(SECONDS_FOR_ALL + 300)]

MOST_REJECTED = 0.03
"""The part of all calls that may meet a 429."""
ROWS = 5_000
CREATIONS = 200
LEADS_BEFORE_KILL = 300
TASKS_BEFORE_REDIS = 40
TASKS_BEFORE_POSTGRESQL = 100


def test_many_workers_through_outages():
    if missing := missing_services():
        pytest.fail(missing, pytrace=False)
    with staged(SECONDS_FOR_ALL) as stage:
        stage.tell("Airflow is healthy")
        stage.deadline.until(lambda: stage.airflow.ask("GET", "dags/load"), "the DAGs are parsed")
        stage.deployment.add_worker("worker-1")
        figures = calm(stage, "1")
        stage.deployment.add_worker("worker-2")
        figures += calm(stage, "2")
        figures += through_outages(stage)
        logs = check_no_token(stage.tokens, stage.folder.rglob("*.log"), stage.database.dump())
        stage.tell(f"no token in {logs} logs, nor in Airflow's database")
    print(f"\n{table(figures)}")  # noqa: T201


def calm(stage: Stage, workers: str) -> list[Figures]:
    """Some work of each kind, one after the other and without outages."""
    name = f"calm-{workers}"
    kinds: list[Callable[[], Work]] = [
        lambda: Connections(stage, name, 20),
        lambda: Owners(stage, name),
        lambda: Creations(stage, name, 20),
        lambda: Load(stage, name, 1_000),
    ]
    figures = []
    for begin in kinds:
        reset(stage.companies)
        work = begin()
        work.run.wait(stage.deadline)
        figures.append(line(work.title, workers, {work: work.check()}, work.companies))
        stage.tell(f"{work.title} with {workers} worker(s)")
    return figures


def through_outages(stage: Stage) -> list[Figures]:
    """All kinds of work at once, while what it stands on fails."""
    name, workers = "outages", "2, through outages"
    reset(stage.companies)
    load = Load(stage, name, ROWS)
    on_one_token: list[Work] = [load, Owners(stage, name), Creations(stage, name, CREATIONS)]
    works = [*on_one_token, Connections(stage, name, len(CONNECTIONS))]
    stage.deadline.until(lambda: created(stage.main) >= LEADS_BEFORE_KILL, "the load is under way")
    kill_worker_of(stage, load)
    stage.deployment.add_worker("worker-3")
    stage.deadline.until(lambda: ended(works) >= TASKS_BEFORE_REDIS, f"{TASKS_BEFORE_REDIS} tasks have ended")
    stage.broker.restart()
    stage.tell("Redis was restarted, and what was queued is lost")
    stage.deadline.until(lambda: ended(works) >= TASKS_BEFORE_POSTGRESQL, f"{TASKS_BEFORE_POSTGRESQL} tasks have ended")
    stage.database.restart()
    stage.tell("PostgreSQL was restarted, and all connections to it were cut")
    for work in works:
        work.run.wait(stage.deadline)
        stage.tell(f"{work.title}, in {work.run.tries()} tries")
    stage.tell(f"parts of Airflow that ended by themselves and were started again: {dict(stage.deployment.restarts)}")
    assert load.run.tries() > 1, "The load was not under way when its worker was killed."
    checked = {work: work.check() for work in works}
    exported, others = works[-1], {work: checked[work] for work in on_one_token}
    return [
        line("all of it at once", workers, checked, stage.companies),
        line("of that, connections exported", workers, {exported: checked[exported]}, stage.others),
        line("of that, all on one token", workers, others, [stage.main]),
    ]


def kill_worker_of(stage: Stage, load: Load) -> None:
    """Kill the worker that runs the load, with all that it runs."""
    (task,) = load.run.tasks()
    worker = stage.deployment.worker_of(task["pid"])
    assert worker is not None, f"The load is {task['state']}, and no worker has process {task['pid']}."
    count = stage.deployment.kill(worker)
    stage.tell(f"{worker} was killed with all of its {count} processes, after {created(stage.main)} leads created")


def created(company: Company) -> int:
    """How many calls to create a lead a company has had."""
    return int(company.control.counters()["routes"].get("POST /v1/leads", {"calls": 0})["calls"])


def ended(works: Sequence[Work]) -> int:
    return sum(work.run.succeeded() for work in works)


def reset(companies: Sequence[Company]) -> None:
    for company in companies:
        company.control.reset_counters()


def line(title: str, workers: str, leads: Mapping[Work, int], companies: Sequence[Company]) -> Figures:
    """Make a line of the report.

    :param leads: how many each piece of work was about, as its check gave.
    :param companies: whose counters tell what it took.
    """
    counted = spent(companies)
    assert counted["rejected"] <= MOST_REJECTED * counted["calls"], (title, counted)
    return Figures(
        work=title,
        workers=workers,
        tasks=sum(len(work.run.tasks()) for work in leads),
        tries=sum(work.run.tries() for work in leads),
        leads=sum(leads.values()),
        seconds=seconds_of([work.run for work in leads]),
        **counted,
    )
