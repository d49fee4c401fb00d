"""Rows of `events` for the tests of this folder."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_events(positions: Sequence[tuple[int, int, int]], day: date = date(2026, 11, 21)) -> pa.Table:
    """Rows of `events` at (partition, offset, place); everything else has its default."""
    partitions, offsets, places = zip(*positions, strict=True)
    return pa.table(
        {
            "site_id": pa.array([1] * len(positions), pa.uint32()),
            "local_date": pa.array([day] * len(positions), pa.date32()),
            "_log": pa.array([1] * len(positions), pa.uint16()),
            "_partition": pa.array(partitions, pa.uint16()),
            "_offset": pa.array(offsets, pa.uint64()),
            "_place": pa.array(places, pa.uint32()),
        }
    )
