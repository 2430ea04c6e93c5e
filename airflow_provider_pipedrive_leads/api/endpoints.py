"""Every endpoint the provider knows, as data: method, path, cost, and which window it counts against.

Names are the vendor's operation names. Costs in API tokens: docs/pipedrive-api.md, "Endpoints".
Leads live under ``/v1``, all that has a second version under ``/api/v2``: the two prefixes that every host answers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.foreign_words import UUID
from airflow_provider_pipedrive_leads.api.texts import first_with_half_a_pair

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = Any
"""A JSON value: None, bool, int, float, str, list or dict of these."""

NUMBER = re.compile(r"[1-9][0-9]{0,18}")
UUID_NAMES = {"lead_id": "lead", "label_id": "label", "conversion_id": "conversion"}


PATHS_OF_NAMES = ("/v1/leadLabels", "/v1/dealFields", "/api/v2/dealFields")
"""A write to one of these makes cached names stale."""


class Call(msgspec.Struct, frozen=True):
    """One request as a value.

    :param path: from the server's root, for example ``/v1/leads``; holds no query and no secret.
    :param cost: API tokens that the call takes from the company's day.
    :param search: True if it counts against the small window of search calls as well.
    :param rows: for a list: the type that each of its rows is decoded into, such as ``msgspec.Raw``; None: plain dicts.
    :raises PipedriveValidationError: a text in query or body cannot be written as UTF-8.
    """

    method: str
    path: str
    cost: int
    query: Mapping[str, str] = {}
    body: JSON = None
    search: bool = False
    rows: type | None = None

    def __post_init__(self) -> None:
        name = first_with_half_a_pair(self.query) or first_with_half_a_pair(self.body)
        if name is not None:
            raise PipedriveValidationError(
                f"{name}: its text holds half of a surrogate pair, mostly of an emoji that was cut in two; that is no"
                " character and cannot be sent. Take it out, or cut texts between characters."
            )

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice leaves the account as sending it once (all but POST)."""
        return self.method != "POST"

    @property
    def changes_names(self) -> bool:
        """Whether fields and labels may be called otherwise afterwards, even if it fails."""
        return self.method != "GET" and self.path.startswith(PATHS_OF_NAMES)


class Endpoint(msgspec.Struct, frozen=True):
    """One row of the API's index."""

    operation: str
    method: str
    path: str
    cost: int
    search: bool = False

    def call(
        self,
        *,
        query: Mapping[str, object] | None = None,
        body: JSON = None,
        ids: Mapping[str, object] | None = None,
        rows: type | None = None,
    ) -> Call:
        """Fill in ids and query.

        :param ids: values for the names in the path's braces.
        :param query: values that are None are left out; True and False become ``true`` and ``false``.
        :param rows: as in :class:`Call`.
        :raises PipedriveValidationError: an id is not what ids of its kind look like.
        """
        path = self.path.format(**{name: path_id(name, value) for name, value in (ids or {}).items()})
        return Call(self.method, path, self.cost, query_text(query or {}), body, self.search, rows)


def path_id(name: str, value: object) -> str:
    """Check an id before it becomes part of a path.

    :param name: the parameter, used in the error.
    :raises PipedriveValidationError: not a UUID (leads, labels, conversions), or not a positive whole number.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else repr(value)
    if name in UUID_NAMES:
        if UUID.fullmatch(text):
            return text.lower()
        kind = UUID_NAMES[name]
        raise PipedriveValidationError(
            f"{name}: {text[:80]!r} is not the id of a {kind}. Ids of {kind}s are UUIDs,"
            " like 4d1b0a50-1f7a-11ef-8c3b-6f1e2a9d7c55."
        )
    if NUMBER.fullmatch(text):
        return text
    raise PipedriveValidationError(f"{name}: {text[:80]!r} is not an id. It must be a positive whole number, like 42.")


def query_text(query: Mapping[str, object]) -> dict[str, str]:
    """Give query values the form that they take in a URL; None is left out."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


GET_LEADS = Endpoint("getLeads", "GET", "/v1/leads", 20)
GET_ARCHIVED_LEADS = Endpoint("getArchivedLeads", "GET", "/v1/leads/archived", 40)
GET_LEAD = Endpoint("getLead", "GET", "/v1/leads/{lead_id}", 2)
ADD_LEAD = Endpoint("addLead", "POST", "/v1/leads", 10)
UPDATE_LEAD = Endpoint("updateLead", "PATCH", "/v1/leads/{lead_id}", 10)
DELETE_LEAD = Endpoint("deleteLead", "DELETE", "/v1/leads/{lead_id}", 6)
GET_LEAD_USERS = Endpoint("getLeadUsers", "GET", "/v1/leads/{lead_id}/permittedUsers", 10)
SEARCH_LEADS = Endpoint("searchLeads", "GET", "/api/v2/leads/search", 20, search=True)
CONVERT_LEAD_TO_DEAL = Endpoint("convertLeadToDeal", "POST", "/api/v2/leads/{lead_id}/convert/deal", 40)
GET_LEAD_CONVERSION_STATUS = Endpoint(
    "getLeadConversionStatus", "GET", "/api/v2/leads/{lead_id}/convert/status/{conversion_id}", 1
)
CONVERT_DEAL_TO_LEAD = Endpoint("convertDealToLead", "POST", "/api/v2/deals/{deal_id}/convert/lead", 40)
GET_DEAL_CONVERSION_STATUS = Endpoint(
    "getDealConversionStatus", "GET", "/api/v2/deals/{deal_id}/convert/status/{conversion_id}", 1
)
GET_LEAD_LABELS = Endpoint("getLeadLabels", "GET", "/v1/leadLabels", 10)
ADD_LEAD_LABEL = Endpoint("addLeadLabel", "POST", "/v1/leadLabels", 10)
UPDATE_LEAD_LABEL = Endpoint("updateLeadLabel", "PATCH", "/v1/leadLabels/{label_id}", 10)
DELETE_LEAD_LABEL = Endpoint("deleteLeadLabel", "DELETE", "/v1/leadLabels/{label_id}", 6)
GET_LEAD_SOURCES = Endpoint("getLeadSources", "GET", "/v1/leadSources", 2)
GET_LEAD_FIELDS = Endpoint("getLeadFields", "GET", "/v1/leadFields", 20)
GET_CURRENT_USER = Endpoint("getCurrentUser", "GET", "/v1/users/me", 2)
GET_USERS = Endpoint("getUsers", "GET", "/v1/users", 20)
GET_PERSONS = Endpoint("getPersons", "GET", "/api/v2/persons", 10)
GET_PERSON = Endpoint("getPerson", "GET", "/api/v2/persons/{person_id}", 1)
ADD_PERSON = Endpoint("addPerson", "POST", "/api/v2/persons", 5)
DELETE_PERSON = Endpoint("deletePerson", "DELETE", "/api/v2/persons/{person_id}", 3)
SEARCH_PERSONS = Endpoint("searchPersons", "GET", "/api/v2/persons/search", 20, search=True)
GET_ORGANIZATIONS = Endpoint("getOrganizations", "GET", "/api/v2/organizations", 10)
GET_ORGANIZATION = Endpoint("getOrganization", "GET", "/api/v2/organizations/{organization_id}", 1)
ADD_ORGANIZATION = Endpoint("addOrganization", "POST", "/api/v2/organizations", 5)
DELETE_ORGANIZATION = Endpoint("deleteOrganization", "DELETE", "/api/v2/organizations/{organization_id}", 3)
SEARCH_ORGANIZATIONS = Endpoint("searchOrganization", "GET", "/api/v2/organizations/search", 20, search=True)
GET_DEALS = Endpoint("getDeals", "GET", "/api/v2/deals", 10)
GET_ARCHIVED_DEALS = Endpoint("getArchivedDeals", "GET", "/api/v2/deals/archived", 20)
GET_NOTES = Endpoint("getNotes", "GET", "/v1/notes", 20)
ADD_NOTE = Endpoint("addNote", "POST", "/v1/notes", 10)
GET_WEBHOOKS = Endpoint("getWebhooks", "GET", "/v1/webhooks", 10)
ADD_WEBHOOK = Endpoint("addWebhook", "POST", "/v1/webhooks", 10)
DELETE_WEBHOOK = Endpoint("deleteWebhook", "DELETE", "/v1/webhooks/{webhook_id}", 6)

ENDPOINTS = tuple(value for value in list(globals().values()) if isinstance(value, Endpoint))


def free_call(method: str, path: str, query: Mapping[str, object] | None = None, body: JSON = None) -> Call:
    """Build a call to any endpoint, known or not.

    A known one takes its cost from the index; for the rest the cost is estimated from the general price list
    (one 2, list 20, write 10, delete 6, search 40 in v1; half of it in v2).

    :param path: from the root, such as ``/v1/notes`` or ``/api/v2/deals/7``.
    :raises PipedriveValidationError: the method is not one of the API's, or the path is none.
    """
    method = method.upper()
    if method not in {"GET", "POST", "PATCH", "PUT", "DELETE"}:
        raise PipedriveValidationError(f"method: {method!r} is not one of GET, POST, PATCH, PUT, DELETE.")
    if not re.fullmatch(r"/(v1|api/v1|api/v2)(/[A-Za-z0-9_\-]+)+", path):
        raise PipedriveValidationError(
            f"path: {path[:80]!r} is not a path of the API. Write it from the root and without query, like /v1/notes or"
            " /api/v2/deals/7; what follows the question mark goes into params."
        )
    known = next((end for end in ENDPOINTS if end.method == method and _matches(end.path, path)), None)
    cost = known.cost if known else estimated_cost(method, path)
    return Call(method, path, cost, query_text(query or {}), body, _is_search(path))


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[a-z_]+\}", "[^/]+", template), path.replace("/api/v1/", "/v1/")) is not None


def _is_search(path: str) -> bool:
    return "search" in path.lower().split("/")[-1] or "/itemsearch" in path.lower()


def estimated_cost(method: str, path: str) -> int:
    """Price an endpoint that is not in the index by the general price list, in API tokens."""
    one = path.rsplit("/", 1)[-1].isdigit() or UUID.fullmatch(path.rsplit("/", 1)[-1]) is not None
    v1_cost = {"GET": 2 if one else 20, "DELETE": 6}.get(method, 10)
    if _is_search(path):
        v1_cost = 40
    return v1_cost // 2 if path.startswith("/api/v2/") else v1_cost
