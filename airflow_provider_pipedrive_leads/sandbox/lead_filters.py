"""Filters of type leads: read, checked and turned into SQL over the stored leads.

A filter is ``{glue: and, conditions: [{glue: and, …}, {glue: or, …}]}``: all of the first group and, if it has any, one
of the second. Simple operators only; others are refused when the filter is made. Source: section 6 of
``docs/pipedrive-api.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_pipedrive_leads.sandbox.replies import InvalidError

Condition = Mapping[str, Any]

MOST_CONDITIONS = 16
COMPARISONS = ("=", "!=", "<", ">", "<=", ">=")
NULLNESS = ("IS NULL", "IS NOT NULL")
PATTERNS = {"LIKE '$%'": "{}%", "LIKE '%$%'": "%{}%", "NOT LIKE '$%'": "{}%", "NOT LIKE '%$%'": "%{}%"}
OPERATORS = {
    "numeric": {"=": "is", "!=": "is not", "<": "below", ">": "above", "<=": "at most", ">=": "at least"},
    "text": {"=": "is", "!=": "is not", **{pattern: pattern for pattern in PATTERNS}},
    "any": {"IS NULL": "is empty", "IS NOT NULL": "is not empty"},
}
NUMERIC_TYPES = ("double", "monetary", "user", "org", "people", "int", "activity", "boolean")


def read_conditions(given: object, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Conditions from a body, each with the ``field_code`` of its field. Raises InvalidError."""
    groups = given.get("conditions") if isinstance(given, dict) and given.get("glue") == "and" else None
    if (
        not isinstance(groups, list)
        or not 1 <= len(groups) <= 2
        or not all(isinstance(group, dict) for group in groups)
    ):
        raise InvalidError("conditions must be an and of one or two groups")
    read = [
        {"glue": glue, "conditions": _read_group(group, glue, fields)}
        for glue, group in zip(("and", "or"), groups, strict=False)
    ]
    if len(read) == 1:
        read.append({"glue": "or", "conditions": []})
    if sum(len(group["conditions"]) for group in read) > MOST_CONDITIONS:
        raise InvalidError(f"conditions must be at most {MOST_CONDITIONS}")
    return {"glue": "and", "conditions": read}


def as_sql(conditions: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The SQL condition, with its values, of a filter."""
    types = {field["key"]: field["field_type"] for field in fields}
    clauses: list[str] = []
    values: list[Any] = []
    for group in conditions["conditions"]:
        parts = [_clause(condition, types.get(condition["field_code"], "varchar")) for condition in group["conditions"]]
        if parts:
            clauses.append("(" + f" {group['glue'].upper()} ".join(sql for sql, _ in parts) + ")")
            values.extend(value for _, given in parts for value in given)
    return " AND ".join(clauses) or "1", values


def _read_group(group: Mapping[str, Any], glue: str, fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if group.get("glue") != glue or not isinstance(group.get("conditions"), list):
        raise InvalidError("the first group is glued by and, the second by or")
    return [_read_condition(condition, fields) for condition in group["conditions"]]


def _read_condition(given: object, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidError("a condition must be an object")
    named = [field for field in fields if str(given.get("field_id")) in (str(field["number"]), field["key"])]
    if not named:
        raise InvalidError("field_id names no field of leads")
    operator, value = given.get("operator"), given.get("value")
    if operator not in (*COMPARISONS, *NULLNESS, *PATTERNS):
        raise InvalidError(f"operator must be one of {', '.join((*COMPARISONS, *NULLNESS, *PATTERNS))}")
    if operator not in NULLNESS and not isinstance(value, str | int | float):
        raise InvalidError("value must be a string or a number")
    return {
        "object": "lead",
        "field_id": str(named[0]["number"]),
        "operator": operator,
        "value": None if operator in NULLNESS else str(value),
        "extra_value": None,
        "json_value_flag": False,
        "field_code": named[0]["key"],
    }


def _clause(condition: Condition, field_type: str) -> tuple[str, list[Any]]:
    operator, value, code = condition["operator"], condition["value"], condition["field_code"]
    path = "$.value.amount" if code == "value" else f'$."{code}"'
    stored = "json_extract(doc, ?)"
    if operator in NULLNESS:
        empty = f"coalesce({stored}, '') IN ('', '[]')"
        return (empty if operator == "IS NULL" else f"NOT {empty}"), [path]
    if operator in PATTERNS:
        negation = "NOT " if operator.startswith("NOT") else ""
        pattern = PATTERNS[operator].format(_escaped(value))
        return f"coalesce({stored}, '') {negation}LIKE ? ESCAPE '\\'", [path, pattern]
    if field_type == "set" and operator in ("=", "!="):
        contained = f"instr(coalesce({stored}, ''), ?) > 0"
        return (contained if operator == "=" else f"NOT {contained}"), [path, value]
    if field_type in NUMERIC_TYPES:
        return f"CAST({stored} AS REAL) {operator} CAST(? AS REAL)", [path, value]
    return f"{stored} {operator} ?", [path, value]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
