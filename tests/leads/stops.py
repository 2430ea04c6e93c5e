"""What the tests of stopped tasks share: a stop that comes when a call is where the test wants it.

The exception comes as Airflow raises one at the end of ``execution_timeout``: in the main thread, by a signal.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.until import until

OURS = ("pipedrive-pages", "pipedrive-contacts", "pipedrive-labels", "pipedrive-writes")


class StoppedError(BaseException):
    """What Airflow's ``AirflowTaskTimeout`` is: no ``Exception``, so that nobody catches it by the way."""


def our_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(OURS)}


@contextmanager
def _stopped_when(ready: Callable[[], object]) -> Iterator[None]:
    """Raise in the main thread as soon as something is the case."""

    def stop(*_: object) -> None:
        raise StoppedError

    def watch() -> None:
        if until(lambda: over.is_set() or ready()) and not over.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    over, watching = threading.Event(), threading.Thread(target=watch)
    before = signal.signal(signal.SIGUSR1, stop)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
        signal.signal(signal.SIGUSR1, before)


def stop(call: Callable[[], object], when: Callable[[], object]) -> set[threading.Thread]:
    """Stop a call when something is the case, and see that its threads end; give those that it had till then.

    What they wait for must never come: so nothing but the stop can end them.
    """
    before = our_threads()
    had: set[threading.Thread] = set()

    def ready() -> object:
        reached = when()  # asked before the threads are counted: those that made it so are among them
        had.update(our_threads() - before)
        return reached

    with pytest.raises(StoppedError), _stopped_when(ready):
        call()
    until(lambda: not our_threads() - before)
    return had
