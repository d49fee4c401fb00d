"""Lists: ranked groups cut at a limit, and the same groups picked by key for another range or other filters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from query_api.dimensions import ANY, DIMENSIONS
from query_api.planner import POSITION, fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from query_api.asking import Asking, Key, Sums
    from query_api.planner import Plan
    from query_api.question import Range

EVENT_LISTS = frozenset({"pages", "events"})
VISITORS_AND_VIEWS = ("visitors", "pageviews")
FIGURES = (*VISITORS_AND_VIEWS, "events", "sessions", "duration", "entered", "bounces")  # all that figures.sql gives
# The sums that a list's own figures are made of; what is not named is not computed.
SUMS = {
    "referrers": (*VISITORS_AND_VIEWS, "entered", "bounces"),
    "events": ("visitors", "events"),
}


def to_groups(plan: Plan) -> str:
    """SQL of all groups of the question's list: d0, d1, … and sums."""
    dimensions = plan.question.dimensions
    if plan.question.report.name in EVENT_LISTS:
        return _of_events(plan, dimensions)
    return breakdown(plan, dimensions)


def breakdown(plan: Plan, dimensions: Sequence[str]) -> str:
    """Sessions and their kept events by attributes of the session; one row of everything without dimensions.

    The values are read before the sessions: one that lands in between stops the query (`throwIf`), which is then asked
    again; without `throwIf` it has the first value's place.
    """
    if not dimensions:
        return plan.over_sites(
            fill("figures", visits=plan.visits(), number="", groups_of_site=plan.group_by()), FIGURES
        )
    columns = [DIMENSIONS[name].column for name in dimensions]
    values = [f"{plan.values(column)} AS values{place}" for place, column in enumerate(columns)]
    number, rest, texts = "0", "s0", list[str]()
    for place, column in enumerate(columns):
        size = f"length(values{place})"
        index = f"transform({column}, values{place}, range({size}), {size})"
        number = f"({number}) * {size} + toUInt64({index} % greatest({size}, 1) + throwIf({index} = {size}))"
    for place in reversed(range(len(columns))):
        size = f"greatest(length(values{place}), 1)"
        texts.insert(0, f"values{place}[{rest} % {size} + 1] AS d{place}")
        rest = f"intDiv({rest}, {size})"
    figures = fill(
        "figures", visits=plan.visits([number], order=POSITION), number="s0, ", groups_of_site=plan.group_by("s0")
    )
    return fill(
        "breakdown",
        values=f"WITH {', '.join(values)}",
        dimensions=", ".join(texts),
        names=", ".join(FIGURES),
        figures=plan.over_sites(figures, FIGURES, "s0"),
    )


def _of_events(plan: Plan, dimensions: Sequence[str]) -> str:
    """Pages with a view in the range; or custom events."""
    having = "pageviews > 0" if plan.question.report.name == "pages" else "d0 != 'pageview'"
    kept = plan.kept(dimensions)
    groups = f"GROUP BY d0 HAVING {having}"
    return fill("grouped", dimensions="d0, ", kept=kept, groups=groups, groups_of_site=plan.group_by("d0"))


async def read_page(asking: Asking) -> tuple[list[Sums], int]:
    """The rows of one page and one more where there are more; and how many rows the list has."""
    question = asking.question
    plan = asking.plan(question.range)
    names = [f"d{place}" for place in range(len(question.dimensions))]
    slots = {
        "groups": to_groups(plan),
        "rank": to_rank(question.report.measures[0]),
        "after": _to_after(plan, names),
        "dimensions": ", ".join(names),
        "sums": to_sums(question.report.name),
        "limit": plan.bindings.bind(question.limit + 1, "UInt32"),
    }
    rows = await asking.read(fill("list", **slots), plan)
    return rows, rows[0].sums["total"] if rows else 0


def to_sums(report: str) -> str:
    """The sums of a list's groups, as columns."""
    return ", ".join(SUMS.get(report, VISITORS_AND_VIEWS))


def to_rank(measure: str) -> str:
    """The sum that a list's first measure is."""
    return {"total": "events"}.get(measure, measure)


def _to_after(plan: Plan, names: Sequence[str]) -> str:
    """Rows that come after the last one of the page before."""
    if not plan.question.after:
        return "1"
    rank = to_rank(plan.question.report.measures[0])
    last, *texts = plan.question.after
    measure = plan.bindings.bind(last, "UInt64")
    key = ", ".join(plan.bindings.bind(text, "String") for text in texts)
    return f"({rank} < {measure} OR {rank} = {measure} AND ({', '.join(names)}) > ({key}))"


async def read_picked(asking: Asking, range_: Range, keys: Sequence[Key]) -> dict[Key, dict[str, int]]:
    """The sums of the groups with these keys in a range; a group that the list does not have is absent."""
    if not keys:
        return {}
    plan = asking.plan(range_)
    names = [f"d{place}" for place in range(len(asking.question.dimensions))]
    columns = [plan.bindings.bind(list(texts), "Array(String)") for texts in zip(*keys, strict=True)]
    zipped = f"arrayZip({', '.join(columns)})" if len(columns) > 1 else columns[0]
    wanted = f"({', '.join(names)}) IN (SELECT arrayJoin({zipped}))"
    slots = {"dimensions": ", ".join(names), "sums": to_sums(asking.question.report.name), "keys": wanted}
    rows = await asking.read(fill("picked", groups=to_groups(plan), **slots), plan)
    return {row.key: row.sums for row in rows}


def without_any(asking: Asking) -> Asking:
    """The same question without its `any.` conditions."""
    conditions = tuple(one for one in asking.question.conditions if not one.dimension.startswith(ANY))
    return replace(asking, question=replace(asking.question, conditions=conditions))


def without_name(asking: Asking) -> Asking:
    """The same question without its conditions on event_name."""
    conditions = tuple(one for one in asking.question.conditions if one.dimension != "event_name")
    return replace(asking, question=replace(asking.question, conditions=conditions))


async def read_visitors(asking: Asking, range_: Range) -> int:
    """Distinct visitors with a kept event in the range."""
    plan = asking.plan(range_)
    slots = {"dimensions": "", "groups": "", "groups_of_site": plan.group_by()}
    [row] = await asking.read(fill("grouped", kept=plan.kept(()), **slots), plan)
    return row.sums["visitors"]
