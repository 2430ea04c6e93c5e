"""Lead labels by name: making sure that each is there, once.

The API takes any number of labels with one name. Who makes one therefore lists them again: of twins the oldest stays,
and who made a younger one takes it back. So tasks that run side by side agree without knowing of each other. The list
may show a label late, and the server may keep another name than the one sent: what was made counts by its id, and
twins are those of the name that was kept.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveNotFoundError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.operations import LABEL_COLORS
from airflow_provider_pipedrive_leads.api.values import title_value
from airflow_provider_pipedrive_leads.leads.writing.settling import seconds_until_settled, sent_until_sure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.writing.settling import Memory, Patience

KEPT_AS = "pipedrive_labels"
NO_DOUBT = ""
DEFAULT_COLOR = "gray"
BETWEEN_LOOKS, LATEST = 1.0, 15.0
"""Seconds between looks for a label that was made, and until it is taken for gone."""
FORM = 'Write a list of names or of {"name": …, "color": …}'

Label = dict[str, Any]


class WantedLabel(msgspec.Struct, frozen=True):
    """A label that should be there.

    :param name: without blanks around it.
    :param color: None if any will do.
    """

    name: str
    color: str | None = None


def wanted_labels(labels: object) -> list[WantedLabel]:
    """Read which labels should be there.

    :param labels: names, or mappings with ``name`` and perhaps ``color``; also as a JSON text, as templates render it.
    :raises PipedriveValidationError: they cannot be read, or one name is wanted in two colours.
    """
    wanted = [_wanted(item) for item in _items(labels)]
    colors: dict[str, str] = {}
    for label in wanted:
        known = colors.setdefault(_folded(label.name), label.color) if label.color else None
        if known != label.color:
            raise PipedriveValidationError(f"labels: {label.name!r} is wanted both in {known} and in {label.color}.")
    return [WantedLabel(label.name, colors.get(_folded(label.name))) for label in wanted]


def _items(labels: object) -> Sequence[object]:
    if isinstance(labels, str):
        try:
            labels = msgspec.json.decode(labels)
        except msgspec.DecodeError:
            raise PipedriveValidationError(
                f"labels: is a text, but no JSON. {FORM}, or render it with tojson."
            ) from None
    if not isinstance(labels, list | tuple):
        raise PipedriveValidationError(f"labels: is no list. {FORM}.")
    return labels


def _wanted(item: object) -> WantedLabel:
    is_name = isinstance(item, str | int | float) and not isinstance(item, bool)
    parts = {"name": item} if is_name else item
    if not isinstance(parts, dict) or "name" not in parts or set(parts) - {"name", "color"}:
        raise PipedriveValidationError(f"labels: {str(item)[:80]!r} is not understood. {FORM}.")
    color = parts.get("color") or None
    if color is not None and color not in LABEL_COLORS:
        raise PipedriveValidationError(f"labels: color {str(color)[:80]!r} is none of {', '.join(LABEL_COLORS)}.")
    return WantedLabel(title_value("labels", parts["name"]).strip(), color)


def ensure_labels(
    api: LeadsApi,
    wanted: Sequence[WantedLabel],
    memory: Memory,
    patience: Patience,
    *,
    update_colors: bool = False,
) -> dict[str, str]:
    """Make sure that each label is there, once: names count without regard to case and to blanks around them.

    It costs 10 tokens if all are there, and 20 more for each that is made. What it leaves alone: twins that were there
    before, of which it gives the oldest.

    :param wanted: from :func:`wanted_labels`.
    :param memory: of this task, for all its tries.
    :param update_colors: recolour labels that are there in another colour than the one wanted.
    :return: id by name, as the names were given.
    """
    if not wanted:
        return {}
    present = _settled_labels(api, wanted, memory, patience)
    chosen: dict[str, Label] = {}
    for label in wanted:
        there = chosen.get(_folded(label.name)) or next(iter(named(present, label.name)), None)
        chosen[_folded(label.name)] = there or _create(api, label, memory, patience)
    for label in wanted:
        found = chosen[_folded(label.name)]
        if update_colors and label.color and found["color"] != label.color:
            found.update(api.update_lead_label(found["id"], color=label.color))
    return {label.name: chosen[_folded(label.name)]["id"] for label in wanted}


def named(labels: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Pick the labels of that name, the oldest first."""
    same = [label for label in labels if _folded(label["name"]) == _folded(name)]
    return sorted(same, key=lambda label: (label.get("add_time") or "", label["id"]))


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _settled_labels(api: LeadsApi, wanted: Sequence[WantedLabel], memory: Memory, patience: Patience) -> list[Label]:
    """List the labels, again and later if one is missing that an earlier try may have sent."""
    present = api.get_lead_labels()
    sent_at = memory.get(KEPT_AS)
    if sent_at and not all(named(present, label.name) for label in wanted):
        patience.sleep(seconds_until_settled(sent_at, patience))
        present = api.get_lead_labels()
    return present


def _create(api: LeadsApi, label: WantedLabel, memory: Memory, patience: Patience) -> Label:
    """Make a label of which there is none, and give the one that stays of all with its name."""
    color = label.color or DEFAULT_COLOR
    own: set[str] = set()

    def send() -> Label:
        memory.set(KEPT_AS, patience.now().isoformat())
        made = api.add_lead_label(label.name, color)
        own.add(made["id"])
        return made

    def look() -> Label | None:
        """Whatever came since and is spelled and coloured like this one may be what was sent."""
        found = named(api.get_lead_labels(), label.name)
        own.update(each["id"] for each in found if (each["name"].strip(), each["color"]) == (label.name, color))
        return found[0] if found else None

    made = sent_until_sure(send, look, patience)
    memory.set(KEPT_AS, NO_DOUBT)
    stays, *twins = named(_list_that_shows(api, made, patience), made["name"])
    for twin in twins:
        if twin["id"] in own:
            with suppress(PipedriveNotFoundError):  # who made it took it back
                api.delete_lead_label(twin["id"])
    return dict(stays)


def _list_that_shows(api: LeadsApi, made: Label, patience: Patience) -> list[Label]:
    """List the labels once this one is among them and so, where the list is late, all that were made before it."""
    waited = 0.0
    present = api.get_lead_labels()
    while not _holds(present, made) and waited < LATEST:
        patience.sleep(BETWEEN_LOOKS)
        waited += BETWEEN_LOOKS
        present = api.get_lead_labels()
    if waited:
        patience.sleep(waited)  # another's may take longer than this one
        present = api.get_lead_labels()
    return present if _holds(present, made) else [*present, made]


def _holds(labels: Sequence[Label], made: Label) -> bool:
    return any(label["id"] == made["id"] for label in labels)
