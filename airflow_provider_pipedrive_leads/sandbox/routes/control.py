"""The control API under ``/__sandbox__/``: no part of Pipedrive, no token, no limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_pipedrive_leads.sandbox import oauth, seed
from airflow_provider_pipedrive_leads.sandbox.bounds import (
    MAX_COUNT,
    MAX_REAL_SECONDS,
    MAX_SECONDS,
    moment,
    number,
    text,
    whole,
)
from airflow_provider_pipedrive_leads.sandbox.clock import iso_ms, parse_time, to_ms
from airflow_provider_pipedrive_leads.sandbox.conversion import OUTCOMES
from airflow_provider_pipedrive_leads.sandbox.faults import Fault
from airflow_provider_pipedrive_leads.sandbox.limits import SEARCH_BURST, seconds_to_midnight
from airflow_provider_pipedrive_leads.sandbox.parameters import read_object
from airflow_provider_pipedrive_leads.sandbox.replies import ApiError, Reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_pipedrive_leads.sandbox.world import World

PREFIX = "/__sandbox__/"
SHOWN_LEADS = 50
SHOWN_REQUESTS = 50
MOST_LEADS = 1_000_000
MOST_OUTCOMES = 10_000
LARGEST_ORDER = 1_000_000

Params = dict[str, str]
Body = dict[str, Any]


@dataclass(frozen=True)
class ControlEndpoint:
    """Method, path below the prefix, and the handler of one control."""

    method: str
    path: str
    handler: Callable[[World, Params, Body], Reply]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The whole path as a regular expression."""
        return re.compile(PREFIX + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))


def control(world: World, method: str, path: str, content: bytes, content_type: str) -> Reply:
    """Carry out one order; 400 with the reason for one that makes no sense, 415 for one that any web page can send."""
    if method != "GET" and content_type.partition(";")[0].strip().lower() != "application/json":
        return json_reply({"error": "orders must come as application/json"}, 415)
    if len(content) > LARGEST_ORDER:
        return json_reply({"error": "the order is too large"}, 413)
    for endpoint in CONTROL_ENDPOINTS:
        match = endpoint.pattern.fullmatch(path)
        if match and endpoint.method == method:
            try:
                return endpoint.handler(world, match.groupdict(), read_object(content, ""))
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                return json_reply({"error": str(error)}, 400)
            except ApiError as error:
                return error.reply()
    return json_reply({"error": "no such control"}, 404)


def read_clock(world: World, *_: object) -> Reply:
    """The time, and whether it stands still."""
    return json_reply({"now": iso_ms(world.now_ms), "frozen": world.clock.frozen})


def freeze(world: World, _: Params, body: Body) -> Reply:
    """Stop the clock."""
    world.clock.freeze(parse_time(body["at"]) if body.get("at") else None)
    return read_clock(world)


def advance(world: World, _: Params, body: Body) -> Reply:
    """Move the clock and do what has become due."""
    world.clock.advance(body["seconds"])
    world.agenda.run_due()
    return read_clock(world)


def unfreeze(world: World, *_: object) -> Reply:
    """Let the clock run."""
    world.clock.unfreeze()
    return read_clock(world)


def counters(world: World, *_: object) -> Reply:
    """All counters."""
    return json_reply(world.journal.counters())


def reset_counters(world: World, *_: object) -> Reply:
    """Counters from zero."""
    world.journal.reset()
    return json_reply({})


def requests(world: World, *_: object) -> Reply:
    """The latest requests."""
    return json_reply({"requests": list(world.journal.requests)})


def order_fault(world: World, _: Params, body: Body) -> Reply:
    """One more fault."""
    world.faults.order(Fault(**body))
    return json_reply({})


def clear_faults(world: World, *_: object) -> Reply:
    """No faults any more."""
    world.faults.clear()
    return json_reply({})


def held(world: World, *_: object) -> Reply:
    """How many calls are held."""
    return json_reply({"held": world.held.count})


def let_go(world: World, *_: object) -> Reply:
    """The held calls go on."""
    world.held.let_go()
    return json_reply({})


def read_choices(world: World, *_: object) -> Reply:
    """All unknowns as they are played."""
    return json_reply({"profile": world.choices.profile, "choices": world.choices.as_dict()})


def set_choice(world: World, params: Params, body: Body) -> Reply:
    """One unknown."""
    world.choices.set(params["name"], body["value"])
    return json_reply({})


def set_profile(world: World, _: Params, body: Body) -> Reply:
    """All unknowns."""
    world.choices.set_profile(body["value"])
    return json_reply({})


def set_budget(world: World, _: Params, body: Body) -> Reply:
    """What is left of today's budget."""
    world.limits.remaining_today(world.agenda.now(), world.choices["day_zone"])
    world.limits.set_remaining(whole(body["remaining"], "remaining"))
    return json_reply({})


def set_burst(world: World, _: Params, body: Body) -> Reply:
    """How many calls and searches two seconds may hold."""
    calls, search = body.get("calls"), body.get("search")
    world.limits.set_burst(
        None if calls is None else whole(calls, "calls"), SEARCH_BURST if search is None else whole(search, "search")
    )
    return json_reply({})


def set_delay(world: World, params: Params, body: Body) -> Reply:
    """How long something takes."""
    if params["name"] not in world.delays:
        raise ValueError(f"unknown delay {params['name']!r}: one of {', '.join(world.delays)}")
    most = MAX_REAL_SECONDS if params["name"] == "reply" else MAX_SECONDS
    world.delays[params["name"]] = number(body["seconds"], "seconds", 0, most)
    return json_reply({})


def add_leads(world: World, _: Params, body: Body) -> Reply:
    """More seeded leads."""
    spread = to_ms(number(body["spread"], "spread", 0, MAX_SECONDS)) if "spread" in body else seed.TWO_YEARS_MS
    until = to_ms(moment(parse_time(body["until"]))) if body.get("until") else seed.ANCHOR
    moment((until - spread) / 1000)
    recipe = seed.LeadRecipe(
        whole(body["count"], "count", most=MOST_LEADS),
        whole(body["seed"], "seed", -MAX_COUNT) if "seed" in body else world.options.seed,
        world.serial + 1,
        until,
        spread,
        number(body.get("archived", seed.ARCHIVED_SHARE), "archived", 0, 1),
    )
    world.add_seeded_leads(recipe)
    return overview(world)


def overview(world: World, *_: object) -> Reply:
    """Counts, labels, users, budget, the newest leads and requests."""
    now, zone = world.agenda.now(), world.choices["day_zone"]
    return json_reply(
        {
            "now": iso_ms(world.now_ms),
            "frozen": world.clock.frozen,
            "company": world.company,
            "profile": world.choices.profile,
            "plan": world.limits.plan_name,
            "leads": {
                "active": world.state.leads.count("is_archived = 0"),
                "archived": world.state.leads.count("is_archived = 1"),
            },
            "budget": {
                "limit": world.limits.daily_limit,
                "remaining": world.limits.remaining_today(now, zone),
                "seconds_to_reset": seconds_to_midnight(now, zone),
            },
            "labels": world.state.labels.all(),
            "users": world.state.users.all(),
            "newest_leads": _with_names(world, world.state.leads.all(order="seq DESC", limit=SHOWN_LEADS)),
            "requests": list(world.journal.requests)[-SHOWN_REQUESTS:],
        }
    )


def all_leads(world: World, *_: object) -> Reply:
    """All leads in order of creation, archived ones included."""
    return json_reply({"leads": _with_names(world, world.state.leads.all())})


def _with_names(world: World, leads: list[Body]) -> list[Body]:
    """Leads with what people call the things that they refer to by id or key."""
    persons, organizations = world.state.persons, world.state.organizations
    labels = {label["id"]: label["name"] for label in world.state.labels.all()}
    custom_fields = world.state.custom_fields.all()
    rows = []
    for lead in leads:
        person = persons.get(lead["person_id"]) if lead["person_id"] else None
        organization = organizations.get(lead["organization_id"]) if lead["organization_id"] else None
        names = {
            "person_name": person and person["name"],
            "organization_name": organization and organization["name"],
            "labels": [labels[label_id] for label_id in lead["label_ids"] if label_id in labels],
            "fields": {
                field["name"]: _readable(lead[field["key"]], field) for field in custom_fields if field["key"] in lead
            },
        }
        rows.append({**lead, **names})
    return rows


def _readable(value: Any, field: Body) -> Any:
    """A custom value with options by their labels."""
    labels = {str(option["id"]): option["label"] for option in field["options"] or ()}
    if field["field_type"] == "set" and value:
        return [labels.get(option_id, option_id) for option_id in value.split(",")]
    return labels.get(value, value) if field["field_type"] == "enum" else value


def user_token(world: World, params: Params, *_: object) -> Reply:
    """The API token of a user."""
    member = world.state.members.get(int(params["id"]))
    if member is None:
        raise ValueError(f"no user {params['id']}")
    return json_reply({"token": member["token"]})


def oauth_grant(world: World, _: Params, body: Body) -> Reply:
    """The app installed: its credentials, a code and a refresh token."""
    user = whole(body.get("user_id") or min(world.members), "user_id")
    scopes = tuple(text(scope, "scopes") for scope in body.get("scopes") or oauth.ALL_SCOPES)
    if user not in world.members:
        raise ValueError(f"no user {user}")
    code = oauth.issue(world, "code", user, scopes, oauth.CODE_SECONDS, redirect_uri="")
    refresh_token = oauth.issue(world, "refresh", user, scopes, oauth.REFRESH_IDLE_SECONDS)
    app = {"client_id": oauth.APP.client_id, "client_secret": oauth.APP.client_secret}
    return json_reply({**app, "code": code, "refresh_token": refresh_token})


def revoke(world: World, *_: object) -> Reply:
    """All OAuth grants ended, as when the app is uninstalled."""
    for grant in world.state.grants.all():
        world.state.grants.remove(grant["id"])
    return json_reply({})


def next_conversion(world: World, _: Params, body: Body) -> Reply:
    """How the conversion begun next will end."""
    if body["outcome"] not in OUTCOMES:
        raise ValueError(f"outcome is one of {', '.join(OUTCOMES)}")
    if len(world.conversion_outcomes) >= MOST_OUTCOMES:
        raise ValueError(f"at most {MOST_OUTCOMES} outcomes can be ordered beforehand")
    world.conversion_outcomes.append(body["outcome"])
    return json_reply({})


CONTROL_ENDPOINTS = (
    ControlEndpoint("GET", "clock", read_clock),
    ControlEndpoint("POST", "clock/freeze", freeze),
    ControlEndpoint("POST", "clock/advance", advance),
    ControlEndpoint("POST", "clock/unfreeze", unfreeze),
    ControlEndpoint("GET", "counters", counters),
    ControlEndpoint("DELETE", "counters", reset_counters),
    ControlEndpoint("GET", "requests", requests),
    ControlEndpoint("POST", "faults", order_fault),
    ControlEndpoint("DELETE", "faults", clear_faults),
    ControlEndpoint("GET", "held", held),
    ControlEndpoint("DELETE", "held", let_go),
    ControlEndpoint("GET", "choices", read_choices),
    ControlEndpoint("PUT", "choices/{name}", set_choice),
    ControlEndpoint("PUT", "profile", set_profile),
    ControlEndpoint("PUT", "budget", set_budget),
    ControlEndpoint("PUT", "burst", set_burst),
    ControlEndpoint("PUT", "delays/{name}", set_delay),
    ControlEndpoint("GET", "leads", all_leads),
    ControlEndpoint("POST", "leads", add_leads),
    ControlEndpoint("GET", "overview", overview),
    ControlEndpoint("GET", "users/{id}/token", user_token),
    ControlEndpoint("POST", "oauth", oauth_grant),
    ControlEndpoint("DELETE", "oauth", revoke),
    ControlEndpoint("POST", "conversions", next_conversion),
)
