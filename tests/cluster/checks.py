"""What must hold in the end, found out from files, from the accounts and from what the processes left behind."""

from __future__ import annotations

import csv
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.leads.writing.create_once import key_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

Lead = dict[str, Any]


def exported(file: Path) -> list[tuple[str, str]]:
    """The id and title of each row of an export."""
    with file.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines) if file.suffix == ".csv" else map(json.loads, lines)
        return [(row["id"], row["title"]) for row in rows]


def check_only_these(folder: Path, names: Iterable[str]) -> None:
    """Nothing else lies in a folder, neither a part of a file nor a temporary one."""
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)


def check_whole(file: Path, before: Iterable[Lead], after: Iterable[Lead]) -> int:
    """An export holds each lead that was there all the time once, and of the others only such as there are.

    :param before: the leads of its selection when it began.
    :param after: the same at the end of everything.
    :return: how many leads it holds.
    """
    rows = exported(file)
    twice = [lead_id for lead_id, times in Counter(lead_id for lead_id, _ in rows).items() if times > 1]
    assert not twice, f"{file}: leads that came twice: {twice[:5]}"
    missing = {_told(lead) for lead in before} - set(rows)
    assert not missing, f"{file}: {len(missing)} leads are missing, such as {sorted(missing)[:3]}"
    invented = set(rows) - {_told(lead) for lead in after}
    assert not invented, f"{file}: {len(invented)} leads are none of the account's, such as {sorted(invented)[:3]}"
    return len(rows)


def _told(lead: Lead) -> tuple[str, str]:
    return lead["id"], lead["title"]


def check_created_once(leads: Iterable[Lead], title: str, run: tuple[str, str, str], number: int) -> None:
    """Each mapped task made one lead, with the key of its own.

    :param title: with what the titles begin.
    :param run: DAG, run and task.
    """
    wanted = Counter((f"{title} {place}", key_of_run("\n".join((*run, str(place))))) for place in range(number))
    made = Counter((lead["title"], lead["origin_id"]) for lead in leads if lead["title"].startswith(f"{title} "))
    assert made == wanted, _difference(made, wanted)


def check_loaded_once(leads: Iterable[Lead], prefix: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each row of a load has one lead, with its key and title."""
    wanted = Counter((f"{prefix}{row['origin_id']}", str(row["title"])) for row in rows)
    made = Counter(
        (lead["origin_id"], lead["title"]) for lead in leads if str(lead["origin_id"] or "").startswith(prefix)
    )
    assert made == wanted, _difference(made, wanted)


def _difference(made: Counter[Any], wanted: Counter[Any]) -> str:
    more, less = made - wanted, wanted - made
    return f"{more.total()} leads too many: {list(more)[:5]}; {less.total()} missing: {list(less)[:5]}"


def check_no_token(tokens: Sequence[str], logs: Iterable[Path], database: str) -> int:
    """No token stands in a log, nor in clear anywhere in Airflow's database; gives how many logs there are."""
    read = list(logs)
    for log in read:
        text = log.read_text(errors="replace")
        assert not any(token in text for token in tokens), f"{log} holds an API token."
    assert not any(token in database for token in tokens), "Airflow's database holds an API token in clear."
    return len(read)
