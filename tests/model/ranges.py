"""What the dates of a question mean: bare dates, times, periods, and the ranges to compare with."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from tests.model.local import first_instant, is_midnight, local_day, to_instant, to_local

Range = tuple[int, int]
LAST_SECOND = re.compile(r"T23:59:59([.,]\d+)?")
DAYS = {"7d": 7, "28d": 28, "30d": 30, "90d": 90}


def to_range(start: str, end: str, timezone: str) -> Range:
    """Resolve two texts: a bare date is a local day of the zone, a time without offset is UTC."""
    return _start_of(start, timezone), _end_of(end, timezone)


def _start_of(text: str, timezone: str) -> int:
    if "T" not in text:
        return first_instant(date.fromisoformat(text), timezone)
    return _instant_of(text)


def _end_of(text: str, timezone: str) -> int:
    if "T" not in text:
        return first_instant(date.fromisoformat(text) + timedelta(days=1), timezone)
    if LAST_SECOND.search(text):
        return _instant_of(LAST_SECOND.sub("T23:59:59", text)) + 1000
    return _instant_of(text)


def _instant_of(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return to_instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def to_period(period: str, now: int, timezone: str) -> Range:
    """Resolve `7d`, `month` and so on; all but `yesterday` end now."""
    today = local_day(now, timezone)
    if period == "yesterday":
        return first_instant(today - timedelta(days=1), timezone), first_instant(today, timezone)
    return first_instant(_first_day(period, today), timezone), now


def _first_day(period: str, today: date) -> date:
    if period in DAYS:
        return today - timedelta(days=DAYS[period] - 1)
    if period == "month":
        return today.replace(day=1)
    if period == "12mo":
        months = today.year * 12 + today.month - 1 - 11
        return date(months // 12, months % 12 + 1, 1)
    if period == "1y":
        return today.replace(month=1, day=1)
    return today


def to_previous(start: int, end: int, timezone: str) -> Range:
    """The same number of local days ending at the same local time directly before.

    Decision: "ranges not on local midnights" are those that do not begin on one; a range from a local midnight to
    any time of day (every period) moves by as many local days as it touches, so that a period and the same range
    written out are compared with the same days.
    """
    if not is_midnight(start, timezone):
        return start - (end - start), start
    days = (local_day(end - 1, timezone) - local_day(start, timezone)).days + 1
    return _move(start, timezone, -days), _move(end, timezone, -days)


def to_year(start: int, end: int, timezone: str) -> Range:
    """The same local dates a year earlier; 29 February becomes 28.

    Decision: an end on a local midnight is the end of the date before it, and that date moves: the year before
    28 February 2024 alone is 28 February 2023, not nothing. A piece of two days that become one may be nothing.
    """
    first = _to_year_before(start, timezone)
    if is_midnight(end, timezone):
        last = _year_before(local_day(end - 1, timezone))
        return first, max(first, first_instant(last + timedelta(days=1), timezone))
    return first, max(first, _to_year_before(end, timezone))


def _to_year_before(instant: int, timezone: str) -> int:
    day = local_day(instant, timezone)
    return _move(instant, timezone, (_year_before(day) - day).days)


def _year_before(day: date) -> date:
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def _move(instant: int, timezone: str, days: int) -> int:
    """The same local time some days away; the first instant of a day stays one."""
    moment = to_local(instant, timezone)
    day = moment.date() + timedelta(days=days)
    if is_midnight(instant, timezone):
        return first_instant(day, timezone)
    # Decision: of a repeated time the same of the two, of one that the clock leaves out as long after the change.
    return to_instant(datetime.combine(day, moment.timetz()))
