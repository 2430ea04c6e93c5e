"""What is waited for, and when it has come: decided from leads alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from airflow_provider_pipedrive_leads.api.endpoints import GET_ARCHIVED_LEADS, GET_DEALS, GET_LEAD, GET_LEADS
from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError
from airflow_provider_pipedrive_leads.api.fields import differing
from airflow_provider_pipedrive_leads.leads.waiting.polling import DAILY_SHARE, POLL_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_pipedrive_leads.leads.waiting.fate import Fate

DELETED: Literal["deleted"] = "deleted"
CONVERTED: Literal["converted"] = "converted"
FEWEST_TURNS = 1
MOST_TURNS = 20
FILTERS = ("owner_id", "person_id", "organization_id")


class Terms(msgspec.Struct, frozen=True):
    """What waiting may cost.

    :param poll_interval: seconds between two polls.
    :param daily_share: the part of the company's day of API tokens that polling may take; the slower of the two wins.
    :param on_daily_budget: on a spent day ``fail``, or ``wait`` for the next one.
    """

    poll_interval: float = POLL_INTERVAL
    daily_share: float = DAILY_SHARE
    on_daily_budget: str = "fail"


class OneLead(msgspec.Struct, frozen=True):
    """Waits until one lead is as expected, or gone.

    :param lead_id: the lead.
    :param expected: values as :func:`leads.waiting.expecting.wanted_values` gives them; ``deleted``; or ``converted``.
    :param since: second by Pipedrive's clock at which the lead was last looked at.
    :param changed: the ``update_time`` that it had then; None if it was not there.
    """

    lead_id: str
    expected: dict[str, Any] | Literal["deleted", "converted"]
    since: str
    changed: str | None = None

    @property
    def ends(self) -> bool:
        """Whether it is the end of the lead that is waited for: no list of leads tells that."""
        return isinstance(self.expected, str)

    @property
    def wants_archived(self) -> bool:
        """Whether only an archived lead can be as expected."""
        return isinstance(self.expected, dict) and bool(self.expected.get("is_archived"))


class ManyLeads(msgspec.Struct, frozen=True):
    """Waits until enough leads match.

    :param since: second by Pipedrive's clock at which leads were last looked for.
    :param matching: ids of those that matched then.
    :param updated_since: as the API takes it; None for any time.
    :param expected: values as :func:`leads.waiting.expecting.wanted_values` gives them; None for any.
    """

    min_count: int
    since: str
    matching: tuple[str, ...] = ()
    owner_id: int | None = None
    person_id: int | None = None
    organization_id: int | None = None
    filter_id: int | None = None
    updated_since: str | None = None
    expected: dict[str, Any] | None = None

    def matches(self, lead: Mapping[str, Any]) -> bool:
        """Whether a lead counts. A saved filter is the server's to apply; it wins over the three ids."""
        if lead.get("is_archived") or (self.updated_since or "").removesuffix("Z") > lead["update_time"]:
            return False
        if self.filter_id is None and any(getattr(self, name) not in (None, lead.get(name)) for name in FILTERS):
            return False
        return not self.expected or not differing(self.expected, lead)


Wait = OneLead | ManyLeads


def differences(wait: OneLead, fate: Fate) -> list[str]:
    """Name what is not yet as expected of a lead.

    :return: nothing once the wait is over.
    :raises PipedriveNotFoundError: it can never be as expected, for the lead is gone.
    """
    if fate.lead is not None:
        return [str(wait.expected)] if isinstance(wait.expected, str) else differing(wait.expected, fate.lead)
    if wait.expected == fate.outcome:
        return []
    became = f"was converted to deal {fate.deal_id}" if fate.outcome == CONVERTED else "was deleted, or never existed"
    raise PipedriveNotFoundError(f"lead_id: lead {wait.lead_id} {became}; it will not be as expected.", status=404)


class Plan(msgspec.Struct, frozen=True):
    """What one poll looks at.

    :param by_id: ids of leads that are looked at one by one.
    :param listed: ids of leads of which a list tells; it does not tell that one is gone, so they have turns by id.
    :param filters: the saved filters for whose leads changes are read; None is no filter.
    :param archived: whether changes of archived leads are read, too.
    :param deals: whether deals are read, for the leads that they were converted from.
    """

    by_id: frozenset[str]
    listed: frozenset[str]
    filters: frozenset[int | None]
    archived: bool
    deals: bool

    @property
    def turns(self) -> int:
        """How many listed leads are looked at by id at each poll, whatever that costs."""
        return min(FEWEST_TURNS, len(self.listed))

    @property
    def cost(self) -> int:
        """API tokens, if no list has more than a page."""
        lists = GET_LEADS.cost * len(self.filters) + GET_ARCHIVED_LEADS.cost * self.archived
        return GET_LEAD.cost * (len(self.by_id) + self.turns) + lists + GET_DEALS.cost * self.deals

    def reads(self, wait: Wait) -> bool:
        """Whether lists of leads tell what is waited for."""
        return isinstance(wait, ManyLeads) or (not wait.ends and wait.lead_id in self.listed)

    def deals_tell(self, wait: OneLead) -> bool:
        """Whether a list of deals tells what is waited for."""
        return wait.ends and wait.lead_id in self.listed


def plan(waits: Iterable[Wait], suspected: Iterable[str] = ()) -> Plan:
    """Find the cheapest way to look at all that is waited for.

    :param suspected: ids of leads that did not seem to be there any more.
    """
    filters: set[int | None] = set()
    plain, archived, deleted, converted = set[str](), set[str](), set(suspected), set[str]()
    for wait in waits:
        if isinstance(wait, ManyLeads):
            filters.add(wait.filter_id)
        elif wait.ends:
            (deleted if wait.expected == DELETED else converted).add(wait.lead_id)
        else:
            (archived if wait.wants_archived else plain).add(wait.lead_id)
    deals = GET_DEALS.cost + GET_LEAD.cost * FEWEST_TURNS < GET_LEAD.cost * len(converted - deleted)
    surely = deleted | (set() if deals else converted)
    told = converted if deals else set[str]()
    plans = [
        _plan(surely | plain | archived, told, filters, archived=False, deals=deals),
        _plan(surely | archived, told | plain, filters | {None}, archived=False, deals=deals),
        _plan(surely, told | plain | archived, filters | {None}, archived=True, deals=deals),
    ]
    return min(plans, key=lambda each: each.cost)


def _plan(by_id: set[str], listed: set[str], filters: set[int | None], *, archived: bool, deals: bool) -> Plan:
    return Plan(frozenset(by_id), frozenset(listed - by_id), frozenset(filters), archived, deals)


def whose_turn(looks: Plan, tokens: float, looked_at: Mapping[str, float]) -> list[str]:
    """Pick the listed leads that are looked at by id in a poll: those that were not looked at for longest.

    :param tokens: what the poll may cost without slowing down the next; the fewest turns are taken in any case.
    :param looked_at: when leads were last looked at by id, by any clock.
    """
    spare = int((tokens - looks.cost) / GET_LEAD.cost)
    turns = looks.turns + max(0, min(spare, MOST_TURNS - looks.turns))
    return sorted(looks.listed, key=lambda lead_id: looked_at.get(lead_id, 0.0))[:turns]
