"""Fields by any name, and values by the field's type.

A lead's field may be named by its API name (``expected_close_date``), by its key (40 hex characters), or by the name
that people see in Pipedrive (``Company size``). Options go by label, labels by name. Strings, as Jinja renders them,
are read by the type of the field. Formats of custom values: docs/pipedrive-api.md, "Custom fields".
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError
from airflow_provider_pipedrive_leads.api.field_types import (
    FIELD_TYPES,
    READ_ONLY,
    STANDARD_FIELDS,
    UNKNOWN_TYPE,
    FieldType,
)
from airflow_provider_pipedrive_leads.api.flat_values import option_ids, part_of, plain
from airflow_provider_pipedrive_leads.api.foreign_words import UUID
from airflow_provider_pipedrive_leads.api.values import as_whole, is_gap, money_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.endpoints import JSON

KEY_LENGTH = 40
CUSTOM_KEY = re.compile(r"[0-9a-f]{40}(_[a-z_0-9]+)?")


class Option(msgspec.Struct, frozen=True):
    """One choice of an enum or set field."""

    id: str
    label: str


class CustomField(msgspec.Struct, frozen=True):
    """A custom field of the account, as ``getLeadFields`` describes it.

    :param id: grows with each field that the account makes.
    :param key: the 40 hex characters under which leads carry it.
    :param name: what people see; not always unique.
    :param type: the vendor's ``field_type``.
    """

    id: int
    key: str
    name: str
    type: str
    options: tuple[Option, ...] = ()

    def label_of(self, option_id: object) -> str | None:
        """The label of an option id; None if there is no such option (any more)."""
        return next((option.label for option in self.options if option.id == str(option_id).strip()), None)

    @property
    def of(self) -> FieldType:
        """What is known of its type."""
        return FIELD_TYPES.get(self.type, UNKNOWN_TYPE)

    @property
    def keys(self) -> dict[str, FieldType]:
        """The keys under which a lead carries it, and the type of each: its own, and one for each further part."""
        return {self.key: self.of, **{f"{self.key}_{part}": of for part, of in self.of.parts.items()}}


def custom_fields(lead_fields: Iterable[Mapping[str, JSON]]) -> list[CustomField]:
    """Pick the custom fields out of a ``getLeadFields`` reply, oldest first."""
    found = [
        CustomField(
            int(item.get("id") or 0),
            item["key"],
            item["name"],
            item["field_type"],
            tuple(Option(str(option["id"]), str(option["label"])) for option in item.get("options") or ()),
        )
        for item in lead_fields
        if re.fullmatch("[0-9a-f]{40}", item["key"]) and not item.get("is_subfield")
    ]
    return sorted(found, key=lambda field: (field.id, field.key))


class Catalogue(msgspec.Struct, frozen=True):
    """What an account calls things.

    :param fields: its custom fields, oldest first.
    :param labels: name by id, for each lead label.
    """

    fields: tuple[CustomField, ...] = ()
    labels: dict[str, str] = {}


def to_wire(fields: Mapping[str, object], catalogue: Callable[[], Catalogue]) -> dict[str, JSON]:
    """Give fields and values the form in which the API takes them.

    :param fields: by API name, key or human name; None unsets.
    :param catalogue: asked only if a custom field or a label name occurs: it may cost calls.
    :raises PipedriveValidationError: names the field, what is wrong with the value, and near matches for a name.
    """
    wire: dict[str, JSON] = {}
    for name, value in fields.items():
        if is_gap(value):
            raise PipedriveValidationError(f"{name}: {value} is no value. Write None to unset the field.")
        for key, wire_value in _field_to_wire(name, value, catalogue).items():
            if key in wire and wire[key] != wire_value:
                raise PipedriveValidationError(f"fields: {name!r} is given twice, with different values.")
            wire[key] = wire_value
    return wire


def _field_to_wire(name: str, value: object, catalogue: Callable[[], Catalogue]) -> dict[str, JSON]:
    if name in ("label_ids", "labels"):
        return {"label_ids": _label_ids(value, catalogue)}
    if name in ("value_amount", "value_currency"):
        raise PipedriveValidationError(
            f'fields: {name!r} is a column of exports. Write value={{"amount": 3000, "currency": "EUR"}} here.'
        )
    if name in READ_ONLY:
        raise PipedriveValidationError(f"fields: {name!r} is set by Pipedrive and cannot be written.")
    if name in STANDARD_FIELDS and (read := STANDARD_FIELDS[name].read):
        return {name: None if value is None else read(name, value)}
    if CUSTOM_KEY.fullmatch(name):
        return _by_key(name, value, catalogue())
    field = find_field(name, catalogue().fields)
    return custom_to_wire(field, value)


def find_field(name: str, fields: Sequence[CustomField]) -> CustomField:
    """Find a custom field by the name that people see: as written, else without regard to case.

    :raises PipedriveValidationError: no field or several have it; lists the candidates.
    """
    for same in (str, str.casefold):
        hits = [field for field in fields if same(field.name.strip()) == same(name.strip())]
        if len(hits) == 1:
            return hits[0]
        if hits:
            keys = ", ".join(f"{field.key} ({field.type})" for field in hits)
            raise PipedriveValidationError(f"fields: {name!r} is the name of {len(hits)} fields; use a key: {keys}.")
    known = [*(name for name in STANDARD_FIELDS if name not in READ_ONLY), *(field.name for field in fields)]
    raise PipedriveValidationError(f"fields: there is no lead field {name!r}.{near_names(name, known)}")


def field_of_key(parameter: str, key: str, fields: Sequence[CustomField]) -> CustomField:
    """Find a custom field by its 40 characters.

    :param parameter: where the key was given, for the error.
    :raises PipedriveValidationError: the account has no such field.
    """
    for field in fields:
        if field.key == key:
            return field
    raise PipedriveValidationError(
        f"{parameter}: the account has no lead field with the key {key}; it may have been deleted in Pipedrive."
    )


def near_names(name: str, known: Sequence[str]) -> str:
    """The end of an error: names that look like the one given, else all there are."""
    by_fold = {text.casefold(): text for text in known}
    near = [by_fold[fold] for fold in get_close_matches(name.casefold(), list(by_fold), n=3, cutoff=0.5)]
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" There are: {', '.join(known[:20])}{' …' if len(known) > 20 else ''}." if known else ""


def _as_list(value: object) -> list[object]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _label_ids(value: object, catalogue: Callable[[], Catalogue]) -> list[str]:
    wanted = [] if value is None else [value] if _is_label(value, catalogue) else _as_list(value)
    found = [label_id(item, catalogue) for item in wanted]
    return list(dict.fromkeys(found))


def _is_label(value: object, catalogue: Callable[[], Catalogue]) -> bool:
    """Whether a text with commas is one name: names of labels may hold commas."""
    if not isinstance(value, str) or "," not in value:
        return False
    return any(name.strip().casefold() == value.strip().casefold() for name in catalogue().labels.values())


def label_id(label: object, catalogue: Callable[[], Catalogue]) -> str:
    """Find a lead label by id or name.

    :raises PipedriveValidationError: no label or several have that name; lists near ones.
    """
    text = str(label).strip()
    if UUID.fullmatch(text):
        return text.lower()
    labels = catalogue().labels
    for same in (str, str.casefold):
        hits = [key for key, name in labels.items() if same(name) == same(text)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise PipedriveValidationError(
                f"label_ids: {len(hits)} labels are called {text!r}; use an id: {', '.join(hits)}."
            )
    raise PipedriveValidationError(
        f"label_ids: there is no lead label {text!r}.{near_names(text, list(labels.values()))}"
    )


def _by_key(name: str, value: object, catalogue: Catalogue) -> dict[str, JSON]:
    """Read a value for a field that is named by its key, or for one of its parts, such as ``…_currency``."""
    key, _, part = name.partition("_")
    field = field_of_key("fields", key, catalogue.fields)
    if part:
        if part not in field.of.parts:
            raise PipedriveValidationError(f"fields: {field.name!r} ({field.type}) has no part {part!r}.")
        return {name: None if value is None else field.of.parts[part].read(f"{field.name}.{part}", value)}
    if field.of.first == "from" and value is not None and not isinstance(value, dict):
        return {name: field.of.read(f"{field.name}.from", value)}
    return custom_to_wire(field, value)


def _money(name: str, key: str, value: dict[str, object]) -> dict[str, JSON]:
    money = money_value(name, value)
    return {key: money["amount"], f"{key}_currency": money["currency"]}


def custom_to_wire(field: CustomField, value: object) -> dict[str, JSON]:
    """Give a custom field's value the form of its type.

    :return: one key, or two for money (``_currency``) and ranges (``_until``).
    :raises PipedriveValidationError: the value does not fit the field's type.
    """
    name, key = field.name, field.key
    if value is None:
        return {key: None}
    if field.of.first == "amount" and isinstance(value, dict):
        return _money(name, key, value)
    if field.of.first == "from":
        return _range(field, value)
    if field.of.options == "many":
        return {key: ",".join(option_id(field, item) for item in _set_items(field, value)) or None}
    if field.of.options == "one":
        return {key: option_id(field, value)}
    return {key: field.of.read(name, value)}


def _range(field: CustomField, value: object) -> dict[str, JSON]:
    if not isinstance(value, dict) or set(value) != {"from", "until"}:
        raise PipedriveValidationError(f'{field.name}: a range is written {{"from": …, "until": …}}.')
    read = field.of.read
    ends = {field.key: "from", f"{field.key}_until": "until"}
    return {key: None if value[end] is None else read(f"{field.name}.{end}", value[end]) for key, end in ends.items()}


def _set_items(field: CustomField, value: object) -> list[object]:
    """A text is one option if there is such a label (labels may hold commas), else a list with commas."""
    if isinstance(value, str) and any(option.label.casefold() == value.strip().casefold() for option in field.options):
        return [value]
    return _as_list(value)


def option_id(field: CustomField, value: object) -> str:
    """Find an option by label or id, as the numeric text that the API uses.

    :raises PipedriveValidationError: no option or several have that label; lists near ones.
    """
    text = str(value).strip()
    for same in (str, str.casefold):
        hits = [option.id for option in field.options if same(option.label.strip()) == same(text)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise PipedriveValidationError(
                f"{field.name}: several options are called {text!r}; use an id: {', '.join(hits)}."
            )
    number = str(as_whole(value)).strip()
    if any(option.id == number for option in field.options):
        return number
    labels = [option.label for option in field.options]
    raise PipedriveValidationError(f"{field.name}: there is no option {text!r}.{near_names(text, labels)}")


def from_wire(field: CustomField, lead: Mapping[str, JSON]) -> object:
    """Read a custom field off a lead as a typed value: the inverse of :func:`custom_to_wire`.

    :return: Decimal for numbers, date, time, label of an option, list of labels, id as int, text; ``{"amount",
        "currency"}`` for money, ``{"from", "until"}`` for ranges; None where the field is not set. An option that is
        gone, or shares its label with another, comes as its id; what cannot be read comes as it is.
    """
    whole = lead.get(field.key)
    value = whole if field.of.options == "many" else plain(whole)

    def part(name: str) -> JSON:
        own = lead.get(f"{field.key}_{name}")
        return part_of(whole, name) if own is None else own

    if field.of.first == "from":
        ends = {"from": value, "until": part("until")}
        return {end: _typed(field, at) for end, at in ends.items()} if any(ends.values()) else None
    if value is None or value == "":
        return None
    currency = part("currency")
    if field.of.first == "amount" and currency is not None:
        return {"amount": _typed(field, value), "currency": currency}
    if field.of.options == "one":
        return ",".join(_label_or_id(field, item) for item in option_ids(value))
    if field.of.options == "many":
        return [_label_or_id(field, item) for item in option_ids(value)]
    return _typed(field, value)


def _typed(field: CustomField, value: JSON) -> object:
    """Read a value by its field's type; what cannot be read comes as it is."""
    if value is None:
        return None
    try:
        return field.of.typed(value)
    except (TypeError, ValueError, ArithmeticError):
        return value


def _label_or_id(field: CustomField, option: JSON) -> str:
    label = field.label_of(option)
    shared = label is not None and sum(other.label.strip() == label.strip() for other in field.options) > 1
    return str(option).strip() if label is None or shared else label


def differing(wanted: Mapping[str, JSON], lead: Mapping[str, JSON]) -> list[str]:
    """Name the keys in which a lead differs from wanted wire values.

    Absent means null, for the API leaves unset custom fields out; numbers compare as numbers, labels and sets without
    order.
    """
    return [key for key, value in wanted.items() if not _same(key, value, lead.get(key))]


def _same(key: str, wanted: JSON, present: JSON) -> bool:
    if key == "label_ids":
        return set(wanted or ()) == set(present or ())
    if isinstance(wanted, str) and isinstance(present, str):
        return wanted == present or (
            CUSTOM_KEY.fullmatch(key) is not None and _as_option_ids(wanted) == _as_option_ids(present)
        )
    if isinstance(wanted, str) and isinstance(present, int) and not isinstance(present, bool):
        return wanted == str(present)
    return bool(wanted == present)


def _as_option_ids(text: str) -> set[str] | str:
    return set(text.split(",")) if re.fullmatch(r"[0-9]+(,[0-9]+)*", text) else text
