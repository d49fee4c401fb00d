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
from query_api.flags import COUNTED, to_entered, to_flags, to_holds, to_session_condition
from query_api.local import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.question import Question, Range

# The local date of an instant may differ from its UTC date by so much; sessions need whole local days.
FARTHEST = timedelta(hours=14)
TIME = "toUInt32(toUnixTimestamp64Milli(ts) - (toInt64(local_date) - 1) * 86400000)"
# A block holds fewer than 2^18 lines (BLOCK_BYTES), so this orders the records of one log partition.
POSITION = "bitOr(bitShiftLeft(_offset, 18), _place)"
ANY_ORDER = "toUInt8(0)"

# A day's column in the order of its records.
ORDERED = """,
    if(is_unsorted,
        arraySort((value, key) -> key, arrayResize(found_{name}, loose), loose_keys), found_{name}) AS day_{name}"""
# Of each session its records' values, or the first one's.
OF_RECORDS = """,
    arraySplit((value, begins) -> begins, {day}, starts) AS {name}"""
OF_SESSION = """,
    arrayFilter((value, begins) -> begins, {day}, starts) AS {name}"""


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

    def visits(self, of_session: Sequence[str] = (), of_records: Sequence[str] = (), order: str = ANY_ORDER) -> str:
        """The sessions asked for, one row each.

        `of_session` are columns of `events` whose value at the first counted event becomes s0, s1, …; those of
        `of_records` become arrays c0, c1, … beside `times` and `flags`. `order` tells records of one millisecond apart.
        """
        return fill(
            "visits",
            sessions=self._sessions(of_session, of_records, order),
            conditions=to_session_condition(self.conditions, self.bindings),
            entered=to_entered(self.conditions, self.bindings),
        )

    def _sessions(self, of_session: Sequence[str], of_records: Sequence[str], order: str) -> str:
        split = {f"c{place}": column for place, column in enumerate(of_records)}
        first = {f"s{place}": column for place, column in enumerate(of_session)}
        read = {**split, **first}
        return fill(
            "sessions",
            time=TIME,
            flags=to_flags(self.conditions, self._inside(), self.bindings),
            position=order,
            gathered="".join(f",\n    groupArray({column}) AS found_{name}" for name, column in read.items()),
            wide="UInt128" if order == ANY_ORDER else "UInt256",
            time_bit="16" if order == ANY_ORDER else "80",
            visitor_bit="48" if order == ANY_ORDER else "112",
            ordered="".join(ORDERED.format(name=name) for name in read),
            picked="".join(
                (OF_SESSION if name in first else OF_RECORDS).format(name=name, day=f"day_{name}") for name in read
            ),
            names=to_more(list(read)),
            holds=to_holds(self.conditions),
            scope=self._scope(),
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
        """The same by way of sessions, with their order as `moment`: the kept events of those that are kept."""
        of_event = [name for name in dimensions if DIMENSIONS[name].owner == "event"]
        of_session = [name for name in dimensions if name not in of_event]
        records = {name: f"c{place}" for place, name in enumerate(of_event, 1)}
        names = records | {name: f"s{place}" for place, name in enumerate(of_session)}
        visits = self.visits(
            [DIMENSIONS[name].column for name in of_session],
            [POSITION, *(DIMENSIONS[name].column for name in of_event)],
            POSITION,
        )
        return fill(
            "kept_of_visits",
            columns=to_more([f"{names[name]} AS d{place}" for place, name in enumerate(dimensions)]),
            visits=visits,
            joined="".join(f", {column}" for column in records.values()),
        )

    def group_by(self, *keys: str) -> str:
        """Groups within which visitors may be counted: those of different sites are different visitors."""
        several = ("site_id",) if len(self.question.sites) > 1 else ()
        return f"GROUP BY {', '.join((*keys, *several))}" if keys or several else ""

    def over_sites(self, figures: str, names: Sequence[str], *keys: str) -> str:
        """Figures by `keys` and by what `group_by` adds to them, summed over sites."""
        if len(self.question.sites) == 1:
            return figures
        columns = ", ".join([*keys, *(f"sum({name}) AS {name}" for name in names)])
        return fill(
            "over_sites", of_sites=figures, figures=columns, groups=f"GROUP BY {', '.join(keys)}" if keys else ""
        )

    def values(self, column: str) -> str:
        """All values of a text column in the days that the range touches, as an array in the order of their bytes."""
        return fill("values", column=column, scope=self._days())

    def _scope(self) -> str:
        """Rows that sessions are made of: without bots, unless they are asked for."""
        return self._days() if self.question.include_bots else f"{self._days()} AND bot = ''"

    def _days(self) -> str:
        """Rows of the sites and of the local days that the range touches, in whatever zone."""
        sites = self.bindings.bind([site.id for site in self.question.sites], "Array(UInt32)")
        first = self.bindings.bind((self._range.start - FARTHEST).date().isoformat(), "Date")
        last = self.bindings.bind((self._range.end + FARTHEST).date().isoformat(), "Date")
        return f"site_id IN {sites} AND local_date BETWEEN {first} AND {last}"

    def _inside(self) -> str:
        start, end = (
            f"fromUnixTimestamp64Milli({self.bindings.bind(to_milliseconds(instant), 'Int64')}, 'UTC')"
            for instant in (self._range.start, self._range.end)
        )
        return f"(ts >= {start} AND ts < {end})"


def to_more(columns: Sequence[str]) -> str:
    """Further columns of a SELECT."""
    return "".join(f",\n    {column}" for column in columns)
