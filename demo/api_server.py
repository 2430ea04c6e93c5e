"""Airflow's API server by itself: it shows the web interface and answers the Test button, and runs no DAG."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from demo.ports import reserve_port
from demo.stage import BIN, DemoError, process
from demo.ui import login_of, wait_until_healthy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class ApiServer(NamedTuple):
    """One that runs.

    :param login: user and password.
    :param environment: for ``airflow`` commands that are to see what it sees.
    """

    address: str
    login: tuple[str, str]
    environment: dict[str, str]


@contextmanager
def api_server(home: Path, environment: Mapping[str, str]) -> Iterator[ApiServer]:
    """Start it on a free port; on leaving, nothing of it is left running.

    :param home: an empty folder; its output goes to ``airflow.log`` in there.
    :param environment: see :func:`demo.stage.airflow_environment`.
    """
    port = reserve_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **environment,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
    }
    with (home / "airflow.log").open("wb") as log:
        with process(BIN / "airflow", "db", "migrate", env=environment, stdout=log, stderr=log) as made:
            if made.wait() != 0:
                raise DemoError("Airflow could not make its database.")
        with process(BIN / "airflow", "api-server", env=environment, stdout=log, stderr=log) as running:
            wait_until_healthy(running, address, ("metadatabase",))
            yield ApiServer(address, login_of(home), environment)
