"""The plan of a load: wanted rows joined with present leads by key, and what is to be written.

Rows wait on local disk while the present leads are streamed past them. In memory are the keys, and a few bytes a row.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import ADD_LEAD, UPDATE_LEAD
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveAuthError,
    PipedriveConfigError,
    PipedriveDailyBudgetError,
    PipedriveValidationError,
)
from airflow_provider_pipedrive_leads.api.fields import CUSTOM_KEY, KEY_LENGTH
from airflow_provider_pipedrive_leads.leads.loading.fields import AMOUNT, CURRENCY
from airflow_provider_pipedrive_leads.leads.loading.results import Outcome
from airflow_provider_pipedrive_leads.leads.loading.spool import Spool
from airflow_provider_pipedrive_leads.leads.reading.columns import HEAD_KEYS, attribute
from airflow_provider_pipedrive_leads.leads.reading.complete import Selection
from airflow_provider_pipedrive_leads.leads.reading.deals_of_leads import keys_of_deals
from airflow_provider_pipedrive_leads.leads.reading.export import deliver
from airflow_provider_pipedrive_leads.leads.reading.pages import Shape
from airflow_provider_pipedrive_leads.leads.writing.comparing import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.files.row import Row
    from airflow_provider_pipedrive_leads.leads.loading.mapping import UpToDateReader
    from airflow_provider_pipedrive_leads.leads.loading.settings import Load

AT_CREATION_ONLY = "origin_id"

NEW, BAD, TWO_ROWS, UNCHANGED, UPDATE, TWO_LEADS, ARCHIVED, NO_LEAD, NO_TITLE, NO_CONTACT, CONVERTED = range(11)
"""What is known of a row. ``NEW``: no lead has its key so far; in the end such rows are created."""
CONFLICTS = {
    TWO_ROWS: "{key}: several rows have this key, so nobody can tell which of them counts.",
    TWO_LEADS: "{key}: several leads have this key: {leads}. Merge them, or give them keys of their own.",
    ARCHIVED: "is_archived: the lead is archived and differs. With restore=True it is restored and updated.",
}
FAILURES = {
    NO_LEAD: "id: there is no such lead; it was deleted, or the token may not see it.",
    NO_TITLE: "title: is needed to create a lead.",
    NO_CONTACT: "person_id, organization_id: one of them is needed to create a lead.",
}


class Action(msgspec.Struct, frozen=True):
    """Something to write.

    :param row: number of the row; None for a lead that no row names.
    :param key: the whole key.
    :param lead_id: the lead to change; None to create one.
    :param bodies: what to send, one call after the other; the first creates the lead if there is none.
    """

    row: int | None
    key: str
    lead_id: str | None
    bodies: list[dict[str, Any]]

    @property
    def outcome(self) -> str:
        """What it comes to when all goes well."""
        if self.lead_id is None:
            return "created"
        return "archived" if self.row is None else "updated"


class Plan:
    """Everything a load knows of its rows.

    :param load: what is to be done.
    :param reader: reads the rows.
    :ivar cost: API tokens that writing costs.
    :ivar creates: rows for which a lead is to be created.
    :ivar updates: rows whose lead is to be changed.
    :ivar archives: leads to archive, since no row names them.
    :ivar unchanged: rows whose lead has what they want.
    :ivar converted: rows whose lead has become a deal.
    :ivar keyless: whether some row's key is not known.
    :ivar may_be_cut: whether the last row may be cut off.
    :ivar archiving: whether leads that no row names are to be archived.
    """

    def __init__(self, load: Load, reader: UpToDateReader) -> None:
        self.cost = 0
        self.creates = self.updates = self.archives = self.unchanged = self.converted = 0
        self.keyless = self.may_be_cut = False
        self._load = load
        self._reader = reader
        self._numbers = array("Q")
        self._states = bytearray()
        self._rows_by_key: dict[str, int] = {}
        self._deals: dict[int, int] = {}
        self._carrying = 0
        self.archiving = load.archive_missing
        self._stack = ExitStack()
        self._rows, self._matches, self._updates, self._missing = (self._stack.enter_context(Spool()) for _ in range(4))

    def __enter__(self) -> Plan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def rows(self) -> int:
        """Rows read."""
        return len(self._numbers)

    def want(self, rows: Iterable[Row]) -> None:
        """Read the wanted rows; blank ones, such as spreadsheets leave behind, are skipped.

        :raises PipedriveConfigError: a column is no field, or one asked for is missing.
        :raises PipedriveValidationError: there are no rows, and all leads would be archived.
        """
        for row in rows:
            self.may_be_cut = row.may_be_cut
            if row.values is None:
                self._add(row.number, None, f"row: {row.problem or 'cannot be read'}.")
                continue
            if _is_blank(row.values):
                continue
            wanted = self._reader.read(row.values)
            self._add(row.number, wanted.key, wanted.body if wanted.problem is None else wanted.problem)
        self._reader.check_columns()
        if self._load.archive_missing and not self._rows_by_key:
            raise PipedriveValidationError(
                "on_missing: there is no row with a key, so every lead would be archived. Nothing was written."
            )

    def _add(self, number: int, key: str | None, content: dict[str, JSON] | str) -> None:
        """Take a row: its wire values, or what is wrong with it."""
        index = len(self._numbers)
        self._numbers.append(number)
        self._rows.append((key, content))
        self._states.append(NEW if type(content) is dict else BAD)
        if key is None:
            self.keyless = True
            return
        first = self._rows_by_key.setdefault(key, index)
        if first != index:
            for each in (first, index):
                if self._states[each] != BAD:
                    self._states[each] = TWO_ROWS

    def join(self, api: LeadsApi) -> None:
        """Read the present leads, active and archived, and find out what is to be written.

        Where rows have no lead, the deals are read too (10 tokens a page, archived ones 20), to tell which were leads.

        :raises PipedriveConfigError: deals are to be read, and the token may not.
        :raises PipedriveValidationError: too many leads would be archived.
        """
        self._comparison = Comparison(self._reader.catalogue)
        if self.rows or self._load.archive_missing:
            deliver(api, Selection(), self._shape(), self._match_all)
        if self._load.skip_converted and NEW in self._states:
            self._match_deals(api)
        self._conclude()

    def _shape(self) -> Shape:
        """Decode of each lead what is compared, and nothing else."""
        keys = dict.fromkeys((*HEAD_KEYS, "is_archived", self._reader.key.key or "", *self._present_keys()))
        row = msgspec.defstruct(
            "PresentLead",
            [(attribute(key), str if key in ("id", "update_time") else Any, None) for key in keys],
            rename={attribute(key): key for key in keys},
            gc=False,
        )
        return Shape(row, lambda rows: rows)

    def _present_keys(self) -> list[str]:
        filled = ["value" if key in (AMOUNT, CURRENCY) else key for key in self._reader.names]
        wholes = [key[:KEY_LENGTH] for key in filled if CUSTOM_KEY.fullmatch(key)]
        return [*filled, *wholes]  # a part may stand within the value of the whole

    def _match_all(self, leads: Sequence[Any]) -> None:
        prefix, key_attribute = self._load.key_prefix, attribute(self._reader.key.key or "")
        rows_by_key = self._rows_by_key
        for lead in leads:
            key = str(getattr(lead, key_attribute) or "").strip()
            if not key or not key.startswith(prefix):
                continue
            index = rows_by_key.get(key)
            if not lead.is_archived:
                self._carrying += 1
                if index is None and self._load.archive_missing:
                    self._missing.append((lead.id, key))
            if index is not None:
                self._match(index, lead)

    def _match(self, index: int, lead: Any) -> None:
        state = self._states[index]
        if state in (BAD, TWO_ROWS):
            return
        if state != NEW:
            self._states[index] = TWO_LEADS
            self._matches.append((index, lead.id, None))
            return
        key, body = self._rows[index]
        body.pop(AT_CREATION_ONLY, None)
        differing = self._comparison.differing(body, lead)
        if not differing:
            self._states[index] = UNCHANGED
        elif lead.is_archived and not self._load.restore:
            self._states[index] = ARCHIVED
        else:
            self._states[index] = UPDATE
            changes = {name: body[name] for name in self._with_halves(differing, body)}
            self._updates.append((index, lead.id, key, _bodies(changes, body, lead.is_archived)))
        self._matches.append((index, lead.id, key))

    def _match_deals(self, api: LeadsApi) -> None:
        try:
            for key, deal_id in keys_of_deals(api, str(self._reader.key.key)):
                index = self._rows_by_key.get(key)
                if index is not None and self._states[index] == NEW:
                    self._states[index] = CONVERTED
                    self._deals[index] = deal_id
        except PipedriveAuthError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            raise PipedriveConfigError(
                "on_converted: the token may not read deals, so converted leads cannot be recognized. Give it the"
                " scope deals:read, or create such leads again with on_converted='create'. Nothing was written."
            ) from error

    def _with_halves(self, differing: Sequence[str], body: dict[str, JSON]) -> Iterable[str]:
        """Keys to send: of a pair always both."""
        halves = self._reader.halves
        return dict.fromkeys(half for key in differing for half in (key, halves.get(key, key)) if half in body)

    def _conclude(self) -> None:
        """Decide about the rows that no lead matched, and count."""
        for index, state in enumerate(self._states):
            if state == NEW:
                self._states[index] = self._creation(self._rows[index][1])
        for action in self._creations():
            self.creates += 1
            self.cost += ADD_LEAD.cost + UPDATE_LEAD.cost * (len(action.bodies) - 1)
        for index, _, _, bodies in self._updates:
            if self._states[index] == UPDATE:
                self.updates += 1
                self.cost += UPDATE_LEAD.cost * len(bodies)
        self.unchanged = self._states.count(UNCHANGED)
        self.converted = self._states.count(CONVERTED)
        if self._load.archive_missing and not self.keyless and not self.may_be_cut:
            self._check_missing()
            self.archives = len(self._missing)
            self.cost += UPDATE_LEAD.cost * self.archives

    def _creation(self, body: dict[str, JSON]) -> int:
        if self._reader.key.key == "id":
            return NO_LEAD
        if body.get("title") is None:
            return NO_TITLE
        if body.get("person_id") is None and body.get("organization_id") is None:
            return NO_CONTACT
        return NEW

    def _check_missing(self) -> None:
        missing = len(self._missing)
        if missing > self._load.max_missing * self._carrying:
            raise PipedriveValidationError(
                f"max_missing: no row names {missing} of the {self._carrying} active leads whose key begins with"
                f" {self._load.key_prefix!r}, more than {self._load.max_missing:.0%}. If they are to be archived, run"
                " once with a larger max_missing. Nothing was written."
            )

    def decided(self) -> Iterator[Outcome]:
        """What became of the rows for which nothing is to be written."""
        leads = defaultdict(list)
        for index, lead_id, key in self._matches:
            state = self._states[index]
            if state == UNCHANGED:
                yield Outcome(self._numbers[index], key, "unchanged", lead_id)
            elif state == ARCHIVED:
                yield Outcome(self._numbers[index], key, "conflict", lead_id, CONFLICTS[ARCHIVED])
            elif state == TWO_LEADS:
                leads[index].append(lead_id)
        for index, state in enumerate(self._states):
            if state == BAD:
                yield self._decided(index, "failed", self._rows[index][1])
            elif state == CONVERTED:
                key = self._rows[index][0]
                yield Outcome(self._numbers[index], key, "converted", deal_id=self._deals[index])
            elif state in FAILURES:
                yield self._decided(index, "failed", FAILURES[state])
            elif state in (TWO_ROWS, TWO_LEADS):
                words = CONFLICTS[state].format(key=self._reader.key.name, leads=", ".join(leads[index]))
                yield self._decided(index, "conflict", words)

    def _decided(self, index: int, outcome: str, error: str) -> Outcome:
        return Outcome(self._numbers[index], self._rows[index][0], outcome, None, error)

    def actions(self) -> Iterator[Action]:
        """What is to be written: updates, then creations, then archiving."""
        for index, lead_id, key, bodies in self._updates:
            if self._states[index] == UPDATE:
                yield Action(self._numbers[index], key, lead_id, bodies)
        yield from self._creations()
        if self.archives:
            for lead_id, key in self._missing:
                yield Action(None, key, lead_id, [{"is_archived": True}])

    def _creations(self) -> Iterator[Action]:
        for index, state in enumerate(self._states):
            if state == NEW:
                key, body = self._rows[index]
                values = {name: value for name, value in body.items() if value not in (None, [])}
                archived = values.pop("is_archived", False)
                values[str(self._reader.key.key)] = key
                later = [{"is_archived": True}] if archived else []
                yield Action(self._numbers[index], key, None, [values, *later])


def _is_blank(row: Mapping[str, Any]) -> bool:
    return all(value is None or (type(value) is str and not value.strip()) for value in row.values())


def _bodies(differing: dict[str, JSON], wanted: dict[str, JSON], is_archived: bool) -> list[dict[str, JSON]]:
    """The calls that bring a lead to what is wanted; an archived one takes no changes before it is restored."""
    if not is_archived:
        return [differing]
    rest = {key: value for key, value in differing.items() if key != "is_archived"}
    if rest and wanted.get("is_archived"):
        rest["is_archived"] = True
    return [{"is_archived": False}, *([rest] if rest else [])]


def check_budget(cost: int, left: int, *, reserve: int, whole_day: int | None, read: int) -> None:
    """See whether the day has enough API tokens left for a plan.

    :param cost: tokens of its writes.
    :param reserve: tokens that are to stay.
    :param whole_day: tokens of a whole day; None if the server does not tell.
    :param read: tokens that planning took, and will take again another day.
    :raises PipedriveDailyBudgetError: it has not.
    """
    if cost <= left - reserve:
        return
    kept = f", of which {reserve} are kept in reserve" if reserve else ""
    words = f"Nothing was written: the load costs {cost} API tokens, and {left} are left of the company's day{kept}."
    if whole_day is not None and cost > whole_day - reserve:
        words += f" A whole day has {whole_day}: on_daily_budget='wait' writes as far as each day's tokens go."
    raise PipedriveDailyBudgetError(words, needed=cost + read)
