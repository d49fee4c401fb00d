"""Moves copies that different consumers stored from `events` to `duplicates`: the same event id from another address.

Its address decides in which log partition an event stands. A consumer knows the lately seen ids of its own partitions
alone, so a copy in a partition of another one is stored first; this finds it, within half a minute or so.

One look: the fresh rows, of positions that nobody has looked at yet, against all rows received since an hour before
them. The copies are written down in `moving`, then inserted into `duplicates` (keyed by position: twice is once), then
deleted from `events`, then crossed out in `moving`. A crash anywhere is finished by the next look, whoever takes it;
two processes at once decide the same or, with fewer rows before them, less. Only rows below the consumed positions are
touched: what consumers read at their start (progress.py) lies above.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, cast

import pyarrow as pa
import structlog
from sqlalchemy import insert, select, update

from ingest.block_lines import to_hour
from ingest.copy_rule import Stored, find_copies
from ingest.lately_seen import HOUR, SPAN
from ingest.writer import no_failpoint
from schemas.control.connect import take_write_lock
from schemas.control.tables import facts
from schemas.event import SiteId
from schemas.warehouse.client import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from ingest.progress import Positions
    from schemas.warehouse.client import Warehouse

# Blocks may be received earlier than those before them: collectors have clocks of their own, and clocks are set back.
SLACK = 2 * HOUR
IDS_AT_ONCE = 500_000
BLOCK_LINES = 1000  # at most in a block
MOVED_AT_ONCE = 5_000  # a list of so many offsets goes into one field of a request
LIMITS = Limits(seconds=300, memory=4 * 1024**3)
logger = structlog.get_logger()

BELOW = "(_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])"
FRESH = """_log = {log:UInt16} AND _offset >= {before:Array(UInt64)}[_partition + 1]
    AND _offset < {positions:Array(UInt64)}[_partition + 1]"""
COUNT = f"""
SELECT count() AS fresh FROM events
WHERE received >= fromUnixTimestamp64Milli({{fresh_since:Int64}}) AND event_id != 0 AND {FRESH}
"""  # noqa: S608 - text of this module
# `ids` and `id` take a share of the ids, so that their number in memory is bounded. A Date32 comes back as a date from
# every server, a Date from those before 26.2 as a number.
SAME_IDS = f"""
SELECT site_id,
    groupArray((
        toUnixTimestamp64Milli(received), _log, _partition, _offset, _place, toDate32(local_date), ingest, {FRESH}
    )) AS rows
FROM events
WHERE received >= fromUnixTimestamp64Milli({{since:Int64}}) AND event_id != 0
    AND event_id % {{ids:UInt64}} = {{id:UInt64}} AND {BELOW}
    AND (site_id, event_id) IN
    (
        SELECT site_id, event_id FROM events
        WHERE received >= fromUnixTimestamp64Milli({{fresh_since:Int64}}) AND event_id != 0
            AND event_id % {{ids:UInt64}} = {{id:UInt64}} AND {FRESH}
    )
GROUP BY site_id, event_id HAVING count() > 1
"""  # noqa: S608 - text of this module
FIRST = "SELECT toUInt32(min(hour)) AS first FROM receipts WHERE _log = {log:UInt16} GROUP BY _log"
ERASING = "SELECT DISTINCT site_id, month FROM erasing"
MOVING = """
SELECT DISTINCT site_id, toDate32(local_date) AS local_date, toUInt32(hour) AS hour, _log, _partition, _offset, _place
FROM moving ORDER BY site_id, hour, _log, _partition, _offset, _place LIMIT {limit:UInt32}
"""
# By site and day first: parts and granules without them are not looked into.
AT_POSITIONS = """
WHERE site_id IN {sites:Array(UInt32)} AND local_date >= {first:Date} AND local_date <= {last:Date}
    AND (_log, _partition, _offset, _place) IN arrayZip({logs:Array(UInt16)}, {partitions:Array(UInt16)},
        {offsets:Array(UInt64)}, {places:Array(UInt32)})
"""
DELETE = f"DELETE FROM events {AT_POSITIONS}"  # noqa: S608 - text of this module
FORGET = f"DELETE FROM moving {AT_POSITIONS}"  # noqa: S608 - text of this module
KEY = ["site_id", "hour", "_log", "_partition", "_offset", "_place"]
SCHEMA = pa.schema(
    [
        ("site_id", pa.uint32()),
        ("local_date", pa.date32()),
        ("hour", pa.uint32()),
        ("_log", pa.uint16()),
        ("_partition", pa.uint16()),
        ("_offset", pa.uint64()),
        ("_place", pa.uint32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Checked:
    """No copy of another partition stands below `positions`; what was received before `received_up_to` stood there.

    Looks are counted, and `sites` are those of which the last one moved rows: whoever keeps answers of another process
    sees by these what has changed.
    """

    positions: Positions
    received_up_to: int
    look: int = 0
    sites: frozenset[SiteId] = frozenset()

    def covers(self, positions: Positions) -> bool:
        """Whether everything below these positions has been looked at."""
        return all(self.positions.get(partition, 0) >= position for partition, position in positions.items())


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows have become duplicates, and of which sites: answers about them have changed."""

    records: int
    sites: frozenset[SiteId]

    def __add__(self, other: Moved) -> Moved:
        """Both."""
        return Moved(self.records + other.records, self.sites | other.sites)


async def read_checked(control: AsyncEngine, number: int) -> Checked | None:
    """How far copies have been looked for in the log of this number; None where nobody ever did."""
    async with control.connect() as connection:
        value = await connection.scalar(select(facts.c.value).where(facts.c.name == to_name(number)))
    return None if value is None else to_checked(value)


def is_exact(checked: Checked | None, positions: Positions) -> bool:
    """Whether nothing below these positions can still be counted twice: for `completeness.exact`."""
    return checked is not None and checked.covers(positions)


class Copies:
    """Looks for copies among the rows of one log. `failpoint` is called by name between any two writes."""

    def __init__(
        self,
        warehouse: Warehouse,
        control: AsyncEngine,
        number: int,
        failpoint: Callable[[str], None] = no_failpoint,
    ) -> None:
        self._warehouse = warehouse
        self._control = control
        self._number = number
        self._failpoint = failpoint

    async def move(self, positions: Positions, received_up_to: int) -> Moved:
        """Look at what was consumed since the last time, up to `positions` (of every partition of the log).

        Everything received before `received_up_to` (epoch ms) must have landed below them. Raise WarehouseError or
        SQLAlchemyError; the next look does what this one could not.
        """
        finished = await self.resume()
        checked = await read_checked(self._control, self._number)
        if is_exact(checked, positions) and not finished.records:
            return finished
        before = checked or Checked({}, await self._find_first(received_up_to))
        now = Checked(positions, received_up_to)
        moved = finished
        shares = await self._count_shares(before, now)
        for share in range(shares):
            moved += await self._move_share(self._to_parameters(before, now) | {"ids": shares, "id": share})
        await self._remember(now, moved.sites)
        return moved

    async def resume(self) -> Moved:
        """Finish what stands in `moving`."""
        records, sites = 0, set[SiteId]()
        while True:
            rows = await self._warehouse.query(MOVING, {"limit": MOVED_AT_ONCE})
            if not rows.num_rows:
                return Moved(records, frozenset(sites))
            rows = rows.cast(SCHEMA)
            await self._warehouse.insert("duplicates", rows.select(KEY))
            self._failpoint("inserted")
            await self._warehouse.command(DELETE, to_parameters(rows))
            self._failpoint("deleted")
            await self._warehouse.command(FORGET, to_parameters(rows))
            self._failpoint("forgotten")
            records += rows.num_rows
            sites.update(map(SiteId, rows.column("site_id").to_pylist()))

    async def _find_first(self, received_up_to: int) -> int:
        """The hour of receipt (epoch ms) of the first that was ever consumed of this log, however long ago that is."""
        rows = (await self._warehouse.query(FIRST, {"log": self._number})).to_pylist()
        return min([received_up_to, *(int(row["first"]) * 1000 for row in rows)])

    async def _count_shares(self, before: Checked, now: Checked) -> int:
        """Into how many shares the ids are divided."""
        blocks = sum(end - before.positions.get(partition, 0) for partition, end in now.positions.items())
        if blocks * BLOCK_LINES <= IDS_AT_ONCE:
            return 1
        rows = (await self._warehouse.query(COUNT, self._to_parameters(before, now), LIMITS)).to_pylist()
        return 1 + int(rows[0]["fresh"]) // IDS_AT_ONCE

    async def _move_share(self, parameters: Mapping[str, object]) -> Moved:
        groups = await self._warehouse.query(SAME_IDS, parameters, LIMITS)
        found = [
            (SiteId(group["site_id"]), copy)
            for group in groups.to_pylist()
            for copy in find_copies(Stored(*row.values()) for row in group["rows"])
        ]
        copies = await self._without_erased(found)
        if not copies:
            return Moved(0, frozenset())
        logger.info("copies_found", records=len(copies))
        await self._warehouse.insert("moving", to_rows(copies))
        self._failpoint("noted")
        return await self.resume()

    async def _without_erased(self, copies: Sequence[tuple[SiteId, Stored]]) -> list[tuple[SiteId, Stored]]:
        """Leave out rows of months that are being erased: they have been counted as that."""
        rows = (await self._warehouse.query(ERASING)).to_pylist() if copies else []
        erasing = {(row["site_id"], row["month"]) for row in rows}
        return [
            (site, copy)
            for site, copy in copies
            if (site, copy.local_date.year * 100 + copy.local_date.month) not in erasing
        ]

    def _to_parameters(self, before: Checked, now: Checked) -> dict[str, object]:
        fresh_since = before.received_up_to - SLACK
        partitions = range(max(now.positions, default=-1) + 1)
        return {
            "log": self._number,
            "before": [before.positions.get(partition, 0) for partition in partitions],
            "positions": [now.positions.get(partition, 0) for partition in partitions],
            "fresh_since": fresh_since,
            "since": fresh_since - HOUR - SPAN,
        }

    async def _remember(self, now: Checked, sites: frozenset[SiteId]) -> None:
        """Write it down; where another process has come further meanwhile, that stays."""
        here = facts.c.name == to_name(self._number)
        async with self._control.begin() as connection:
            await take_write_lock(connection)
            value = await connection.scalar(select(facts.c.value).where(here))
            if value is None:
                row = {"name": to_name(self._number), "value": to_value(replace(now, sites=sites))}
                await connection.execute(insert(facts).values(row))
                return
            found = to_checked(value)
            furthest = found if found.covers(now.positions) else now
            value = to_value(replace(furthest, look=found.look + 1, sites=sites))
            await connection.execute(update(facts).where(here).values(value=value))


def to_name(number: int) -> str:
    """What the control plane calls it."""
    return f"copies of log {number}"


def to_value(checked: Checked) -> dict[str, object]:
    """As it is written down."""
    return asdict(checked) | {"positions": dict(checked.positions), "sites": sorted(checked.sites)}


def to_checked(value: Mapping[str, object]) -> Checked:
    """As it was written down; JSON has texts for the names of partitions."""
    positions = cast("Mapping[str, int]", value["positions"])
    return Checked(
        {int(partition): position for partition, position in positions.items()},
        cast("int", value["received_up_to"]),
        cast("int", value["look"]),
        frozenset(map(SiteId, cast("Sequence[int]", value["sites"]))),
    )


def to_rows(copies: Sequence[tuple[SiteId, Stored]]) -> pa.Table:
    """Rows of `moving`."""
    rows = [(site, copy.local_date, to_hour(copy.received), *copy.position) for site, copy in copies]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], SCHEMA.names)


def to_parameters(rows: pa.Table) -> dict[str, object]:
    """The parameters of `AT_POSITIONS` for rows of `moving`."""
    columns = rows.to_pydict()
    return {
        "sites": sorted(set(columns["site_id"])),
        "first": min(columns["local_date"]),
        "last": max(columns["local_date"]),
        "logs": columns["_log"],
        "partitions": columns["_partition"],
        "offsets": columns["_offset"],
        "places": columns["_place"],
    }
