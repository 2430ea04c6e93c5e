"""What a load is to do, read strictly: texts as Jinja renders them are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.values import bool_value, mapping_value, number_value

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW_ERROR_CHOICES = ("continue", "stop")
MISSING_CHOICES = ("ignore", "archive")
CONVERTED_CHOICES = ("skip", "create")


class Load(msgspec.Struct, frozen=True):
    """What a load is to do.

    :param key: ``origin_id``, ``id``, or a custom text field by name or key.
    :param key_prefix: what stands before each value of the key column in Pipedrive; other leads are left alone.
    :param fields: column by field; empty: columns are called as the fields are.
    :param dry_run: plan, and write nothing.
    :param stop_at_first: end at the first row that fails.
    :param max_failed: failed rows and conflicts that do not make the load fail.
    :param archive_missing: archive active leads with the prefix that no row names.
    :param max_missing: the largest part of the active leads with the prefix that may be missing at once.
    :param skip_converted: create no lead with a key that stands on a deal which a lead became.
    :param restore: restore archived leads that differ, and update them.
    """

    key: str
    key_prefix: str = ""
    fields: dict[str, str] = {}
    dry_run: bool = False
    stop_at_first: bool = False
    max_failed: int = 0
    archive_missing: bool = False
    max_missing: float = 0.1
    skip_converted: bool = True
    restore: bool = False


def read_load(
    *,
    key: str,
    key_prefix: str | None = None,
    fields: Mapping[str, str] | str | None = None,
    dry_run: bool | str = False,
    on_row_error: str = "continue",
    max_failed: int | str = 0,
    on_missing: str = "ignore",
    max_missing: float | str = 0.1,
    on_converted: str = "skip",
    restore: bool | str = False,
) -> Load:
    """Check what can be checked of the parameters before anything is read.

    :raises PipedriveConfigError: a parameter is no choice, or does not go with another.
    :raises PipedriveValidationError: a parameter is not of its type.
    """
    for name, value, choices in (
        ("on_row_error", on_row_error, ROW_ERROR_CHOICES),
        ("on_missing", on_missing, MISSING_CHOICES),
        ("on_converted", on_converted, CONVERTED_CHOICES),
    ):
        if value not in choices:
            raise PipedriveConfigError(f"{name}: {value!r} is neither {' nor '.join(map(repr, choices))}.")
    if not isinstance(key, str) or not key.strip():
        raise PipedriveConfigError("key: name origin_id, id, or a custom text field that tells the leads apart.")
    prefix = "" if key_prefix is None else str(key_prefix)
    if key.strip() == "id" and prefix:
        raise PipedriveConfigError("key_prefix: ids of leads have no prefix; leave it out with key='id'.")
    if on_missing == "archive" and not prefix.strip():
        raise PipedriveConfigError(
            "on_missing: 'archive' needs a key_prefix (and a key other than id), so that no lead of anyone else is"
            " archived."
        )
    return Load(
        key=key.strip(),
        key_prefix=prefix.lstrip(),
        fields={str(field): str(column) for field, column in mapping_value("fields", fields).items()},
        dry_run=bool_value("dry_run", dry_run),
        stop_at_first=on_row_error == "stop",
        max_failed=_count("max_failed", max_failed),
        archive_missing=on_missing == "archive",
        max_missing=_share("max_missing", max_missing),
        skip_converted=on_converted == "skip",
        restore=bool_value("restore", restore),
    )


def _count(name: str, value: int | str) -> int:
    found = number_value(name, value)
    if not isinstance(found, int) or found < 0:
        raise PipedriveValidationError(f"{name}: {value!r} is not a number of rows, like 0 or 10.")
    return found


def _share(name: str, value: float | str) -> float:
    found = number_value(name, value)
    if not 0 <= found <= 1:
        raise PipedriveValidationError(f"{name}: {value!r} is not a part between 0 and 1, like 0.1.")
    return float(found)
