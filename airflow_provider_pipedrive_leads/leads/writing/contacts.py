"""Finding the person or organization that a lead hangs on, or creating it, once.

Search is an index that lags behind writes. What it does not know yet is looked for among the contacts that were added
last: that list holds every write at once. Only then is a contact created; and where two tasks do so in the same moment,
one of the two contacts goes again.

Where this cannot hold: a contact that search does not know 15 minutes after it was added, and one that the token may
not see, are created again; so is one whose phone number search does not find as it is written here. A create that the
server finishes more than ``settle`` seconds after it broke off, or that broke off while another task created the same
contact, can leave a second one. No later call takes that one: all take the contact with the lowest id.
"""

from __future__ import annotations

import logging
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveError, PipedriveNotFoundError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import id_value, is_gap, text_value, wrong

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

Row = Mapping[str, Any]

log = logging.getLogger(__name__)

PERSON_KEYS = ("name", "email", "phone")
ORGANIZATION_KEYS = ("name", "domain")
FORMS = {
    "name": (re.compile(r".+", re.DOTALL), "a name"),
    "email": (re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+"), "an e-mail address, like kim@acme.example"),
    "phone": (re.compile(r".*[0-9].*", re.DOTALL), "a phone number, for it has no digit"),
    "domain": (re.compile(r"([^\s@:/?#.]+\.)+[^\s@:/?#.]+"), "a domain; write it bare, like acme.example"),
}

AROUND_EMAIL = re.compile(r"^[\s<,;.]+|[\s>,;.]+$")
LAG = timedelta(minutes=15)
"""How far behind search may be: contacts added within this time are looked for in the list as well."""
CLOCKS = timedelta(minutes=5)
"""By how much Airflow's clock and Pipedrive's may differ."""
SETTLE = 30.0
"""Seconds after which a create that broke off is taken not to have happened."""
MOST_CREATES = 3
NAP = 3.0
"""Seconds between two looks for a create that broke off; each look ends at once when the client is interrupted."""
BREATH = 0.5
"""Seconds between a create and the look for twins; twice as many before each further look."""
MOST_LOOKS = 4
"""Looks for twins, until the list holds the contact just created."""


class _Register(msgspec.Struct, frozen=True):
    """One kind of contact, narrowed to the one that is wanted.

    :param kind: ``person`` or ``organization``.
    :param since: how far back the list is read, by this machine's clock.
    :param matches: tells whether a hit or a row is the one that is wanted.
    :param newest: yields all of the kind, the one added last first.
    :param leads: yields the leads that hang on one.
    """

    kind: str
    since: datetime
    matches: Callable[[Row], bool]
    search: Callable[[], Iterable[Row]]
    get: Callable[[int], Row]
    newest: Callable[[], Iterable[Row]]
    create: Callable[[], Row]
    leads: Callable[[int], Iterator[Row]]
    delete: Callable[[int], None]


def find_or_create_person(
    api: LeadsApi,
    person: Mapping[str, object],
    *,
    organization_id: int | str | None = None,
    since: datetime | None = None,
    unsettled: float = 0.0,
    settle: float = SETTLE,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Give the id of the person with this e-mail, else phone, else name; create one if there is none.

    The first of e-mail, phone and name that is given decides alone, without regard to case; of several who have it,
    the one with the lowest id. It is looked for in search, then among the persons added last. To find one by search
    takes 21 tokens, to create one 45, if one page of the list is enough.

    :param person: ``name`` (needed to create), ``email``, ``phone``.
    :param organization_id: what a person who is created belongs to, so that its domain leads there.
    :param since: when an earlier try of the same work began, if there was one: persons added from then on are looked
        through as well. Default: those of the last 15 minutes.
    :param unsettled: seconds for which a create of such a try may still be under way on the server: who is not there is
        looked for that long before a create is sent; default 0.
    :param settle: seconds for which a create that broke off is looked for before it is repeated; default 30.
    :param sleep: waits so many seconds; default: really.
    :raises PipedriveValidationError: before anything is sent: a key that is not understood, nothing to look up by, an
        e-mail without @; or nobody was found, and there is no name to create a person with.
    """
    wanted = _checked("person", person, PERSON_KEYS)
    if not wanted:
        raise PipedriveValidationError("person: needs at least one of email, phone and name.")
    by = next(key for key in ("email", "phone", "name") if key in wanted)
    reachable = {
        f"{key}s": [{"value": wanted[key], "primary": True, "label": "work"}]
        for key in ("email", "phone")
        if key in wanted
    }
    belongs = {} if organization_id is None else {"org_id": id_value("organization_id", organization_id)}
    register = _Register(
        kind="person",
        since=_reach(since),
        matches=lambda row: _has(row, by, wanted[by]),
        search=lambda: api.search_persons(wanted[by], fields=by, exact_match=True),
        get=api.get_person,
        newest=lambda: _newest_persons(api),
        create=lambda: api.add_person(wanted["name"], **reachable, **belongs),
        leads=lambda number: api.get_leads(person_id=number, page_size=1),
        delete=api.delete_person,
    )
    found = _find(register, unsettled, sleep)
    if found is None and "name" not in wanted:
        raise PipedriveValidationError(f"person: nobody has this {by}, and a name is needed to create a person.")
    return _create(register, settle, sleep) if found is None else found


def find_or_create_organization(
    api: LeadsApi,
    organization: Mapping[str, object],
    *,
    since: datetime | None = None,
    unsettled: float = 0.0,
    settle: float = SETTLE,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Give the id of the organization of this domain, else of this name; create it if there is none.

    With a domain, the persons whose e-mail ends in ``@domain`` are looked for in search (20 tokens a page of 500), then
    among the persons added last (10); if all of those who belong to an organization belong to the same one, it is
    taken. Otherwise the name decides, as for a person, without regard to case.

    :param organization: ``name`` (needed to create), ``domain`` such as ``acme.example``; a new organization gets it as
        its website.
    :param since: as in :func:`find_or_create_person`.
    :param unsettled: as in :func:`find_or_create_person`.
    :param settle: as in :func:`find_or_create_person`.
    :param sleep: as in :func:`find_or_create_person`.
    :raises PipedriveValidationError: as in :func:`find_or_create_person`, and for a domain with a scheme, a path, an @
        or a space.
    """
    wanted = _checked("organization", organization, ORGANIZATION_KEYS)
    if not wanted:
        raise PipedriveValidationError("organization: needs a name or a domain.")
    if "domain" in wanted:
        agreed = _organization_of_domain(api, wanted["domain"].casefold(), _reach(since))
        if agreed is not None:
            return agreed
        if "name" not in wanted:
            raise PipedriveValidationError(
                "organization: no organization is known by this domain, and a name is needed to create one."
            )
    website = {"website": wanted["domain"].casefold()} if "domain" in wanted else {}
    register = _Register(
        kind="organization",
        since=_reach(since),
        matches=lambda row: _has(row, "name", wanted["name"]),
        search=lambda: api.search_organizations(wanted["name"], fields="name", exact_match=True),
        get=api.get_organization,
        newest=lambda: api.get_organizations(sort_by="add_time", sort_direction="desc"),
        create=lambda: api.add_organization(wanted["name"], **website),
        leads=lambda number: api.get_leads(organization_id=number, page_size=1),
        delete=api.delete_organization,
    )
    found = _find(register, unsettled, sleep)
    return _create(register, settle, sleep) if found is None else found


def elected(candidates: Iterable[int]) -> int:
    """Say which of several equal contacts everybody takes: the one with the lowest id.

    :param candidates: ids, at least one.
    """
    # Ids are given in order, and a creator looks once its own contact is there. A lower one committed before it is
    # seen, and the own one goes. A lower one may also be committed after it, while its creator looks and is alone:
    # hence each draws breath before it looks, so that every id below its own is there. Then all see the lowest, whose
    # own creator sees none lower and keeps it. Where a commit outlasts a breath, two may stay, but never none.
    return min(candidates)


def _find(register: _Register, unsettled: float, sleep: Callable[[float], None]) -> int | None:
    """The contact that is there already or appears within so many seconds."""
    found = _present(register)
    return _await(register, unsettled, sleep) if found is None and unsettled > 0 else found


def _present(register: _Register) -> int | None:
    """The contact that is there already, by search and by what search cannot know yet."""
    young = []
    for number in sorted({int(hit["id"]) for hit in register.search() if register.matches(hit)}):
        row = _living(register.get, number)
        if row is not None and register.matches(row):
            if _added(row) < register.since:
                return number
            young = [number]  # may lose an election whose winner search does not know yet
            break
    candidates = _listed(register) or young
    return elected(candidates) if candidates else None


def _create(
    register: _Register, settle: float, sleep: Callable[[float], None], creates_left: int = MOST_CREATES
) -> int:
    try:
        own = int(register.create()["id"])
    except PipedriveError as error:
        if not error.in_doubt:
            raise
        log.info("%s It is looked for before it is sent again.", error)
        found = _await(register, settle, sleep)
        if found is not None:
            return found
        if creates_left <= 1:
            error.in_doubt = False  # it was looked for: a later try does no harm
            raise
    else:
        return _elect(register, own, sleep)
    return _create(register, settle, sleep, creates_left - 1)


def _await(register: _Register, settle: float, sleep: Callable[[float], None]) -> int | None:
    """Look for a contact whose creation is in doubt, until enough time has passed to believe that it is not there."""
    left = settle
    while not _listed(register) and left > 0:
        nap = min(NAP, left)
        sleep(nap)
        left -= nap
    sleep(BREATH)
    candidates = _listed(register)
    return elected(candidates) if candidates else None


def _elect(register: _Register, own: int, sleep: Callable[[float], None]) -> int:
    """Settle which of the contacts made in the same moment stays, and take the own one back if it is not that."""
    waited = 0.0
    for look in range(MOST_LOOKS):
        nap = BREATH * 2**look
        sleep(nap)
        waited += nap
        seen = _listed(register, own)
        if own in seen:
            break
    else:
        log.warning("%s %d was created, but the list does not show it: it may have a twin.", register.kind, own)
    if waited > BREATH:  # the list is late, and another's may be later than the own one
        sleep(waited)
        seen = _listed(register, own)
    winner = elected([own, *seen])
    if winner != own:
        _take_back(register, own, winner)
    return winner


def _take_back(register: _Register, own: int, winner: int) -> None:
    with suppress(PipedriveError):
        if next(register.leads(own), None) is None:
            register.delete(own)
            return
    log.warning(
        "%s %d is taken. Its twin %d, made in the same moment, stays: merge them in Pipedrive.",
        register.kind,
        winner,
        own,
    )


def _listed(register: _Register, own: int | None = None) -> list[int]:
    """The ids of the wanted contact among those added last."""
    rows = _recent(register.newest(), register.since)
    return [int(row["id"]) for row in rows if row["id"] == own or register.matches(row)]


def _recent(newest_first: Iterable[Row], since: datetime) -> Iterator[Row]:
    """Those added since then, or shortly before the newest, should this machine's clock be ahead of Pipedrive's."""
    reach: datetime | None = None
    for row in newest_first:
        added = _added(row)
        reach = reach or min(since, added - LAG)
        if added < reach:
            return
        if not row.get("is_deleted"):
            yield row


def _newest_persons(api: LeadsApi) -> Iterator[Row]:
    return api.get_persons(sort_by="add_time", sort_direction="desc")


def _organization_of_domain(api: LeadsApi, domain: str, since: datetime) -> int | None:
    """The one organization on which the persons with an e-mail of this domain agree."""
    sources: tuple[Callable[[], Iterable[Row]], ...] = (
        lambda: api.search_persons(domain, fields="email", page_size=500),
        lambda: _recent(_newest_persons(api), since),
    )
    found: set[int] = set()
    for source in sources:
        for row in source():
            organization = _organization_of(row)
            if organization and any(_fold("email", text).endswith(f"@{domain}") for text in _texts(row, "email")):
                found.add(organization)
            if len(found) > 1:
                return None
        if found:
            break
    agreed = next(iter(found), None)
    return None if agreed is None or _living(api.get_organization, agreed) is None else agreed


def _organization_of(person: Row) -> int | None:
    """Where a person belongs; search nests it, the list does not."""
    return person.get("org_id") or (person.get("organization") or {}).get("id")


def _living(get: Callable[[int], Row], number: int) -> Row | None:
    """What search found, as it is now; None if it was deleted meanwhile."""
    try:
        row = get(number)
    except PipedriveNotFoundError:
        return None
    return None if row.get("is_deleted") else row


def _reach(since: datetime | None) -> datetime:
    """How far back the list of contacts is read."""
    usual = datetime.now(UTC) - LAG
    if since is None:
        return usual
    return min(usual, (since if since.tzinfo else since.replace(tzinfo=UTC)) - CLOCKS)


def _added(row: Row) -> datetime:
    added = datetime.fromisoformat(row["add_time"])
    return added if added.tzinfo else added.replace(tzinfo=UTC)


def _has(row: Row, key: str, text: str) -> bool:
    return _fold(key, text) in {_fold(key, each) for each in _texts(row, key)}


def _texts(row: Row, key: str) -> list[str]:
    """A contact's name, e-mails or phones; search gives them as texts, the list as objects."""
    if key == "name":
        return [row.get("name") or ""]
    return [item["value"] if isinstance(item, dict) else item for item in row.get(f"{key}s") or ()]


def _fold(key: str, text: str) -> str:
    """What of a text counts when two are compared: of a phone number its digits, of the rest all but case and space."""
    if key == "phone":
        return re.sub(r"\D", "", text).removeprefix("00")
    return " ".join(text.split()).casefold()


def _bare_email(text: str) -> str:
    """An address without what stands around it in mail programs, links and lists, and without invisible characters."""
    visible = "".join(letter for letter in text if unicodedata.category(letter) not in ("Cf", "Cc"))
    bare = AROUND_EMAIL.sub("", visible)
    return AROUND_EMAIL.sub("", re.sub(r"^mailto:", "", bare, flags=re.IGNORECASE))


def _checked(parameter: str, contact: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, str]:
    """The texts that are given, each of the form due."""
    if not isinstance(contact, Mapping):
        raise PipedriveValidationError(f"{parameter}: must be a mapping with {', '.join(keys)}.")
    unknown = sorted(str(key) for key in set(contact) - set(keys))
    if unknown:
        raise PipedriveValidationError(
            f"{parameter}: {', '.join(unknown)} is not understood; there are {', '.join(keys)}."
        )
    texts = {
        key: text_value(f"{parameter}: {key}", value).strip()
        for key, value in contact.items()
        if value is not None and not is_gap(value)
    }
    if "email" in texts:
        texts["email"] = _bare_email(texts["email"])
    given = {key: text for key, text in texts.items() if text}
    for key, text in given.items():
        form, due = FORMS[key]
        if not form.fullmatch(text):
            raise wrong(f"{parameter}: {key}", text, due)
    return given
