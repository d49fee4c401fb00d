"""From conditions to SQL. What a user wrote travels only as a bound parameter; the text is all ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from query_api.dimensions import ANY, DIMENSIONS, PROPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from query_api.question import Condition

TRUE = "1"
NEGATIVE = frozenset({"!=", "!~"})
# One value against the column; == and != take all values at once.
TESTS = {
    "=^": "startsWith({column}, {value})",
    "=~": "position({column}, {value}) > 0",
    "!~": "position({column}, {value}) > 0",
    "=*": "match({column}, {value})",
}


@dataclass(slots=True)
class Bindings:
    """The bound parameters of one query; every value gets a name of ours."""

    values: dict[str, object] = field(default_factory=dict)

    def bind(self, value: object, kind: str) -> str:
        """The placeholder that stands for the value; `kind` is its ClickHouse type."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions by what they are held against."""

    event: tuple[Condition, ...]
    session: tuple[Condition, ...]
    entry: tuple[Condition, ...]
    exit: tuple[Condition, ...]
    any_of: tuple[Condition, ...]
    none_of: tuple[Condition, ...]

    @property
    def of_sessions(self) -> bool:
        """Whether sessions must be known to answer."""
        return bool(self.session or self.entry or self.exit or self.any_of or self.none_of)

    @property
    def pathname(self) -> tuple[Condition, ...]:
        """Those that a bounce rate asks of the entry page."""
        return tuple(condition for condition in self.event if condition.dimension == "pathname")


def sort_conditions(conditions: Iterable[Condition]) -> Conditions:
    """Tell apart whose attribute each condition names."""
    found: dict[str, list[Condition]] = {}
    for condition in conditions:
        found.setdefault(_to_owner(condition), []).append(condition)
    owners = ("event", "session", "entry", "exit", "any_of", "none_of")
    return Conditions(*(tuple(found.get(owner, ())) for owner in owners))


def _to_owner(condition: Condition) -> str:
    if condition.dimension.startswith(ANY):
        return "none_of" if condition.operator in NEGATIVE else "any_of"
    return "event" if condition.dimension.startswith(PROPS) else DIMENSIONS[condition.dimension].owner


def all_of(conditions: Iterable[Condition], bindings: Bindings, column: str = "") -> str:
    """SQL that holds where all conditions do; `column` stands in for each condition's own."""
    tests = [
        _to_sql(condition, column or to_column(condition.dimension, bindings), bindings) for condition in conditions
    ]
    return " AND ".join(tests) or TRUE


def to_column(dimension: str, bindings: Bindings) -> str:
    """The expression over `events` that holds the dimension; the key of a prop is bound like a value."""
    bare = dimension.removeprefix(ANY)
    if bare.startswith(PROPS):
        return f"props[{bindings.bind(bare.removeprefix(PROPS), 'String')}]"
    return DIMENSIONS[bare].column


def _to_sql(condition: Condition, column: str, bindings: Bindings) -> str:
    if condition.operator in {"==", "!="}:
        values = bindings.bind(list(condition.values), "Array(String)")
        return f"has({values}, {column}) = {int(condition.operator == '==')}"
    test = TESTS[condition.operator]
    any_value = " OR ".join(
        test.format(column=column, value=bindings.bind(value, "String")) for value in condition.values
    )
    return f"({any_value}) = {int(condition.operator not in NEGATIVE)}"
