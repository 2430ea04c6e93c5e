"""What the demo and the interface share: a local Pipedrive as a process, a throw-away Airflow home, tidy endings."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SECONDS_TO_END = 20
READY = "Listening on "


class DemoError(Exception):
    """The demo cannot go on; the message is for the person in front of it."""


class LocalPipedrive(NamedTuple):
    """A running sandbox."""

    url: str
    token: str

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as JSON."""
        return json.dumps({"conn_type": "pipedrive", "password": self.token, "extra": {"base_url": self.url}})


def end_like_ctrl_c() -> None:
    """Let SIGTERM end the demo as Ctrl-C does: by an exception, so that every ``with`` block tidies up.

    Ctrl-C itself as well, for a shell lets what it starts in the background ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))


def empty_folder(folder: Path) -> Path:
    """Make a folder new."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def process(*command: str | Path, env: dict[str, str] | None = None, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command; on leaving, neither it nor anything that it began is left."""
    running = subprocess.Popen(
        [str(part) for part in command], env=env, cwd=ROOT, start_new_session=True, text=True, **options
    )
    try:
        yield running
    finally:
        _end(running)


def _end(running: subprocess.Popen[str]) -> None:
    begun = set(_begun_by(running.pid))
    if running.poll() is None:
        running.send_signal(signal.SIGINT)  # the one signal on which `airflow standalone` stops its children
        with suppress(subprocess.TimeoutExpired):
            running.wait(SECONDS_TO_END)
    begun.update(_begun_by(running.pid))
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    for left in begun:  # Airflow's workers have sessions of their own
        with suppress(psutil.NoSuchProcess):
            left.kill()


def _begun_by(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        yield from psutil.Process(pid).children(recursive=True)


@contextmanager
def local_pipedrive(leads: int) -> Iterator[LocalPipedrive]:
    """Start the sandbox on a free port of this machine, with so many seeded leads and a token of its own."""
    token = secrets.token_hex(20)
    command = (BIN / "pipedrive-sandbox", "--leads", str(leads), "--token", token)
    with process(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith(READY):
                # Its output names the token, so it is read on and goes to no file.
                threading.Thread(target=lambda: [None for _ in running.stdout or ()], daemon=True).start()
                yield LocalPipedrive(line.removeprefix(READY).strip(), token)
                return
        raise DemoError("The local Pipedrive did not start.")


def airflow_environment(home: Path, pipedrive: LocalPipedrive) -> dict[str, str]:
    """Give the environment of an Airflow that lives in ``home`` and knows the example DAGs and the local Pipedrive."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_PIPEDRIVE_DEFAULT": pipedrive.connection,
        "NO_PROXY": "127.0.0.1,localhost",
    }
