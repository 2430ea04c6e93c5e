"""Everything one sandbox is made of, put together, and the work that every write entails."""

from __future__ import annotations

import gc
import random
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox import hits, seed
from airflow_provider_pipedrive_leads.sandbox.bounds import MAX_REAL_SECONDS, number, whole
from airflow_provider_pipedrive_leads.sandbox.choices import Choices
from airflow_provider_pipedrive_leads.sandbox.clock import Agenda, Clock, iso_ms, to_ms
from airflow_provider_pipedrive_leads.sandbox.custom_values import as_v2_fields
from airflow_provider_pipedrive_leads.sandbox.faults import Faults, Held
from airflow_provider_pipedrive_leads.sandbox.journal import Journal
from airflow_provider_pipedrive_leads.sandbox.leads import Book, Company, is_custom_key, lead_id
from airflow_provider_pipedrive_leads.sandbox.limits import Limits
from airflow_provider_pipedrive_leads.sandbox.search_index import Entry, SearchIndex
from airflow_provider_pipedrive_leads.sandbox.state import State
from airflow_provider_pipedrive_leads.sandbox.visibility import Member, sees
from airflow_provider_pipedrive_leads.sandbox.webhooks import Webhooks, lead_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DEFAULT_TOKEN = "5a6e64b0c0ffee5a6e64b0c0ffee5a6e64b0c0ff"  # noqa: S105
SEED_BATCH = 5_000
LEADS_TO_COPY = 500
_settling = threading.Lock()


@dataclass(frozen=True)
class Options:
    """How a sandbox is started; see ``pipedrive-sandbox --help``."""

    leads: int = 0
    seed: int = 1
    plan: str = "ultimate"
    seats: int = 1
    profile: str = "likely"
    token: str = DEFAULT_TOKEN
    latency: float = 0.0
    state: Path | None = None
    choices: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole(self.leads, "leads")
        whole(self.seats, "seats", 1)
        number(self.latency, "latency", 0, MAX_REAL_SECONDS)


class World:
    """State, time, limits, faults and unknowns of one sandbox.

    :param opened: gives the state to begin with.
    """

    def __init__(self, options: Options, opened: Callable[[Options], State] | None = None) -> None:
        self.options = options
        self.company = Company()
        self.clock = Clock()
        self.agenda = Agenda(self.clock)
        self.choices = Choices(options.profile, options.choices)
        self.limits = Limits(options.plan, options.seats)
        self.faults = Faults()
        self.held = Held()
        self.journal = Journal()
        # Seconds: virtual ones for the index and conversions, real ones for replies.
        self.delays = {"search_index": 1.0, "conversion": 1.0, "reply": options.latency}
        self.conversion_outcomes: list[str] = []
        self.state = (opened or _opened)(options)
        self.index = SearchIndex(self.state.connection)
        self.webhooks = Webhooks(self.state.webhooks, self.agenda)
        self.chance = random.Random(f"{options.seed} {options.token}")
        if not self.state.users.count():
            self._settle_company()
        self.members = {row["id"]: Member(row["id"], row["group"], row["admin"]) for row in self.state.members.all()}
        self.serial = self.state.leads.last_number()
        if options.leads and not self.serial:
            self.add_seeded_leads(seed.LeadRecipe(options.leads, options.seed))

    @property
    def now_ms(self) -> int:
        """The present time in milliseconds."""
        return to_ms(self.agenda.now())

    def stamp_ms(self) -> int:
        """The time to stamp on what is made or changed now, in milliseconds; no two are equal while the clock runs."""
        return self.clock.stamp_ms(self.now_ms)

    @property
    def book(self) -> Book:
        """What bodies may refer to."""
        return Book(self.exists, self.label_exists, self.state.custom_fields.all(), self.choices.as_dict())

    def exists(self, collection: str, identity: int) -> bool:
        """Whether a user, person or organization is there and not deleted."""
        thing = getattr(self.state, collection).get(identity)
        return thing is not None and not thing["is_deleted"]

    def label_exists(self, identity: str) -> bool:
        """Whether a label is there."""
        return self.state.labels.raw(identity) is not None

    def fresh_lead_id(self) -> str:
        """A UUID that no other lead has."""
        self.serial += 1
        return lead_id(self.now_ms, self.serial)

    def fresh_uuid(self) -> str:
        """A random UUID, the same in every run with the same seed and token."""
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def add_lead(self, lead: dict[str, Any], user: int) -> None:
        """Keep a new lead, let search see it later, tell the webhooks."""
        self.state.leads.add(lead)
        self.reindex_later("lead", lead["id"])
        self._announce("create", None, lead, user)

    def put_lead(self, before: dict[str, Any], after: dict[str, Any], user: int) -> None:
        """Keep a changed lead, let search see it later, tell the webhooks."""
        self.state.leads.put(after)
        self.reindex_later("lead", after["id"])
        self._announce("change", before, after, user)

    def remove_lead(self, lead: dict[str, Any], user: int) -> None:
        """Forget a lead, let search see it later, tell the webhooks."""
        self.state.leads.remove(lead["id"])
        self.state.deleted_leads.add({"id": lead["id"]})
        self.reindex_later("lead", lead["id"])
        self._announce("delete", lead, None, user)

    def add_seeded_leads(self, recipe: seed.LeadRecipe) -> None:
        """Make leads by a recipe and index them at once."""
        people = seed.Contacts(self.state.persons.all("seq <= 2000"), self.state.organizations.all())
        fields = self.state.custom_fields.all()
        label_ids = [label["id"] for label in self.state.labels.all()]
        persons = {person["id"]: person for person in people.persons}
        organizations = {organization["id"]: organization for organization in people.organizations}
        with self.state.transaction(), _collector_paused():
            batch: list[dict[str, Any]] = []
            for lead in seed.leads(recipe, seed.Setting(self.company, people, organizations, fields, label_ids)):
                batch.append(lead)
                if len(batch) == SEED_BATCH:
                    self._keep_seeded(batch, persons, organizations, fields)
                    batch = []
            self._keep_seeded(batch, persons, organizations, fields)
        self.state.settle()
        self.serial = max(self.serial, recipe.first_number + recipe.count)

    def reindex_later(self, kind: str, identity: int | str) -> None:
        """Let search see a change after the index's delay."""
        if self.delays["search_index"] <= 0:
            self.reindex(kind, identity)
        else:
            self.agenda.add(self.delays["search_index"], lambda: self.reindex(kind, identity))

    def reindex(self, kind: str, identity: int | str) -> None:
        """Bring one index entry up to date."""
        entry = self._entry(kind, identity)
        if entry is None:
            self.index.remove(kind, identity)
        else:
            self.index.put([entry])

    def _announce(self, action: str, before: dict[str, Any] | None, after: dict[str, Any] | None, user: int) -> None:
        lead = after or before or {}
        owner = self.members[lead["owner_id"]]
        viewers = [
            member.id for member in self.members.values() if sees(member, owner, lead["visible_to"], self.options.plan)
        ]
        about = {
            "company_id": str(self.company.id),
            "user_id": str(user),
            "id": self.fresh_uuid(),
            "correlation_id": self.fresh_uuid(),
            "timestamp": iso_ms(self.now_ms),
            "change_source": "api",
            "host": f"{self.company.domain}.pipedrive.com",
            "permitted_user_ids": [str(viewer) for viewer in viewers],
        }
        now, then = self._told(after), self._told(before)
        changed = now and then and {name: item for name, item in then.items() if now.get(name) != item}
        previous = then if after is None else changed
        self.webhooks.announce(lead_event(action, lead["id"], now, previous, about))

    def _told(self, lead: dict[str, Any] | None) -> dict[str, Any] | None:
        """A lead as webhooks tell of it: custom fields nested, without visible_to and cc_email."""
        if lead is None:
            return None
        left_out = ("visible_to", "cc_email")
        plain = {name: item for name, item in lead.items() if not is_custom_key(name) and name not in left_out}
        return {**plain, "custom_fields": as_v2_fields(lead, self.state.custom_fields.all())}

    def _entry(self, kind: str, identity: int | str) -> Entry | None:
        thing = {
            "lead": self.state.leads,
            "person": self.state.persons,
            "organization": self.state.organizations,
            "deal": self.state.deals,
        }[kind].get(identity)
        if thing is None or thing.get("is_deleted"):
            return None
        if kind == "lead":
            organization = self._organization(thing["organization_id"])
            notes = self._notes("lead_id", identity)
            return hits.lead_entry(
                thing, self._person(thing["person_id"]), organization, notes, self.state.custom_fields.all()
            )
        if kind == "person":
            return hits.person_entry(thing, self._organization(thing["org_id"]), self._notes("person_id", identity))
        if kind == "deal":
            return hits.deal_entry(thing, self._person(thing["person_id"]), self._organization(thing["org_id"]))
        return hits.organization_entry(thing, self._notes("org_id", identity))

    def _person(self, identity: int | None) -> dict[str, Any] | None:
        return None if identity is None else self.state.persons.get(identity)

    def _organization(self, identity: int | None) -> dict[str, Any] | None:
        return None if identity is None else self.state.organizations.get(identity)

    def _notes(self, column: str, identity: int | str) -> list[str]:
        return [note["content"] for note in self.state.notes.all(f"{column} = ?", [identity])]

    def _settle_company(self) -> None:
        options = self.options
        people = seed.contacts(options.seed, options.leads)
        organizations = {organization["id"]: organization for organization in people.organizations}
        with self.state.transaction():
            self.state.users.add_all(seed.users(self.company))
            self.state.members.add_all(seed.members(options.token, options.seed))
            self.state.labels.add_all(seed.labels())
            self.state.custom_fields.add_all(seed.custom_fields(options.seed))
            self.state.organizations.add_all(people.organizations)
            self.state.persons.add_all(people.persons)
            self.index.put(hits.organization_entry(organization, []) for organization in people.organizations)
            self.index.put(hits.person_entry(person, organizations[person["org_id"]], []) for person in people.persons)

    def _keep_seeded(
        self,
        batch: list[dict[str, Any]],
        persons: Mapping[int, dict[str, Any]],
        organizations: Mapping[int, dict[str, Any]],
        fields: list[dict[str, Any]],
    ) -> None:
        self.state.leads.add_all(batch)
        self.index.put(
            hits.lead_entry(
                lead, persons.get(lead["person_id"]), organizations.get(lead["organization_id"]), [], fields
            )
            for lead in batch
        )


def _opened(options: Options) -> State:
    """Open a state; a small one in memory begins as a copy, for a test suite starts thousands of sandboxes."""
    if options.state is not None or options.leads > LEADS_TO_COPY:
        return State(options.state)
    with _settling:
        state = State(like=_settled(options.leads, options.seed))
    for member in seed.members(options.token, options.seed):
        state.members.put(member)
    return state


@lru_cache(maxsize=4)
def _settled(leads: int, seed_number: int) -> State:
    return World(Options(leads=leads, seed=seed_number), lambda _: State()).state


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without garbage collection: fresh documents hold no cycles, and looking for some takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
