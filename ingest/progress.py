"""What of some partitions of a log has landed, read from the warehouse itself at the start and at each takeover.

Everything below the consumed position (the highest receipt and one) has landed wholly. Above it stand at most the rows
of one batch that a crash cut short: months of it that landed are there to the last row, the others not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import structlog

from ingest.log import LogDamagedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.block_lines import Position
    from ingest.log import EventLog
    from schemas.warehouse.client import Warehouse

CONSUMED = """
SELECT _partition, max(_offset) + 1 AS consumed FROM receipts
WHERE _log = {log:UInt16} AND _partition IN {partitions:Array(UInt16)} GROUP BY _partition
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
WHERE _log = {log:UInt16} AND toYYYYMM(local_date) IN {months:Array(UInt32)} AND ABOVE
"""
DUPLICATES = """
SELECT _partition, _offset, _place
FROM duplicates WHERE _log = {log:UInt16} AND ABOVE
"""
DEAD_LETTERS = """
SELECT _partition, _offset, _place
FROM dead_letters WHERE _log = {log:UInt16} AND ABOVE
"""
# Rows that name no partitions are of a version that had all partitions in one batch.
UNDER_WAY = """
SELECT partition, max(batch_end) AS end
FROM batches
ARRAY JOIN if(empty(partitions), range(length(begins)), partitions) AS partition, begins AS batch_begin,
    ends AS batch_end
WHERE _log = {log:UInt16} AND partition IN {partitions:Array(UInt16)} AND batch_end > batch_begin
    AND batch_begin = {begins:Array(UInt64)}[indexOf({partitions:Array(UInt16)}, partition)]
GROUP BY partition
"""
ABOVE = """_partition IN {partitions:Array(UInt16)}
    AND _offset >= {begins:Array(UInt64)}[indexOf({partitions:Array(UInt16)}, _partition)]"""
STORED, DUPLICATES, DEAD_LETTERS = (sql.replace("ABOVE", ABOVE) for sql in (STORED, DUPLICATES, DEAD_LETTERS))

Positions: TypeAlias = "Mapping[int, int]"  # the next record to read, by partition
Mark = tuple[int, int]
MonthKey = tuple[int, int]
log = structlog.get_logger()


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

    def find_ends(self, begins: Positions) -> dict[int, int]:
        """The position after the last of anything that is left, by partition; `begins` where there is nothing.

        A block of copies alone leaves no row but its duplicates: of what, only who wrote them may have known.
        """
        rows = (
            (partition, mark[0])
            for marks in (self.marks.landed, self.marks.deleted)
            for (partition, _), mark in marks.items()
        )
        others = ((partition, offset) for partition, offset, _ in self.duplicates | self.dead)
        ends = dict(begins)
        for partition, offset in (*rows, *others):
            if partition in ends:
                ends[partition] = max(ends[partition], offset + 1)
        return ends


@dataclass(frozen=True, slots=True)
class Progress:
    """Where to go on, per partition: from `begins`; first of all exactly to `ends`, if there are any.

    Up to `landed` there may be rows of batches that were cut short: `leftover`, None when there was none. They may be
    of several owners, each with partitions of its own, so `ends` of one say nothing of the others.
    """

    begins: Positions
    ends: Positions | None
    landed: Positions
    leftover: Leftover | None


async def read_progress(warehouse: Warehouse, log: EventLog, number: int, partitions: Sequence[int]) -> Progress:
    """Find out where to go on; raise LogDamagedError when the log ends below what the warehouse knows of it."""
    rows = (await warehouse.query(CONSUMED, {"log": number, "partitions": list(partitions)})).to_pylist()
    consumed: dict[int, int] = {row["_partition"]: row["consumed"] for row in rows}
    bounds = {partition: await log.bounds(partition) for partition in partitions}
    for partition, bound in bounds.items():
        tell_of_lost_records(partition, consumed.get(partition, 0), bound.begin)
    begins = {partition: max(consumed.get(partition, 0), bound.begin) for partition, bound in bounds.items()}
    leftover = await read_leftover(warehouse, number, begins)
    landed = leftover.find_ends(begins)
    under_way = await read_under_way(warehouse, number, begins)
    landed = {partition: max(end, under_way.get(partition, 0)) for partition, end in landed.items()}
    for partition, bound in bounds.items():
        refuse_cut_log(partition, bound.end, landed[partition])
    ends = begins | under_way if under_way else None
    return Progress(begins, ends, landed, leftover if landed != begins else None)


async def read_under_way(warehouse: Warehouse, number: int, begins: Positions) -> dict[int, int]:
    """Where the batches end that were written down before they landed and begin here, by partition."""
    rows = (await warehouse.query(UNDER_WAY, to_parameters(number, begins))).to_pylist()
    return {row["partition"]: row["end"] for row in rows}


def tell_of_lost_records(partition: int, consumed: int, begin: int) -> None:
    """Log an error where the log has let go of records that nobody consumed: its retention was shorter than a fault."""
    if consumed < begin and consumed:
        log.error("log_dropped_unconsumed_records", partition=partition, first=consumed, last=begin - 1)


def refuse_cut_log(partition: int, end: int, known: int) -> None:
    """Raise LogDamagedError when the log ends before what has landed of it, or was written down as about to land."""
    if end < known:
        message = (
            f"log partition {partition} ends at position {end}, but the warehouse knows it up to {known}: the log was "
            "restored or cut. New events would be taken for old ones. `pulse log adopt` makes it a log of its own."
        )
        raise LogDamagedError(message)


async def read_marks(warehouse: Warehouse, number: int) -> Marks:
    """Read both kinds of marks."""
    return Marks(await _read_marks(warehouse, LANDED, number), await _read_marks(warehouse, DELETED, number))


async def read_leftover(warehouse: Warehouse, number: int, begins: Positions) -> Leftover:
    """Read what stands at or above the consumed positions; only months that have such rows are looked into."""
    marks = await read_marks(warehouse, number)
    landed = marks.landed.items()
    months = {month for (partition, month), mark in landed if partition in begins and mark[0] >= begins[partition]}
    stored = await read_stored(warehouse, number, begins, sorted(months))
    parameters = to_parameters(number, begins)
    duplicates = await _read_positions(warehouse, DUPLICATES, parameters)
    dead = await _read_positions(warehouse, DEAD_LETTERS, parameters)
    return Leftover(marks, stored, duplicates, dead)


async def read_stored(
    warehouse: Warehouse, number: int, begins: Positions, months: Sequence[int]
) -> frozenset[Position]:
    """Read the positions of the rows of these months that stand at or above `begins`."""
    return await _read_positions(warehouse, STORED, to_parameters(number, begins) | {"months": list(months)})


def to_parameters(number: int, begins: Positions) -> dict[str, object]:
    """The log and positions as the statements here take them."""
    return {"log": number, "partitions": list(begins), "begins": list(begins.values())}


async def _read_marks(warehouse: Warehouse, sql: str, number: int) -> dict[MonthKey, Mark]:
    rows = (await warehouse.query(sql, {"log": number})).to_pylist()
    return {(row["_partition"], row["month"]): tuple(row["mark"].values()) for row in rows}


async def _read_positions(warehouse: Warehouse, sql: str, parameters: Mapping[str, object]) -> frozenset[Position]:
    columns = (await warehouse.query(sql, parameters)).to_pydict()
    return frozenset(zip(columns["_partition"], columns["_offset"], columns["_place"], strict=True))
