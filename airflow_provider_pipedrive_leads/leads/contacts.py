"""Finding the person or organization that a lead hangs on, or creating it.

Search lags behind writes: two tasks that ask for the same new contact within seconds may each create one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import text_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi

PERSON_KEYS = ("name", "email", "phone")
ORGANIZATION_KEYS = ("name",)


def find_or_create_person(api: LeadsApi, person: Mapping[str, object]) -> int:
    """Give the id of the person with this e-mail, else phone, else name; create one if there is none.

    :param person: ``name`` (needed to create), ``email``, ``phone``; the first of e-mail, phone, name that is given
        is what the person is looked up by, without regard to case.
    """
    wanted = _checked("person", person, PERSON_KEYS)
    if not wanted:
        raise PipedriveValidationError("person: needs at least one of email, phone and name.")
    by = next(key for key in ("email", "phone", "name") if key in wanted)
    hits = api.search_persons(wanted[by], fields=by, exact_match=True)
    found = _oldest(hit["id"] for hit in hits if _person_has(hit, by, wanted[by]))
    if found is not None:
        return found
    if "name" not in wanted:
        raise PipedriveValidationError(f"person: nobody has this {by}, and a name is needed to create a person.")
    contact = {
        f"{key}s": [{"value": wanted[key], "primary": True, "label": "work"}]
        for key in ("email", "phone")
        if key in wanted
    }
    return int(api.add_person(wanted["name"], **contact)["id"])


def find_or_create_organization(api: LeadsApi, organization: Mapping[str, object]) -> int:
    """Give the id of the organization with this ``name``, without regard to case; create it if there is none."""
    wanted = _checked("organization", organization, ORGANIZATION_KEYS)
    if "name" not in wanted:
        raise PipedriveValidationError("organization: needs a name.")
    hits = api.search_organizations(wanted["name"], fields="name", exact_match=True)
    found = _oldest(hit["id"] for hit in hits if _fold(hit.get("name")) == _fold(wanted["name"]))
    return found if found is not None else int(api.add_organization(wanted["name"])["id"])


def _checked(parameter: str, contact: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, str]:
    unknown = sorted(set(contact) - set(keys))
    if unknown:
        raise PipedriveValidationError(
            f"{parameter}: {', '.join(unknown)} is not understood; there are {', '.join(keys)}."
        )
    texts = {
        key: text_value(f"{parameter}.{key}", value).strip() for key, value in contact.items() if value is not None
    }
    return {key: text for key, text in texts.items() if text}


def _person_has(hit: Mapping[str, Any], key: str, text: str) -> bool:
    if key == "name":
        return _fold(hit.get("name")) == _fold(text)
    if key == "phone":  # found by the server, which compares numbers in its own way
        return True
    return _fold(text) in {_fold(item) for item in hit.get("emails") or ()}


def _fold(text: object) -> str:
    return str(text or "").strip().casefold()


def _oldest(ids: Any) -> int | None:
    return min((int(found) for found in ids), default=None)
