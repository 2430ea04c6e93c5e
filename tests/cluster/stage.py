"""All that the test with many workers needs, from the companies to the connections, and its orderly end."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from demo.stage import end_like_ctrl_c
from tests.cluster.companies import MEMBERS, Companies, Company
from tests.cluster.deployment import Deployment, own_environment, tails
from tests.cluster.processes import running
from tests.cluster.runs import Deadline
from tests.cluster.services import PostgreSQL, Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standalone.running_airflow import RunningAirflow

DAGS = Path(__file__).parent / "dags"
LATENCY = 0.1
"""Seconds before each reply of a company."""
LEADS_OF_MAIN = 20_000
LEADS_OF_OTHERS = 300
OTHERS = 10
CONNECTIONS = [f"pipedrive_{place:02}" for place in range(OTHERS * len(MEMBERS))]
MAIN = "pipedrive_main"
TIMEOUT = 10


class Stage(NamedTuple):
    """What the test plays on.

    :param folder: where everything lies that is written.
    """

    folder: Path
    deadline: Deadline
    companies: list[Company]
    database: PostgreSQL
    broker: Redis
    deployment: Deployment

    @property
    def airflow(self) -> RunningAirflow:
        return self.deployment.airflow

    @property
    def main(self) -> Company:
        """The company whose one token exports by owner, creates and loads."""
        return self.companies[0]

    @property
    def others(self) -> list[Company]:
        return self.companies[1:]

    @property
    def accounts(self) -> dict[str, tuple[Company, int]]:
        """The company and the user behind each connection."""
        pairs = [(company, user) for company in self.others for user in MEMBERS]
        return {MAIN: (self.main, min(MEMBERS)), **dict(zip(CONNECTIONS, pairs, strict=True))}

    @property
    def tokens(self) -> list[str]:
        return [token for company in self.companies for token in company.tokens.values()]

    def tell(self, words: str) -> None:
        """Say what has happened by now."""
        print(f"{self.deadline.passed():5.0f} s  {words}", flush=True)  # noqa: T201

    def rows(self, name: str, count: int) -> tuple[Path, list[dict[str, Any]]]:
        """Write rows for a load into a folder of their own."""
        person_id = 1  # the sandbox numbers its people
        rows = [{"origin_id": number, "title": f"Row {number}", "person_id": person_id} for number in range(count)]
        path = self.folder / name / "rows" / "rows.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path, rows


@contextmanager
def staged(seconds: float) -> Iterator[Stage]:
    """Start everything; on leaving all of it is ended, and after a failure its files are kept and told of.

    :param seconds: for all that follows.
    """
    deadline = Deadline(seconds)
    # PostgreSQL's user has to get to its own folder in there, which it cannot in the folder that pytest gives.
    folder = Path(tempfile.mkdtemp(prefix="many-workers-", dir="/tmp"))
    folder.chmod(0o755)
    home = folder / "airflow"
    home.mkdir()
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        end_like_ctrl_c()
        try:
            companies = stack.enter_context(
                running(Companies(folder, LATENCY, [LEADS_OF_MAIN, *[LEADS_OF_OTHERS] * OTHERS]))
            )
            database = stack.enter_context(running(PostgreSQL(folder)))
            broker = stack.enter_context(running(Redis(folder)))
            deployment = Deployment(home, own_environment(home, DAGS), database, broker)
            stack.enter_context(running(deployment))
            made = Stage(folder, deadline, companies.all, database, broker, deployment)
            _add_connections(made)
            yield made
        except BaseException:
            print(f"\n{tails(folder)}\n\nEverything that was written is kept in {folder}.")  # noqa: T201
            raise
    shutil.rmtree(folder)


def _add_connections(made: Stage) -> None:
    entities = [
        {
            "connection_id": name,
            "conn_type": "pipedrive",
            "password": company.tokens[user],
            "extra": json.dumps({"base_url": company.url, "timeout": TIMEOUT}),
        }
        for name, (company, user) in made.accounts.items()
    ]
    added = made.airflow.ask("PATCH", "connections", actions=[{"action": "create", "entities": entities}])
    assert len(added["create"]["success"]) == len(entities), added
