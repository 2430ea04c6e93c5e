"""From the columns of a source to wire values: compiled once, applied to each row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_pipedrive_leads.api.errors import PipedriveConfigError, PipedriveValidationError
from airflow_provider_pipedrive_leads.api.fields import near_names
from airflow_provider_pipedrive_leads.api.values import is_gap
from airflow_provider_pipedrive_leads.leads.loading.fields import AMOUNT, CURRENCY, Fields, Pair, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_pipedrive_leads.api.endpoints import JSON
    from airflow_provider_pipedrive_leads.api.fields import Catalogue
    from airflow_provider_pipedrive_leads.api.operations import LeadsApi
    from airflow_provider_pipedrive_leads.leads.loading.settings import Load

Slot = tuple[str, str | None, Target]
"""A column, the wire key that takes its value where it is as simple as that, and what it fills."""
MOST_LISTED = 10
MOST_REMEMBERED = 1_000


class Wanted(msgspec.Struct, gc=False):
    """What a row asks for.

    :param key: the whole key; None if it could not be read.
    :param body: wire values; None unsets.
    :param problem: why the row cannot be loaded; None if it can.
    """

    key: str | None
    body: dict[str, Any]
    problem: str | None = None


class UpToDateReader:
    """Reads rows with cached names, and fetches them again once when a row needs one that they lack.

    :param load: which column fills which field.
    :param api: knows the names.
    :ivar catalogue: the names by which the last row was read.
    :raises PipedriveConfigError: ``fields`` or ``key`` name what is no field.
    """

    def __init__(self, load: Load, api: LeadsApi) -> None:
        self._load = load
        self._fresh: Callable[[], Catalogue] | None = api.fresh_catalogue
        self._columns: dict[str, None] = {}
        self.catalogue = api.catalogue()
        try:
            self._reader = RowReader(load, self.catalogue)
        except PipedriveConfigError:
            if not self._renew():
                raise

    @property
    def key(self) -> Target:
        """The field that tells leads apart."""
        return self._reader.key

    @property
    def names(self) -> dict[str, str]:
        """What each wire key filled so far is called."""
        return self._reader.names

    @property
    def halves(self) -> dict[str, str]:
        """The other half of each wire key that has one."""
        return self._reader.halves

    def read(self, values: Mapping[str, Any]) -> Wanted:
        """Read a row.

        :raises PipedriveConfigError: it has a column that is no lead field.
        """
        self._columns.update(dict.fromkeys(values))
        try:
            wanted = self._reader.read(values)
        except PipedriveConfigError:
            if not self._renew():
                raise
        else:
            if wanted.problem is None or not self._renew():
                return wanted
        return self._reader.read(values)

    def check_columns(self) -> None:
        """See that every column asked for occurred somewhere, once all rows are read.

        :raises PipedriveConfigError: one did not.
        """
        self._reader.check_columns()

    def _renew(self) -> bool:
        """Fetch the names again, once; tell whether they have changed."""
        if self._fresh is None:
            return False
        before, self.catalogue, self._fresh = self.catalogue, self._fresh(), None
        if self.catalogue == before:
            return False
        self._reader = RowReader(self._load, self.catalogue, self._columns)
        return True


class RowReader:
    """Reads rows. Columns are looked at when they first occur: rows of JSON need not all have the same.

    :param load: which column fills which field.
    :param catalogue: of the account.
    :param columns: that occurred already.
    :ivar key: the field that tells leads apart.
    :ivar names: what each wire key filled so far is called.
    :ivar halves: the other half of each wire key that has one.
    :raises PipedriveConfigError: ``fields`` or ``key`` name what is no field.
    """

    def __init__(self, load: Load, catalogue: Catalogue, columns: Iterable[str] = ()) -> None:
        self._fields = Fields(catalogue)
        self.key = self._fields.find_key(load.key, load.key_prefix)
        self.names: dict[str, str] = {}
        self.halves: dict[str, str] = {}
        self._filled_by: dict[str, str] = {}
        self._pairs: dict[str, Pair] = {}
        self._chosen = self._choose(load.fields)
        self._only_chosen = bool(load.fields)
        self._key_chosen = any(target is self.key for targets in self._chosen.values() for target in targets)
        self._columns: dict[str, tuple[Target, ...]] = {}
        self._slots: dict[tuple[str, ...], tuple[list[Slot], bool]] = {}
        self._learn(tuple(columns))

    def read(self, values: Mapping[str, Any]) -> Wanted:
        """Read a row.

        :raises PipedriveConfigError: it has a column that is no lead field.
        """
        wanted = Wanted(None, {})
        body = wanted.body
        slots, names_labels_twice = self._slots_for(values)
        for column, key, target in slots:
            value = values[column]
            try:
                wire = None if value is None or (type(value) is not str and is_gap(value)) else target.read(value)
            except PipedriveValidationError as error:
                wanted.problem = wanted.problem or _placed(str(error), target.name, column)
                continue
            if wire is None or key is None:
                self._place(target, wire, wanted)
            else:
                body[key] = wire
        for pair in self._pairs.values():
            self._join(pair, wanted)
        if wanted.key is None and wanted.problem is None:
            wanted.problem = f"{self.key.name}: the row has no key."
        if names_labels_twice:
            self._compare_labels(values["labels"], wanted)
        if wanted.body.get("label_ids", "") is None:
            wanted.body["label_ids"] = []
        return wanted

    def _compare_labels(self, names: object, wanted: Wanted) -> None:
        """See that the labels' names, which are left aside, say the same as their ids."""
        with suppress(PipedriveValidationError):  # a name that several labels have
            found = None if names is None else self._fields.find("labels").read(names)
            if set(found or ()) != set(wanted.body.get("label_ids") or ()):
                wanted.problem = wanted.problem or "labels, label_ids: name different labels. Leave one column out."

    def _slots_for(self, values: Mapping[str, Any]) -> tuple[list[Slot], bool]:
        """Which columns of a row fill what, and whether labels stand there by name beside their ids.

        It is decided once for all rows that have the same columns.
        """
        columns = tuple(values)
        found = self._slots.get(columns)
        if found is None:
            self._learn(columns)
            if len(self._slots) >= MOST_REMEMBERED:
                self._slots.clear()
            slots = [
                (column, None if target is self.key else target.key, target)
                for column in columns
                if not self._is_left_aside(column, columns)
                for target in self._columns[column]
            ]
            found = self._slots[columns] = slots, "labels" in columns and self._is_left_aside("labels", columns)
        return found

    def _place(self, target: Target, wire: JSON, wanted: Wanted) -> None:
        """Take a value that is empty, the key, or the values of two keys."""
        if wire is None and target.empty != "unset":
            if target.empty == "refuse":
                wanted.problem = wanted.problem or f"{target.name}: must not be empty."
        elif target is self.key:
            wanted.key = wire
        elif target.key is not None:
            wanted.body[target.key] = wire
        else:
            wanted.body.update(dict.fromkeys(target.keys) if wire is None else wire)

    def check_columns(self) -> None:
        """See that every column asked for occurred somewhere, once all rows are read.

        :raises PipedriveConfigError: one did not.
        """
        if not self._columns:
            return
        for column, targets in self._chosen.items():
            if column not in self._columns:
                raise PipedriveConfigError(
                    f"fields: the source has no column {column!r} for {targets[0].name!r}."
                    f"{near_names(column, list(self._columns))}"
                )
        if not any(target is self.key for targets in self._columns.values() for target in targets):
            raise PipedriveConfigError(
                f"key: the source has no column {self.key.name!r}; name the column that holds the key in"
                f" fields={{{self.key.name!r}: …}}.{near_names(self.key.name, list(self._columns))}"
            )

    def _choose(self, fields: Mapping[str, str]) -> dict[str, tuple[Target, ...]]:
        chosen: dict[str, tuple[Target, ...]] = {}
        for name, column in fields.items():
            try:
                target = self._find(name)
            except PipedriveValidationError as problem:
                raise PipedriveConfigError(str(problem)) from None
            chosen[column] = (*chosen.get(column, ()), self._filling(target, name))
        return chosen

    def _find(self, name: str) -> Target:
        if name == self.key.name:
            return self.key
        target = self._fields.find(name)
        return self.key if self.key.key in target.keys else target

    def _filling(self, target: Target, by: str) -> Target:
        """Note that a target is filled.

        :raises PipedriveConfigError: something else fills it already.
        """
        for key in target.keys:
            if key in self._filled_by and not self._is_second_half(target, key):
                raise PipedriveConfigError(f"fields: {self._filled_by[key]!r} and {by!r} both fill {target.name!r}.")
            self._filled_by[key] = by
            self.names[key] = target.name
        if target.pair is not None:
            pair = target.pair
            self._pairs[pair.first] = pair
            self.names.update(dict.fromkeys((pair.first, pair.second), pair.name))
            self.halves.update({pair.first: pair.second, pair.second: pair.first})
        return target

    def _is_second_half(self, target: Target, key: str) -> bool:
        """Whether a key is the second of a pair, which stands either in the first one's column or in its own."""
        return target.pair is not None and key == target.pair.second and not key.startswith("value.")

    def _learn(self, columns: Sequence[str]) -> None:
        """Decide what the columns fill that did not occur before.

        :raises PipedriveConfigError: they are no fields, and no ``fields`` say that they do not matter.
        """
        unknown = []
        for column in columns:
            if column in self._columns:
                continue
            if self._only_chosen:
                self._columns[column] = self._chosen.get(column, ()) or self._key_by_name(column)
                continue
            if self._is_left_aside(column, columns):
                continue
            try:
                target = self._find(column)
            except PipedriveValidationError:
                unknown.append(column)
            else:
                self._columns[column] = (self._filling(target, column),)
        if unknown:
            raise self._fields.unknown(unknown[:MOST_LISTED])

    def _is_left_aside(self, column: str, columns: Sequence[str]) -> bool:
        return not self._only_chosen and column != self.key.name and self._fields.follows(column, columns)

    def _key_by_name(self, column: str) -> tuple[Target, ...]:
        """The key stands in the column of its name where ``fields`` name no other."""
        if self._key_chosen:
            return ()
        try:
            return (self._filling(self.key, column),) if self._find(column) is self.key else ()
        except PipedriveValidationError:
            return ()

    def _join(self, pair: Pair, wanted: Wanted) -> None:
        """Put the halves of a pair together; one without the other is a problem."""
        body = wanted.body
        if pair.first not in body and pair.second not in body:
            return
        first, second = body.get(pair.first), body.get(pair.second)
        if (first is None) != (second is None):
            wanted.problem = wanted.problem or f"{pair.name}: {pair.words}; the row has only one of them."
        if pair.first == AMOUNT:
            body.pop(AMOUNT, None)
            body.pop(CURRENCY, None)
            body["value"] = None if first is None else {"amount": first, "currency": second}
        elif first is None:
            body.pop(pair.second, None)
            body[pair.first] = None


def _placed(problem: str, name: str, column: str) -> str:
    return problem if column == name else f"{problem.rstrip('.')} (column {column!r})."
