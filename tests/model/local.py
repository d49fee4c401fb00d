"""Local time: the days of a zone and the buckets of a timeseries, found by walking through real instants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib import resources
from itertools import groupby
from zoneinfo import ZoneInfo

MINUTE = 60_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Every offset and every change of one since 1972 lies on a quarter of an hour in the zones used here.
QUARTER = 15 * MINUTE
INTERVAL_MINUTES = {"1 minute": 1, "5 minutes": 5, "15 minutes": 15, "1 hour": 60}
INTERVALS = (*INTERVAL_MINUTES, "1 day", "1 week", "1 month")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A run of instants with one label; `t` is local time without offset, `end` is excluded."""

    t: str
    start: int
    end: int

    def holds(self, instant: int) -> bool:
        """Whether the instant falls into the bucket."""
        return self.start <= instant < self.end


@lru_cache(maxsize=100)
def zone_of(timezone: str) -> ZoneInfo:
    """The zone by the tzdata package; the machine's own database may be of another year."""
    with resources.files("tzdata").joinpath("zoneinfo", *timezone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=timezone)


def to_local(instant: int, timezone: str) -> datetime:
    """Epoch milliseconds as a datetime in the zone."""
    return (EPOCH + timedelta(milliseconds=instant)).astimezone(zone_of(timezone))


def to_instant(moment: datetime) -> int:
    """An aware datetime as epoch milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def local_day(instant: int, timezone: str) -> date:
    """The calendar date of an instant in the zone."""
    return to_local(instant, timezone).date()


@lru_cache(maxsize=10_000)
def first_instant(day: date, timezone: str) -> int:
    """The first instant whose calendar date in the zone is `day`; not always 00:00, DST may begin at midnight."""
    noon = to_instant(datetime.combine(day, time(12), UTC))
    instants = range(noon - 36 * 60 * MINUTE, noon + 36 * 60 * MINUTE, QUARTER)
    return next(instant for instant in instants if local_day(instant, timezone) == day)


def is_midnight(instant: int, timezone: str) -> bool:
    """Whether a local day begins at the instant."""
    return instant == first_instant(local_day(instant, timezone), timezone)


@lru_cache(maxsize=2_000)
def buckets(start: int, end: int, interval: str, timezone: str) -> tuple[Bucket, ...]:
    """Cut [start, end) into runs of instants with one label (and one UTC offset, where buckets are hours or less).

    Decision: METRICS.md says "the same local label and the same UTC offset", and that a day has 23, 24 or 25 hours: so
    the offset tells apart the labels of hours and minutes only.
    Decision: "the first and last are cut by the range": the first bucket's `start` is the range's start; its `t` stays
    the label, as of an uncut bucket.
    """
    step = MINUTE if INTERVAL_MINUTES.get(interval, 60) < 15 else QUARTER
    instants = [start, *range(start - start % step + step, end, step)] if start < end else []
    runs = [list(run) for _, run in groupby(instants, key=lambda instant: _label(instant, interval, timezone))]
    starts = [run[0] for run in runs]
    ends = [*starts[1:], end]
    return tuple(
        Bucket(_label(first, interval, timezone)[0], first, last) for first, last in zip(starts, ends, strict=False)
    )


def _label(instant: int, interval: str, timezone: str) -> tuple[str, timedelta | None]:
    moment = to_local(instant, timezone)
    if interval in INTERVAL_MINUTES:
        minutes = moment.hour * 60 + moment.minute
        whole = minutes - minutes % INTERVAL_MINUTES[interval]
        label = datetime.combine(moment.date(), time(whole // 60, whole % 60))
        return label.isoformat(timespec="seconds"), moment.utcoffset()
    day = moment.date()
    if interval == "1 week":
        day -= timedelta(days=day.weekday())
    if interval == "1 month":
        day = day.replace(day=1)
    return f"{day.isoformat()}T00:00:00", None
