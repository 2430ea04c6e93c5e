"""Commands, each in a session of its own: what they start can be found, and ended, whatever group it moves to."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SECONDS_TO_END = 10.0
SESSION_FIELD = 3
"""Of ``/proc/<pid>/stat``, counted behind the name of the command."""


class Startable(Protocol):
    """What is started, and stopped however far it got."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


Started = TypeVar("Started", bound=Startable)


@contextmanager
def running(thing: Started) -> Iterator[Started]:
    """Start something; on leaving, and if it does not start, nothing of it is left."""
    try:
        thing.start()
        yield thing
    finally:
        thing.stop()


class Session:
    """A running command and all that it started.

    :param log: where its output goes, behind what is there.
    :param folder: in which it runs; default: that of its log.
    :param user: as whom it runs; None: as we do.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: dict[str, str],
        log: Path,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        who: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env=env,
                cwd=folder or log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **who,
            )

    def is_running(self) -> bool:
        return self.process.poll() is None

    def members(self) -> list[int]:
        """All processes of the session that run."""
        return [pid for pid in map(int, _numbered_folders()) if session_of(pid) == self.process.pid]

    def kill(self) -> None:
        """End all of it without a warning, as when its machine fails."""
        while members := self.members():
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()

    def stop(self, number: signal.Signals, seconds: float = SECONDS_TO_END) -> None:
        """End it by a signal that it knows; what is left of it after so many seconds is killed."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()


def end_all(sessions: Iterable[Session]) -> None:
    """End all of them side by side."""
    ending = list(sessions)
    for session in ending:
        with suppress(ProcessLookupError):
            session.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_END
    for session in ending:
        with suppress(subprocess.TimeoutExpired):
            session.process.wait(max(0.0, deadline - time.monotonic()))
    for session in ending:
        session.kill()


def session_of(pid: int) -> int | None:
    """The session that a process belongs to; None for one that has ended."""
    try:
        state, *fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(fields[SESSION_FIELD - 1])


def _numbered_folders() -> Iterable[str]:
    return [folder.name for folder in Path("/proc").glob("[0-9]*")]
