"""The local day of an event."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.enrich.days import local_days, to_day_numbers
from schemas.zones import UnknownZoneError, open_zone, zone_names

EPOCH = date(1970, 1, 1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Asia/Beirut",
    "Africa/Monrovia",
    "America/Nuuk",
    "Pacific/Kwajalein",
)
LAST = int(datetime(2149, 1, 1, tzinfo=UTC).timestamp() * 1000)


def to_table(rows: list[tuple[int, str]]) -> pa.Table:
    return pa.table({"ts": [ts for ts, _ in rows], "site_timezone": [zone for _, zone in rows]})


def to_expected(ts: int, zone: str) -> date:
    return (datetime.fromtimestamp(ts // 1000, UTC)).astimezone(open_zone(zone)).date()


@given(st.lists(st.tuples(st.integers(0, LAST), st.sampled_from(ZONES)), min_size=1, max_size=20))
def test_the_day_is_what_the_zone_says(rows: list[tuple[int, str]]) -> None:
    days = [EPOCH + timedelta(days=day) for day in to_day_numbers(to_table(rows)).tolist()]
    assert days == [to_expected(ts, zone) for ts, zone in rows]
    assert local_days(to_table(rows)) == set(days)


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_clocks_is_met_to_the_millisecond(zone: str) -> None:
    hours = [datetime(1970, 1, 2, tzinfo=UTC) + timedelta(hours=hour) for hour in range(0, 80 * 365 * 24, 6)]
    offsets = [(int(hour.timestamp()), hour.astimezone(open_zone(zone)).utcoffset()) for hour in hours]
    edges = [second for (second, before), (_, after) in pairwise(offsets) if before != after]
    around = [
        ((edge + minute * 60) * 1000 + millisecond, zone)
        for edge in edges
        for minute in range(0, 361, 15)
        for millisecond in (-1, 0)
    ]
    rows = around or [(0, zone)]
    days = [EPOCH + timedelta(days=day) for day in to_day_numbers(to_table(rows)).tolist()]
    assert days == [to_expected(ts, zone) for ts, zone in rows]


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Asia/Kathmandu", "2026-05-28T18:14:59.999", "2026-05-28"),
        ("Asia/Kathmandu", "2026-05-28T18:15:00.000", "2026-05-29"),
        ("Pacific/Apia", "2011-12-30T09:59:59.999", "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:00:00.000", "2011-12-31"),  # Samoa left a day out
        ("Asia/Beirut", "2022-03-26T21:59:59.999", "2022-03-26"),
        ("Asia/Beirut", "2022-03-26T22:00:00.000", "2022-03-27"),  # midnight itself is cut out
        ("Australia/Lord_Howe", "2026-04-04T12:59:59.999", "2026-04-04"),
        ("Australia/Lord_Howe", "2026-04-04T13:00:00.000", "2026-04-05"),
    ],
)
def test_known_midnights(zone: str, instant: str, day: str) -> None:
    ts = round(datetime.fromisoformat(f"{instant}+00:00").timestamp() * 1000)
    assert local_days(to_table([(ts, zone)])) == {date.fromisoformat(day)}


def test_zones_come_from_the_pinned_database_alone() -> None:
    assert open_zone("Europe/Berlin") is open_zone("Europe/Berlin")
    assert {"UTC", "Asia/Kathmandu", "America/Argentina/Buenos_Aires"} <= zone_names()
    for name in ("Mars/Phobos", "", "../zones", "/etc/localtime", "europe/berlin"):
        with pytest.raises(UnknownZoneError):
            open_zone(name)
