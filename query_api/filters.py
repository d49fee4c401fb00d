r"""Filters as text to filters as data. Two forms, one meaning; every problem is told with its place.

JSON: an array of `[dimension, operator, value or values]` or `{"dimension", "operator", "values"}`.

Short: `country==US;pathname=^/blog/;browser!=Chrome|Edge`. `;` parts conditions, `|` parts values, the first operator
parts the dimension from the values. A backslash before any character takes its meaning away (`\;`, `\|`, `\=`,
`\\`). A RE2 pattern (`=*`) is one value: `|` is its own, and only `\;` is unescaped in it.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, get_args

import orjson

from query_api.dimensions import DIMENSIONS, OPEN_NAMES, is_filterable
from query_api.question import Condition, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS: tuple[Operator, ...] = get_args(Operator)
MAX_CONDITIONS = 50
MAX_VALUES = 1000
MAX_LENGTH = 2000  # of one value; props and paths are no longer

# A token is an escaped character, an operator, or one character.
TOKEN = re.compile(r"\\(.)|(==|!=|=\^|=~|!~|=\*)|(.)", re.DOTALL)
# Within a pattern a backslash belongs to what follows it.
PATTERN_PART = re.compile(r"\\.|.", re.DOTALL)


def parse_filters(text: str) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    """The conditions, and a sentence for everything that is wrong."""
    read = _read_json if text.lstrip().startswith("[") else _read_short
    conditions: list[Condition] = []
    problems: list[str] = []
    for number, found in enumerate(read(text), 1):
        problem = found if isinstance(found, str) else find_problem(found)
        if problem:
            problems.append(f"filters: condition {number}: {problem}")
        elif isinstance(found, Condition):
            conditions.append(found)
    if len(conditions) > MAX_CONDITIONS:
        problems.append(f"filters: more than {MAX_CONDITIONS} conditions")
    return tuple(conditions), tuple(problems)


def find_problem(condition: Condition) -> str:
    """What is wrong with a condition, or nothing."""
    if not is_filterable(condition.dimension):
        return f"unknown dimension {condition.dimension!r}{suggest(condition.dimension, (*DIMENSIONS, *OPEN_NAMES))}"
    if condition.operator not in OPERATORS:
        return f"unknown operator {condition.operator!r}; there are {' '.join(OPERATORS)}"
    if not condition.values:
        return "no value"
    if len(condition.values) > MAX_VALUES or any(len(value) > MAX_LENGTH for value in condition.values):
        return f"more than {MAX_VALUES} values, or one of more than {MAX_LENGTH} characters"
    return ""


def suggest(name: str, names: tuple[str, ...]) -> str:
    """'; did you mean …?' with the nearest name, or nothing where none is near."""
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _read_json(text: str) -> Iterator[Condition | str]:
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        yield f"not JSON: {error}"
        return
    yield from (_to_condition(item) for item in items)


def _to_condition(item: object) -> Condition | str:
    if isinstance(item, dict):
        unknown = set(item) - {"dimension", "operator", "value", "values"}
        if unknown:
            return f"unknown field {min(unknown)!r}; there are dimension, operator, values"
        item = [item.get("dimension"), item.get("operator"), item.get("values", item.get("value"))]
    match item:
        case [str(dimension), str(operator), value]:
            values = [_to_text(one) for one in (value if isinstance(value, list) else [value])]
            texts = tuple(one for one in values if one is not None)
            if len(texts) == len(values):
                return Condition(dimension, operator, texts)  # type: ignore[arg-type]  # find_problem looks at it
    return 'write ["country", "==", ["US"]]'


def _to_text(value: object) -> str | None:
    """A scalar as props hold it; None for anything else."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else None


def _read_short(text: str) -> Iterator[Condition | str]:
    for part in _split_conditions(text):
        if part.strip():
            yield _read_one(part)


def _split_conditions(text: str) -> list[str]:
    """At every `;` without a backslash; escapes stay as they are."""
    parts = [""]
    for match in PATTERN_PART.finditer(text):
        if match[0] == ";":
            parts.append("")
        else:
            parts[-1] += match[0]
    return parts


def _read_one(part: str) -> Condition | str:
    dimension = ""
    for match in TOKEN.finditer(part):
        if match[2]:
            rest = part[match.end() :]
            values = (rest.replace("\\;", ";"),) if match[2] == "=*" else _split_values(rest)
            return Condition(dimension.strip(), match[2], values)  # type: ignore[arg-type]  # TOKEN knows no other
        dimension += match[1] or match[3]
    return f"no operator in {part!r}; there are {' '.join(OPERATORS)}"


def _split_values(text: str) -> tuple[str, ...]:
    values = [""]
    for match in TOKEN.finditer(text):
        if match[0] == "|":
            values.append("")
        else:
            values[-1] += match[1] or match[2] or match[3]
    return tuple(values)
