"""A PostgreSQL and a Redis of Debian's packages, on free ports, as processes of this test alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg2
import redis

from demo.ports import reserve_port
from tests.cluster.processes import Session
from tests.until import until

MISSING = (
    "make test-cluster needs {what}, which {is_} not installed here. On Debian: apt install postgresql redis-server"
)
POSTGRES_FOLDERS = Path("/usr/lib/postgresql")


def missing_services() -> str | None:
    """Say in one sentence what is not installed; None if nothing is missing."""
    missing = [
        *([] if shutil.which("redis-server") else ["redis-server"]),
        *([] if _postgres_folder() else ["PostgreSQL's server (initdb, postgres)"]),
    ]
    if not missing:
        return None
    return MISSING.format(what=" and ".join(missing), is_="are" if missing[1:] else "is")


def _postgres_folder() -> Path | None:
    """Where the newest PostgreSQL's programs are."""
    found = [path.parent for path in POSTGRES_FOLDERS.glob("*/bin/initdb")]
    if not found and (on_path := shutil.which("initdb")):
        return Path(on_path).resolve().parent
    return max(found, key=lambda folder: float(folder.parent.name), default=None)


class PostgreSQL:
    """A PostgreSQL whose data lie in a folder of its own, open to this machine.

    :param folder: where data and log go; it must be open to all users, for PostgreSQL does not run as root.
    """

    def __init__(self, folder: Path) -> None:
        programs = _postgres_folder()
        assert programs is not None
        self._programs = programs
        self._folder = folder / "postgresql"
        self._folder.mkdir()
        self._user = None
        if os.getuid() == 0:
            self._user = "postgres"
            shutil.chown(self._folder, self._user, self._user)
        self.port = reserve_port()
        self._session: Session | None = None

    @property
    def address(self) -> str:
        """For SQLAlchemy; the driver is named, since SQLAlchemy's own default is another."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/airflow"

    def _initialize(self) -> None:
        who = {} if self._user is None else {"user": self._user, "group": self._user, "extra_groups": []}
        subprocess.run(
            [self._programs / "initdb", "-D", self._folder / "data", "-A", "trust", "-U", "airflow", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **who,
        )

    def start(self) -> None:
        self._initialize()
        self._begin()
        self.run("CREATE DATABASE airflow")

    def stop(self) -> None:
        """End it in fast mode. Its processes leave the session, but end with the first of them, however that ends."""
        if self._session is not None:
            self._session.stop(signal.SIGINT)

    def _begin(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "max_connections": 200,
            "fsync": "off",  # only a failing machine could lose something, not a killed process
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._folder / "data", *settings]
        self._session = Session(command, env=dict(os.environ), log=self._folder / "postgresql.log", user=self._user)
        until(lambda: self._answers() or not self._session.is_running())
        assert self._session.is_running(), "PostgreSQL has ended"

    def _answers(self) -> bool:
        try:
            self.run("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def run(self, statement: str) -> None:
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="airflow", dbname="postgres")
        connection.autocommit = True
        try:
            connection.cursor().execute(statement)
        finally:
            connection.close()

    def dump(self) -> str:
        """All that the database of Airflow holds, as text."""
        command = [self._programs / "pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "airflow", "airflow"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def restart(self) -> None:
        """End it in immediate mode, as a crash does: all connections are cut, transactions lost. Then start it."""
        assert self._session is not None
        self._session.stop(signal.SIGQUIT)
        self._begin()


class Redis:
    """A Redis that keeps nothing on disk: what was queued is lost when it ends.

    :param folder: where its log goes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = reserve_port()
        self._session: Session | None = None

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self._session = Session(command, env=dict(os.environ), log=self._folder / "redis.log")
        until(lambda: self._answers() or not self._session.is_running())
        assert self._session.is_running(), "Redis has ended"

    def stop(self) -> None:
        if self._session is not None:
            self._session.stop(signal.SIGTERM)

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def restart(self) -> None:
        """End it, with all that is queued, and start it."""
        self.stop()
        self.start()
