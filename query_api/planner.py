"""Which part of a question comes from where. All of it comes from raw events now; closed days will come from tables.

A plan is a question over one range; it makes the relations that reports are written over: the sessions (`visits`) and
the kept events (`kept`), straight from the rows where no condition asks about sessions. The texts stand in sql/ and
take each other in through named slots; a slot is only ever filled with text of ours.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from query_api.conditions import Bindings, all_of, sort_conditions, to_column
from query_api.dimensions import DIMENSIONS
from query_api.local import to_milliseconds
from query_api.marks import COUNTED, to_entered, to_mark, to_session_condition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.question import Question, Range

# The local date of an instant may differ from its UTC date by so much; sessions need whole local days.
FARTHEST = timedelta(hours=14)
# A block holds fewer than 2^18 lines (BLOCK_BYTES), so this orders the records of one log partition.
POSITION = "bitOr(bitShiftLeft(_offset, 18), _place)"
ANY_ORDER = "toUInt8(0)"
RECORD_COLUMNS = 3  # visitor, mark, position come first in a record


@cache
def read_template(name: str) -> Template:
    """A text of sql/ without its comments, read once."""
    lines = resources.files("query_api").joinpath("sql", f"{name}.sql").read_text().splitlines()
    return Template("\n".join(line for line in lines if not line.lstrip().startswith("--")))


def fill(name: str, **slots: str) -> str:
    """A text with its slots filled."""
    return read_template(name).substitute(slots).strip()


class Plan:
    """Makes the SQL of one query about `question` over `range_`; `bindings` holds what it binds."""

    def __init__(self, question: Question, range_: Range) -> None:
        self.question = question
        self.bindings = Bindings()
        self.conditions = sort_conditions(question.conditions)
        self._range = range_

    def visits(self, columns: Sequence[str] = (), position: str = POSITION) -> str:
        """The sessions asked for, one row each; records carry `columns` of `events` after their position."""
        bindings = self.bindings
        gathered = "".join(f",\n                groupArray({column})" for column in columns)
        mark = to_mark(self.conditions, self._inside(), bindings)
        runs = fill("runs", mark=mark, position=position, columns=gathered, scope=self._scope())
        return fill(
            "visits",
            runs=runs,
            conditions=to_session_condition(self.conditions, bindings),
            entered=to_entered(self.conditions, bindings),
        )

    def kept(self, dimensions: Sequence[str]) -> str:
        """Kept events in the range with `site_id`, `visitor_id`, `is_view` and d0, d1, … the dimensions."""
        if self.conditions.of_sessions or any(DIMENSIONS[name].owner != "event" for name in dimensions):
            return self.kept_of_visits(dimensions)
        columns = [f"{to_column(name, self.bindings)} AS d{place}" for place, name in enumerate(dimensions)]
        conditions = all_of(self.conditions.event, self.bindings)
        scope = f"{self._scope()} AND {self._inside()} AND {COUNTED}"
        return fill("kept", columns=to_more(columns), scope=scope, conditions=conditions)

    def kept_of_visits(self, dimensions: Sequence[str]) -> str:
        """The same by way of sessions: the kept events of those that the conditions keep."""
        found = [DIMENSIONS[name] for name in dimensions]
        columns = [
            f"{'record' if dimension.owner == 'event' else 'first'}.{place + RECORD_COLUMNS + 1} AS d{place}"
            for place, dimension in enumerate(found)
        ]
        visits = self.visits([dimension.column for dimension in found])
        return fill("kept_of_visits", columns=to_more(columns), visits=visits)

    def _scope(self) -> str:
        """Rows of the sites and of the local days that the range touches, in whatever zone; without bots."""
        sites = self.bindings.bind([site.id for site in self.question.sites], "Array(UInt32)")
        first = self.bindings.bind((self._range.start - FARTHEST).date().isoformat(), "Date")
        last = self.bindings.bind((self._range.end + FARTHEST).date().isoformat(), "Date")
        people = "" if self.question.include_bots else " AND bot = ''"
        return f"site_id IN {sites} AND local_date BETWEEN {first} AND {last}{people}"

    def _inside(self) -> str:
        start, end = (
            f"fromUnixTimestamp64Milli({self.bindings.bind(to_milliseconds(instant), 'Int64')}, 'UTC')"
            for instant in (self._range.start, self._range.end)
        )
        return f"(ts >= {start} AND ts < {end})"


def to_more(columns: Sequence[str]) -> str:
    """Further columns of a SELECT."""
    return "".join(f",\n    {column}" for column in columns)


def to_list(names: Sequence[str]) -> str:
    """Columns that others follow in a SELECT or GROUP BY."""
    return "".join(f"{name}, " for name in names)
