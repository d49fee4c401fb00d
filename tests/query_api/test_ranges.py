"""Local time: what dates mean, where days and buckets begin, what is compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from query_api.buckets import cut_range
from query_api.question import CompareKind, Range
from query_api.ranges import to_compared, to_end, to_period, to_start, to_zone

ENDS = {
    "2026-03-10": "2026-03-11T00:00:00+00:00",
    "2026-03-10T09:30": "2026-03-10T09:30:00+00:00",
    "2026-03-10T09:30:00+05:45": "2026-03-10T03:45:00+00:00",
    "2026-03-10t09:30:00z": "2026-03-10T09:30:00+00:00",
    "2026-03-10T23:59:59": "2026-03-11T00:00:00+00:00",
    "2026-03-10T23:59:59.999999Z": "2026-03-11T00:00:00+00:00",
    "2026-03-10T23:59:59-05:00": "2026-03-11T05:00:00+00:00",
    "2026-03-10T09:30:00.1234Z": "2026-03-10T09:30:00.124000+00:00",
}
# Zone, day, hours of the day.
DAYS = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("Australia/Lord_Howe", "2026-10-04", 23.5),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ("America/Havana", "2026-03-08", 23),
    ("Asia/Kathmandu", "2026-03-08", 24),
]
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
PERIODS = {
    "today": ("2026-03-28T23:00", "2026-03-29T12:00"),
    "yesterday": ("2026-03-27T23:00", "2026-03-28T23:00"),
    "7d": ("2026-03-22T23:00", "2026-03-29T12:00"),
    "month": ("2026-02-28T23:00", "2026-03-29T12:00"),
    "12mo": ("2025-03-31T22:00", "2026-03-29T12:00"),
    "1y": ("2025-12-31T23:00", "2026-03-29T12:00"),
}
# In Berlin: asked, compared with previous, compared with a year before.
COMPARED = [
    (("2024-02-28", "2024-02-28"), ("2024-02-27", "2024-02-27"), ("2023-02-28", "2023-02-28")),
    (("2024-02-29", "2024-02-29"), ("2024-02-28", "2024-02-28"), ("2023-02-28", "2023-02-28")),
    (("2026-03-29", "2026-03-30"), ("2026-03-27", "2026-03-28"), ("2025-03-29", "2025-03-30")),
    (
        ("2026-03-10T10:00:00Z", "2026-03-10T12:00:00Z"),
        ("2026-03-10T08:00:00Z", "2026-03-10T10:00:00Z"),
        ("2025-03-10T10:00:00Z", "2025-03-10T12:00:00Z"),
    ),
    (
        ("2026-03-29", "2026-03-29T10:00:00Z"),
        ("2026-03-28", "2026-03-28T11:00:00Z"),
        ("2025-03-29", "2025-03-29T11:00:00Z"),
    ),
]


def to_range(start: str, end: str, zone: str) -> Range:
    return Range(to_start(start, to_zone(zone)), to_end(end, to_zone(zone)))


@pytest.mark.parametrize("text", ENDS)
def test_an_end_means_what_metrics_says(text: str) -> None:
    assert to_end(text, to_zone("UTC")).isoformat() == ENDS[text]


@pytest.mark.parametrize(("zone", "day", "hours"), DAYS)
def test_a_day_is_as_long_as_its_clocks_make_it(zone: str, day: str, hours: float) -> None:
    whole = to_range(day, day, zone)
    assert whole.end - whole.start == timedelta(hours=hours)


@pytest.mark.parametrize("period", PERIODS)
def test_periods_are_local_days_that_end_now(period: str) -> None:
    found = to_period(period, NOW, to_zone("Europe/Berlin"))
    assert (f"{found.start:%Y-%m-%dT%H:%M}", f"{found.end:%Y-%m-%dT%H:%M}") == PERIODS[period]


@pytest.mark.parametrize(("asked", "previous", "year"), COMPARED)
def test_ranges_are_compared_by_local_days(
    asked: tuple[str, str], previous: tuple[str, str], year: tuple[str, str]
) -> None:
    expected: dict[CompareKind, tuple[str, str]] = {"previous": previous, "year": year}
    for kind, words in expected.items():
        found = to_compared(kind, to_range(*asked, "Europe/Berlin"), to_zone("Europe/Berlin"))
        assert found == to_range(*words, "Europe/Berlin"), kind


def labels(start: str, end: str, zone: str, interval: str) -> list[tuple[str, str]]:
    buckets = cut_range(to_range(start, end, zone), interval, to_zone(zone))
    return [(bucket.t[5:16], f"{bucket.start:%d %H:%M}") for bucket in buckets]


def test_a_repeated_hour_is_two_buckets() -> None:
    hours = labels("2026-10-25", "2026-10-25", "Europe/Berlin", "1 hour")
    assert hours[1:5] == [
        ("10-25T01:00", "24 23:00"),
        ("10-25T02:00", "25 00:00"),
        ("10-25T02:00", "25 01:00"),
        ("10-25T03:00", "25 02:00"),
    ]
    assert len(hours) == 25


def test_lord_howe_cuts_an_hour_in_half() -> None:
    hours = labels("2026-10-04", "2026-10-04", "Australia/Lord_Howe", "1 hour")
    assert hours[1:4] == [("10-04T01:00", "03 14:30"), ("10-04T02:00", "03 15:30"), ("10-04T03:00", "03 16:00")]


def test_weeks_start_on_monday_and_the_first_is_cut() -> None:
    assert labels("2026-03-12", "2026-03-24", "UTC", "1 week") == [
        ("03-09T00:00", "12 00:00"),
        ("03-16T00:00", "16 00:00"),
        ("03-23T00:00", "23 00:00"),
    ]


def test_months_are_calendar_months() -> None:
    assert [t for t, _ in labels("2025-12-31", "2026-02-01", "UTC", "1 month")] == [
        "12-01T00:00",
        "01-01T00:00",
        "02-01T00:00",
    ]


def test_kathmandu_counts_quarters_in_its_own_time() -> None:
    assert labels("2026-03-10T00:05:00Z", "2026-03-10T00:20:00Z", "Asia/Kathmandu", "15 minutes") == [
        ("03-10T05:45", "10 00:05"),
        ("03-10T06:00", "10 00:15"),
    ]


def test_a_day_that_a_zone_left_out_is_empty() -> None:
    zone = to_zone("Pacific/Apia")
    assert to_start("2011-12-30", zone) == to_start("2011-12-31", zone)
