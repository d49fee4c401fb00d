"""Local days of a time zone: where they begin, and the same local time some days away. Pure; instants are aware UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_milliseconds(instant: datetime) -> int:
    """Epoch milliseconds of an instant, rounded up: events have whole ones, so `>=` and `<` stay true."""
    return -((EPOCH - instant) // MILLISECOND)


def from_milliseconds(milliseconds: int) -> datetime:
    """The instant of epoch milliseconds."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar date of an instant."""
    return instant.astimezone(zone).date()


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day: not always 00:00, and of a day that a zone left out that of the next one."""
    midnight = datetime.combine(day, time(), zone)
    instant = midnight.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return instant
    return find_change(instant - DAY, instant + DAY, lambda moment: local_date(moment, zone) >= day)


def find_change(before: datetime, after: datetime, holds: Callable[[datetime], bool]) -> datetime:
    """The first millisecond at which `holds` is true; it is false at `before`, true at `after`, and changes once."""
    low, high = to_milliseconds(before), to_milliseconds(after)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(from_milliseconds(middle)) else (middle, high)
    return from_milliseconds(high)


def is_midnight(instant: datetime, zone: ZoneInfo) -> bool:
    """Whether a local day begins at the instant."""
    return instant == first_instant(local_date(instant, zone), zone)


def move(instant: datetime, zone: ZoneInfo, day: date) -> datetime:
    """The same local time on another day; the first instant of a day stays one.

    A time that the clock leaves out lies as far after the change as it would have without it; of a repeated one it is
    the same of the two.
    """
    if is_midnight(instant, zone):
        return first_instant(day, zone)
    local = instant.astimezone(zone)
    return datetime.combine(day, local.timetz()).astimezone(UTC)
