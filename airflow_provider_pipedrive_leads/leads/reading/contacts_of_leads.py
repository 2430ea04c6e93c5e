"""The persons, organizations and owners of leads, as columns beside the leads' own.

A lead carries ids only. The contacts of each batch of leads are looked up before the batch is read, each id once per
export. What was looked up waits in a file, so that memory does not grow with the number of leads.
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveServerError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.operations import MOST_IDS
from airflow_provider_pipedrive_leads.files.table import Column
from airflow_provider_pipedrive_leads.leads.reading.columns import LeadColumn
from airflow_provider_pipedrive_leads.leads.reading.complete import MOST_AHEAD
from airflow_provider_pipedrive_leads.leads.reading.kept_names import StaleNamesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from airflow_provider_pipedrive_leads.api.kinds import Kind
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.reading.columns import Read, Rows, Values


class Reachable(msgspec.Struct, frozen=True):
    """An e-mail address or a phone number.

    :param label: such as ``work``.
    """

    value: str | None = None
    primary: bool = False
    label: str | None = None


class Address(msgspec.Struct, frozen=True):
    """A postal address.

    :param value: all of it in one line; the others are its parts, as far as Pipedrive makes them out.
    """

    value: str | None = None
    street_number: str | None = None
    route: str | None = None
    subpremise: str | None = None
    locality: str | None = None
    admin_area_level_1: str | None = None
    country: str | None = None
    postal_code: str | None = None


class Contact(msgspec.Struct, frozen=True):
    """A contact of a lead, as far as columns tell of it."""

    id: int
    name: str | None = None


class Person(Contact, frozen=True):
    """A person.

    :param job_title: like ``postal_address`` there only where Pipedrive's contact sync is on.
    """

    first_name: str | None = None
    last_name: str | None = None
    emails: list[Reachable] | None = None
    phones: list[Reachable] | None = None
    job_title: str | None = None
    postal_address: Address | None = None


class Organization(Contact, frozen=True):
    """An organization."""

    address: Address | None = None


class User(Contact, frozen=True):
    """A user of the company, who may own leads."""

    email: str | None = None


def primary_first(reachables: Iterable[Reachable] | None) -> list[Reachable]:
    """Those that say anything, the primary one first."""
    return sorted((one for one in reachables or () if one.value), key=lambda one: not one.primary)


def _texts(reachables: Iterable[Reachable] | None) -> list[str]:
    return [one.value for one in primary_first(reachables) if one.value]


Told = tuple[str, "Kind", "Callable[[Any], Any]"]
COLUMNS: dict[str, tuple[Told, ...]] = {
    "person": (
        ("name", "text", attrgetter("name")),
        ("emails", "list<string>", lambda person: _texts(person.emails)),
        ("phones", "list<string>", lambda person: _texts(person.phones)),
    ),
    "organization": (("name", "text", attrgetter("name")),),
    "owner": (("name", "text", attrgetter("name")), ("email", "text", attrgetter("email"))),
}
"""Whom there is to look up, and what is told of each."""


def checked_expand(expand: str | Iterable[str]) -> tuple[str, ...]:
    """Check whom to look up.

    :param expand: ``person``, ``organization``, ``owner``, or several of these.
    :raises PipedriveValidationError: there is another word.
    """
    words = dict.fromkeys([expand] if isinstance(expand, str) else expand)
    for word in words:
        if word not in COLUMNS:
            raise PipedriveValidationError(f"expand: {word!r} is none of {', '.join(COLUMNS)}.")
    return tuple(words)


class ContactsOfLeads:
    """Looks up contacts of leads. The end of its ``with`` block gives file and threads back.

    :param expand: as in :func:`checked_expand`.
    :raises PipedriveValidationError: ``expand`` has an unknown word; nothing was asked.
    """

    def __init__(self, api: LeadsApi, expand: str | Iterable[str]) -> None:
        self._expand = checked_expand(expand)
        self._api = api
        self._threads = ThreadPoolExecutor(MOST_AHEAD, thread_name_prefix="pipedrive-contacts")
        # Without a name SQLite keeps a file that is gone with this process, however that ends.
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE known (kind, id, contact, PRIMARY KEY (kind, id)) WITHOUT ROWID")
        self._persons = _Known(self._file, "person", Person)
        self._organizations = _Known(self._file, "organization", Organization)
        self._users: dict[int, User] | None = None

    def __enter__(self) -> ContactsOfLeads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind not in (None, StaleNamesError):  # what begins anew needs its connections
            self._api.interrupt()
        self.close()

    def close(self) -> None:
        """Forget all contacts."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._file.close()

    def columns(self, taken: Iterable[str] = ()) -> list[LeadColumn]:
        """Give the columns of what is looked up.

        :param taken: names of other columns; one of ours that would have the same gets a number behind.
        """
        names, columns = set(taken), []
        for choice in self._expand:
            for part, kind, value in COLUMNS[choice]:
                name = _free_name(f"{choice}_{part}", names)
                names.add(name)
                columns.append(
                    LeadColumn(Column(name, kind, f"{choice}.{part}"), self._read(choice, value), (f"{choice}_id",))
                )
        return columns

    def look_up(self, leads: Rows) -> None:
        """Fetch what is not known yet of the contacts of some leads, which alone can be read until the next look-up.

        :param leads: with attributes ``person_id``, ``organization_id`` and ``owner_id``; those that lack one, because
            no column reads it, have no such contact.
        :raises PipedriveError: a call failed.
        """
        calls: list[_Fetch] = []
        if "person" in self._expand:
            calls += _calls(self._persons, self._api.get_persons, _ids(leads, "person_id"))
        if "organization" in self._expand:
            calls += _calls(self._organizations, self._api.get_organizations, _ids(leads, "organization_id"))
        if "owner" in self._expand and self._users is None and _ids(leads, "owner_id"):
            self._users = {user.id: user for user in _read_as(User, self._api.get_users())}
        while calls:
            ahead = max(1, self._api.calls_ahead())
            now, calls = calls[:ahead], calls[ahead:]
            for fetch, found in zip(now, self._threads.map(_Fetch.found, now), strict=True):
                fetch.known.learn(fetch.ids, found)

    def person(self, person_id: int | None) -> Person | None:
        """The person of a lead; None if it has none, or the person is deleted or not visible."""
        return self._persons.of(person_id)

    def organization(self, organization_id: int | None) -> Organization | None:
        """The organization of a lead; None as for persons."""
        return self._organizations.of(organization_id)

    def owner(self, owner_id: int | None) -> User | None:
        """The owner of a lead; None if the company has no such user."""
        return None if owner_id is None else (self._users or {}).get(owner_id)

    def _read(self, choice: str, value: Callable[[Any], Any]) -> Read:
        contact_of: Callable[[Any], Any] = getattr(self, choice)

        def read(values: Values) -> list[Any]:
            contacts = map(contact_of, values[f"{choice}_id"])
            return [None if contact is None else value(contact) for contact in contacts]

        return read


Kept = TypeVar("Kept", bound=Contact)


class _Known(Generic[Kept]):
    """All contacts of one kind that were looked up: those of the present batch in memory, the others in the file."""

    def __init__(self, file: sqlite3.Connection, kind: str, contact: type[Kept]) -> None:
        self._file = file
        self._kind = kind
        self._contact = contact
        self._decode: Callable[[bytes], Kept | None] = msgspec.json.Decoder(contact | None).decode
        self._present: dict[int, Kept | None] = {}

    def turn_to(self, ids: set[int]) -> list[int]:
        """Make the contacts of a batch the present ones; give those that were never asked for, in order."""
        known = self._file.execute(
            "SELECT id, contact FROM known WHERE kind = ? AND id IN (SELECT value FROM json_each(?))",
            (self._kind, msgspec.json.encode(sorted(ids)).decode()),
        )
        self._present = {each: self._decode(text) for each, text in known}
        return sorted(ids.difference(self._present))

    def learn(self, asked: Sequence[int], found: Iterable[dict[str, Any]]) -> None:
        """Keep what was found; what was asked for and not found is known to be absent."""
        contacts = {contact.id: contact for contact in _read_as(self._contact, found)}
        new = {each: contacts.get(each) for each in asked}
        rows = [(self._kind, each, msgspec.json.encode(contact)) for each, contact in new.items()]
        with self._file:
            self._file.executemany("INSERT INTO known VALUES (?, ?, ?)", rows)
        self._present.update(new)

    def of(self, contact_id: int | None) -> Kept | None:
        """Give a contact of the present batch."""
        return None if contact_id is None else self._present[contact_id]


class _Fetch(msgspec.Struct, frozen=True):
    """A call that is due: some ids to ask for, and where to keep what comes."""

    known: _Known[Any]
    ask: Callable[..., Iterator[dict[str, Any]]]
    ids: list[int]

    def found(self) -> list[dict[str, Any]]:
        return list(self.ask(ids=self.ids))


def _read_as(contact: type[Kept], found: Iterable[dict[str, Any]]) -> list[Kept]:
    try:
        return [msgspec.convert(each, contact) for each in found]
    except msgspec.ValidationError as error:
        kind = contact.__name__.lower()
        raise PipedriveServerError(
            f"expand: Pipedrive gave a contact ({kind}) of another form than due: {error}."
        ) from error


def _ids(leads: Rows, name: str) -> set[int]:
    ids = (getattr(lead, name, None) for lead in leads)
    return {each for each in ids if each is not None}


def _calls(known: _Known[Any], ask: Callable[..., Iterator[dict[str, Any]]], ids: set[int]) -> list[_Fetch]:
    new = known.turn_to(ids)
    return [_Fetch(known, ask, new[start : start + MOST_IDS]) for start in range(0, len(new), MOST_IDS)]


def _free_name(name: str, taken: set[str]) -> str:
    return next(free for free in chain([name], (f"{name}_{number}" for number in count(2))) if free not in taken)
