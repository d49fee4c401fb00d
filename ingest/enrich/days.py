"""The local day of an event: the calendar date of its time in the site's zone, exact at every change of clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ingest.enrich.columns import Codes, to_distinct
from schemas.zones import open_zone

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

EPOCH = date(1970, 1, 1)
DAY = 86_400_000
SECONDS = 86_400


def local_days(lines: pa.Table) -> set[date]:
    """Give every local day of the lines."""
    return {EPOCH + timedelta(days=int(day)) for day in np.unique(to_day_numbers(lines))}


def to_day_numbers(lines: pa.Table) -> Codes:
    """Give the local day of each line as days since 1970-01-01."""
    lines = lines.combine_chunks()
    ts = lines.column("ts").to_numpy()
    zones = to_distinct(lines.column("site_timezone").combine_chunks())
    days = np.empty(len(ts), np.int64)
    for code, name in enumerate(zones.values):
        rows = zones.codes == code
        days[rows] = to_zone_days(ts[rows], name)
    return days


def to_zone_days(ts: Codes, zone: str) -> NDArray[np.int64]:
    """Give the days in one zone; every instant lies in the piece of constant offset that starts at or before it."""
    pieces = [piece for day in np.unique(ts // DAY) for piece in to_pieces(zone, int(day))]
    starts = np.array([start for start, _ in pieces], np.int64)
    offsets = np.array([offset for _, offset in pieces], np.int64)
    return (ts + offsets[np.searchsorted(starts, ts, "right") - 1]) // DAY


@lru_cache(maxsize=8192)
def to_pieces(zone: str, day: int) -> tuple[tuple[int, int], ...]:
    """Cut a UTC day where the zone's offset changes: (start, offset) of each piece, milliseconds.

    At most one change in a UTC day is looked for (found to the second by bisection). No zone has had two since 1970.
    """
    first, last = day * SECONDS, (day + 1) * SECONDS
    before, after = to_offset(zone, first), to_offset(zone, last)
    if before == after:
        return ((first * 1000, before),)
    lowest, highest = first, last
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        lowest, highest = (middle, highest) if to_offset(zone, middle) == before else (lowest, middle)
    return ((first * 1000, before), (highest * 1000, after))


def to_offset(zone: str, second: int) -> int:
    """Give the zone's offset from UTC at an epoch second, in milliseconds."""
    offset = datetime.fromtimestamp(second, UTC).astimezone(open_zone(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)
