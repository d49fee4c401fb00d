"""From query parameters to a question, or to every problem at once. Pure: clock and the key's sites are arguments."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING

import orjson

from query_api.buckets import INTERVALS, MAX_BUCKETS, cut_range, find_interval
from query_api.cursor import BESIDE_CURSOR, read_cursor, to_digest
from query_api.filters import parse_filters
from query_api.local import from_milliseconds, to_milliseconds
from query_api.parameters import DEFAULT_INTERVAL, MAX_LIMIT
from query_api.question import Compare, Question, Range
from query_api.ranges import PERIODS, to_compared, to_end, to_period, to_start, to_zone
from query_api.reading import Reading
from schemas.zones import open_zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from query_api.question import Access, CompareKind, Condition, Format, Report, SiteView

    Pairs = Sequence[tuple[str, str]]

MISSING = "Missing required parameters: "
RECENT = timedelta(minutes=5)
INSTANT = timedelta(milliseconds=1)
EAST = timezone(timedelta(hours=1))


def parse_question(report: Report, query: Pairs, access: Access, now: datetime) -> Question:
    """Raise InvalidQuestionError naming all problems; nothing outside of `access` can be asked of."""
    reading = Reading(report.parameters, query)
    now = from_milliseconds(to_milliseconds(now))
    if not reading.get("cursor") or reading.problems:
        return _finish(reading, _parse(reading, report, access, now))
    return _resume(reading, report, access, now)


def recent_range(now: datetime) -> Range:
    """The last five minutes, now included: (now - 5:00, now]; instants are whole milliseconds."""
    return Range(now - RECENT + INSTANT, now + INSTANT)


def to_query(question: Question) -> tuple[tuple[str, str], ...]:
    """The question as the parameters that would ask it again at any time."""
    filters = [[one.dimension, one.operator, one.values] for one in question.conditions]
    pairs = [
        ("start", question.range.start.isoformat(timespec="milliseconds")),
        ("end", _to_end_text(question.range.end)),
        ("timezone", question.timezone),
        ("compare", question.compare.kind if question.compare else ""),
        ("filters", orjson.dumps(filters).decode() if filters else ""),
        ("include_bots", "true" if question.include_bots else ""),
        ("limit", str(question.limit)),
        ("detail", "city" if "city" in question.dimensions else ""),
        *(("site", str(site.id)) for site in question.sites),
    ]
    return tuple((name, value) for name, value in pairs if value)


def _to_end_text(end: datetime) -> str:
    """The very instant: a time of 23:59:59 would be read as the midnight that follows, so it is told an hour east."""
    zone = EAST if (end.hour, end.minute, end.second) == (23, 59, 59) else UTC
    return end.astimezone(zone).isoformat(timespec="milliseconds")


def _resume(reading: Reading, report: Report, access: Access, now: datetime) -> Question:
    """The question of a cursor, after its last row; beside it only what may be said anew, or the same question."""
    try:
        cursor = read_cursor(reading.get("cursor"), report)
    except ValueError as error:
        reading.refuse("cursor", f"cursor: {error}")
        raise reading.to_error() from error
    beside = [pair for pair in reading.query if pair[0] not in BESIDE_CURSOR]
    if beside and to_digest(beside) != cursor.asked:
        reading.refuse("cursor", "cursor: belongs to another question; give it alone, or with what it came with")
    anew = [pair for pair in reading.query if pair[0] in BESIDE_CURSOR - {"cursor"}]
    said = {name for name, _ in anew}
    again = Reading(report.parameters, [*(pair for pair in cursor.query if pair[0] not in said), *anew])
    question = _parse(again, report, access, now)
    if len(cursor.after) != len(question.dimensions) + 1:
        again.refuse("cursor", "cursor: is not one that this endpoint gave")
    reading.problems += again.problems
    return _finish(reading, replace(question, after=cursor.after, asked=cursor.asked))


def _finish(reading: Reading, question: Question) -> Question:
    if reading.problems:
        raise reading.to_error()
    return question


def _parse(reading: Reading, report: Report, access: Access, now: datetime) -> Question:
    """What can be read, with every problem noted in `reading`."""
    sites = _read_sites(reading, access)
    zone = reading.read("timezone", to_zone, _common_zone(sites))
    asked = recent_range(now) if "start" not in report.parameters else _read_range(reading, now, zone)
    kinds: tuple[CompareKind, ...] = ("previous", "year")
    kind = reading.choose("compare", kinds)
    limit = reading.read("limit", _to_limit, report.limit)
    formats: tuple[Format, ...] = ("json", "csv", "ndjson", "parquet")
    return Question(
        report=report,
        range=asked,
        timezone=zone.key,
        sites=sites,
        conditions=_read_conditions(reading),
        compare=Compare(kind, to_compared(kind, asked, zone)) if kind and asked.start < asked.end else None,
        interval=_read_interval(reading, asked, zone) if "interval" in report.parameters else "",
        dimensions=(*report.dimensions, "city") if _is_city(reading) else report.dimensions,
        limit=min(limit, MAX_LIMIT * report.limit),  # 0 where nothing is ever cut
        include_bots=reading.choose("include_bots", ("true", "false")) == "true",
        format=reading.choose("format", formats),
        asked=to_digest([pair for pair in reading.query if pair[0] not in BESIDE_CURSOR]),
    )


def _read_sites(reading: Reading, access: Access) -> tuple[SiteView, ...]:
    """The sites asked for, each once and by id; all of the key's without any."""
    wanted = reading.values.get("site", [])
    for text in wanted:
        if not any(text in {str(site.id), site.domain} for site in access.sites):
            reading.refuse("site", f"site: no site {text!r} in this project")
    found = [site for site in access.sites if not wanted or {str(site.id), site.domain} & set(wanted)]
    return tuple(sorted(found, key=lambda site: site.id))


def _common_zone(sites: Sequence[SiteView]) -> ZoneInfo:
    names = {site.timezone for site in sites}
    return open_zone(names.pop() if len(names) == 1 else "UTC")


def _read_range(reading: Reading, now: datetime, zone: ZoneInfo) -> Range:
    """A range that cannot be read is empty; its problems are noted."""
    nothing = Range(now, now)
    if reading.get("period"):
        if reading.get("start") or reading.get("end"):
            reading.refuse("period", "period: stands in place of start and end")
        period = reading.choose("period", PERIODS)
        return to_period(period, now, zone) if period else nothing
    missing = [name for name in ("start", "end") if name in reading.required and not reading.get(name)]
    if missing:
        reading.refuse(missing[0], MISSING + ", ".join(missing))
    noted = len(reading.problems)
    start = reading.read("start", lambda text: to_start(text, zone), now)
    end = reading.read("end", lambda text: to_end(text, zone), now)
    if missing or len(reading.problems) > noted:
        return nothing
    if start >= end:
        reading.refuse("end", "end: must be after start")
        return nothing
    return Range(start, end)


def _read_conditions(reading: Reading) -> tuple[Condition, ...]:
    conditions, problems = parse_filters(reading.get("filters"))
    for problem in problems:
        reading.refuse("filters", problem)
    return conditions


def _read_interval(reading: Reading, asked: Range, zone: ZoneInfo) -> str:
    interval = reading.choose("interval", tuple(INTERVALS)) or DEFAULT_INTERVAL
    fitting = find_interval(asked, interval)
    if fitting == interval and len(cut_range(asked, interval, zone)) > MAX_BUCKETS:
        fitting = list(INTERVALS)[list(INTERVALS).index(interval) + 1]
    if fitting != interval:
        reading.refuse("interval", f"interval: {interval!r} gives more than {MAX_BUCKETS} buckets; use {fitting!r}")
    return interval


def _is_city(reading: Reading) -> bool:
    return reading.choose("detail", ("region", "city")) == "city"


def _to_limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        message = f"{text!r} is not a whole number from 1 to {MAX_LIMIT}"
        raise ValueError(message)
    return int(text)
