# ruff: noqa: SIM905 - lists of words read best as text
"""The invented company's data: the same seed gives the same data, byte for byte.

Names are made up and addresses lie in reserved domains. Times spread over the two years before ``ANCHOR`` unless asked
otherwise; about 15 % of the leads are archived.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_pipedrive_leads.sandbox.clock import (
    iso_ms,
    iso_seconds,
    parse_time,
    plain_seconds,
    to_ms,
)
from airflow_provider_pipedrive_leads.sandbox.custom_values import address_parts
from airflow_provider_pipedrive_leads.sandbox.fields import custom_field, field_key
from airflow_provider_pipedrive_leads.sandbox.leads import Company, lead_id, new_lead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Document = dict[str, Any]

ANCHOR = to_ms(parse_time("2026-01-01T00:00:00Z"))
DAY_MS = 86_400_000
TWO_YEARS_MS = 730 * DAY_MS
ARCHIVED_SHARE = 0.15
CUSTOM_SHARE = 0.25
FIRST_OPTION_ID = 101

FIRST_NAMES = (
    "Ada Aino Amara Anton Bea Bruno Carla Chidi Dana Daria Edgar Elif Emil Fatima Felix Freya Goran Hana "
    "Hugo Ilse Imran Ines Jonas Kaia Kenji Lars Leila Linus Maia Marek Mina Nadia Nils Noor Olga Oscar "
    "Paula Petra Quinn Rafael Rosa Samir Selma Sven Tariq Tilda Uma Viktor Wanda Yara Zoe"
).split()
LAST_NAMES = (
    "Abernolt Aldervik Baskerlund Bramwick Castellane Corvanto Dalgren Delmarre Eastholm Eriksund "
    "Falkenried Fenwood Gallowin Granwell Haldorsen Hartmere Ilvesto Jarnvold Kaldermann Kestrelle "
    "Lindqvara Lormont Marchwell Montabel Nordhalt Nyström-Vale Oakhurst Ostrander Pellworth Quintavar "
    "Ravensholt Rossmoor Saltmarsh Sundermark Tannhorst Thornbury-Lee Ulverston Vandermoor Westerlin "
    "Yarrowby Zellwood"
).split()
COMPANY_HEADS = (
    "Amber Arctic Blue Bright Cedar Clear Copper Crystal Delta Ever Falcon Golden Granite Green Harbor "
    "Iron Lumen Maple Meridian North Nova Oak Orbit Pine Polar Quartz River Silver Solar Summit Terra "
    "Vertex Willow Zenith"
).split()
COMPANY_TAILS = (
    "Analytics Automation Bakeries Biotech Cargo Ceramics Components Dairy Dental Energy Fabrics Foods "
    "Freight Furniture Glass Hotels Insurance Interiors Labs Logistics Marine Media Optics Packaging "
    "Pharma Robotics Software Sports Steel Systems Textiles Tools Travel Water"
).split()
COMPANY_FORMS = ("GmbH", "Ltd", "Inc", "AB", "OÜ", "SARL", "BV", "S.p.A.")
SUBJECTS = (
    "Flow meters|Pressure sensors|Annual service|Lab refit|Pilot line|Water analysis|Spare parts|"
    "Framework contract|Site survey|Data loggers|Training days|Calibration|Tank monitoring|"
    "Leak detection"
).split("|")
STREETS = ("Harbour Street|Mill Lane|Station Road|Lindenweg|Rue du Lac|Kalda tee|Via Roma|Calle Mayor").split("|")
TOWNS = (
    ("10115", "Berlin", "Germany"),
    ("10615", "Tallinn", "Estonia"),
    ("69002", "Lyon", "France"),
    ("20121", "Milan", "Italy"),
    ("41103", "Gothenburg", "Sweden"),
    ("28013", "Madrid", "Spain"),
)
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "USD", "GBP", "SEK", "CHF")
SOURCES = ("API", "Manually created", "Web forms", "Import", "Prospector", "Live chat")
ORIGINS = {
    "API": "API",
    "Manually created": "ManuallyCreated",
    "Web forms": "WebForms",
    "Live chat": "LiveChat",
}
LABELS = (("Hot", "red"), ("Cold", "blue"), ("Warm", "yellow"))

USERS = (
    # id, name, e-mail, group, administrator
    (11_400_001, "Maren Solberg", "maren.solberg@brightwater.example", 1, True),
    (11_400_002, "Tomas Reinholt", "tomas.reinholt@brightwater.example", 1, False),
    (11_400_003, "Aya Kestner", "aya.kestner@brightwater.example", 2, False),
    (11_400_004, "Leo Marchetti-Vane", "leo.marchetti@brightwater.example", 3, False),
    (11_400_005, "Nina Oldenkamp", "nina.oldenkamp@brightwater.example", 3, False),
)
CUSTOM_FIELDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Company size", "enum", ("1-10", "11-50", "51-200", "201-1000", "1000+")),
    ("Interests", "set", ("Sensors", "Service", "Software", "Training", "Rental")),
    ("Lead score", "double", ()),
    ("Budget", "monetary", ()),
    ("Next review", "date", ()),
    ("Trial period", "daterange", ()),
    ("Best time to call", "time", ()),
    ("Office hours", "timerange", ()),
    ("External ID", "varchar", ()),
    ("Requirements", "text", ()),
    ("Site address", "address", ()),
    ("Switchboard", "phone", ()),
    ("Technical owner", "user", ()),
    ("Partner", "org", ()),
    ("Recommended by", "people", ()),
)


class _Chance(random.Random):
    """Draws quickly; a start with 100,000 leads draws five million times."""

    def pick(self, things: Sequence[Any]) -> Any:
        return things[int(self.random() * len(things))]

    def number(self, first: int, beyond: int) -> int:
        return first + int(self.random() * (beyond - first))

    def happens(self, share: float) -> bool:
        return self.random() < share


@dataclass(frozen=True)
class Contacts:
    """The persons and organizations that leads refer to."""

    persons: Sequence[Document]
    organizations: Sequence[Document]


def users(company: Company) -> list[Document]:
    """The company's users, as GET /v1/users gives them; the first is the administrator."""
    return [_user(number, name, email, admin, company) for number, name, email, _, admin in USERS]


def members(token: str, seed: int) -> list[Document]:
    """Each user's group, rights and API token; the administrator's token is the given one."""
    return [
        {
            "id": number,
            "group": group,
            "admin": admin,
            "token": token if admin else field_key(seed, number),
        }
        for number, _, _, group, admin in USERS
    ]


def _user(number: int, name: str, email: str, admin: bool, company: Company) -> Document:
    created = plain_seconds(ANCHOR - 2 * TWO_YEARS_MS)
    return {
        "id": number,
        "name": name,
        "default_currency": company.currency,
        "locale": "en_US",
        "lang": 1,
        "email": email,
        "phone": None,
        "activated": True,
        "last_login": plain_seconds(ANCHOR - DAY_MS),
        "created": created,
        "modified": created,
        "has_created_company": admin,
        "access": [{"app": "sales", "admin": admin, "permission_set_id": f"{number:08x}-0000-4000-8000-000000000001"}],
        "active_flag": True,
        "timezone_name": "Europe/Berlin",
        "timezone_offset": "+01:00",
        "role_id": 1,
        "icon_url": None,
        "is_you": False,
        "is_deleted": False,
    }


def labels() -> list[Document]:
    """The labels of a new account."""
    made = ANCHOR - 2 * TWO_YEARS_MS
    return [
        {
            "id": lead_id(made, number),
            "name": name,
            "color": color,
            "add_time": iso_ms(made),
            "update_time": iso_ms(made),
        }
        for number, (name, color) in enumerate(LABELS)
    ]


def custom_fields(seed: int) -> list[Document]:
    """About a dozen custom fields of most types, numbered, options numbered across fields."""
    fields, option_id = [], FIRST_OPTION_ID
    for number, (name, field_type, names) in enumerate(CUSTOM_FIELDS, start=1):
        options = [{"id": option_id + place, "label": label} for place, label in enumerate(names)] or None
        option_id += len(names)
        made = ANCHOR - 2 * TWO_YEARS_MS + number * DAY_MS
        fields.append(
            {
                "id": number,
                **custom_field(field_key(seed, number), name, field_type, options, user=USERS[0][0], now_ms=made),
            }
        )
    return fields


def contacts(seed: int, leads: int) -> Contacts:
    """Organizations and persons in v2 dress, as many as so many leads call for."""
    chance = _Chance(f"contacts {seed}")
    organizations = [_organization(chance, number) for number in range(1, max(12, min(800, leads // 8)) + 1)]
    persons = [_person(chance, number, organizations) for number in range(1, max(24, min(2000, leads // 3)) + 1)]
    return Contacts(persons, organizations)


def _organization(chance: _Chance, number: int) -> Document:
    name = f"{chance.pick(COMPANY_HEADS)} {chance.pick(COMPANY_TAILS)} {chance.pick(COMPANY_FORMS)}"
    made = iso_seconds(ANCHOR - chance.number(DAY_MS, TWO_YEARS_MS))
    parts = address_parts(_address(chance))
    address = {"value": parts.pop("formatted_address"), **parts}
    return {
        "id": number,
        "name": name,
        "owner_id": chance.pick(USERS)[0],
        "add_time": made,
        "update_time": made,
        "is_deleted": False,
        "visible_to": 7,
        "address": address,
        "label_ids": [],
        "website": f"https://{_slug(name)}.example",
        "linkedin": None,
        "industry": None,
        "annual_revenue": None,
        "employee_count": chance.pick((8, 35, 120, 640, 2400)),
        "custom_fields": {},
    }


def _person(chance: _Chance, number: int, organizations: Sequence[Document]) -> Document:
    first, last = chance.pick(FIRST_NAMES), chance.pick(LAST_NAMES)
    organization = chance.pick(organizations)
    made = iso_seconds(ANCHOR - chance.number(DAY_MS, TWO_YEARS_MS))
    email = f"{_slug(first)}.{_slug(last)}{number}@{organization['website'].removeprefix('https://')}"
    phone = f"+49 30 555 {chance.number(1000, 9999)}"
    return {
        "id": number,
        "name": f"{first} {last}",
        "first_name": first,
        "last_name": last,
        "owner_id": chance.pick(USERS)[0],
        "org_id": organization["id"],
        "add_time": made,
        "update_time": made,
        "emails": [{"value": email, "primary": True, "label": "work"}],
        "phones": [{"value": phone, "primary": True, "label": "work"}],
        "is_deleted": False,
        "visible_to": 7,
        "label_ids": [],
        "picture_id": None,
        "custom_fields": {},
    }


@dataclass(frozen=True)
class LeadRecipe:
    """How many leads to make and how: first number, spread of their times before ``until`` (milliseconds)."""

    count: int
    seed: int
    first_number: int = 0
    until_ms: int = ANCHOR
    spread_ms: int = TWO_YEARS_MS
    archived_share: float = ARCHIVED_SHARE


@dataclass(frozen=True)
class Setting:
    """What leads refer to: the company, its contacts, organizations by id, custom fields and labels."""

    company: Company
    people: Contacts
    organizations: Mapping[int, Document]
    fields: Sequence[Document]
    label_ids: Sequence[str]


def leads(recipe: LeadRecipe, setting: Setting) -> Iterator[Document]:
    """Leads in order of creation, contacts, labels and custom values in plausible places."""
    chance = _Chance(f"leads {recipe.seed} {recipe.first_number}")
    step = recipe.spread_ms / max(1, recipe.count)
    for place in range(recipe.count):
        made = recipe.until_ms - recipe.spread_ms + int((place + chance.random()) * step)
        yield _lead(chance, recipe, setting, recipe.first_number + place, made)


def _lead(chance: _Chance, recipe: LeadRecipe, setting: Setting, number: int, made: int) -> Document:
    person = chance.pick(setting.people.persons)
    organization = setting.organizations.get(person["org_id"])
    touched = iso_ms(_touched(chance, made, recipe.until_ms))
    archived = chance.happens(recipe.archived_share)
    source = chance.pick(SOURCES)
    values = {
        "title": f"{chance.pick(SUBJECTS)} for {(organization or person)['name']}",
        "owner_id": chance.pick(USERS)[0],
        "label_ids": [label for label in setting.label_ids if chance.happens(0.3)],
        "value": _worth(chance) if chance.happens(0.7) else None,
        "expected_close_date": _day(chance, made) if chance.happens(0.4) else None,
        "person_id": person["id"] if chance.happens(0.85) or organization is None else None,
        "organization_id": organization["id"] if organization else None,
        "is_archived": archived,
        "archive_time": touched if archived else None,
        "source_name": source,
        "origin": ORIGINS.get(source, source),
        "was_seen": chance.happens(0.8),
        "update_time": touched,
        "visible_to": chance.pick(("3", "3", "3", "5", "7")),
    }
    draw = _Draw(chance, setting.people, made, number)
    for field in setting.fields:
        if chance.happens(CUSTOM_SHARE):
            _DRAWN[field["field_type"]](values, field["key"], draw, field["options"])
    return new_lead(lead_id(made, number), setting.company, made, USERS[0][0], values)


@dataclass(frozen=True)
class _Draw:
    """What a custom value is drawn from."""

    chance: _Chance
    people: Contacts
    made: int
    number: int


Drawn: TypeAlias = "Callable[[Document, str, _Draw, Any], None]"


def _single(draw_one: Callable[[_Draw, Any], Any]) -> Drawn:
    def put(values: Document, key: str, draw: _Draw, options: Any) -> None:
        values[key] = draw_one(draw, options)

    return put


def _put_monetary(values: Document, key: str, draw: _Draw, _: object) -> None:
    values[key] = draw.chance.number(1, 400) * 250
    values[f"{key}_currency"] = draw.chance.pick(CURRENCIES)


def _put_daterange(values: Document, key: str, draw: _Draw, _: object) -> None:
    values[key], values[f"{key}_until"] = sorted(_day(draw.chance, draw.made) for _ in range(2))


def _put_timerange(values: Document, key: str, draw: _Draw, _: object) -> None:
    values[key], values[f"{key}_until"] = "09:00:00", f"{draw.chance.number(15, 20)}:30:00"


def _put_address(values: Document, key: str, draw: _Draw, _: object) -> None:
    values[key] = text = _address(draw.chance)
    for part, value in _parts(text).items():
        values[f"{key}_{part}"] = value


_parts = cache(address_parts)


def _set(draw: _Draw, options: Sequence[Document]) -> str:
    chosen = draw.chance.sample(options, draw.chance.number(1, min(4, len(options) + 1)))
    return ",".join(sorted(str(option["id"]) for option in chosen))


_DRAWN: dict[str, Drawn] = {
    "monetary": _put_monetary,
    "daterange": _put_daterange,
    "timerange": _put_timerange,
    "address": _put_address,
    "set": _single(_set),
    "enum": _single(lambda draw, options: str(draw.chance.pick(options)["id"])),
    "double": _single(lambda draw, _: draw.chance.number(0, 1000) / 10),
    "date": _single(lambda draw, _: _day(draw.chance, draw.made)),
    "time": _single(lambda draw, _: f"{draw.chance.number(8, 18):02d}:{draw.chance.pick(('00', '15', '30'))}:00"),
    "varchar": _single(lambda draw, _: f"X-{draw.number:06d}"),
    "varchar_auto": _single(lambda draw, _: draw.chance.pick(TOWNS)[1]),
    "text": _single(lambda draw, _: f"{draw.chance.pick(SUBJECTS)}, {draw.chance.number(2, 90)} units"),
    "phone": _single(lambda draw, _: f"+46 31 555 {draw.chance.number(1000, 9999)}"),
    "user": _single(lambda draw, _: draw.chance.pick(USERS)[0]),
    "org": _single(lambda draw, _: draw.chance.pick(draw.people.organizations)["id"]),
    "people": _single(lambda draw, _: draw.chance.pick(draw.people.persons)["id"]),
}


def _touched(chance: _Chance, made: int, until: int) -> int:
    if chance.happens(0.4):
        return made
    later = made + int(chance.expovariate(1 / (20 * DAY_MS)))
    return later if later < until else chance.number(made, until)


def _worth(chance: _Chance) -> Document:
    return {"amount": chance.number(5, 900) * 100, "currency": chance.pick(CURRENCIES)}


def _day(chance: _Chance, made: int) -> str:
    return iso_ms(made + chance.number(10, 200) * DAY_MS)[:10]


def _address(chance: _Chance) -> str:
    postal_code, town, country = chance.pick(TOWNS)
    return f"{chance.pick(STREETS)} {chance.number(1, 140)}, {postal_code} {town}, {country}"


def _slug(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isascii() and letter.isalnum()) or "x"
