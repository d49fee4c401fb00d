"""From a question to its answer: one function a family, each over the same sessions and kept events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from query_api.asking import Asking
from query_api.cursor import Cursor
from query_api.dimensions import ANY
from query_api.lists import breakdown, read_page, read_picked, read_visitors, to_rank, without_any, without_name
from query_api.measures import to_figure
from query_api.page_figures import read_page_figures
from query_api.params import recent_range, to_query
from query_api.patterns import refuse_patterns
from query_api.planner import fill
from query_api.question import Answer
from query_api.series import read_timeseries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from query_api.asking import Key, Sums
    from query_api.question import Question, Range, Row, Value
    from schemas.warehouse.client import Limits, Warehouse


async def answer(question: Question, warehouse: Warehouse, now: datetime, limits: Limits) -> Answer:
    """Rows and meta; InvalidQuestionError for a pattern that is not RE2, WarehouseLimitError for one too large."""
    await refuse_patterns(question, warehouse, limits)
    asking = Asking(question, warehouse, limits)
    match question.report.name:
        case "stats":
            return to_answer(question, [await read_stats(asking)], {}, now)
        case "timeseries":
            return to_answer(question, await read_timeseries(asking), {}, now)
        case "realtime":
            return await answer_realtime(replace(question, range=recent_range(now)), asking, now)
        case _:
            return await answer_list(asking, now)


async def read_stats(asking: Asking) -> Row:
    """The one row of everything in the range, with that of the compared range."""
    question = asking.question
    row: Row = {**await read_totals(asking, question.range)}
    if question.compare:
        row["compare"] = await read_totals(asking, question.compare.range)
    return row


async def read_totals(asking: Asking, range_: Range) -> dict[str, Value]:
    """The figures of stats over a range."""
    plan = asking.plan(range_)
    [row] = await asking.read(breakdown(plan, ()), plan)
    return {name: to_figure(name, row.sums) for name in asking.question.report.measures}


async def answer_list(asking: Asking, now: datetime) -> Answer:
    """One page of a list, with its figures, those of the compared range, and the cursor of the next page."""
    question = asking.question
    found, total = await read_page(asking)
    page = found[: question.limit]
    figures = await read_figures(asking, question.range, {row.key: row.sums for row in page})
    rows: dict[Key, Row] = {
        key: {**dict(zip(question.dimensions, key, strict=True)), **one} for key, one in figures.items()
    }
    if question.compare:
        compared = question.compare.range
        others = await read_figures(asking, compared, await read_picked(asking, compared, list(rows)))
        nothing: dict[str, Value] = dict.fromkeys(measures_of(question), 0)
        for key, row in rows.items():
            row["compare"] = others.get(key, nothing)
    last = page[-1] if len(found) > question.limit else None
    meta = {"total": total, "cursor": to_cursor(question, last) if last else None}
    return to_answer(question, list(rows.values()), meta, now)


async def read_figures(
    asking: Asking, range_: Range, groups: Mapping[Key, dict[str, int]]
) -> dict[Key, dict[str, Value]]:
    """All figures of the groups of a range, by key and in order."""
    more = await read_more(asking, range_, groups)
    measures = measures_of(asking.question)
    return {key: {name: to_figure(name, {**sums, **more[key]}) for name in measures} for key, sums in groups.items()}


async def read_more(asking: Asking, range_: Range, groups: Mapping[Key, dict[str, int]]) -> dict[Key, dict[str, int]]:
    """The sums that the groups lack: figures of pages, and the visitors that a conversion rate divides by."""
    keys = list(groups)
    more: dict[Key, dict[str, int]] = {key: {} for key in keys}
    if not keys:
        return more
    if asking.question.report.name == "events":
        visitors = await read_visitors(without_name(asking), range_)
        return {
            key: {"total": sums["events"], "unique_visitors": sums["visitors"], "visitors_without": visitors}
            for key, sums in groups.items()
        }
    if asking.question.report.name == "pages":
        pages = await read_page_figures(asking, range_, [key[0] for key in keys])
        more = {key: pages[key[0]] for key in keys}
    if asks_conversion(asking.question):
        without = await read_picked(without_any(asking), range_, keys)
        more = {key: {**sums, "visitors_without": without[key]["visitors"]} for key, sums in more.items()}
    return more


def asks_conversion(question: Question) -> bool:
    """Under an `any.` filter every list has a conversion rate; the list of events has one anyway."""
    return any(condition.dimension.startswith(ANY) for condition in question.conditions)


def measures_of(question: Question) -> tuple[str, ...]:
    """The measures of a row, conversion_rate last where it is asked for."""
    measures = question.report.measures
    listed = question.report.limit and question.report.name != "realtime"
    if listed and asks_conversion(question) and "conversion_rate" not in measures:
        return (*measures, "conversion_rate")
    return measures


async def answer_realtime(question: Question, asking: Asking, now: datetime) -> Answer:
    """Who was here in the last five minutes; rows are cut at the limit, `current_visitors` in meta counts them all."""
    plan = Asking(question, asking.warehouse, asking.limits).plan(question.range)
    places = range(len(question.dimensions))
    slots = {
        "dimensions": ", ".join(f"d{place}" for place in places),
        "latest": ", ".join(f"latest.{place + 1} AS d{place}" for place in places),
        "kept": plan.kept_of_visits(question.dimensions),
    }
    rows = await asking.read(fill("realtime", **slots), plan)
    page: list[Row] = [{**dict(zip(question.dimensions, row.key, strict=True)), **row.sums} for row in rows]
    current = sum(row.sums["current_visitors"] for row in rows)
    return to_answer(question, page[: question.limit], {"total": len(rows), "current_visitors": current}, now)


def to_answer(question: Question, rows: list[Row], more: Mapping[str, object], now: datetime) -> Answer:
    """Rows with the meta that every report has."""
    meta: dict[str, object] = {
        "start": to_text(question.range.start),
        "end": to_text(question.range.end),
        "timezone": question.timezone,
        "sites": [{"id": site.id, "domain": site.domain} for site in question.sites],
        "filters": [[one.dimension, one.operator, list(one.values)] for one in question.conditions],
        "include_bots": question.include_bots,
        "as_of": to_text(now),
        "total": len(rows),
        **({"interval": question.interval} if question.interval else {}),
        **({"compare": to_compared_meta(question)} if question.compare else {}),
        **more,
    }
    return Answer((*question.dimensions, *measures_of(question)), rows, meta)


def to_compared_meta(question: Question) -> dict[str, str] | None:
    """The range that figures are compared with."""
    if not question.compare:
        return None
    range_ = question.compare.range
    return {"kind": question.compare.kind, "start": to_text(range_.start), "end": to_text(range_.end)}


def to_cursor(question: Question, last: Sums) -> str:
    """Where the next page begins."""
    rank = last.sums[to_rank(question.report.measures[0])]
    return Cursor(question.report.name, to_query(question), question.asked, (rank, *last.key)).to_text()


def to_text(instant: datetime) -> str:
    """An instant in UTC, to the millisecond."""
    return f"{instant.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
