"""Timeseries: one row a bucket, zeros included, compared by place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from query_api.buckets import cut_range
from query_api.local import to_milliseconds
from query_api.planner import fill
from schemas.zones import open_zone

if TYPE_CHECKING:
    from query_api.asking import Asking
    from query_api.buckets import Bucket
    from query_api.question import Range, Row, Value


def cut(asking: Asking, range_: Range) -> list[Bucket]:
    """The buckets of a range, as the question asks for them."""
    return cut_range(range_, asking.question.interval, open_zone(asking.question.timezone))


async def read_series(asking: Asking, range_: Range) -> list[dict[str, Value]]:
    """The figures of every bucket, in order."""
    edges = [to_milliseconds(bucket.start) for bucket in cut(asking, range_)]
    if not edges:
        return []
    plan = asking.plan(range_)
    slots = {"edges": plan.bindings.bind(edges, "Array(Int64)"), "groups_of_site": plan.group_by("start")}
    series = fill("timeseries", visits=plan.visits(), **slots)
    rows = await asking.read(plan.over_sites(series, ("visitors", "pageviews", "sessions"), "start"), plan)
    found = {row.sums["start"]: row.sums for row in rows}
    measures = asking.question.report.measures
    return [{name: found[edge][name] if edge in found else 0 for name in measures} for edge in edges]


async def read_timeseries(asking: Asking) -> list[Row]:
    """One row a bucket; a compared range with fewer buckets counts nothing where it has none."""
    question = asking.question
    figures = await read_series(asking, question.range)
    labels = cut(asking, question.range)
    rows: list[Row] = [
        {"t": bucket.t, "start": to_text(bucket), **one} for bucket, one in zip(labels, figures, strict=True)
    ]
    if question.compare:
        others = await read_series(asking, question.compare.range)
        nothing: dict[str, Value] = dict.fromkeys(question.report.measures, 0)
        for place, row in enumerate(rows):
            row["compare"] = others[place] if place < len(others) else nothing
    return rows


def to_text(bucket: Bucket) -> str:
    """The first instant in UTC."""
    return f"{bucket.start.isoformat(timespec='milliseconds').removesuffix('+00:00').removesuffix('.000')}Z"
