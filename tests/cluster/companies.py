"""Several Pipedrive companies in one process: each a sandbox on a port of its own, with a token for each of its users.

A burst window belongs to a token and a day's budget to a company, so that fifty connections are the tokens of the five
users of ten companies. The process writes a file about them, which only its user may read, for it holds the tokens.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_pipedrive_leads.sandbox.control import SandboxControl
from airflow_provider_pipedrive_leads.sandbox.seed import USERS
from airflow_provider_pipedrive_leads.sandbox.server import Sandbox
from airflow_provider_pipedrive_leads.sandbox.visibility import Member, sees
from demo.stage import ROOT
from tests.cluster.processes import Session
from tests.until import until

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAN = "ultimate"
SEATS = 10
MEMBERS = {number: Member(number, group, admin) for number, _, _, group, admin in USERS}


class Company(NamedTuple):
    """One company, as others see it.

    :param tokens: the API token of each user, the administrator's first.
    """

    url: str
    tokens: dict[int, str]

    @property
    def control(self) -> SandboxControl:
        return SandboxControl(self.url)

    def visible_to(self, user_id: int) -> list[dict[str, Any]]:
        """All leads that a user may see."""
        viewer = MEMBERS[user_id]
        return [
            lead
            for lead in self.control.all_leads()
            if sees(viewer, MEMBERS[lead["owner_id"]], lead["visible_to"], PLAN)
        ]


class Companies:
    """The process that plays companies, and the companies.

    :param folder: where its file and its log go.
    :param latency: seconds before each reply.
    :param leads: for each company, how many leads it has.
    """

    def __init__(self, folder: Path, latency: float, leads: Sequence[int]) -> None:
        self._folder = folder
        self._arguments = [str(latency), *map(str, leads)]
        self._session: Session | None = None
        self.all: list[Company] = []

    def start(self) -> None:
        file = self._folder / "companies.json"
        command = [sys.executable, "-m", "tests.cluster.companies", file, *self._arguments]
        self._session = Session(command, env=dict(os.environ), log=self._folder / "companies.log", folder=ROOT)
        until(lambda: file.exists() or not self._session.is_running())
        told = json.loads(file.read_text())
        self.all = [Company(each["url"], {int(user): token for user, token in each["tokens"].items()}) for each in told]

    def stop(self) -> None:
        if self._session is not None:
            self._session.stop(signal.SIGTERM)


def main(arguments: Sequence[str]) -> None:
    """Play companies until the process is ended.

    :param arguments: the file to write; seconds before each reply; for each company, how many leads it has.
    """
    file, latency, *counts = arguments
    with ExitStack() as stack:
        told = [stack.enter_context(_sandbox(seed, int(count), float(latency))) for seed, count in enumerate(counts, 1)]
        partial = Path(f"{file}.part")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps([_told(sandbox) for sandbox in told]))
        partial.replace(file)
        signal.sigwait({signal.SIGTERM})


def _sandbox(seed: int, leads: int, latency: float) -> Sandbox:
    return Sandbox(leads=leads, seed=seed, plan=PLAN, seats=SEATS, token=secrets.token_hex(20), latency=latency)


def _told(sandbox: Sandbox) -> dict[str, object]:
    return {"url": sandbox.url, "tokens": {user: sandbox.control.token_for(user) for user in MEMBERS}}


if __name__ == "__main__":
    main(sys.argv[1:])
