"""What the dates of a question mean: bare dates, times, periods, and the range to compare with. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from query_api.local import DAY, first_instant, from_milliseconds, is_midnight, local_date, move, to_milliseconds
from query_api.question import Range
from schemas.zones import UnknownZoneError, open_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from query_api.question import CompareKind

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
BARE_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.ASCII)
FRACTION = re.compile(r"[.,](\d{1,9})")
LAST_SECOND = re.compile(r"[Tt ]23:59:59")
PERIOD_DAYS = {"today": 1, "7d": 7, "28d": 28, "30d": 30, "90d": 90}
PERIODS = ("today", "yesterday", "7d", "28d", "30d", "90d", "month", "12mo", "1y")
NO_ZONE = "{!r} is no IANA time zone"
SYNTAX = "is neither a date like 2024-01-15 nor a time like 2024-01-15T09:30:00Z (write the + of an offset as %2B)"


def to_zone(name: str) -> ZoneInfo:
    """The IANA zone of that name, or ValueError; a name is looked up, never taken for a path."""
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name):
        raise ValueError(NO_ZONE.format(name))
    try:
        return open_zone(name)
    except UnknownZoneError as error:
        raise ValueError(NO_ZONE.format(name)) from error


def to_start(text: str, zone: ZoneInfo) -> datetime:
    """The first instant of a bare date, or the time; ValueError says what is wrong."""
    if BARE_DATE.fullmatch(text):
        return _refuse_far(first_instant(_to_date(text), zone))
    return _refuse_far(_to_instant(text))


def to_end(text: str, zone: ZoneInfo) -> datetime:
    """The first instant after a bare date, or the time; 23:59:59 with or without fraction is the midnight after."""
    if BARE_DATE.fullmatch(text):
        return _refuse_far(first_instant(_to_date(text) + DAY, zone))
    if LAST_SECOND.search(text):
        return _refuse_far(_to_instant(FRACTION.sub("", text)) + timedelta(seconds=1))
    return _refuse_far(_to_instant(text))


def _to_date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is not a day of the calendar"
        raise ValueError(message) from error
    _refuse_far(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return day


def _to_instant(text: str) -> datetime:
    """Times without offset are UTC; a fraction counts to the millisecond, rounded up."""
    if not TIME.fullmatch(text):
        message = f"{text!r} {SYNTAX}"
        raise ValueError(message)
    fraction = FRACTION.search(text)
    try:
        moment = datetime.fromisoformat(FRACTION.sub("", text.upper()))
        whole = _refuse_far(moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is not a time between {EARLIEST.year} and {LATEST.year}"
        raise ValueError(message) from error
    digits = fraction[1].ljust(9, "0") if fraction else "0"
    return from_milliseconds(to_milliseconds(whole) - (-int(digits) // 1_000_000))


def _refuse_far(instant: datetime) -> datetime:
    """Days outside cannot be stored; the day of room is for zones."""
    if not EARLIEST - DAY <= instant <= LATEST + DAY:
        message = f"{instant.date().isoformat()} is not between {EARLIEST.year} and {LATEST.year}"
        raise ValueError(message)
    return instant


def to_period(period: str, now: datetime, zone: ZoneInfo) -> Range:
    """Local days ending with today, all but `yesterday` end now."""
    today = local_date(now, zone)
    if period == "yesterday":
        return Range(first_instant(today - DAY, zone), first_instant(today, zone))
    return Range(first_instant(_to_first_day(period, today), zone), now)


def _to_first_day(period: str, today: date) -> date:
    if period == "month":
        return today.replace(day=1)
    if period == "12mo":
        months = today.year * 12 + today.month - 12
        return date(months // 12, months % 12 + 1, 1)
    if period == "1y":
        return today.replace(month=1, day=1)
    return today - (PERIOD_DAYS[period] - 1) * DAY


def to_compared(kind: CompareKind, asked: Range, zone: ZoneInfo) -> Range:
    """The range before (`previous`) or a year before."""
    return _to_previous(asked, zone) if kind == "previous" else _to_year_before(asked, zone)


def _to_previous(asked: Range, zone: ZoneInfo) -> Range:
    """As many local days earlier as the range touches; a range that begins within a day moves by its own length."""
    if not is_midnight(asked.start, zone):
        return Range(asked.start - (asked.end - asked.start), asked.start)
    first, last = local_date(asked.start, zone), local_date(asked.end - timedelta(milliseconds=1), zone)
    days = last - first + DAY
    return Range(
        first_instant(first - days, zone),
        move(asked.end, zone, local_date(asked.end, zone) - days),
    )


def _to_year_before(asked: Range, zone: ZoneInfo) -> Range:
    """An end on a midnight is the end of the day before it, and that day moves."""
    start = move(asked.start, zone, _a_year_before(local_date(asked.start, zone)))
    if is_midnight(asked.end, zone):
        last = _a_year_before(local_date(asked.end - timedelta(milliseconds=1), zone))
        return Range(start, max(start, first_instant(last + DAY, zone)))
    return Range(start, max(start, move(asked.end, zone, _a_year_before(local_date(asked.end, zone)))))


def _a_year_before(day: date) -> date:
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)
