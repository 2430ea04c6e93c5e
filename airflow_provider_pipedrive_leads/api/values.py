"""Single values, read strictly: strings as Jinja renders them are taken, what the API would refuse is refused here.

Every reader takes the name of the field, for its error, and the value; it returns what the API takes and raises
``PipedriveValidationError`` for the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveValidationError

if TYPE_CHECKING:
    from airflow_provider_pipedrive_leads.api.endpoints import JSON

VISIBILITIES = ("1", "3", "5", "7")
LARGEST_EXACT = 2**53


def wrong(name: str, value: object, due: str) -> PipedriveValidationError:
    """The error for a value that is not what is due."""
    return PipedriveValidationError(f"{name}: {str(value)[:80]!r} is not {due}.")


def text_value(name: str, value: object) -> str:
    """Read a text, or what files and databases hold in place of one; whole numbers come without a point."""
    if isinstance(value, str):
        return _whole_characters(name, value)
    if isinstance(value, date | time):
        return value.isoformat()
    whole = as_whole(value)
    if isinstance(whole, bool) or not isinstance(whole, int | UUID | float | Decimal):
        raise wrong(name, value, "a text")
    if isinstance(whole, float | Decimal) and not _is_finite(whole):
        raise wrong(name, value, "a text")
    return str(whole)


def _whole_characters(name: str, text: str) -> str:
    """Refuse half a character, left over when a text is cut inside an emoji: it cannot be encoded."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PipedriveValidationError(f"{name}: contains half a character: the text was cut inside one.") from None
    return text


def _is_finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)


def key_value(name: str, value: object) -> str:
    """Read what tells a lead from all others: a whole number has one spelling; blanks around it do not count."""
    if isinstance(value, str):
        return _whole_characters(name, value).strip()
    if isinstance(value, float) and math.isfinite(value) and abs(value) >= LARGEST_EXACT:
        raise PipedriveValidationError(
            f"{name}: a float of 2**53 or more may stand for several numbers. Give the key as a text or a whole number."
        )
    whole = int(value) if isinstance(value, Decimal) and value.is_finite() and value % 1 == 0 else as_whole(value)
    if isinstance(whole, float | Decimal) and _is_finite(whole):
        return f"{Decimal(str(whole)).normalize():f}"
    if isinstance(whole, int) and not isinstance(whole, bool):
        return str(whole)
    raise wrong(name, value, "a key: a text or a number")


def mapping_value(name: str, value: object) -> Mapping[str, Any]:
    """Read a mapping, or the JSON object that a template has made of it; None is an empty one."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        with suppress(msgspec.DecodeError):
            value = msgspec.json.decode(value)
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        raise PipedriveValidationError(f"{name}: must be a mapping or a JSON object; it is a {type(value).__name__}.")
    return value


def refuse_rendered_none(name: str, written: object, rendered: object) -> None:
    """Refuse the text ``None`` where a template has made it of a missing value.

    :param written: as it stands in the DAG; mappings and lists are looked through.
    :param rendered: what came of it.
    """
    if isinstance(written, str) and "{{" in written and rendered == "None":
        raise PipedriveValidationError(
            f"{name}: is the text 'None', which a template has made of a missing value. Pass the value itself, as in"
            " task.output['key'], or set render_template_as_native_obj=True on the DAG."
        )
    if isinstance(written, Mapping) and isinstance(rendered, Mapping):
        for key, part in written.items():
            refuse_rendered_none(f"{name}: {key}", part, rendered.get(key))
    elif isinstance(written, list | tuple) and isinstance(rendered, list | tuple):
        for part, found in zip(written, rendered, strict=False):
            refuse_rendered_none(name, part, found)


def is_gap(value: Any) -> bool:
    """Whether a value stands for a missing one, as tables of numbers have it: NaN of any type, NaT, NA."""
    if isinstance(value, str | int | list | tuple | dict | None):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return math.isnan(value)
    except (TypeError, ValueError, OverflowError):  # no number, or one that refuses to be looked at
        return isinstance(value, Decimal) and value.is_nan()


def title_value(name: str, value: object) -> str:
    """Read a title: a text that is not blank."""
    text = text_value(name, value)
    if not text.strip():
        raise PipedriveValidationError(f"{name}: must not be empty.")
    return text


def as_whole(value: object) -> object:
    """Give a whole number that a table holds as a fraction (``3.0``, also as a text) as what it is, others as such."""
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}\.0+\s*", value):
        return int(value.partition(".")[0])
    if not isinstance(value, str | int) and hasattr(value, "__float__"):
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
            if number.is_integer() and abs(number) < LARGEST_EXACT and number == value:
                return int(number)
    return value


def id_value(name: str, value: object) -> int:
    """Read a numeric id."""
    if type(value) is int and value > 0:  # a hundred thousand rows a load have little else
        return value
    whole = as_whole(value)
    if isinstance(whole, int) and not isinstance(whole, bool) and whole > 0:
        return whole
    if isinstance(whole, str) and re.fullmatch(r"[1-9][0-9]{0,18}", whole.strip()):
        return int(whole)
    raise wrong(name, value, "an id (a positive whole number)")


def number_value(name: str, value: object) -> int | float:
    """Read a number; a whole one comes back without a fraction. One that would be rounded is refused."""
    text = str(value).strip()
    try:
        number = float(text) if not isinstance(value, bool) and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise wrong(name, value, "a number")
    if not number.is_integer():
        return number
    if abs(number) < LARGEST_EXACT:
        return int(number)
    if isinstance(value, float) or Decimal(text) == Decimal(number):
        return number
    raise wrong(name, value, "a number that can be kept: whole ones of 2**53 and more are rounded")


def bool_value(name: str, value: object) -> bool:
    """Read true or false, also as Jinja, YAML or tables write them."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    found = words.get(str(as_whole(value)).strip().lower())
    if found is None:
        raise wrong(name, value, "true or false")
    return found


def date_value(name: str, value: object) -> str:
    """Read a calendar day; a moment is one if it is a midnight of no zone, as tables hold days."""
    text = str(value).strip()
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00(:00(\.0+)?)?)?", text):
        raise wrong(name, value, "a date without time, like 2026-01-31")
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise wrong(name, value, "a date without time, like 2026-01-31") from None


def time_value(name: str, value: object) -> str:
    """Read a time of day, to the second, without a zone; also as a duration since midnight, as MySQL gives it."""
    read: time | None = None
    if isinstance(value, timedelta):
        if timedelta(0) <= value < timedelta(days=1):
            read = (datetime(1970, 1, 1, tzinfo=UTC) + value).time()
    elif isinstance(value, time):
        read = value
    else:
        text = re.sub(r"^([0-9]):", r"0\1:", str(value).strip())
        with suppress(ValueError):
            read = time.fromisoformat(text)
    if read is None or read.tzinfo is not None or read.microsecond:
        raise wrong(name, value, "a time of day, like 09:30:00")
    return read.isoformat(timespec="seconds")


def money_value(name: str, value: object) -> dict[str, JSON]:
    """Read an amount with its currency."""
    if not isinstance(value, dict) or set(value) != {"amount", "currency"} or None in value.values():
        raise PipedriveValidationError(
            f'{name}: needs both an amount and a currency, like {{"amount": 3000, "currency": "EUR"}}.'
        )
    return {
        "amount": number_value(f"{name}.amount", value["amount"]),
        "currency": currency_value(f"{name}.currency", value["currency"]),
    }


def currency_value(name: str, value: object) -> str:
    """Read a currency."""
    text = str(value).strip().upper()
    if not re.fullmatch("[A-Z]{3}", text):
        raise wrong(name, value, "a currency code of three letters, like EUR")
    return text


def visibility_value(name: str, value: object) -> str:
    """Read who may see the lead: the API takes a text where search gives a number."""
    text = str(as_whole(value)).strip()
    if text not in VISIBILITIES:
        raise wrong(name, value, f"one of {', '.join(VISIBILITIES)}")
    return text


def moment_value(name: str, value: object) -> str:
    """Read a moment as the API's filters take it: UTC, whole seconds, rounded down. Without a zone it counts as UTC."""
    text = str(value).strip()
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise wrong(name, value, "a time, like 2026-01-31T09:30:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
