"""Every operation of the API, written once, over one abstract ``send``.

``PipedriveClient`` sends over HTTP; ``PipedriveLeadsHook`` has a client send. Names are the vendor's operation names in
snake case. A lead, label or contact is a plain ``dict`` as the API gives it. Every method raises the typed errors of
``api.errors``; costs in API tokens stand in ``api.endpoints`` beside each path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api import endpoints
from airflow_provider_pipedrive_leads.api.budget import Usage
from airflow_provider_pipedrive_leads.api.errors import (
    PipedriveServerError,
    PipedriveValidationError,
    ReplyTooLargeError,
)
from airflow_provider_pipedrive_leads.api.fields import Catalogue, custom_fields, from_wire, to_wire
from airflow_provider_pipedrive_leads.api.paging import Steps, smaller
from airflow_provider_pipedrive_leads.api.replies import data_of, read_page, unfit
from airflow_provider_pipedrive_leads.api.values import id_value, moment_value, text_value, title_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow_provider_pipedrive_leads.api.endpoints import JSON, Call, Endpoint
    from airflow_provider_pipedrive_leads.api.fields import CustomField
    from airflow_provider_pipedrive_leads.api.replies import Reply

Lead = dict[str, Any]
LARGEST_PAGE = 500
MOST_IDS = 100
"""Ids that one call to a list of contacts takes."""
LABEL_COLORS = ("blue", "brown", "dark-gray", "gray", "green", "orange", "pink", "purple", "red", "yellow")


class LeadsApi(ABC):
    """The operations. A subclass says how a call is sent."""

    _catalogue: Catalogue | None = None

    @abstractmethod
    def send(self, call: Call) -> Reply:
        """Send one call and return its successful reply."""

    @property
    def usage(self) -> Usage:
        """What was used so far: requests, tokens, tokens left of the day."""
        return Usage()

    def calls_ahead(self) -> int:
        """How many calls are worth having under way at once; 1 where nothing is known of latency and limits."""
        return 1

    def interrupt(self) -> None:  # noqa: B027 - what sends in no threads has nothing to interrupt
        """Make calls that other threads have under way, and all later ones, fail at once."""

    # Leads

    def get_leads(
        self,
        *,
        owner_id: int | str | None = None,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        filter_id: int | str | None = None,
        updated_since: datetime | str | None = None,
        sort: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[Lead]:
        """Yield the leads that are not archived, page after page (``getLeads``, 20 tokens a page).

        :param filter_id: a saved filter of type leads; the API lets it win over the other filters.
        :param updated_since: lower bound of ``update_time``, inclusive, in whole seconds; UTC where no zone is given.
        :param sort: such as ``"update_time ASC, id ASC"``; default: oldest first.
        :param page_size: leads a page, 1 to 500.
        """
        query = {
            **lead_filters(owner_id, person_id, organization_id, filter_id),
            "updated_since": None if updated_since is None else moment_value("updated_since", updated_since),
            "sort": sort,
        }
        yield from self._rows(endpoints.GET_LEADS, query, page_size)

    def get_archived_leads(
        self,
        *,
        owner_id: int | str | None = None,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        filter_id: int | str | None = None,
        sort: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[Lead]:
        """Yield the archived leads, page after page (``getArchivedLeads``, 40 tokens a page).

        Parameters as in :meth:`get_leads`; the API has no ``updated_since`` here.
        """
        query = {**lead_filters(owner_id, person_id, organization_id, filter_id), "sort": sort}
        yield from self._rows(endpoints.GET_ARCHIVED_LEADS, query, page_size)

    def get_lead(self, lead_id: str) -> Lead:
        """Fetch one lead (``getLead``, 2 tokens)."""
        return self._object(endpoints.GET_LEAD, lead_id=lead_id)

    def add_lead(self, title: str, **fields: object) -> Lead:
        """Create a lead (``addLead``, 10 tokens). Never repeated where it may have been done already.

        :param title: what the lead is called.
        :param fields: ``person_id`` or ``organization_id`` is needed; the rest by API name, key or human name.
        :return: the whole lead.
        """
        body = self.wire_fields({"title": title, **fields})
        body = {key: value for key, value in body.items() if value is not None}
        if "person_id" not in body and "organization_id" not in body:
            raise PipedriveValidationError("person_id, organization_id: a lead needs at least one of them.")
        if "is_archived" in body:
            raise PipedriveValidationError("is_archived: a lead is created active; archive it by an update.")
        return self._object(endpoints.ADD_LEAD, body=body)

    def update_lead(self, lead_id: str, **fields: object) -> Lead:
        """Change the given fields of a lead and leave the rest alone (``updateLead``, 10 tokens).

        :param fields: by API name, key or human name; None unsets. ``label_ids`` replaces the whole set.
        :return: the whole lead.
        """
        endpoints.path_id("lead_id", lead_id)
        body = self.wire_fields(fields)
        if not body:
            raise PipedriveValidationError("fields: there is nothing to change.")
        if "origin_id" in body:
            raise PipedriveValidationError("origin_id: can be set only when a lead is created.")
        if body.get("title", "") is None:
            raise PipedriveValidationError("title: a lead cannot be without one.")
        return self._object(endpoints.UPDATE_LEAD, body=body, lead_id=lead_id)

    def delete_lead(self, lead_id: str) -> str:
        """Delete a lead for good (``deleteLead``, 6 tokens).

        :return: its id.
        """
        self._object(endpoints.DELETE_LEAD, lead_id=lead_id)
        return lead_id

    def get_lead_users(self, lead_id: str) -> list[int]:
        """List the ids of the users who may see a lead (``getLeadUsers``, 10 tokens)."""
        call = endpoints.GET_LEAD_USERS.call(ids={"lead_id": lead_id})
        reply = self.send(call)
        users = data_of(reply) or []
        if not isinstance(users, list):
            raise unfit(reply, "with something else than a list")
        return users

    def search_leads(
        self,
        term: str,
        *,
        fields: str | Sequence[str] | None = None,
        exact_match: bool = False,
        person_id: int | str | None = None,
        organization_id: int | str | None = None,
        page_size: int = 100,
    ) -> Iterator[Lead]:
        """Yield search hits, best first (``searchLeads``, 20 tokens a page).

        The index lags behind writes: a lead made a moment ago may be missing.

        :param term: at least 2 characters, or 1 with ``exact_match``.
        :param fields: of ``custom_fields``, ``notes``, ``title``; default all.
        """
        query = {
            "term": _term(term, exact_match),
            "fields": _joined(fields),
            "exact_match": exact_match or None,
            **lead_filters(None, person_id, organization_id, None),
        }
        yield from self._rows(endpoints.SEARCH_LEADS, query, page_size)

    def convert_lead_to_deal(
        self, lead_id: str, *, stage_id: int | str | None = None, pipeline_id: int | str | None = None
    ) -> str:
        """Start turning a lead into a deal (``convertLeadToDeal``, 40 tokens). On success the lead is gone.

        :return: the conversion's id, for :meth:`get_lead_conversion_status`.
        """
        body = _ids(stage_id=stage_id, pipeline_id=pipeline_id)
        return self._begun(endpoints.CONVERT_LEAD_TO_DEAL.call(body=body, ids={"lead_id": lead_id}))

    def get_lead_conversion_status(self, lead_id: str, conversion_id: str) -> dict[str, Any]:
        """Ask how a conversion to a deal stands (``getLeadConversionStatus``, 1 token).

        :return: ``status`` (not_started, running, completed, failed, rejected), and ``deal_id`` once completed.
        """
        return self._object(endpoints.GET_LEAD_CONVERSION_STATUS, lead_id=lead_id, conversion_id=conversion_id)

    def convert_deal_to_lead(self, deal_id: int | str) -> str:
        """Start turning a deal into a lead (``convertDealToLead``, 40 tokens). On success the deal is gone.

        :return: the conversion's id, for :meth:`get_deal_conversion_status`.
        """
        return self._begun(endpoints.CONVERT_DEAL_TO_LEAD.call(ids={"deal_id": deal_id}))

    def get_deal_conversion_status(self, deal_id: int | str, conversion_id: str) -> dict[str, Any]:
        """Ask how a conversion to a lead stands (``getDealConversionStatus``, 1 token).

        :return: ``status`` as for leads, and ``lead_id`` once completed.
        """
        return self._object(endpoints.GET_DEAL_CONVERSION_STATUS, deal_id=deal_id, conversion_id=conversion_id)

    # Labels, sources, fields

    def get_lead_labels(self) -> list[dict[str, Any]]:
        """List the account's lead labels: id, name, color (``getLeadLabels``, 10 tokens)."""
        return self._list(endpoints.GET_LEAD_LABELS, "id", "name")

    def add_lead_label(self, name: str, color: str) -> dict[str, Any]:
        """Create a lead label (``addLeadLabel``, 10 tokens).

        :param color: blue, brown, dark-gray, gray, green, orange, pink, purple, red or yellow.
        """
        body = {"name": title_value("name", name), "color": _color(color)}
        return self._object(endpoints.ADD_LEAD_LABEL, body=body)

    def update_lead_label(self, label_id: str, *, name: str | None = None, color: str | None = None) -> dict[str, Any]:
        """Rename or recolour a lead label (``updateLeadLabel``, 10 tokens)."""
        body = {} if name is None else {"name": title_value("name", name)}
        body |= {} if color is None else {"color": _color(color)}
        if not body:
            raise PipedriveValidationError("name, color: there is nothing to change.")
        return self._object(endpoints.UPDATE_LEAD_LABEL, body=body, label_id=label_id)

    def delete_lead_label(self, label_id: str) -> str:
        """Delete a lead label (``deleteLeadLabel``, 6 tokens).

        :return: its id.
        """
        self._object(endpoints.DELETE_LEAD_LABEL, label_id=label_id)
        return label_id

    def get_lead_sources(self) -> list[str]:
        """List where leads can come from, by name (``getLeadSources``, 2 tokens)."""
        return [source["name"] for source in self._list(endpoints.GET_LEAD_SOURCES, "name")]

    def get_lead_fields(self) -> list[dict[str, Any]]:
        """List all lead fields, custom ones included (``getLeadFields``, 20 tokens a page)."""
        return self._list(endpoints.GET_LEAD_FIELDS, "key", page_size=LARGEST_PAGE)

    def read_catalogue(self) -> Catalogue:
        """Ask for the account's custom fields and labels (30 tokens)."""
        self._catalogue = Catalogue(self.read_custom_fields(), self.read_labels())
        return self._catalogue

    def read_custom_fields(self) -> tuple[CustomField, ...]:
        """Ask for the account's custom fields (20 tokens)."""
        fields = self.get_lead_fields()
        try:
            return tuple(custom_fields(fields))
        except (KeyError, TypeError, ValueError):
            endpoint = endpoints.GET_LEAD_FIELDS
            raise PipedriveServerError(
                f"{endpoint.method} {endpoint.path}: Pipedrive told of a field in another form than due.",
                method=endpoint.method,
                path=endpoint.path,
            ) from None

    def read_labels(self) -> dict[str, str]:
        """Ask for the names of the account's labels, by id (10 tokens)."""
        return {label["id"]: label["name"] for label in self.get_lead_labels()}

    def catalogue(self) -> Catalogue:
        """Give the account's custom fields and labels; read once, then remembered."""
        return self._catalogue or self.read_catalogue()

    def fresh_catalogue(self) -> Catalogue:
        """Give them as they are now, since something was not found in those remembered."""
        return self.read_catalogue()

    def wire_fields(self, fields: Mapping[str, object]) -> dict[str, JSON]:
        """Give fields by any name, with values as people write them, the API's form; see ``api.fields``."""
        return to_wire(fields, self.catalogue)

    def named_fields(self, lead: Mapping[str, JSON]) -> dict[str, object]:
        """Give a lead's custom fields by the names that people see, as typed values; see ``api.fields.from_wire``.

        :return: every custom field of the account, None where it is not set. Fields that share a name come by key.
        """
        fields = self.catalogue().fields
        names = [field.name for field in fields]
        return {field.name if names.count(field.name) == 1 else field.key: from_wire(field, lead) for field in fields}

    # People and companies that leads hang on

    def get_current_user(self) -> dict[str, Any]:
        """Say whose token it is, and which company's (``getCurrentUser``, 2 tokens)."""
        return self._object(endpoints.GET_CURRENT_USER)

    def get_users(self) -> list[dict[str, Any]]:
        """List the users of the company (``getUsers``, 20 tokens)."""
        return self._list(endpoints.GET_USERS)

    def get_persons(
        self,
        *,
        ids: Sequence[int | str] | None = None,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield persons, page after page (``getPersons``, 10 tokens a page).

        :param ids: only these, at most 100; those that are deleted or not visible are left out. Default: all.
        :param sort_by: ``id``, ``add_time`` or ``update_time``; default: ``id``.
        :param sort_direction: ``asc`` or ``desc``; default: ``asc``.
        """
        query = {"sort_by": sort_by, "sort_direction": sort_direction}
        yield from self._rows_of(endpoints.GET_PERSONS, ids, query, page_size)

    def get_person(self, person_id: int | str) -> dict[str, Any]:
        """Fetch one person (``getPerson``, 1 token)."""
        return self._object(endpoints.GET_PERSON, person_id=person_id)

    def add_person(self, name: str, **fields: JSON) -> dict[str, Any]:
        """Create a person (``addPerson``, 5 tokens).

        :param fields: as the API takes them, such as ``emails=[{"value": "a@example.com", "primary": True}]``.
        """
        return self._object(endpoints.ADD_PERSON, body={"name": title_value("name", name), **fields})

    def delete_person(self, person_id: int | str) -> None:
        """Mark a person as deleted (``deletePerson``, 3 tokens); Pipedrive forgets it after 30 days."""
        self._object(endpoints.DELETE_PERSON, person_id=person_id)

    def search_persons(
        self, term: str, *, fields: str | Sequence[str] | None = None, exact_match: bool = False, page_size: int = 100
    ) -> Iterator[dict[str, Any]]:
        """Yield persons, best match first (``searchPersons``, 20 tokens a page). The index lags behind writes.

        :param fields: of ``custom_fields``, ``email``, ``notes``, ``phone``, ``name``; default all.
        """
        query = {"term": _term(term, exact_match), "fields": _joined(fields), "exact_match": exact_match or None}
        yield from self._rows(endpoints.SEARCH_PERSONS, query, page_size)

    def get_organizations(
        self,
        *,
        ids: Sequence[int | str] | None = None,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield organizations, page after page (``getOrganizations``, 10 tokens a page).

        :param ids: as in :meth:`get_persons`.
        :param sort_by: as in :meth:`get_persons`.
        :param sort_direction: as in :meth:`get_persons`.
        """
        query = {"sort_by": sort_by, "sort_direction": sort_direction}
        yield from self._rows_of(endpoints.GET_ORGANIZATIONS, ids, query, page_size)

    def get_organization(self, organization_id: int | str) -> dict[str, Any]:
        """Fetch one organization (``getOrganization``, 1 token)."""
        return self._object(endpoints.GET_ORGANIZATION, organization_id=organization_id)

    def add_organization(self, name: str, **fields: JSON) -> dict[str, Any]:
        """Create an organization (``addOrganization``, 5 tokens)."""
        return self._object(endpoints.ADD_ORGANIZATION, body={"name": title_value("name", name), **fields})

    def delete_organization(self, organization_id: int | str) -> None:
        """Mark an organization as deleted (``deleteOrganization``, 3 tokens); Pipedrive forgets it after 30 days."""
        self._object(endpoints.DELETE_ORGANIZATION, organization_id=organization_id)

    def search_organizations(
        self, term: str, *, fields: str | Sequence[str] | None = None, exact_match: bool = False, page_size: int = 100
    ) -> Iterator[dict[str, Any]]:
        """Yield organizations, best match first (``searchOrganization``, 20 tokens a page). The index lags.

        :param fields: of ``address``, ``custom_fields``, ``notes``, ``name``; default all.
        """
        query = {"term": _term(term, exact_match), "fields": _joined(fields), "exact_match": exact_match or None}
        yield from self._rows(endpoints.SEARCH_ORGANIZATIONS, query, page_size)

    # Deals that leads became

    def get_deals(
        self,
        *,
        updated_since: datetime | str | None = None,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield the deals that are neither archived nor deleted, page after page (``getDeals``, 10 tokens a page).

        Each tells in ``source_lead_id`` which lead it was converted from, if any.

        :param updated_since: as in :meth:`get_leads`; may leave out deals that nobody has changed since they were made.
        :param sort_by: as in :meth:`get_persons`.
        :param sort_direction: as in :meth:`get_persons`.
        """
        yield from self._deals(endpoints.GET_DEALS, updated_since, sort_by, sort_direction, page_size)

    def get_archived_deals(
        self,
        *,
        updated_since: datetime | str | None = None,
        sort_by: str | None = None,
        sort_direction: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield the archived deals, page after page (``getArchivedDeals``, 20 tokens a page).

        :param updated_since: as in :meth:`get_deals`.
        :param sort_by: as in :meth:`get_persons`.
        :param sort_direction: as in :meth:`get_persons`.
        """
        yield from self._deals(endpoints.GET_ARCHIVED_DEALS, updated_since, sort_by, sort_direction, page_size)

    def _deals(
        self,
        endpoint: Endpoint,
        updated_since: datetime | str | None,
        sort_by: str | None,
        sort_direction: str | None,
        page_size: int,
    ) -> Iterator[dict[str, Any]]:
        query = {
            "updated_since": None if updated_since is None else moment_value("updated_since", updated_since),
            "sort_by": sort_by,
            "sort_direction": sort_direction,
            "include_fields": "source_lead_id",
        }
        yield from self._rows(endpoint, query, page_size)

    # Notes and webhooks

    def get_notes(
        self,
        *,
        lead_id: str | None = None,
        deal_id: int | str | None = None,
        person_id: int | str | None = None,
        org_id: int | str | None = None,
        updated_since: datetime | str | None = None,
        sort: str | None = None,
        page_size: int = LARGEST_PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield notes, page after page (``getNotes``, 20 tokens a page).

        :param lead_id: only those that hang on this lead; the same for ``deal_id``, ``person_id`` and ``org_id``.
        :param updated_since: as in :meth:`get_leads`.
        :param sort: such as ``"add_time DESC"``; the API's times of notes are UTC without saying so.
        """
        query = {
            "lead_id": None if lead_id is None else endpoints.path_id("lead_id", lead_id),
            **_ids(deal_id=deal_id, person_id=person_id, org_id=org_id),
            "updated_since": None if updated_since is None else moment_value("updated_since", updated_since),
            "sort": sort,
        }
        yield from self._rows(endpoints.GET_NOTES, query, page_size)

    def add_note(self, content: str, **links: JSON) -> dict[str, Any]:
        """Write a note (``addNote``, 10 tokens).

        :param content: HTML.
        :param links: ``lead_id``, ``deal_id``, ``person_id`` or ``org_id``; at least one.
        """
        return self._object(endpoints.ADD_NOTE, body={"content": text_value("content", content), **links})

    def get_webhooks(self) -> list[dict[str, Any]]:
        """List the webhooks of the account (``getWebhooks``, 10 tokens)."""
        return self._list(endpoints.GET_WEBHOOKS)

    def add_webhook(
        self, subscription_url: str, event_action: str, event_object: str, name: str, **fields: JSON
    ) -> dict[str, Any]:
        """Subscribe an address to events (``addWebhook``, 10 tokens).

        :param event_action: ``create``, ``change``, ``delete`` or ``*``.
        :param event_object: such as ``lead``.
        """
        body = {
            "subscription_url": subscription_url,
            "event_action": event_action,
            "event_object": event_object,
            "name": name,
            **fields,
        }
        return self._object(endpoints.ADD_WEBHOOK, body=body)

    def delete_webhook(self, webhook_id: int | str) -> None:
        """End a subscription (``deleteWebhook``, 6 tokens)."""
        self._object(endpoints.DELETE_WEBHOOK, webhook_id=webhook_id)

    # Everything else

    def request(
        self, method: str, path: str, params: Mapping[str, object] | None = None, json: JSON = None
    ) -> dict[str, Any]:
        """Call any other endpoint with the same login, pacing, retries and errors.

        :param path: from the root, such as ``/v1/notes`` or ``/api/v2/deals/7``.
        :return: the whole envelope: ``data``, ``additional_data`` and the like.
        """
        return self.send(endpoints.free_call(method, path, params, json)).envelope

    def _object(self, endpoint: Endpoint, *, body: JSON = None, **ids: object) -> dict[str, Any]:
        """Send a call for one thing; what a DELETE answers does not matter."""
        reply = self.send(endpoint.call(body=body, ids=ids))
        data = data_of(reply)
        if endpoint.method == "DELETE":
            return data if isinstance(data, dict) else {}
        if not isinstance(data, dict):
            raise unfit(reply, "with something else than an object")
        if endpoint.method == "POST" and data.get("id") is None:
            raise unfit(reply, "without the id of what was made")
        return data

    def _begun(self, call: Call) -> str:
        reply = self.send(call)
        data = data_of(reply)
        conversion_id = data.get("conversion_id") if isinstance(data, dict) else None
        if isinstance(conversion_id, str) and conversion_id:
            return conversion_id
        raise unfit(reply, "without the conversion's id")

    def _list(self, endpoint: Endpoint, *due: str, page_size: int | None = None) -> list[dict[str, Any]]:
        """All rows of a list.

        :param due: what each row has to have.
        :param page_size: None for a list that the API gives whole; should it come in pages, they are followed.
        """
        rows = []
        for reply, page in self._pages(endpoint, {}, page_size):
            if any(row.get(name) is None for row in page for name in due):
                raise unfit(reply, f"with a row without {' and '.join(due)}")
            rows += page
        return rows

    def _rows_of(
        self, endpoint: Endpoint, ids: Sequence[int | str] | None, query: Mapping[str, object], page_size: int
    ) -> Iterator[dict[str, Any]]:
        if ids is None:
            yield from self._rows(endpoint, query, page_size)
            return
        if len(ids) > MOST_IDS:
            raise PipedriveValidationError(f"ids: {len(ids)} are more than the {MOST_IDS} that one call takes.")
        if ids:  # an empty list would count as no filter
            listed = ",".join(str(id_value("ids", each)) for each in ids)
            yield from self._rows(endpoint, {**query, "ids": listed}, page_size)

    def _rows(self, endpoint: Endpoint, query: Mapping[str, object], page_size: int) -> Iterator[dict[str, Any]]:
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= LARGEST_PAGE:
            raise PipedriveValidationError(f"page_size: {page_size!r} is not a whole number from 1 to {LARGEST_PAGE}.")
        for _, page in self._pages(endpoint, query, page_size):
            yield from page

    def _pages(
        self, endpoint: Endpoint, query: Mapping[str, object], page_size: int | None
    ) -> Iterator[tuple[Reply, list[dict[str, Any]]]]:
        """Read a list to its end; a page that is too large to be sent is asked for in smaller ones.

        :param page_size: rows a page; None for a list that takes no such parameter.
        """
        steps = Steps()
        way_on: Mapping[str, int | str] | None = {}
        while way_on is not None:
            call = endpoint.call(query={**query, "limit": page_size, **way_on})
            try:
                reply = self.send(call)
            except ReplyTooLargeError:
                page_size = None if page_size is None else smaller(page_size)
                if page_size is None:
                    raise
                continue
            page = read_page(reply)
            yield reply, page.items
            way_on = steps.after(call, page)


def lead_filters(
    owner_id: object, person_id: object, organization_id: object, filter_id: object
) -> dict[str, int | None]:
    """The filters that both lists of leads take, as query parameters.

    :raises PipedriveValidationError: one is no id.
    """
    return _ids(owner_id=owner_id, person_id=person_id, organization_id=organization_id, filter_id=filter_id)


def _ids(**ids: object) -> dict[str, int | None]:
    return {name: id_value(name, value) for name, value in ids.items() if value is not None}


def _joined(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(names)


def _term(term: str, exact_match: bool) -> str:
    least = 1 if exact_match else 2
    if len(term.strip()) < least:
        raise PipedriveValidationError(f"term: {term!r} is too short; at least {least} characters are needed.")
    return term


def _color(color: str) -> str:
    if color not in LABEL_COLORS:
        raise PipedriveValidationError(f"color: {color!r} is none of {', '.join(LABEL_COLORS)}.")
    return color
