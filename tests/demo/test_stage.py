"""What the demo and the interface begin comes to an end with them, whatever it does with their signals."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from demo import stage
from tests.until import until

DEAF = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
HEARS = "signal.signal(signal.SIGINT, signal.SIG_DFL)"
GRANDCHILD = f"import os, signal; {DEAF}; print(os.getpid(), flush=True); signal.pause()"
CHILD = f"""
import signal, subprocess, sys
{{}}
subprocess.Popen([sys.executable, "-c", {GRANDCHILD!r}], start_new_session=True)
signal.pause()
"""


def is_gone(process):
    """A killed process may wait for a parent that never collects it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(("ending", "seconds"), [(DEAF, 0), (HEARS, None)])
def test_nothing_is_left_of_a_process_or_of_what_it_began_in_a_session_of_its_own(monkeypatch, ending, seconds):
    monkeypatch.setattr(stage, "SECONDS_TO_END", seconds)
    with stage.process(sys.executable, "-c", CHILD.format(ending), stdout=subprocess.PIPE) as running:
        grandchild = psutil.Process(int(running.stdout.readline()))
    assert running.returncode is not None
    until(lambda: is_gone(grandchild))
