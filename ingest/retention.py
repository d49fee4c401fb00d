"""Deletes what a site no longer keeps, month by month, so that the ledger closes before and after.

For each site and month: write the marks of the rows, write down the counts (`erasing`), delete the rows, move the
counts to `erased`, forget the note. A crash anywhere is finished by `resume`, which must run before a consumer starts.
Rows that move to `duplicates` (copies.py) are counted there: no look for copies may run beside an erasure.
Only rows below the consumed positions are ever deleted, so that consumers may go on meanwhile. On the embedded engine a
month that nothing else is in is dropped as a whole: there it works between two batches, and what fails once the counts
are written down is tried again until it is done, while no batch lands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import stamina
import structlog
from sqlalchemy import select

from ingest.fences import take_over
from schemas.control.tables import sites
from schemas.event import SiteId
from schemas.warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncEngine

    from schemas.versions import SiteVersions
    from schemas.warehouse.client import Warehouse

YEAR = 12
FUTURE = date(2149, 1, 1)  # no date that the warehouse can hold is as late
WAIT_AT_MOST = 5.0
logger = structlog.get_logger()

KEPT_MONTHS = select(sites.c.id, sites.c.retention_months, sites.c.deleted_at).where(
    sites.c.retention_months.is_not(None) | sites.c.deleted_at.is_not(None)
)
BOUND = "(_log != {log:UInt16} OR _offset < {positions:Array(UInt64)}[_partition + 1])"
MONTHS = """
SELECT DISTINCT toYYYYMM(local_date) AS month FROM events
WHERE site_id = {site:UInt32} AND local_date < {before:Date} ORDER BY month
"""
MARKS = """
INSERT INTO marks (_log, _partition, month, _offset, _place)
SELECT _log, _partition, {month:UInt32}, (max((_offset, _place)) AS mark).1, mark.2
FROM events WHERE toYYYYMM(local_date) = {month:UInt32} AND BOUND
GROUP BY _log, _partition, toYYYYMM(local_date)
"""
COUNTS = """
SELECT {erasure:UInt64} AS erasure, site_id, {month:UInt32} AS month,
    toUInt32(toStartOfHour(toDateTime(received, 'UTC'))) AS hour,
    countIf(bot = '') AS records, countIf(bot != '') AS bots,
    {log:UInt16} AS of_log, {positions:Array(UInt64)} AS positions
FROM events WHERE site_id = {site:UInt32} AND toYYYYMM(local_date) = {month:UInt32} AND BOUND
    AND (_log, _partition, _offset, _place) NOT IN (SELECT _log, _partition, _offset, _place FROM moving)
GROUP BY site_id, hour
"""
OTHER_SITES = """
SELECT count() AS found FROM
(SELECT 1 FROM events WHERE toYYYYMM(local_date) = {month:UInt32} AND site_id != {site:UInt32} LIMIT 1)
"""
DROP = "ALTER TABLE events DROP PARTITION {month:UInt32}"
DELETE = "DELETE FROM events WHERE site_id = {site:UInt32} AND toYYYYMM(local_date) = {month:UInt32} AND BOUND"
MARKS, COUNTS, DELETE = (sql.replace("BOUND", BOUND) for sql in (MARKS, COUNTS, DELETE))
MOVE = """
INSERT INTO erased (site_id, hour, erasure, records, bots)
SELECT site_id, hour, erasure, sum(records), sum(bots) FROM erasing
WHERE erasure = {erasure:UInt64} GROUP BY site_id, hour, erasure
"""
FORGET = "DELETE FROM erasing WHERE erasure = {erasure:UInt64}"
LAST_NUMBER = """
SELECT max(erasure) AS last FROM (SELECT erasure FROM erased UNION ALL SELECT erasure FROM erasing)
"""
UNFINISHED = "SELECT DISTINCT erasure, site_id, month, _log, positions FROM erasing ORDER BY erasure"
COUNTED = """
SELECT DISTINCT erasure, site_id, month, _log, positions FROM erasing
WHERE site_id = {site:UInt32} AND month = {month:UInt32} ORDER BY erasure
"""


@dataclass(frozen=True, slots=True)
class Bound:
    """Rows that may be deleted: of `log` those below `positions` (by partition), of other logs all."""

    log: int
    positions: Sequence[int]


NO_LOG = Bound(65535, ())  # all rows: no log has that number


async def has_no_bound() -> Bound:
    """Where no batch lands meanwhile."""
    return NO_LOG


@dataclass(frozen=True, slots=True)
class Erasure:
    """Every row of one site in one month (of local dates); `number` is unique, epoch milliseconds or later."""

    number: int
    site_id: SiteId
    month: int
    bound: Bound = NO_LOG

    def to_parameters(self) -> dict[str, object]:
        """As parameters of the statements here."""
        bound = {"log": self.bound.log, "positions": list(self.bound.positions)}
        return {"erasure": self.number, "site": self.site_id, "month": self.month, **bound}


class Retention:
    """Applies the retention of every site. `failpoint` is called by name between any two statements."""

    def __init__(
        self,
        warehouse: Warehouse,
        control: AsyncEngine,
        versions: SiteVersions,
        clock: Callable[[], int],
        failpoint: Callable[[str], None],
    ) -> None:
        self._warehouse = warehouse
        self._control = control
        self._versions = versions
        self._clock = clock
        self._failpoint = failpoint

    async def resume(self) -> None:
        """Finish what a crash cut short."""
        for erasure in await self._read(UNFINISHED, {}):
            await self._finish(erasure)

    async def apply(
        self,
        between_batches: AbstractAsyncContextManager[None, None],
        read_bound: Callable[[], Awaitable[Bound]] = has_no_bound,
    ) -> Sequence[Erasure]:
        """Delete every month of every site that is wholly older than what the site keeps; say what was deleted.

        A deleted site keeps nothing. Events of it that were acknowledged and land later go the next time. Where a
        consumer may be in another process `read_bound` tells what has been consumed.
        """
        async with self._control.connect() as connection:
            kept = (await connection.execute(KEPT_MONTHS)).all()
        erased: list[Erasure] = []
        for site_id, months, deleted_at in kept:
            before = FUTURE if deleted_at else self._find_first_day(months)
            for month in await self._find_months(SiteId(site_id), before):
                async with between_batches:
                    erased.append(await self.erase(SiteId(site_id), month, await read_bound()))
        return erased

    async def erase(self, site_id: SiteId, month: int, bound: Bound = NO_LOG) -> Erasure:
        """Delete the site's rows of a month; without a bound call it between two batches."""
        erasure = Erasure(await self._next_number(), site_id, month, bound)
        await self._warehouse.command(MARKS, erasure.to_parameters())
        self._failpoint("marked")
        async for attempt in self._attempts():
            with attempt:
                erasure = await self._write_counts(erasure)
                self._failpoint("counted")
        async for attempt in self._attempts():
            with attempt:
                await self._finish(erasure)
        logger.info("month_erased", site=site_id, month=month)
        return erasure

    async def _write_counts(self, erasure: Erasure) -> Erasure:
        """Write down what will be deleted, and give the erasure whose counts stand there.

        That is another one where the counts of this month have landed already: those of an earlier attempt, or of a
        process that led before and whose insert was under way when the next one resumed. An insert that is still on its
        way is fenced off before anybody looks.
        """
        shared = self._warehouse.is_shared
        partitions = range(max(1, len(erasure.bound.positions)))  # of a cluster, one on each shard at least
        fence = await take_over(self._warehouse, NO_LOG.log, partitions, "retention") if shared else None
        if counted := await self._read(COUNTED, erasure.to_parameters()):
            return counted[0]
        counts = await self._warehouse.query(COUNTS, erasure.to_parameters())
        # An alias `_log` would stand for the column in the condition as well.
        await self._warehouse.insert("erasing", counts.rename_columns({"of_log": "_log"}), fence)
        return erasure

    async def _read(self, sql: str, parameters: Mapping[str, object]) -> Sequence[Erasure]:
        """Erasures of which counts stand in `erasing`."""
        return [
            Erasure(
                row["erasure"],
                SiteId(row["site_id"]),
                row["month"],
                Bound(row["_log"], row["positions"]) if row["positions"] else NO_LOG,
            )
            for row in (await self._warehouse.query(sql, parameters)).to_pylist()
        ]

    async def _finish(self, erasure: Erasure) -> None:
        parameters = erasure.to_parameters()
        await self._warehouse.command(DROP if await self._may_drop(erasure) else DELETE, parameters)
        self._failpoint("deleted")
        await self._warehouse.command(MOVE, parameters)
        self._failpoint("moved")
        await self._warehouse.command(FORGET, parameters)
        self._versions.bump([erasure.site_id])

    async def _may_drop(self, erasure: Erasure) -> bool:
        """Whether nothing else is in the month, and nobody may add to it meanwhile."""
        if erasure.bound is not NO_LOG:
            return False
        others = (await self._warehouse.query(OTHER_SITES, erasure.to_parameters())).to_pylist()
        return not others[0]["found"]

    async def _next_number(self) -> int:
        """A number that no erasure has had, whatever the clock did."""
        rows = (await self._warehouse.query(LAST_NUMBER)).to_pylist()
        return max(self._clock(), int(rows[0]["last"]) + 1)

    def _find_first_day(self, kept: int) -> date:
        """The first day that a site keeps."""
        today = datetime.fromtimestamp(self._clock() / 1000, UTC).date()
        first = today.year * YEAR + today.month - 1 - kept
        return today.replace(year=first // YEAR, month=first % YEAR + 1, day=1)

    async def _find_months(self, site_id: SiteId, before: date) -> Sequence[int]:
        rows = await self._warehouse.query(MONTHS, {"site": site_id, "before": before})
        return [row["month"] for row in rows.to_pylist()]

    def _attempts(self) -> AsyncIterator[stamina.Attempt]:
        return stamina.retry_context(on=WarehouseError, attempts=None, timeout=None, wait_max=WAIT_AT_MOST).__aiter__()
