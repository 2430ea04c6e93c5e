"""A process that obeys orders, each in a child of its own that can be killed: both its ends.

It imports everything once, so that a child begins at once. An order is a JSON value in a line of its standard input,
and so is on its standard output what is told of it: first the child's ``pid``, at last its ``status``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READY = "ready"
GO_ON = signal.SIGUSR1


class Told:
    """What the process and its children tell, apart from what they print."""

    def __init__(self) -> None:
        self._to = os.dup(1)
        os.dup2(2, 1)
        signal.pthread_sigmask(signal.SIG_BLOCK, {GO_ON})  # before there are threads: so that none of them takes it

    def __call__(self, value: object) -> None:
        os.write(self._to, json.dumps(value).encode() + b"\n")


def stand_still() -> None:
    """Wait for ``GO_ON``, or to be killed."""
    signal.sigwait({GO_ON})


def obey(run: Callable[[dict[str, Any]], None], told: Told) -> None:
    """Run each order in a child, one after the other, until the input ends."""
    told(READY)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run_child(run, json.loads(line), told)
        told({"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def _run_child(run: Callable[[dict[str, Any]], None], order: dict[str, Any], told: Told) -> None:
    code = 1
    try:
        told({"pid": os.getpid()})
        run(order)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


class Obeying:
    """A running module of this folder that obeys; it is ready.

    :param module: its name.
    :param environment: what of it differs from ours.
    """

    def __init__(self, module: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.kills.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        self._child: int | None = None
        assert self.told() == READY

    def order(self, order: dict[str, Any]) -> None:
        """Give an order; from then on there is a child."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._child = self.told()["pid"]

    def told(self) -> Any:
        """What is told next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "it has ended"
        told = json.loads(line)
        if isinstance(told, dict) and "status" in told:
            self._child = None
        return told

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal."""
        assert self._child is not None
        os.kill(self._child, number)

    def end_child(self) -> None:
        """End the child, if a failed test left one."""
        while self._child is not None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self.told()

    def close(self) -> None:
        """Let it end."""
        self.end_child()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
