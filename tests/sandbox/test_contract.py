"""Every reply of every route against the vendor's OpenAPI files, where they lie beside the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_pipedrive_leads.sandbox.routes import ENDPOINTS

SPECS = Path(__file__).parents[2].parent / "shared" / "pipedrive-openapi"
jsonschema = pytest.importorskip("jsonschema")
yaml = pytest.importorskip("yaml")
pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="the vendor's OpenAPI files are not beside the repository")

CUSTOM_KEY = "^[0-9a-f]{40}(_[a-z_0-9]+)?$"

ADDRESS_PARTS = (  # noqa: SIM905
    "subpremise street_number route sublocality locality admin_area_level_1 admin_area_level_2 country postal_code"
).split()

# Live replies hold keys that the files do not draw: schema title or path -> keys, with the source of each.
KEYS_BEYOND_THE_FILES = {
    # recorded live, section 3.1: leads carry archive_time; 3.2: the page object is nested, with next_start
    "archive_time": "live leads (recorded May 2026)",
    "pagination": "live lists (recorded May 2026)",
    "next_start": "live lists (recorded May 2026)",
    # the files' own example of the operation shows them, its schema does not
    "additional_data": "the files' own examples and the envelope of section 7",
    "error_info": "live 401 (probed September 2026)",
    "errorCode": "live 401 (probed September 2026)",
    "creator_user_id": "example of getDeals",
    "was_seen": "include_fields=lead.was_seen",
    "address": "example of searchPersons",
    "pinned_to_lead_flag": "example of getNotes",
}
# Values the live API gives where the files forbid them: property -> source.
NULL_BEYOND_THE_FILES = {
    "value": "section 3.1: null in recorded leads",
    "lead_id": "notes hang on one thing, the other references are null",
    "deal_id": "the same",
    "person_id": "the same, and v2 contacts without organization",
    "org_id": "the same",
    "project_id": "the same",
    "task_id": "the same",
    "deal": "the same",
    "person": "the same, and hits without contact",
    "organization": "the same",
    "project": "the same",
    "task": "the same",
    "last_update_user_id": "a note never changed",
    "icon_url": "section 6: users without a picture",
    "next_cursor": "section 5: null on the last page",
    "last_name": "v2 persons with one name",
    "picture_id": "v2 persons without a picture",
    "currency": "hits without value",
    "stage_change_time": "deals that stand where they began",
    "won_time": "open deals",
    "lost_time": "open deals",
    "expected_close_date": "deals without one",
    "address": "organizations without one",
    "update_time": "section 5: v2 things that nobody has changed",
    **dict.fromkeys(ADDRESS_PARTS, "parts that an address does not have"),
    "subfields": "example of getDealFields (v2)",
    "options": "example of getDealFields (v2)",
}
NOT_THE_FORMAT = {
    "add_time": "fields and notes: YYYY-MM-DD HH:MM:SS, as in the files' own examples",
    "update_time": "the same",
}


@cache
def _spec(name: str) -> dict[str, Any]:
    text = (SPECS / f"openapi-{name}.yaml").read_text()
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def _resolved(spec: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = spec
        for part in node["$ref"][2:].split("/"):
            target = target[part.replace("~1", "/")]
        node = target
    return node


def _merged(spec: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A schema with all its ``allOf`` parts laid into one."""
    node = _resolved(spec, node)
    merged: dict[str, Any] = {}
    own = {key: item for key, item in node.items() if key != "allOf"}
    for part in (*(_merged(spec, part) for part in node.get("allOf", [])), own):
        for key, item in part.items():
            merged[key] = {**merged[key], **item} if key == "properties" and key in merged else item
    return merged


def _plain(spec: dict[str, Any], node: dict[str, Any], name: str = "") -> dict[str, Any]:
    """An OpenAPI 3.0 schema as strict JSON schema: parts merged, nulls spelled out, unknown keys refused."""
    merged = _merged(spec, node)
    plain = {key: merged[key] for key in ("type", "enum", "format", "required") if key in merged}
    if "properties" in merged:
        plain["properties"] = {key: _plain(spec, item, key) for key, item in merged["properties"].items()}
        plain["properties"] |= dict.fromkeys(KEYS_BEYOND_THE_FILES.keys() - merged["properties"].keys(), True)
        plain["patternProperties"] = {CUSTOM_KEY: True}
        plain["additionalProperties"] = False
    if "items" in merged:
        plain["items"] = _plain(spec, merged["items"], name)
    if "oneOf" in merged or "anyOf" in merged:
        plain["anyOf"] = [_plain(spec, item, name) for item in merged.get("oneOf", merged.get("anyOf"))]
    if name in NOT_THE_FORMAT:
        plain.pop("format", None)
    if merged.get("nullable") or name in NULL_BEYOND_THE_FILES:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


def _check(method: str, path: str, reply: Any) -> None:
    version = "v2" if path.startswith("/api/v2") else "v1"
    spec = _spec(version)
    operation = spec["paths"][path.removeprefix("/api/v2").removeprefix("/v1")][method.lower()]
    responses = operation["responses"]
    status = str(reply.status_code)
    # live creation of leads and notes: 201, section 3.5 and 6; the files say 201 and 200
    response = _resolved(spec, responses.get(status) or responses["200" if status == "201" else "201"])
    schema = _plain(spec, response["content"]["application/json"]["schema"])
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(reply.json())


def _calls(api: Any, as_app: Callable[..., Any]) -> Iterator[tuple[str, str, Any]]:  # noqa: PLR0915 - one line a route
    """One successful call of every route: method, route, reply."""
    lead = api.new_lead(title="Contract", value={"amount": 5, "currency": "EUR"}, organization_id=1)
    lead_id = lead["id"]
    fields = {"name": "Colour", "field_type": "enum", "options": [{"label": "Green"}]}

    def made(method: str, route: str, ids: dict[str, Any] | None = None, **more: Any) -> tuple[str, str, Any]:
        return method, route, api.call(method, route.format(**(ids or {})), **more)

    yield made("GET", "/v1/users/me")
    yield made("GET", "/v1/users")
    yield made("GET", "/v1/leads", None, params={"limit": 30})
    yield made("GET", "/v1/leads/archived", None, params={"limit": 3})
    yield made("GET", "/v1/leads/{id}", {"id": lead_id})
    yield made("POST", "/v1/leads", None, json={"title": "Second", "person_id": 1})
    yield made("PATCH", "/v1/leads/{id}", {"id": lead_id}, json={"title": "Contracted"})
    yield made("GET", "/v1/leads/{id}/permittedUsers", {"id": lead_id})
    yield made("GET", "/v1/leadLabels")
    label = made("POST", "/v1/leadLabels", None, json={"name": "New", "color": "green"})
    yield label
    label_id = label[2].json()["data"]["id"]
    yield made("PATCH", "/v1/leadLabels/{id}", {"id": label_id}, json={"name": "Newer"})
    yield made("DELETE", "/v1/leadLabels/{id}", {"id": label_id})
    yield made("GET", "/v1/leadSources")
    yield made("GET", "/v1/leadFields", None, params={"limit": 500})
    yield made("GET", "/v1/dealFields", None, params={"limit": 500})
    yield made("GET", "/v1/dealFields/{id}", {"id": 1})
    yield made("POST", "/v1/dealFields", None, json=fields)
    yield made("GET", "/api/v2/dealFields", None, params={"limit": 500})
    field = made("POST", "/api/v2/dealFields", None, json={"field_name": "Size", "field_type": "double"})
    yield field
    code = {"field_code": field[2].json()["data"]["field_code"]}
    yield made("GET", "/api/v2/dealFields/{field_code}", code)
    yield made("PATCH", "/api/v2/dealFields/{field_code}", code, json={"field_name": "Sizes"})
    yield made("DELETE", "/api/v2/dealFields/{field_code}", code)
    for kind in ("persons", "organizations"):
        thing = made("POST", f"/api/v2/{kind}", None, json={"name": "Una Contract"})
        yield thing
        number = {"id": thing[2].json()["data"]["id"]}
        yield made("GET", f"/api/v2/{kind}", None, params={"limit": 5})
        yield made("GET", f"/api/v2/{kind}/{{id}}", {"id": 1})
        yield made("PATCH", f"/api/v2/{kind}/{{id}}", number, json={"name": "Una C."})
        yield made("GET", f"/api/v2/{kind}/search", None, params={"term": "er", "limit": 3})
        yield made("DELETE", f"/api/v2/{kind}/{{id}}", number)
    note = made("POST", "/v1/notes", None, json={"content": "<b>Hello</b>", "lead_id": lead_id})
    yield note
    note_id = {"id": note[2].json()["data"]["id"]}
    yield made("GET", "/v1/notes", None, params={"lead_id": lead_id})
    yield made("GET", "/v1/notes/{id}", note_id)
    yield made("PUT", "/v1/notes/{id}", note_id, json={"content": "Bye"})
    yield made("DELETE", "/v1/notes/{id}", note_id)
    condition = {"object": "lead", "field_id": "title", "operator": "IS NOT NULL", "value": None}
    conditions = {"glue": "and", "conditions": [{"glue": "and", "conditions": [condition]}]}
    added = made("POST", "/v1/filters", None, json={"name": "F", "type": "leads", "conditions": conditions})
    yield added
    filter_id = {"id": added[2].json()["data"]["id"]}
    yield made("GET", "/v1/filters", None, params={"type": "leads"})
    yield made("GET", "/v1/filters/helpers")
    yield made("GET", "/v1/filters/{id}", filter_id, params={"include_field_code": "true"})
    yield made("PUT", "/v1/filters/{id}", filter_id, json={"name": "G"})
    yield made("DELETE", "/v1/filters/{id}", filter_id)
    subscription = {
        "subscription_url": "http://127.0.0.1:9/hook",
        "event_action": "delete",
        "event_object": "lead",
        "name": "Hook",
    }
    hook = made("POST", "/v1/webhooks", None, json=subscription)
    yield hook
    yield made("GET", "/v1/webhooks")
    yield made("DELETE", "/v1/webhooks/{id}", {"id": hook[2].json()["data"]["id"]})
    api.control.advance(5)
    yield made("GET", "/v1/leads/search", None, params={"term": "Contract"})
    yield made("GET", "/api/v2/leads/search", None, params={"term": "Contract", "include_fields": "lead.was_seen"})
    yield made("GET", "/api/v2/itemSearch", None, params={"term": "er", "limit": 50})
    by_field = {"term": "Contracted", "entity_type": "lead", "field": "title"}
    yield made("GET", "/api/v2/itemSearch/field", None, params=by_field)
    begun = made("POST", "/api/v2/leads/{id}/convert/deal", {"id": lead_id}, json={})
    yield begun
    ids = {"id": lead_id, "conversion_id": begun[2].json()["data"]["conversion_id"]}
    yield made("GET", "/api/v2/leads/{id}/convert/status/{conversion_id}", ids)
    api.control.advance(5)
    yield made("GET", "/api/v2/leads/{id}/convert/status/{conversion_id}", ids)
    yield made("GET", "/api/v2/deals")
    yield made("PATCH", "/api/v2/deals/{id}", {"id": 1}, json={"is_archived": True})
    yield made("GET", "/api/v2/deals/archived")
    yield made("PATCH", "/api/v2/deals/{id}", {"id": 1}, json={"is_archived": False})
    yield made("GET", "/api/v2/deals/{id}", {"id": 1})
    back = made("POST", "/api/v2/deals/{id}/convert/lead", {"id": 1})
    yield back
    api.control.advance(5)
    ids = {"id": 1, "conversion_id": back[2].json()["data"]["conversion_id"]}
    yield made("GET", "/api/v2/deals/{id}/convert/status/{conversion_id}", ids)
    again = api.post(f"/api/v2/leads/{api.data('/v1/leads', sort='add_time DESC')[0]['id']}/convert/deal")
    assert again.ok
    api.control.advance(5)
    yield made("DELETE", "/api/v2/deals/{id}", {"id": 2})
    last = api.new_lead()
    yield made("DELETE", "/v1/leads/{id}", {"id": last["id"]})


@pytest.mark.parametrize("profile", ["likely", "contrary"])
def test_every_reply_of_every_route_is_as_the_vendor_draws_it(start: Any, as_app: Any, profile: str) -> None:
    api = start(leads=60, profile=profile)
    called = set()
    for method, route, reply in _calls(api, as_app):
        assert reply.ok, (method, route, reply.text)
        _check(method, route, reply)
        called.add((method, route))
    everything = {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS if not endpoint.path.startswith("/oauth/")}
    assert called == everything


def test_refusals_are_as_the_vendor_draws_them(start: Any) -> None:
    api = start()
    nobody = "ffffffff-0000-1000-8000-000000000000"
    _check("GET", "/v1/leads/{id}", api.get(f"/v1/leads/{nobody}"))
    _check("DELETE", "/v1/leadLabels/{id}", api.delete(f"/v1/leadLabels/{nobody}"))
    _check("POST", "/api/v2/leads/{id}/convert/deal", api.post(f"/api/v2/leads/{nobody}/convert/deal"))
    _check("POST", "/v1/webhooks", api.post("/v1/webhooks", name="x"))
    _check("DELETE", "/v1/webhooks/{id}", api.delete("/v1/webhooks/7"))
    del api.session.headers["x-api-token"]
    _check("GET", "/v1/users/me", api.get("/v1/users/me"))


def test_costs_and_scopes_are_those_of_the_files() -> None:
    beyond = {"webhooks:read", "webhooks:full"}  # the scopes page adds them (section 2)
    for endpoint in ENDPOINTS:
        if endpoint.open:
            continue
        version = "v2" if endpoint.path.startswith("/api/v2") else "v1"
        path = endpoint.path.removeprefix("/api/v2").removeprefix("/v1")
        operation = _spec(version)["paths"][path][endpoint.method.lower()]
        assert operation["x-token-cost"] == endpoint.cost, endpoint.route
        drawn = {scope for way in operation["security"] for scope in way.get("oauth2", [])} - {"base"}
        assert drawn == set(endpoint.scopes) - beyond, endpoint.route
