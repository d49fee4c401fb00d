"""Cuts a range into the buckets of a timeseries; no SQL text names a zone, the edges are bound as instants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from query_api.local import DAY, find_change, first_instant, local_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from zoneinfo import ZoneInfo

    from query_api.question import Range

MAX_BUCKETS = 10_000
SAMPLE = timedelta(hours=6)  # no zone has changed its offset twice within it

# The mean length of a bucket: how many there will be is told before they are made.
INTERVALS: Mapping[str, timedelta] = MappingProxyType(
    {
        "1 minute": timedelta(minutes=1),
        "5 minutes": timedelta(minutes=5),
        "15 minutes": timedelta(minutes=15),
        "1 hour": timedelta(hours=1),
        "1 day": timedelta(days=1),
        "1 week": timedelta(weeks=1),
        "1 month": timedelta(days=30),
    }
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A run of instants with one local label `t`; `start` is its first instant within the range."""

    t: str
    start: datetime


def cut_range(asked: Range, interval: str, zone: ZoneInfo) -> list[Bucket]:
    """The buckets in order. Labels are those of uncut buckets, so the first may lie before the range."""
    if asked.start >= asked.end:
        return []
    step = INTERVALS[interval]
    return list(_cut_days(asked, interval, zone) if step >= DAY else _cut_hours(asked, step, zone))


def find_interval(asked: Range, interval: str) -> str:
    """The interval itself, or the shortest longer one that gives at most 10,000 buckets."""
    longer = list(INTERVALS)[list(INTERVALS).index(interval) :]
    fits = (name for name in longer if (asked.end - asked.start) / INTERVALS[name] <= MAX_BUCKETS)
    return next(fits, longer[-1])


def _cut_days(asked: Range, interval: str, zone: ZoneInfo) -> Iterator[Bucket]:
    day = _first_day(local_date(asked.start, zone), interval)
    start = asked.start
    while start < asked.end:
        following = _next_day(day, interval)
        end = first_instant(following, zone)
        if end > start:
            yield Bucket(f"{day.isoformat()}T00:00:00", start)
            start = end
        day = following


def _first_day(day: date, interval: str) -> date:
    if interval == "1 week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "1 month" else day


def _next_day(day: date, interval: str) -> date:
    if interval == "1 month":
        return _first_day(day + timedelta(days=31), interval)
    return day + INTERVALS[interval]


def _cut_hours(asked: Range, step: timedelta, zone: ZoneInfo) -> Iterator[Bucket]:
    """Within a stretch of one offset, labels are the whole steps of local time; a change of offset begins a bucket."""
    for start, end in _one_offset(asked, zone):
        offset = start.astimezone(zone).utcoffset() or timedelta()
        local = start.replace(tzinfo=None) + offset
        label = local - (local - local.replace(hour=0, minute=0, second=0, microsecond=0)) % step
        while label - offset < end.replace(tzinfo=None):
            first = max(start, (label - offset).replace(tzinfo=UTC))
            yield Bucket(label.isoformat(timespec="seconds"), first)
            label += step


def _one_offset(asked: Range, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    start, at = asked.start, asked.start
    while at < asked.end:
        offset = at.astimezone(zone).utcoffset()
        following = min(at + SAMPLE, asked.end)
        if following.astimezone(zone).utcoffset() != offset:
            change = _find_offset_change(at, following, zone)
            if change < asked.end:
                yield start, change
                start = following = change
        at = following
    yield start, asked.end


def _find_offset_change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    offset = before.astimezone(zone).utcoffset()
    return find_change(before, after, lambda moment: moment.astimezone(zone).utcoffset() != offset)
