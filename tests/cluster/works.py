"""The four kinds of work: each begins as a run of a DAG, and can be checked when that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cluster.checks import check_created_once, check_loaded_once, check_only_these, check_whole
from tests.cluster.companies import MEMBERS
from tests.cluster.runs import Run
from tests.cluster.stage import CONNECTIONS

if TYPE_CHECKING:
    from tests.cluster.companies import Company
    from tests.cluster.stage import Stage


class Connections:
    """Exports of many connections, to a file each.

    :param name: of this piece of work, unlike all others; as in the classes below.
    :param number: how many connections.
    :ivar companies: whose counters tell what it took, if nothing else runs meanwhile.
    """

    def __init__(self, stage: Stage, name: str, number: int) -> None:
        self.title = f"{number} connections exported"
        self.companies = stage.others
        self._accounts = {each: stage.accounts[each] for each in CONNECTIONS[:number]}
        self._folder = stage.folder / name / "connections"
        self.run = Run(stage.airflow, f"connections_{number}", "export", folder=str(self._folder))

    def check(self) -> int:
        """Each file holds what the token of its connection may see; gives how many leads that are."""
        check_only_these(self._folder, [f"{name}.jsonl" for name in self._accounts])
        visible = {name: company.visible_to(user) for name, (company, user) in self._accounts.items()}
        return sum(check_whole(self._folder / f"{name}.jsonl", leads, leads) for name, leads in visible.items())


class Owners:
    """Exports of one account, to a file for each owner."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.title = "one account exported by owner"
        self.companies = [stage.main]
        self._folder = stage.folder / name / "owners"
        self._before = _by_owner(stage.main)
        self.run = Run(stage.airflow, "owners_5", "export", folder=str(self._folder))

    def check(self) -> int:
        """Each file holds what its owner had all the time; gives how many leads that are."""
        check_only_these(self._folder, [f"{owner}.csv" for owner in MEMBERS])
        after = _by_owner(self.companies[0])
        return sum(check_whole(self._folder / f"{owner}.csv", self._before[owner], after[owner]) for owner in MEMBERS)


def _by_owner(company: Company) -> dict[int, list[dict[str, Any]]]:
    leads = company.control.all_leads()
    return {owner: [lead for lead in leads if lead["owner_id"] == owner] for owner in MEMBERS}


class Creations:
    """Leads created by a task each."""

    def __init__(self, stage: Stage, name: str, number: int) -> None:
        self.title = f"{number} leads created by a task each"
        self.companies = [stage.main]
        self._name, self._number = name, number
        self.run = Run(stage.airflow, f"creations_{number}", "create", person_id=1, title=name)

    def check(self) -> int:
        """Each task has made one lead; gives how many that are."""
        check_created_once(self.companies[0].control.all_leads(), self._name, self.run.key, self._number)
        return self._number


class Load:
    """Leads created by one task from a file."""

    def __init__(self, stage: Stage, name: str, number: int) -> None:
        self.title = f"{number:,} leads loaded"
        self.companies = [stage.main]
        self._prefix = f"{name}-"
        self._path, self._rows = stage.rows(name, number)
        self.run = Run(stage.airflow, "load", "load", path=str(self._path), prefix=self._prefix)

    def check(self) -> int:
        """Each row has made one lead, and the last try knows of all; gives how many that are."""
        check_loaded_once(self.companies[0].control.all_leads(), self._prefix, self._rows)
        told = self.run.returned()
        assert told["created"] + told["unchanged"] == told["rows"] == len(self._rows), told
        return len(self._rows)
