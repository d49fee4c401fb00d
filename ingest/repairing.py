"""Removes second copies of rows that are stored at the same position; only when somebody asks for it.

The copies of a row are equal in every column, so a row is named by the part and the place in it where it lies. A part
never changes: what a merge or a deletion makes of it has another name. So a deletion deletes exactly the rows that were
listed or, where the parts have been merged meanwhile, none; then they are listed again. The row that stays is named in
no deletion, so a crash anywhere leaves it, and whoever begins again finds the copies that are left.

Two repairs at once could each keep another copy. So one holds a lease, and its deletions do nothing once they could
outlive it: the warehouse compares its own clock, also for a statement that begins when its sender is gone; one that has
begun is waited for before anything is listed.

Besides: rows that stand in `events` and in `duplicates` (a power cut may bring back what copies.py has deleted) are
written down in `moving` again, which finishes the move.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import structlog
from sqlalchemy import delete, insert, select, update

from ingest.copies import SCHEMA as MOVING_SCHEMA
from ingest.copies import Copies
from ingest.doubled import count_doubled
from ingest.writer import no_failpoint
from schemas.control.connect import take_write_lock
from schemas.control.tables import facts
from schemas.warehouse.client import Limits
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.warehouse.client import Warehouse

LEASE = 180_000
DELETE_SECONDS = 60
ROWS_AT_ONCE = 1_000
ATTEMPTS = 100  # a merge comes between listing and deleting now and then, not as often
DELETION_LOOKS, DELETION_LOOK_SECONDS = 240, 0.5
HOUR = 3600
NAME = "repair of events"
LIMITS = Limits(seconds=120, memory=4 * 1024**3)
logger = structlog.get_logger()

IN_HOUR = "received >= toDateTime({hour:UInt32}, 'UTC') AND received < toDateTime({hour:UInt32} + 3600, 'UTC')"
SECOND_COPIES = f"""
SELECT _log, _partition, _offset, _place, row.1 AS part, row.2 AS part_offset,
    arrayJoin(arraySlice(arraySort(groupArray((_part, _part_offset))), 2)) AS row
FROM events
WHERE {IN_HOUR} AND (_log, _partition, _offset) IN
(
    SELECT _log, _partition, _offset FROM events WHERE {IN_HOUR}
    GROUP BY _log, _partition, _offset HAVING count() > groupBitmap(_place)
    ORDER BY _log, _partition, _offset LIMIT {{limit:UInt32}}
)
GROUP BY _log, _partition, _offset, _place HAVING count() > 1
ORDER BY _log, _partition, _offset, _place LIMIT {{limit:UInt32}}
"""  # noqa: S608 - text of this module
HALF_MOVED = f"""
SELECT DISTINCT site_id, toDate32(local_date) AS local_date, toUInt32(toStartOfHour(received)) AS hour,
    _log, _partition, _offset, _place
FROM events
WHERE {IN_HOUR} AND (_log, _partition, _offset, _place) IN
(
    SELECT _log, _partition, _offset, _place FROM duplicates WHERE hour = toDateTime({{hour:UInt32}}, 'UTC')
)
    AND (_log, _partition, _offset, _place) NOT IN (SELECT _log, _partition, _offset, _place FROM moving)
LIMIT {{limit:UInt32}}
"""  # noqa: S608 - text of this module
NOW = "SELECT toUnixTimestamp(now()) AS now"
DELETE = """
DELETE FROM events
WHERE (_part, _part_offset, _log, _partition, _offset, _place) IN arrayZip({parts:Array(String)},
    {part_offsets:Array(UInt64)}, {logs:Array(UInt16)}, {partitions:Array(UInt16)}, {offsets:Array(UInt64)},
    {places:Array(UInt32)}) AND toUnixTimestamp(now()) < {until:UInt32}
"""
UNFINISHED = """
SELECT count() AS unfinished FROM system.mutations
WHERE database = currentDatabase() AND table IN ('events', 'events_local') AND NOT is_done
"""
HOURS = """
SELECT DISTINCT toUInt32(hour) AS hour FROM receipts
WHERE hour >= toDateTime({start:UInt32}, 'UTC') AND hour < toDateTime({end:UInt32}, 'UTC') ORDER BY hour
"""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What one hour of receipt needed: second copies that were deleted, rows whose move was finished."""

    copies: int
    moves: int


class RepairBusyError(Exception):
    """Another repair is under way, or was broken off a short while ago."""


async def find_hours(warehouse: Warehouse, start: int, end: int) -> list[int]:
    """The hours of receipt (epoch seconds) in [start, end) in which anything was received."""
    rows = await warehouse.query(HOURS, {"start": start, "end": end})
    return [int(hour) for hour in rows.column("hour").to_pylist()]


class Repair:
    """One repair. `failpoint` is called by name between any two writes."""

    def __init__(
        self,
        warehouse: Warehouse,
        control: AsyncEngine,
        clock: Callable[[], int],
        failpoint: Callable[[str], None] = no_failpoint,
    ) -> None:
        self._warehouse = warehouse
        self._control = control
        self._clock = clock
        self._failpoint = failpoint
        self._copies = Copies(warehouse, control, 0, failpoint)
        self._holder = uuid.uuid4().hex

    async def count(self, hour: int) -> Repaired:
        """How much there is to do in an hour of receipt (epoch seconds), at most `ROWS_AT_ONCE` of each."""
        parameters = {"hour": hour, "limit": ROWS_AT_ONCE}
        copies = await self._warehouse.query(SECOND_COPIES, parameters, LIMITS)
        moves = await self._warehouse.query(HALF_MOVED, parameters, LIMITS)
        return Repaired(copies.num_rows, moves.num_rows)

    async def repair(self, hour: int) -> Repaired:
        """Do it. Raise RepairBusyError, WarehouseError or SQLAlchemyError; asked again it goes on."""
        moves = await self._finish_moves(hour)
        span = hour * 1000, (hour + HOUR) * 1000
        found = left = (await count_doubled(self._warehouse, *span)).rows
        patience = ATTEMPTS
        while left and patience:
            await self._delete_some(hour)
            before, left = left, (await count_doubled(self._warehouse, *span)).rows
            patience = ATTEMPTS if left < before else patience - 1
        if left:
            message = f"{left} second copies of rows received in hour {hour} are not deleted: merges do not rest"
            raise WarehouseError(message)
        return Repaired(found, moves)

    async def release(self) -> None:
        """Let others repair; without it they have to wait until the lease has ended."""
        mine = (facts.c.name == NAME) & (facts.c.value["holder"].as_string() == self._holder)
        async with self._control.begin() as connection:
            await connection.execute(delete(facts).where(mine))

    async def _finish_moves(self, hour: int) -> int:
        moved = 0
        while True:
            rows = await self._warehouse.query(HALF_MOVED, {"hour": hour, "limit": ROWS_AT_ONCE}, LIMITS)
            if not rows.num_rows:
                return moved
            await self._warehouse.insert("moving", rows.cast(MOVING_SCHEMA))
            self._failpoint("noted")
            moved += (await self._copies.resume()).records

    async def _delete_some(self, hour: int) -> None:
        await self._take_lease()
        await self._wait_for_deletions()
        now = (await self._warehouse.query(NOW)).to_pylist()[0]["now"]
        listed = (await self._warehouse.query(SECOND_COPIES, {"hour": hour, "limit": ROWS_AT_ONCE}, LIMITS)).to_pydict()
        self._failpoint("listed")
        parameters = {
            "logs": listed["_log"],
            "partitions": listed["_partition"],
            "offsets": listed["_offset"],
            "places": listed["_place"],
            "parts": listed["part"],
            "part_offsets": listed["part_offset"],
            "until": int(now) + DELETE_SECONDS,
        }
        await self._warehouse.command(DELETE, parameters)
        self._failpoint("removed")

    async def _wait_for_deletions(self) -> None:
        """Wait until none is under way: one of an earlier repair may have begun in time and end late."""
        for _ in range(DELETION_LOOKS):
            rows = (await self._warehouse.query(UNFINISHED)).to_pylist()
            if not rows[0]["unfinished"]:
                return
            await asyncio.sleep(DELETION_LOOK_SECONDS)
        message = "another deletion of events does not end: look at system.mutations"
        raise RepairBusyError(message)

    async def _take_lease(self) -> None:
        """Take it or make it longer."""
        now = self._clock()
        value = {"holder": self._holder, "until": now + LEASE}
        async with self._control.begin() as connection:
            await take_write_lock(connection)
            found = await connection.scalar(select(facts.c.value).where(facts.c.name == NAME))
            if found is None:
                await connection.execute(insert(facts).values(name=NAME, value=value))
                return
            left = cast("int", found["until"]) - now
            if found["holder"] != self._holder and 0 < left <= LEASE:
                message = f"another repair is under way or was broken off; again in {-(-left // 1000)} s"
                raise RepairBusyError(message)
            await connection.execute(update(facts).where(facts.c.name == NAME).values(value=value))
