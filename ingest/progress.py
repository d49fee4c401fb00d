"""What of a log has landed, read from the warehouse itself at the start.

Everything below the consumed position (the highest receipt and one) has landed wholly. Above it stand at most the rows
of one batch that a crash cut short: months of it that landed are there to the last row, the others not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.log import LogDamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.block_lines import Position
    from ingest.log import EventLog
    from schemas.warehouse.client import Warehouse

CONSUMED = """
SELECT _partition, max(_offset) + 1 AS consumed FROM receipts WHERE _log = {log:UInt16} GROUP BY _partition
"""
# Answered by the projection `marks` of events: the grouping must be the projection's own, `_log` in it.
LANDED = """
SELECT _partition, toYYYYMM(local_date) AS month, max((_offset, _place)) AS mark
FROM events WHERE _log = {log:UInt16} GROUP BY _log, _partition, toYYYYMM(local_date)
"""
DELETED = """
SELECT _partition, month, max((_offset, _place)) AS mark
FROM marks WHERE _log = {log:UInt16} GROUP BY _partition, month
"""
STORED = """
SELECT _partition, _offset, _place
FROM events
WHERE _log = {log:UInt16} AND toYYYYMM(local_date) IN {months:Array(UInt32)}
    AND _offset >= {begins:Array(UInt64)}[_partition + 1]
"""
DUPLICATES = """
SELECT _partition, _offset, _place
FROM duplicates WHERE _log = {log:UInt16} AND _offset >= {begins:Array(UInt64)}[_partition + 1]
"""
DEAD_LETTERS = """
SELECT _partition, _offset, _place
FROM dead_letters WHERE _log = {log:UInt16} AND _offset >= {begins:Array(UInt64)}[_partition + 1]
"""
UNDER_WAY = "SELECT ends FROM batches WHERE _log = {log:UInt16} AND begins = {begins:Array(UInt64)} LIMIT 1"

Mark = tuple[int, int]
MonthKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Marks:
    """The highest (offset, place) per (partition, month): of rows that are stored, of rows that were deleted."""

    landed: Mapping[MonthKey, Mark]
    deleted: Mapping[MonthKey, Mark]


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a batch that was cut short left behind: positions of its rows, its duplicates, its dead letters."""

    marks: Marks
    stored: frozenset[Position]
    duplicates: frozenset[Position]
    dead: frozenset[Position]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where to go on, per partition: from `begins`; first of all exactly to `ends`, if there are any.

    Up to `landed` there may be rows of a batch that was cut short: `leftover`, None when there was none.
    """

    begins: Sequence[int]
    ends: Sequence[int] | None
    landed: Sequence[int]
    leftover: Leftover | None


async def read_progress(warehouse: Warehouse, log: EventLog, number: int) -> Progress:
    """Find out where to go on; raise LogDamagedError when the log ends below what has landed of it."""
    rows = (await warehouse.query(CONSUMED, {"log": number})).to_pylist()
    consumed = {row["_partition"]: row["consumed"] for row in rows}
    bounds = [await log.bounds(partition) for partition in range(log.partitions)]
    begins = [max(consumed.get(partition, 0), bound.begin) for partition, bound in enumerate(bounds)]
    marks = await read_marks(warehouse, number)
    landed = list(begins)
    for (partition, _month), (offset, _place) in (*marks.landed.items(), *marks.deleted.items()):
        if partition < len(landed):
            landed[partition] = max(landed[partition], offset + 1)
    for partition, (bound, end) in enumerate(zip(bounds, landed, strict=True)):
        refuse_lost_records(partition, bound.end, end)
    under_way = (await warehouse.query(UNDER_WAY, {"log": number, "begins": begins})).to_pylist()
    ends = under_way[0]["ends"] if under_way else None
    cut_short = landed != begins or ends is not None
    leftover = await read_leftover(warehouse, number, begins, marks) if cut_short else None
    return Progress(begins, ends, ends or landed, leftover)


def refuse_lost_records(partition: int, end: int, landed: int) -> None:
    """Raise LogDamagedError when the log ends before what has landed of it."""
    if end < landed:
        message = (
            f"log partition {partition} ends at position {end}, but the warehouse holds it up to {landed}: the log was "
            "restored or cut. New events would be taken for old ones. `pulse log adopt` makes it a log of its own."
        )
        raise LogDamagedError(message)


async def read_marks(warehouse: Warehouse, number: int) -> Marks:
    """Read both kinds of marks."""
    return Marks(await _read_marks(warehouse, LANDED, number), await _read_marks(warehouse, DELETED, number))


async def read_leftover(warehouse: Warehouse, number: int, begins: Sequence[int], marks: Marks) -> Leftover:
    """Read what stands at or above the consumed positions; only months that have such rows are looked into."""
    months = {month for (partition, month), mark in marks.landed.items() if mark[0] >= begins[partition]}
    stored = await read_stored(warehouse, number, begins, sorted(months))
    parameters = {"log": number, "begins": list(begins)}
    duplicates = await _read_positions(warehouse, DUPLICATES, parameters)
    dead = await _read_positions(warehouse, DEAD_LETTERS, parameters)
    return Leftover(marks, stored, duplicates, dead)


async def read_stored(
    warehouse: Warehouse, number: int, begins: Sequence[int], months: Sequence[int]
) -> frozenset[Position]:
    """Read the positions of the rows of these months that stand at or above `begins`."""
    parameters = {"log": number, "begins": list(begins), "months": list(months)}
    return await _read_positions(warehouse, STORED, parameters)


async def _read_marks(warehouse: Warehouse, sql: str, number: int) -> dict[MonthKey, Mark]:
    rows = (await warehouse.query(sql, {"log": number})).to_pylist()
    return {(row["_partition"], row["month"]): tuple(row["mark"].values()) for row in rows}


async def _read_positions(warehouse: Warehouse, sql: str, parameters: Mapping[str, object]) -> frozenset[Position]:
    columns = (await warehouse.query(sql, parameters)).to_pydict()
    return frozenset(zip(columns["_partition"], columns["_offset"], columns["_place"], strict=True))
